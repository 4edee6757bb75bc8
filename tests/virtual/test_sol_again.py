"""One console after another on the same server: what is typed arrives in each, whoever had it before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.bmc.api import PowerAction
from lab.bmc.ipmi.provider import IpmiBmc
from lab.bmc.sol.stream import SolStream
from lab.bmc.target import Account, Target
from lab.rack.model import Server
from tests.virtual.rackfile import TinyRack, running_rack, server
from tests.virtual.tiny_guest import boot_sector


@pytest.fixture(scope="module")
def shared_rack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyRack]:
    """`sim` speaks IPMI by ipmi_sim, `own` by the responder."""
    sim, own = server("sim"), server("own")
    own["virtual"]["bmc"] = {"ipmi": "responder"}
    with running_rack(tmp_path_factory.mktemp("rack"), sim, own) as tiny:
        yield tiny


def typed(tiny: TinyRack, entry: Server, account: Account, text: str) -> None:
    """Type in a console of its own; returns when the guest has echoed it."""
    start = len(tiny.serial(entry.name))
    port = int((entry.bmc.ipmi or "").rsplit(":", 1)[1])
    stream = SolStream(Target(entry.name, "127.0.0.1"), "127.0.0.1", port, account)
    try:
        stream.write(text.encode())
        tiny.wait_for_serial(entry.name, text, since=start, seconds=10)
    finally:
        stream.close()


@pytest.mark.parametrize("name", ["sim", "own"])
def test_what_is_typed_arrives_in_every_console(tiny: TinyRack, name: str) -> None:
    """ipmi_sim dropped the first packet where its number was that of the last session's last packet."""
    entry = next(one for one in tiny.rack.servers if one.name == name)
    lab = Account("lab", lambda: tiny.password)
    console = Account("console", lambda: tiny.sol_password)
    tiny.put_on_disk(name, boot_sector("greets"))
    address, port = (entry.bmc.ipmi or "").split(":")
    bmc = IpmiBmc(Target(name, address), address, int(port), lab)
    bmc.set_power(PowerAction.ON)
    bmc.close()
    tiny.wait_for_serial(name, "greets")
    for account, text in ((console, "a"), (lab, "b"), (console, "first"), (lab, "second"), (lab, "c")):
        typed(tiny, entry, account, text)
