"""The BMC itself by Redfish: its clock, its restart, who is logged in, and its serial console."""

from __future__ import annotations

import time
from datetime import datetime

from lab.bmc.api import Answer, Outcome, SessionSeen, SolSettings
from lab.bmc.redfish.errors import NoAnswer
from lab.bmc.redfish.json import Json, action, as_dict, link, moment, oems, strings, text, told
from lab.bmc.redfish.session import RedfishSession
from lab.bmc.redfish.tree import RedfishTree
from lab.bmc.target import Target, Unsupported
from lab.deadline import Deadline
from lab.errors import BmcCredentials, LabFault

_RESTARTS = ("GracefulRestart", "ForceRestart")
"""ResetType values (Manager schema) that restart a BMC, the wanted one first."""
_GOES_WITHIN_S = 60.0
"""Seconds in which a BMC that took a restart stops answering."""
_LOOK_EVERY_S = 0.5
_LOG_IN_EVERY_S = 3.0
_NOT_HERE = {404, 405, 501}


def read_clock(tree: RedfishTree) -> datetime | None:
    """`DateTime` of the first manager that has one."""
    for manager in tree.managers(tree.system):
        if (at := moment(manager.get("DateTime"))) is not None:
            return at
    return None


def read_sessions(session: RedfishSession, tree: RedfishTree) -> list[SessionSeen]:
    """The sessions that the BMC lists; ours is told by its path.

    Raises:
        Unsupported: it lists none.
    """
    root = tree.root
    path = link(as_dict(root.get("Links")), "Sessions") or link(
        tree.look(link(root, "SessionService")), "Sessions"
    )
    if not path or not tree.look(path):
        raise Unsupported("no list of sessions in the BMC's Redfish tree")
    ours = (session.location or "").rstrip("/")
    found = []
    for one in tree.members(path):
        if not one:
            continue  # it ended while we looked
        more: Json = next((oem for oem in oems(one) if told(oem, "UserIP", "UserTag")), {})
        found.append(
            SessionSeen(
                user=told(one, "UserName"),
                peer=told(one, "ClientOriginIPAddress") or told(more, "UserIP"),
                kind=told(one, "SessionType") or told(more, "UserTag"),
                ours=bool(ours) and text(one, "@odata.id").rstrip("/") == ours,
            )
        )
    return found


def reset_bmc(
    session: RedfishSession, tree: RedfishTree, target: Target, provider: str, deadline_s: float
) -> Answer:
    """Restart the manager: one POST, then wait until it has gone, has come back and lets us in.

    Raises:
        Unsupported: it has no such action, or allows no restart.
        BmcRefused: it said no.
        LabFault: it is not back by the deadline.
    """
    deadline = Deadline.after(deadline_s, "the BMC to be back after its restart")
    manager = next((one for one in tree.managers(tree.system) if action(one, "Manager.Reset")), {})
    reset = action(manager, "Manager.Reset")
    may = tree.values(reset, "ResetType")
    # Where it does not say: AMI has only the forced one, so that is the one everybody has.
    kind = next((one for one in _RESTARTS if one in may), None) if may is not None else "ForceRestart"
    if not text(reset, "target") or kind is None:
        raise Unsupported(f"restart of the BMC: it allows {', '.join(may or []) or 'none'}")
    tried, began = f"Manager.Reset {kind}", time.monotonic()
    evidence = [f"sent {tried} once"]
    try:
        # A deadline that has passed: nothing is repeated, whatever the refusal.
        reply = session.write(
            "POST", text(reset, "target"), {"ResetType": kind}, deadline=Deadline(0.0, "one POST")
        )
        if reply.status in _NOT_HERE:
            raise Unsupported(f"{tried}: {reply.why}")
        if not reply.good:
            raise target.refused(tried, reply.why)
    except NoAnswer as silence:
        # It may well have gone before it could answer: that is seen next.
        evidence.append(str(silence))
    session.close()
    gone = _wait(session, alive=False, deadline=deadline.within(_GOES_WITHIN_S, "the BMC to go"))
    evidence.append(
        f"gone after {time.monotonic() - began:.1f} s" if gone else "it answered all the time; nothing shows"
    )
    back = _wait(session, alive=True, deadline=deadline) and _log_in(session, tree, deadline)
    if not back:
        raise target.fault(
            "; ".join(evidence),
            f"the BMC is not back {deadline_s:.0f} s after its restart",
            "wait some minutes, then cut the server's power feed if it stays away",
        )
    evidence.append(f"back and logged in after {time.monotonic() - began:.1f} s")
    before, now = text(manager, "LastResetTime"), text(tree.look(text(manager, "@odata.id")), "LastResetTime")
    if now != before:
        evidence.append(f"LastResetTime went from {before or 'none'} to {now or 'none'}")
    outcome = Outcome.VERIFIED if gone or now != before else Outcome.UNVERIFIABLE
    return Answer(outcome, provider, 1, tuple(evidence))


def read_sol(tree: RedfishTree) -> SolSettings:
    """Whether the BMC gives the serial console over IPMI, and the speed of the line it names.

    Raises:
        Unsupported: it does not say.
    """
    system = tree.system
    enabled = _system_sol(system)
    for manager in tree.managers(system):
        if enabled is None:
            enabled = _manager_sol(manager)
        for line in sorted(tree.members(link(manager, "SerialInterfaces")), key=_not_sol):
            rate = text(line, "BitRate")
            if rate.isdecimal() and len(rate) < 9 and enabled is not None:
                return SolSettings(enabled, int(rate))
    if enabled is None:
        raise Unsupported("the BMC's Redfish tree says nothing of Serial over LAN")
    return SolSettings(enabled)


def enable_sol(session: RedfishSession, tree: RedfishTree, target: Target, provider: str) -> Answer:
    """Turn on the serial console over IPMI where it is off, and read it back.

    Raises:
        Unsupported: the BMC does not say whether it is on, or where that is set.
        BmcRefused: it said no, or reads back as off.
    """
    if read_sol(tree).enabled:
        return Answer(Outcome.VERIFIED, provider, 0, ("Serial over LAN was enabled; nothing sent",))
    system = tree.system
    if _system_sol(system) is not None:
        owner = system
        body: Json = {"SerialConsole": {"IPMI": {"ServiceEnabled": True}}}
    else:
        owner = next(one for one in tree.managers(system) if _manager_sol(one) is not None)
        body = {"SerialConsole": {"ServiceEnabled": True}}
    path, tried = text(owner, "@odata.id"), "enable Serial over LAN"
    evidence = [f"PATCH {path} {body}"]
    try:
        reply = session.write("PATCH", path, body)
        if reply.status in _NOT_HERE:
            raise Unsupported(f"{tried}: {reply.why}")
        if not reply.good:
            raise target.refused(tried, reply.why)
    except NoAnswer as silence:
        evidence.append(str(silence))
    if not read_sol(tree).enabled:
        raise target.refused(tried, f"it stays off; {'; '.join(evidence)}")
    return Answer(Outcome.VERIFIED, provider, 1, (*evidence, "SerialConsole reads enabled"))


def _system_sol(system: Json) -> bool | None:
    """ComputerSystem.SerialConsole.IPMI (schema 1.13 and later)."""
    enabled = as_dict(as_dict(system.get("SerialConsole")).get("IPMI")).get("ServiceEnabled")
    return enabled if isinstance(enabled, bool) else None


def _manager_sol(manager: Json) -> bool | None:
    """Manager.SerialConsole, where it names IPMI among its ways."""
    console = as_dict(manager.get("SerialConsole"))
    enabled = console.get("ServiceEnabled")
    if not isinstance(enabled, bool) or "IPMI" not in strings(console.get("ConnectTypesSupported")):
        return None
    return enabled


def _not_sol(line: Json) -> bool:
    return "SOL" not in f"{text(line, 'Id')} {text(line, 'Name')}".upper()


def _wait(session: RedfishSession, *, alive: bool, deadline: Deadline) -> bool:
    while session.alive() is not alive:
        if deadline.passed:
            return False
        # A BMC that restarts announces neither end of it.
        time.sleep(min(_LOOK_EVERY_S, deadline.left))
    return True


def _log_in(session: RedfishSession, tree: RedfishTree, deadline: Deadline) -> bool:
    """Log in anew and read the system; services of a BMC that has just started come one after the other."""
    pause = _LOG_IN_EVERY_S
    while True:
        try:
            session.connect()
            return bool(tree.system)
        except LabFault as problem:
            if isinstance(problem, BmcCredentials):
                # Not wrong a minute ago: its accounts are not loaded yet. Few tries, for fear of a lock-out.
                pause *= 2
        if deadline.passed:
            return False
        time.sleep(min(pause, deadline.left))
