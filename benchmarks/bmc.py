"""Power of a hundred BMCs at once, beside FreeIPMI's ipmipower and ipmitool, in one run.

The BMCs are ipmi_sim processes on 127.0.1.1 to 127.0.1.100, port 623, so run it as root, or give `--port`,
which ipmipower cannot follow. A cold sweep logs in everywhere; over open sessions it only asks. `--hold` has
the sessions kept for that many seconds and counts the lost ones. A hundred Redfish BMCs, ours, in
one process of their own, are swept by the Redfish provider in parallel.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil

from benchmarks.many_bmcs import PASSWORD, REDFISH_PORT, USER, addresses, ipmi_sims
from lab.bmc.ipmi.sweep import KEEP_S, Peer, Sweep
from lab.bmc.redfish.provider import RedfishBmc
from lab.bmc.target import Account, Target

ROUNDS = 5
IPMITOOL_AT_ONCE = 16
REDFISH_AT_ONCE = 32
ACCOUNT = Account(USER, lambda: PASSWORD)


def median_s(work: Callable[[], int], count: int, rounds: int = ROUNDS) -> float:
    """Median seconds of `work`, which returns how many of `count` servers it saw switched on: all of them."""
    taken = []
    for _ in range(rounds):
        started = time.monotonic()
        seen = work()
        taken.append(time.monotonic() - started)
        if seen != count:
            raise SystemExit(f"only {seen} of {count} answers were right")
    return statistics.median(taken)


def ipmipower(count: int) -> int:
    """One cold sweep by FreeIPMI; it cannot tell its privilege level to ipmi_sim without the workarounds."""
    hosts = ",".join(addresses(count))
    command = ["ipmipower", "-D", "LAN_2_0", "-I", "3", "-W", "authcap,opensesspriv", "-h", hosts]
    answer = subprocess.run(
        [*command, "-u", USER, "-p", PASSWORD, "--stat"], capture_output=True, text=True, check=True
    )
    return answer.stdout.count(": on")


def ipmitool(count: int, port: int) -> int:
    """One cold sweep by ipmitool, sixteen processes at once."""

    def ask(address: str) -> bool:
        command = ["ipmitool", "-I", "lanplus", "-C", "3", "-H", address, "-p", str(port), "-U", USER, "-E"]
        environment = os.environ | {"IPMI_PASSWORD": PASSWORD}
        answer = subprocess.run(
            [*command, "power", "status"], capture_output=True, text=True, env=environment, check=False
        )
        return "is on" in answer.stdout

    with ThreadPoolExecutor(IPMITOOL_AT_ONCE) as pool:
        return sum(pool.map(ask, addresses(count)))


def new_sweep(count: int, port: int) -> Sweep:
    """A sweep without sessions yet."""
    return Sweep([Peer(Target(host, f"{host}:{port}"), host, port, ACCOUNT) for host in addresses(count)])


def switched_on(sweep: Sweep) -> int:
    """How many read "on"."""
    return sum(state == "on" for state in sweep.power().values())


def measure_ipmi(count: int, port: int, hold_s: int) -> dict[str, Any]:
    """Every figure over IPMI."""

    def cold() -> int:
        sweep = new_sweep(count, port)
        try:
            return switched_on(sweep)
        finally:
            sweep.close()

    found: dict[str, Any] = {"bmcs": count}
    if port == 623:
        found["ipmipower_cold_s"] = median_s(lambda: ipmipower(count), count)
    found["ipmitool_cold_s"] = median_s(lambda: ipmitool(count, port), count, rounds=3)
    found["cold_s"] = median_s(cold, count)
    me = psutil.Process()
    before = me.memory_info().rss
    sweep = new_sweep(count, port)
    switched_on(sweep)
    found["memory_per_bmc_kb"] = round((me.memory_info().rss - before) / count / 1000, 1)
    cpu = time.process_time()
    found["open_s"] = median_s(lambda: switched_on(sweep), count, rounds=2 * ROUNDS)
    found["open_cpu_s"] = (time.process_time() - cpu) / (2 * ROUNDS)
    if hold_s:
        found["hold"] = hold(sweep, count, hold_s)
    sweep.close()
    return found


def hold(sweep: Sweep, count: int, seconds: int) -> dict[str, Any]:
    """Keep all sessions for that long; `missed` counts those that were lost on the way."""
    end = time.monotonic() + seconds
    logins = sweep.logins
    cpu = time.process_time()
    while (left := end - time.monotonic()) > 0:
        sweep.keep()
        # Nothing to wait for but the time of the next keep-alive.
        time.sleep(min(left, KEEP_S / 4))
    right = switched_on(sweep)
    return {
        "seconds": seconds,
        "missed": sweep.logins - logins + count - right,
        "cpu_s": round(time.process_time() - cpu, 2),
    }


def measure_redfish(count: int, folder: Path) -> dict[str, Any]:
    """A parallel sweep of as many Redfish BMCs: log-in and power state, then the state alone."""
    command = [sys.executable, "-m", "benchmarks.many_bmcs", str(count), str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as services:
        if services.stdin is None or services.stdout is None or services.stdout.readline() != "ready\n":
            raise SystemExit("the Redfish services do not come up")
        to_them, from_them = services.stdin, services.stdout

        def sessions() -> tuple[int, int]:
            to_them.write("\n")
            to_them.flush()
            open_now, created = map(int, from_them.readline().split())
            return open_now, created

        bmcs = [
            RedfishBmc(Target(host, f"http://{host}:{REDFISH_PORT}"), ACCOUNT, "none")
            for host in addresses(count)
        ]
        with ThreadPoolExecutor(REDFISH_AT_ONCE) as pool:

            def sweep() -> int:
                return sum(state in ("on", "off") for state in pool.map(lambda bmc: bmc.power(), bmcs))

            cold, warm = median_s(sweep, count, rounds=1), median_s(sweep, count)
            open_now, created = sessions()
            list(pool.map(lambda bmc: bmc.close(), bmcs))
        left, _ = sessions()
        to_them.close()
    return {
        "bmcs": count,
        "cold_s": cold,
        "open_s": warm,
        "sessions_open": open_now,
        "sessions_created": created,
        "sessions_left": left,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--count", type=int, default=100, help="BMCs, at most 250")
    parser.add_argument("--port", type=int, default=623, help="UDP port of the ipmi_sims")
    parser.add_argument("--hold", type=int, default=0, metavar="SECONDS", help="keep the sessions this long")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with ipmi_sims(options.count, options.port, folder):
            ipmi = measure_ipmi(options.count, options.port, options.hold)
        redfish = measure_redfish(options.count, folder)
    peer = ipmi.get("ipmipower_cold_s")
    if peer:
        ipmi["ratio_open"] = ipmi["open_s"] / peer
        ipmi["ratio_cold"] = ipmi["cold_s"] / peer
    if options.json:
        print(json.dumps({"ipmi": _rounded(ipmi), "redfish": _rounded(redfish)}, indent=1))
        return
    _print(ipmi, redfish)


def _print(ipmi: dict[str, Any], redfish: dict[str, Any]) -> None:
    print(f"power of {ipmi['bmcs']} BMCs over IPMI, seconds")
    rows = [
        ("ipmipower, cold", "ipmipower_cold_s"),
        ("ipmitool, 16 at once, cold", "ipmitool_cold_s"),
        ("the lab, cold", "cold_s"),
        ("the lab, sessions open", "open_s"),
    ]
    for text, key in rows:
        if key in ipmi:
            print(f"  {text:<28} {ipmi[key]:7.3f}")
    if "ratio_open" in ipmi:
        print(f"  ratio to ipmipower: open {ipmi['ratio_open']:.2f} (at most 1), ", end="")
        print(f"cold {ipmi['ratio_cold']:.2f} (at most 3)")
    print(f"  memory {ipmi['memory_per_bmc_kb']} kB per BMC; CPU {ipmi['open_cpu_s']:.3f} s per open sweep")
    if "hold" in ipmi:
        held = ipmi["hold"]
        print(f"  held {held['seconds']} s: {held['missed']} sessions lost, CPU {held['cpu_s']} s")
    print(f"power of {redfish['bmcs']} BMCs over Redfish, {REDFISH_AT_ONCE} threads, seconds")
    print(f"  cold {redfish['cold_s']:.3f}, sessions open {redfish['open_s']:.3f}")
    print(f"  sessions: {redfish['sessions_open']} open while in use, {redfish['sessions_left']} left after")


def _rounded(figures: dict[str, Any]) -> dict[str, Any]:
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in figures.items()}


if __name__ == "__main__":
    main()
