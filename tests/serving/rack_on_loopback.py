"""A rack of real servers (by what its file says) whose controller is this machine's loopback."""

from __future__ import annotations

from pathlib import Path

from lab.rack.load import load_rack
from lab.rack.model import Rack

MAC = "52:54:00:aa:00:01"

_RACK = """
rack: bench
controller: {controller}
servers:
  - name: s1
    firmware: {firmware}
    bmc: {{ipmi: "127.0.0.1:9", user: lab, password: "env:NOT_USED"}}
    console: {{sol: {{}}}}
    nics:
      - {{mac: "52:54:00:aa:00:01", boot: true}}
      - {{mac: "52:54:00:aa:00:02"}}
    disks: [{{serial: D1, erase: true}}, {{serial: D2}}, {{wwn: "0x5000c500a1b2c3d4", erase: true}}]
  - name: s2
    firmware: bios
    bmc: {{ipmi: "127.0.0.1:10", user: lab, password: "env:NOT_USED"}}
    console: {{sol: {{}}}}
    nics: [{{mac: "52:54:00:aa:00:11", boot: true}}]
    disks: [{{serial: D3}}]
"""


def bench(folder: Path, controller: str = "{media_address: 127.0.0.1}", firmware: str = "bios") -> Rack:
    file = folder / "bench.yaml"
    file.write_text(_RACK.format(controller=controller, firmware=firmware))
    return load_rack(str(file))
