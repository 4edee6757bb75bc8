"""What the lab itself costs a test, beside plain pytest in the same run.

Two figures: milliseconds per empty test whose fixtures are all resolved on a ready machine, beside an empty
test without fixtures; and seconds of `pytest --collect-only testcases`, beside collecting an empty file.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from lab import paths

COUNT = 100
WITH = f"""
import pytest

@pytest.mark.parametrize("number", range({COUNT}))
def test_empty(number, machine, host, bmc, console, record):
    pass
"""
WITHOUT = f"""
import pytest

@pytest.mark.parametrize("number", range({COUNT}))
def test_empty(number):
    pass
"""


def milliseconds_per_test(body: str, arguments: list[str]) -> float:
    """Median time of one empty test, setup and teardown included; the first and last are left out.

    They carry the install and the giving back of the server.
    """
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "junit.xml"
        tests = Path(folder) / "test_empty.py"
        tests.write_text(body)
        command = [sys.executable, "-m", "pytest", "-q", "-c", "pyproject.toml", "--rootdir", ".", str(tests)]
        subprocess.run(
            [*command, "-p", "conftest", f"--junitxml={results}", *arguments],
            check=True,
            stdout=sys.stderr,
            cwd=paths.project(),
        )
        times = [float(case.attrib["time"]) for case in ElementTree.parse(results).iter("testcase")]  # noqa: S314 - our own
    return 1000 * statistics.median(times[1:-1])


def seconds_to_collect(what: str) -> float:
    """Median of five runs of `pytest --collect-only`, as a whole process."""
    taken = []
    for _ in range(5):
        started = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "--collect-only", what],
            check=False,
            capture_output=True,
            cwd=paths.project(),
        )
        taken.append(time.monotonic() - started)
    return statistics.median(taken)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--server", default="bios-1")
    parser.add_argument("--hypervisor", default="kvm-debian12")
    options = parser.parse_args()
    target = ["--rack", "virtual", "--server", options.server, "--hypervisor", options.hypervisor]
    plain = milliseconds_per_test(WITHOUT, [])
    ours = milliseconds_per_test(WITH, target)
    with tempfile.NamedTemporaryFile("w", suffix="_test.py") as empty:
        floor = seconds_to_collect(empty.name)
    collect = seconds_to_collect("testcases")
    figures = {
        "per_empty_test_ms": round(ours, 2),
        "plain_pytest_ms": round(plain, 2),
        "per_test_limit_ms": 20.0,
        "collect_only_s": round(collect, 2),
        "plain_collect_s": round(floor, 2),
        "collect_limit_s": 2.0,
        "ratio": round(collect / floor, 2),
    }
    if options.json:
        print(json.dumps(figures, indent=1))
        return
    print(f"empty test, fixtures resolved: {ours:.1f} ms (plain pytest {plain:.1f} ms; at most 20 ms)")
    print(
        f"pytest --collect-only testcases: {collect:.2f} s "
        f"(an empty file {floor:.2f} s, ratio {collect / floor:.2f}; at most 2 s)"
    )


if __name__ == "__main__":
    main()
