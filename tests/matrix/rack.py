"""The rack of one cell: a single virtual server whose BMC errs as the cell says, on ports of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from lab.rack.load import load_rack
from lab.rack.model import Rack
from tests.matrix.cells import Cell

FIRST_PORT = 9651
"""The rack `virtual` has 9601 to 9613; each place here takes ten."""
PORTS_EACH = 10


def rack_for(cell: Cell, place: int, folder: Path) -> Rack:
    """Write the rack file of a cell into `folder` and load it; `place` keeps parallel cells apart."""
    name, port = f"matrix-{place}", FIRST_PORT + PORTS_EACH * place
    state = f"{{state}}/racks/{name}"
    bmc: dict[str, Any] = {
        "ipmi": f"127.0.0.1:{port + 1}",
        "user": "lab",
        "password": f"file:{state}/bmc-password",
        "sol_user": "console",
        "sol_password": f"file:{state}/sol-password",
    }
    if cell.server.redfish:
        bmc |= {"redfish": f"https://127.0.0.1:{port}", "tls": {"ca": f"{state}/ca.pem"}}
    mac, serial = f"52:54:00:1a:b2:{place:02x}", f"MATRIX-{place}"
    errs: dict[str, Any] = {"ipmi": "responder"}
    if cell.play.profile is not None:
        errs["profile"] = cell.play.profile
    if cell.play.faults:
        errs["faults"] = [entry.model_dump(exclude_none=True) for entry in cell.play.faults]
    server = {
        "name": "server-1",
        "model": "QEMU",
        "firmware": cell.server.firmware,
        "bmc": bmc,
        "console": {"sol": {}},
        "host": {"address": "127.0.0.1", "ssh_port": port + 2},
        "nics": [{"mac": mac, "network": "lab", "boot": True}],
        "disks": [{"serial": serial, "erase": True}],
        "virtual": {
            "machine": cell.server.machine,
            "cpus": 1,
            "memory": "3 GiB",
            "disks": {serial: {"bus": cell.server.bus, "size": "16 GiB"}},
            "nics": {mac: cell.server.nic},
            "bmc": errs,
        },
    }
    controller = {"media_address": "127.0.0.1", "install_address": "10.0.2.2"}
    file = folder / f"{name}.yaml"
    file.write_text(
        yaml.safe_dump({"rack": name, "controller": controller, "servers": [server]}, sort_keys=False)
    )
    return load_rack(str(file))
