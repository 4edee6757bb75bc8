"""From power-on of the deploy medium to the first authenticated SSH command, beside plain QEMU by hand.

Both in one run on one machine, with the same firmware, disk and network models, kernel, image and
installed system. Prints the ratio and where the rest goes. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks import plain_qemu
from lab.machine import credentials as store
from lab.machine.machine import Machine
from lab.media.deploy import build_deploy
from lab.media.image import build_image
from lab.rack.load import find_server, load_rack
from lab.rack.model import Rack, Server
from lab.release import Release, load_release
from lab.report.rundir import RunFolder
from lab.run import Run
from lab.virtual import control

LIMIT = 1.25


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def through_the_lab(rack: Rack, server: Server, release: Release) -> dict[str, float]:
    """Seconds of each phase through the lab: deploy boot, write, boot, and their sum."""
    import time

    with tempfile.TemporaryDirectory(prefix="provision-") as folder:
        run = Run(id="provision", folder=RunFolder.create(Path(folder)).path, zero=time.monotonic())
        run.show = lambda who, text: _say(f"{run.now:7.1f}  {who}: {text}")
        machine = Machine.take(run, rack, server)
        try:
            machine.goto("ready", release, fresh=True)
            on = [mark.at for mark in run.marks if mark.kind == "power" and mark.name == "on"]
            seen = {mark.name: mark.at for mark in run.marks if mark.kind == "milestone"}
            spans = {span.name: span for span in run.spans if span.lane == "install"}
        finally:
            machine.give_back()
    deployed, booted = on[-2], on[-1]
    kernel = spans["off → installer"].end
    return {
        "deploy_boot": kernel - deployed,
        "install": booted - kernel,
        "boot": seen["ssh"] - booted,
        "total": seen["ssh"] - deployed,
    }


def by_hand(rack: Rack, server: Server, release: Release) -> dict[str, float]:
    """The floor."""
    image, deploy = build_image(release, _say), build_deploy(_say)
    stamp = store.Stamp(
        rack=f"{rack.rack}-floor",
        server=server.name,
        release=release.name,
        release_digest=release.digest,
        image_digest=image.digest,
        disk="FLOOR",
    )
    credentials = store.create(stamp)
    try:
        with tempfile.TemporaryDirectory(prefix="floor-") as folder:
            floor = plain_qemu.run(server, image, deploy, credentials, Path(folder))
    finally:
        store.forget(stamp.install_id)
    return {"deploy_boot": floor.shell, "install": floor.write, "boot": floor.boot, "total": floor.total}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--rounds", type=int, default=1, help="times each is run, in turn (default 1)")
    parser.add_argument("--server", default="uefi-1")
    parser.add_argument("--hypervisor", default="xen-4.17-debian12")
    options = parser.parse_args()
    rack = load_rack("virtual")
    server, release = find_server(rack, options.server), load_release(options.hypervisor)
    build_image(release, _say)
    build_deploy(_say)
    ours, floor = [], []
    started = control.up(rack, _say)
    try:
        for _ in range(options.rounds):
            floor.append(by_hand(rack, server, release))
            ours.append(through_the_lab(rack, server, release))
    finally:
        if started:
            control.down(rack, _say)
    phases = list(ours[0])
    lab = {phase: round(median(row[phase] for row in ours), 1) for phase in phases}
    plain = {phase: round(median(row[phase] for row in floor), 1) for phase in phases}
    ratio = round(lab["total"] / plain["total"], 3)
    if options.json:
        print(
            json.dumps(
                {
                    "lab_s": lab,
                    "plain_qemu_s": plain,
                    "ratio": ratio,
                    "limit": LIMIT,
                    "rounds": options.rounds,
                },
                indent=1,
            )
        )
        return
    print(f"{server.name}, {release.name}, median of {options.rounds}; seconds")
    print(f"{'phase':<14}{'lab':>8}{'by hand':>9}{'more':>8}")
    for phase in phases:
        print(f"{phase:<14}{lab[phase]:>8.1f}{plain[phase]:>9.1f}{lab[phase] - plain[phase]:>8.1f}")
    print(f"ratio {ratio:.2f} (at most {LIMIT})")


if __name__ == "__main__":
    main()
