"""When the plugin is at work, and what one run of it goes through, from options to summary."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lab import paths
from lab.errors import LabError
from lab.pytest_plugin import outcome

if TYPE_CHECKING:
    from lab.pytest_plugin.session import LabSession
    from lab.rack.model import Rack
    from lab.selection import Target

SESSION: pytest.StashKey[LabSession] = pytest.StashKey()
TARGETS: pytest.StashKey[list[Target]] = pytest.StashKey()
PLAN: pytest.StashKey[str] = pytest.StashKey()


def is_worker(config: pytest.Config) -> bool:
    """Whether this process is an xdist worker."""
    return hasattr(config, "workerinput")


def is_about_servers(config: pytest.Config) -> bool:
    """Whether this run is about servers: `--rack` given, or a path below `testcases/` named."""
    if config.getoption("--rack"):
        return True
    home = (paths.project() / "testcases").resolve()
    named = [Path(str(argument).split("::")[0]) for argument in config.args]
    return any(
        home == path or home in path.parents
        for path in (config.invocation_params.dir / name for name in named)
    )


def touches(config: pytest.Config) -> bool:
    """Whether tests will really run (not only be listed or planned)."""
    return is_about_servers(config) and not (config.getoption("--plan") or config.option.collectonly)


def configure(config: pytest.Config) -> None:
    """Choose the run folder and send Allure and JUnit results there, unless told otherwise."""
    outcome.forget()
    if not touches(config):
        return
    if is_worker(config):
        # Under pytest 9 a worker does not inherit what the controller's options were changed to.
        config.option.allure_report_dir = config.workerinput["lab_allure"]  # type: ignore[attr-defined]
        return
    from lab.report.rundir import RunFolder

    folder = RunFolder.create(paths.reports())
    if not getattr(config.option, "allure_report_dir", None):
        config.option.allure_report_dir = str(folder.allure_results)
    if not config.option.xmlpath:
        config.option.xmlpath = str(folder.junit)
    from lab.pytest_plugin.session import LabSession

    config.stash[SESSION] = LabSession(config, folder.path, time.monotonic(), "main")


def brief_worker(node: Any) -> None:
    """Controller side: what a worker must know of the run."""
    session = node.config.stash.get(SESSION, None)
    if session is not None:
        node.workerinput["lab_folder"] = str(session.run.folder)
        node.workerinput["lab_zero"] = session.run.zero
        node.workerinput["lab_allure"] = node.config.option.allure_report_dir


def refuse(config: pytest.Config) -> int | None:
    """The exit code of options that do not fit the rack, after saying what is wrong; None when they fit."""
    if not is_about_servers(config):
        return None
    try:
        targets(config)
    except LabError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return error.exit_code
    return None


def start(config: pytest.Config) -> None:
    """Plan, or begin the run: on an xdist worker its share, else the whole with a virtual rack brought up."""
    if not is_about_servers(config):
        return
    try:
        chosen = targets(config)
        if config.getoption("--plan"):
            from lab.selection import plan_text

            config.stash[PLAN] = plan_text(_rack(config), chosen)
        if not touches(config):
            return
        if is_worker(config):
            from lab.pytest_plugin.session import LabSession

            given: dict[str, Any] = config.workerinput  # type: ignore[attr-defined]
            config.stash[SESSION] = LabSession(
                config, Path(given["lab_folder"]), given["lab_zero"], given["workerid"]
            )
        session = config.stash[SESSION]
        session.use(_rack(config), chosen)
        if not is_worker(config):
            session.open(shlex.join(["pytest", *config.invocation_params.args]))
    except LabError as error:
        pytest.exit(f"{type(error).__name__}: {error}", returncode=error.exit_code)


def _rack(config: pytest.Config) -> Rack:
    from lab.rack.load import load_rack

    return load_rack(config.getoption("--rack") or "virtual")


def targets(config: pytest.Config) -> list[Target]:
    """The targets of this run, chosen once per process.

    Raises:
        LabError: the options do not fit the rack.
    """
    if TARGETS not in config.stash:
        from lab.selection import select

        config.stash[TARGETS] = select(
            _rack(config),
            config.getoption("--hypervisor"),
            config.getoption("--server"),
            pair=config.getoption("--pair"),
        )
    return config.stash[TARGETS]


def workers(config: pytest.Config) -> int | None:
    """How many workers `-n auto` means here; None leaves it to xdist."""
    if not is_about_servers(config):
        return None
    try:
        return len({target.server.name for target in targets(config)}) or None
    except LabError:
        return None  # `refuse` says what is wrong


def scheduler(config: pytest.Config, log: Any) -> Any | None:
    """What hands out tests to xdist workers, a server's to one of them; None leaves it to xdist."""
    if not is_about_servers(config):
        return None
    from lab.pytest_plugin.scheduling import ByServer

    return ByServer(config, log, targets(config))


def target_of(item: pytest.Item | None) -> Target | None:
    """The target a test is about."""
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("target") if callspec is not None else None


def server_of(item: pytest.Item | None) -> str | None:
    """Name of the server a test is about."""
    target = target_of(item)
    return target.server.name if target is not None else None


def mark(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what has no media."""
    if not is_about_servers(config):
        return
    for item in items:
        target = target_of(item)
        if target is None:
            continue
        if target.skip:
            item.add_marker(pytest.mark.skip(reason=target.skip))


def arrange(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order by server and release; what puts a guest on the host comes after what measures it bare."""
    if not is_about_servers(config):
        return
    order = {target.id: position for position, target in enumerate(targets(config))}

    def rank(item: pytest.Item) -> tuple[int, bool]:
        target = target_of(item)
        return (order[target.id] if target else -1, "guest" in getattr(item, "fixturenames", ()))

    items.sort(key=rank)


def finish(session: pytest.Session) -> None:
    """End of a process's share; on the controller also of the run."""
    config = session.config
    lab = config.stash.get(SESSION, None)
    if lab is None:
        return
    lab.close()
    code = outcome.exit_code()
    if code is not None and session.exitstatus != pytest.ExitCode.INTERRUPTED:
        session.exitstatus = code
    if not is_worker(config):
        lab.conclude(int(session.exitstatus))


def summarize(reporter: Any, config: pytest.Config) -> None:
    """Print the footprint table and where the run's files lie."""
    lab = config.stash.get(SESSION, None)
    if lab is None or is_worker(config):
        return
    from lab.report.summary import footprint_table

    table = footprint_table(lab.run.folder)
    if table:
        reporter.section("footprints", sep="-")
        reporter.write_line(table)
    reporter.write_line(
        f"run folder: {os.path.relpath(lab.run.folder)}  (`lab report build` makes pages of it)"
    )


def unconfigure(config: pytest.Config) -> None:
    """Take down the virtual rack, if this run brought it up."""
    lab = config.stash.get(SESSION, None)
    if lab is not None and not is_worker(config):
        lab.take_down()


def names(chosen: Sequence[Target]) -> list[str]:
    """Names of the servers of these targets, each once."""
    return list(dict.fromkeys(target.server.name for target in chosen))
