"""A machine does what is missing, in order, once; proves each step; says why when it cannot."""

from __future__ import annotations

import pytest

from lab.errors import LabError
from lab.hypervisors import family
from lab.machine import lease
from lab.machine.credentials import Phase, installs_of, latest
from lab.machine.edges import State
from lab.machine.machine import Machine
from lab.release import load_release
from tests.machine.bench import XEN, Bench, notes

INSTALL = ["insert", "boot cd", "power on", "eject"]
BOOT = ["boot disk", "power on"]
FAREWELL = ["power off", "eject", "boot none"]


def ready(bench: Bench, server: str = "s1", **options: bool) -> Machine:
    machine = bench.take(server)
    machine.goto("ready", bench.release(), **options)
    return machine


def test_a_fresh_install_gives_each_order_once_and_in_order(bench: Bench) -> None:
    machine = ready(bench)
    assert bench.servers["s1"].orders == [*INSTALL, *BOOT]
    assert machine.state is State.READY
    assert machine.host().run("cat /sys/hypervisor/type").output == "xen\n"
    assert machine.give_back() is None
    assert bench.left_over() == []


def test_a_bios_server_without_virtual_media_installs_by_pxe(bench: Bench) -> None:
    server = bench.servers["s2"]
    machine = ready(bench, "s2")
    assert server.orders == ["boot pxe", "power on", *BOOT]
    assert server.netboot is None
    assert machine.give_back() is None
    assert server.orders[-1] == "boot none"
    assert not {"insert", "eject"} & set(server.orders)


def test_a_server_found_on_is_switched_off_first(bench: Bench) -> None:
    bench.servers["s1"].state = "on"
    machine = ready(bench)
    assert bench.servers["s1"].orders == ["power off", *INSTALL, *BOOT]
    assert any("found powered on" in note for note in notes(machine))
    machine.give_back()


def test_every_edge_leaves_a_span_with_its_evidence(bench: Bench) -> None:
    machine = ready(bench)
    machine.give_back()
    edges = [span for span in machine.run.spans if "→" in span.name]
    assert [span.name for span in edges] == [
        "off → installer",
        "installer → off",
        "off → firmware",
        "firmware → booting",
        "booting → ready",
        "ready → off",
    ]
    assert all(span.evidence and span.release == XEN and span.end >= span.start for span in edges)
    assert "lab-deploy: booted" in edges[0].evidence
    assert "authenticated HTTP" in edges[1].evidence
    assert "stamp" in edges[4].evidence
    milestones = [mark.name for mark in machine.run.marks if mark.kind == "milestone"]
    assert milestones == [*family("xen").boot_milestones[:-1], "ssh", "login-prompt"]


def test_the_console_is_recorded_from_before_power_on_to_power_off(bench: Bench) -> None:
    machine = ready(bench)
    machine.give_back()
    log = machine.console.log.read_text()
    story = ("recording begins", "power: on", "lab-deploy: booted", "Welcome to GRUB", "recording ends")
    places = [log.index(text) for text in story]
    assert places == sorted(places)
    assert "gap" not in log


# ---- reuse ------------------------------------------------------------------------------------------------


def test_what_is_installed_is_booted_and_not_installed_again(bench: Bench) -> None:
    ready(bench).give_back()
    bench.servers["s1"].orders.clear()
    machine = ready(bench)
    assert bench.servers["s1"].orders == BOOT
    assert any("reusing it" in note for note in notes(machine))
    machine.give_back()


def test_ready_twice_in_a_row_gives_no_order(bench: Bench) -> None:
    machine = ready(bench)
    bench.servers["s1"].orders.clear()
    machine.goto("ready", machine.release)
    assert bench.servers["s1"].orders == []
    machine.give_back()


def test_fresh_installs_although_it_is_there(bench: Bench) -> None:
    ready(bench).give_back()
    bench.servers["s1"].orders.clear()
    machine = ready(bench, fresh=True)
    assert bench.servers["s1"].orders == [*INSTALL, *BOOT]
    machine.give_back()


def test_another_release_on_a_running_machine_shuts_down_the_first_under_its_own_name(bench: Bench) -> None:
    machine = ready(bench)
    other = bench.release()
    other._name, other._digest = "xen-other", "0" * 64
    machine.goto("ready", other)
    shut_down = next(span for span in machine.run.spans if span.name == "ready → off")
    assert shut_down.release == XEN
    assert bench.servers["s1"].sent == ["on", "on", "on", "on"]  # off each time by itself, never cut
    machine.give_back()


def other_image(bench: Bench) -> None:
    bench.image = bench.image_of(b"another image")


def other_release_file(bench: Bench) -> None:
    bench.release = changed  # type: ignore[method-assign,assignment]


def changed(**_: int) -> object:
    release = load_release(XEN).model_copy()
    release._name, release._digest = XEN, "f" * 64
    return release


def other_disk(bench: Bench) -> None:
    bench.rack = type(bench.rack).model_validate(
        bench.rack.model_dump(mode="json", exclude_none=True)
        | {
            "servers": [
                bench.rack.servers[0].model_dump(mode="json", exclude_none=True)
                | {"disks": [{"serial": "D9", "erase": True}]}
            ]
        }
    )


def credentials_gone(bench: Bench) -> None:
    for install in installs_of("bench", "s1"):
        install.client_key.unlink()


def half_written(bench: Bench) -> None:
    for install in installs_of("bench", "s1"):
        install.reached(Phase.WRITING)


@pytest.mark.parametrize(
    "difference", [other_image, other_release_file, other_disk, credentials_gone, half_written]
)
def test_what_differs_in_anything_is_not_reused(bench: Bench, difference: object) -> None:
    ready(bench).give_back()
    assert callable(difference)
    difference(bench)
    bench.servers["s1"].orders.clear()
    machine = ready(bench)
    assert bench.servers["s1"].orders == [*INSTALL, *BOOT]
    machine.give_back()
    found = latest("bench", "s1")
    assert found is not None
    assert found.phase is Phase.INSTALLED


@pytest.mark.parametrize("whose", ["stamp", "host_key"])
def test_a_disk_that_holds_another_install_is_installed_once_more(bench: Bench, whose: str) -> None:
    ready(bench).give_back()
    server = bench.servers["s1"]
    assert server.disk is not None
    if whose == "stamp":
        server.disk.stamp = server.disk.stamp.replace('"install_id": "', '"install_id": "00000000')[:-2]
    else:
        server.disk.host_key = "ssh-ed25519 AAAA another"
    server.orders.clear()
    machine = ready(bench)
    assert server.orders == [*BOOT, "power off", *INSTALL, *BOOT]
    assert any("cannot be reused" in note for note in notes(machine))
    assert machine.give_back() is None


def test_a_stamp_that_is_wrong_after_an_install_of_this_run_is_a_boot_failure(bench: Bench) -> None:
    server = bench.servers["s1"]

    def another_disk_boots(order: str) -> None:
        if order == "boot disk" and server.disk is not None:
            server.disk.stamp = "{}"

    server.before = another_disk_boots
    machine = bench.take()
    with pytest.raises(LabError, match="not the one that was installed") as failure:
        machine.goto("ready", bench.release())
    assert (failure.value.exit_code, failure.value.server, failure.value.release) == (43, "s1", XEN)
    machine.give_back()
    assert bench.left_over() == []


# ---- broken -----------------------------------------------------------------------------------------------


def test_a_broken_machine_says_why_once_and_gives_no_further_order(bench: Bench) -> None:
    server = bench.servers["s1"]
    server.installer = [*server.installer[:2], "lab-deploy: failed: no address by DHCP on eth0"]
    machine = bench.take()
    with pytest.raises(LabError) as first:
        machine.goto("ready", bench.release())
    assert bench.open_installs == []  # nothing is served for a machine that is broken
    orders = list(server.orders)
    with pytest.raises(LabError) as second:
        machine.goto("ready", bench.release(), fresh=True)
    assert second.value is first.value
    assert server.orders == orders
    assert [note for note in notes(machine) if note.startswith("broken: ")] == [
        f"broken: {first.value.message}"
    ]
    failed = machine.run.spans[-1]
    assert failed.evidence == f"failed: {first.value.message}"
    machine.give_back()
    assert server.state == "off"


def test_power_is_never_sent_twice_when_it_is_accepted_and_not_carried_out(bench: Bench) -> None:
    server = bench.servers["s1"]
    server.installer = [line for line in server.installer if "Power down" not in line]
    bench.take().give_back()
    server.orders.clear()
    machine = bench.take()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lab.machine.steps._POWER_S", 0.6)
        with pytest.raises(LabError, match="power is not off in time") as failure:
            machine.goto("ready", bench.release())
    assert failure.value.exit_code == 30
    assert server.orders == ["insert", "boot cd", "power on"]
    machine.give_back()
    assert server.sent == ["on", "off"]


# ---- given back -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wish", ["off", "on"])
def test_power_is_left_as_the_rack_wants_it(bench: Bench, wish: str) -> None:
    bench.rack = bench.rack.model_copy(
        update={"servers": (bench.rack.servers[0].model_copy(update={"power_after": wish}),)}
    )
    machine = bench.take()
    assert machine.give_back() is None
    assert bench.servers["s1"].orders == [f"power {wish}", "eject", "boot none"]
    assert bench.servers["s1"].state == wish
    assert bench.left_over() == []


@pytest.mark.parametrize("wish", ["as-found", "keep"])
def test_a_machine_that_shall_stay_as_it_is_runs_on(bench: Bench, wish: str) -> None:
    if wish == "as-found":
        bench.rack = bench.rack.model_copy(
            update={"servers": (bench.rack.servers[0].model_copy(update={"power_after": wish}),)}
        )
    machine = ready(bench)
    assert machine.give_back(keep=wish == "keep") is None
    assert bench.servers["s1"].state == "on"
    assert bench.left_over() == []
    assert lease.leases() == []


@pytest.mark.parametrize("broken_order", FAREWELL)
def test_a_step_of_giving_back_that_fails_leaves_no_lease_and_tells_the_next_run(
    bench: Bench, broken_order: str
) -> None:
    server = bench.servers["s1"]

    def refuse(order: str) -> None:
        if order == broken_order:
            raise LabError(f"{order} does not work today", next_step="mend it")

    machine = bench.take()
    server.before = refuse
    why = machine.give_back()
    assert why is not None
    assert f"{broken_order} does not work today" in why
    assert server.orders == FAREWELL  # the other steps were still done
    assert lease.leases() == []
    assert bench.left_over() == []
    server.before = lambda order: None
    following = bench.take()
    assert any(why in note and "given back dirty" in note for note in notes(following))
    assert following.give_back() is None
    assert not any("dirty" in note for note in notes(bench.take()))
