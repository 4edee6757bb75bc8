"""A run folder with made-up figures, written the way a run writes it: for the pages' own tests alone."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from lab.measure.model import Area, Bill, Evidence, Mark, Measurement, Origin, Span
from lab.report.rundir import RunFolder
from lab.run import Run

XEN, KVM = "xen-4.17-debian12", "kvm-debian12"
SERVERS = {"sample-uefi": XEN, "sample-bios": KVM}
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

_FIGURES: dict[str, dict[Area, dict[str, float]]] = {
    XEN: {
        "footprint": {
            "installed-disk": 1_234_567_890,
            "allocated-partitions": 6_979_321_856,
            "package-bytes": 1_101_004_800,
            "boot-image-bytes": 48_234_496,
            "package-bytes-base": 310_000_000,
            "package-bytes-hypervisor": 290_000_000,
            "swap-and-dumps": 0,
        },
        "memory": {
            "taken-from-guests": 1_216_348_160,
            "hypervisor": 142_606_336,
            "control-domain": 1_073_741_824,
            "total": 3_221_225_472,
        },
        "attack-surface": {
            "packages": 312,
            "listening-sockets": 2,
            "setuid-files": 9,
            "running-services": 14,
            "loaded-modules": 78,
        },
        "boot": {
            "loader": 31.2,
            "xen": 38.4,
            "dom0-kernel": 52.1,
            "login": 141.0,
            "firmware": 31.2,
            "after-firmware": 109.8,
        },
        "devices": {"pci-devices": 14, "pci-devices-driven": 9, "pci-devices-undriven": 0},
    },
    KVM: {
        "footprint": {
            "installed-disk": 876_543_210,
            "allocated-partitions": 6_979_321_856,
            "package-bytes": 790_102_000,
            "boot-image-bytes": 41_234_496,
            "package-bytes-base": 310_000_000,
            "package-bytes-hypervisor": 290_000_000,
            "swap-and-dumps": 0,
        },
        "memory": {
            "taken-from-guests": 201_326_592,
            "hypervisor": 80_326_592,
            "control-domain": 121_000_000,
            "total": 2_147_483_648,
        },
        "attack-surface": {
            "packages": 241,
            "listening-sockets": 1,
            "setuid-files": 8,
            "running-services": 11,
            "loaded-modules": 64,
        },
        "boot": {"loader": 6.1, "linux": 12.3, "login": 88.0, "firmware": 6.1, "after-firmware": 81.9},
        "devices": {"pci-devices": 11, "pci-devices-driven": 7, "pci-devices-undriven": 0},
    },
}
_UNITS = {"footprint": "B", "memory": "B", "attack-surface": "count", "boot": "s", "devices": "count"}
_BOOTS = {
    XEN: [
        ("firmware", 0, 31),
        ("loader", 31, 38),
        ("hypervisor", 38, 52),
        ("control-domain", 52, 96),
        ("services", 96, 141),
    ],
    KVM: [("firmware", 0, 6), ("loader", 6, 12), ("kernel", 12, 49), ("services", 49, 88)],
}


def measurement(
    server: str,
    release: str,
    metric: str,
    value: float,
    area: Area = "footprint",
    origin: Origin = "emulated",
    evidence: str | None = None,
) -> Measurement:
    """One made-up measurement."""
    return Measurement.model_validate(
        {
            "server": server,
            "release": release,
            "family": "xen",
            "origin": origin,
            "area": area,
            "metric": metric,
            "value": value,
            "unit": _UNITS[area],
            "samples": (value,),
            "spread": 0,
            "method": "made up for a test",
            "command": "true",
            "evidence": evidence,
            "firmware": server,
            "at": AT,
        }
    )


def write_sample(reports: Path, *, stand_in: bool = True) -> RunFolder:
    """A finished run below `reports`: two servers, each its own process's part."""
    run = RunFolder.create(reports, AT)
    run.begin(
        rack="sample",
        origin="emulated",
        servers=list(SERVERS),
        releases=list(SERVERS.values()),
        command="pytest testcases --rack sample",
    )
    for number, (server, release) in enumerate(SERVERS.items()):
        write_part(run, f"gw{number}", server, release)
    if stand_in:
        part = Run(run.id, run.path, zero=0.0, part="gw2")
        part.measurements.append(
            measurement("sample-uefi", "stand-in-of-a-product", "installed-disk", 99e9, origin="stand-in")
        )
        part.save()
    run.end(0)
    return run


def write_part(run: RunFolder, part: str, server: str, release: str) -> None:
    """What one process of the run writes."""
    mine = Run(run.id, run.path, zero=0.0, part=part)
    evidence = mine.keep_evidence(
        server, "footprint", (Evidence(command="df -B1", output="made up for a test"),)
    )
    for area, figures in _FIGURES[release].items():
        mine.measurements += [
            measurement(server, release, metric, value, area, evidence=evidence)
            for metric, value in figures.items()
        ]
    mine.bills[server] = Bill(
        server=server,
        vendor="QEMU",
        model="q35",
        serial="SAMPLE1",
        firmware_mode="uefi",
        firmware={"OVMF": "2022.11"},
        drivers={"e1000e": "6.1.0"},
    )
    boot = _BOOTS[release]
    begun, ready = 300.0, 300.0 + boot[-1][2]
    edges = [
        ("unknown → off", 0.0, 2.0),
        ("off → installer", 2.0, 40.0),
        ("installer → off", 40.0, 296.0),
        ("off → firmware", 297.0, 300.0),
        ("firmware → booting", 300.0, begun + boot[1][2]),
        ("booting → ready", begun + boot[1][2], ready),
        ("ready → off", ready + 60, ready + 75),
    ]
    mine.spans += [
        Span(server=server, release=release, lane="edge", name=name, start=start, end=end, evidence="made up")
        for name, start, end in edges
    ]
    mine.spans += [
        Span(server=server, release=release, lane="install", name=name, start=start, end=end)
        for name, start, end in (("firmware", 4.0, 30.0), ("kernel", 30.0, 38.0), ("deploy", 38.0, 290.0))
    ]
    mine.spans += [
        Span(server=server, release=release, lane="boot", name=name, start=begun + start, end=begun + end)
        for name, start, end in boot
    ]
    mine.marks += [
        Mark(
            server=server,
            release=release,
            kind="milestone",
            name=f"{name} seen",
            at=begun + start,
            evidence="made up",
        )
        for name, start, _ in boot
    ]
    mine.save()
    (run.serial / f"{server}.log").write_text(f"{server}: a made-up serial log\n" * 40)
