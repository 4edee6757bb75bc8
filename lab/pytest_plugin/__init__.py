"""The pytest plugin: options, one test per target, one machine per worker, results into the run folder.

It does nothing unless a run is about servers: a path below `testcases/` is named, or `--rack` is given.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from lab.pytest_plugin import activation, outcome
from lab.pytest_plugin.activation import PLAN, SESSION


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the lab's own options."""
    group = parser.getgroup("lab", "hypervisor lab")
    group.addoption(
        "--rack", metavar="RACK", help="path of a rack file, or its name in inventory/ (default: virtual)"
    )
    group.addoption(
        "--hypervisor",
        action="append",
        default=[],
        metavar="RELEASE",
        help="release to install and test; repeatable",
    )
    group.addoption(
        "--server", action="append", default=[], metavar="SERVER", help="server to use, or 'all'; repeatable"
    )
    group.addoption(
        "--pair", action="store_true", help="one release per server instead of every release on every server"
    )
    group.addoption(
        "--plan", action="store_true", help="print what would happen to which disk; touch nothing"
    )
    group.addoption(
        "--fresh", action="store_true", help="install even where the release is installed already"
    )
    group.addoption("--keep", action="store_true", help="leave servers running after the run")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Read the rack and choose the targets; a wrong option ends here, before there is a session."""
    return activation.refuse(config)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Register markers; for a run about servers, choose its folder and where results go."""
    config.addinivalue_line(
        "markers", "needs(allow): the test does something to the server that its rack file must allow"
    )
    activation.configure(config)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Begin the run; bring a virtual rack up."""
    activation.start(session.config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per target, and per kind of guest where a test asks for `guest_kind`."""
    if "target" not in metafunc.fixturenames:
        return
    targets = activation.targets(metafunc.config)
    if "guest_kind" not in metafunc.fixturenames:
        metafunc.parametrize(
            "target", targets, ids=[target.id for target in targets], indirect=True, scope="session"
        )
        return
    from lab.hypervisors import family

    pairs = [(target, kind) for target in targets for kind in family(target.release.family).guest_kinds]
    metafunc.parametrize(
        ("target", "guest_kind"),
        pairs,
        ids=[f"{target.id}-{kind}" for target, kind in pairs],
        indirect=["target"],
        scope="session",
    )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> Generator[None, None, None]:
    """Skip what has no media; order by server and release, so that nothing is installed twice.

    The order is made after pytest's own reordering.
    """
    activation.mark(config, items)
    yield
    activation.arrange(config, items)


def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """With `--plan`, print the plan instead of running anything."""
    plan = session.config.stash.get(PLAN, None)
    if plan is None:
        return None
    reporter: Any = session.config.pluginmanager.getplugin("terminalreporter")
    reporter.write_line("")
    reporter.write_line(plan)
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Show a lab error as the message it is, not as a stack of our frames."""
    report = yield
    outcome.explain(report, call)
    if report.failed:
        item.stash[outcome.FAILED] = True
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember the first lab error; its class decides the exit code."""
    outcome.remember(report)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Give a server back as soon as no further test of this process needs it."""
    session = item.config.stash.get(SESSION, None)
    if session is not None:
        session.leave(activation.server_of(item), activation.server_of(nextitem))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Give every server back, merge the run's files, set the exit code."""
    activation.finish(session)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """The footprint table and where everything lies."""
    activation.summarize(terminalreporter, config)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Take down what this run brought up."""
    activation.unconfigure(config)


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """With `-n auto`, one worker per server that has a target."""
    return activation.workers(config)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any | None:
    """Keep each server on one xdist worker."""
    return activation.scheduler(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell an xdist worker which run it belongs to."""
    activation.brief_worker(node)
