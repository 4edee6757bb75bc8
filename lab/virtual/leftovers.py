"""Processes that a killed daemon left behind: found by the mark they carry, so never somebody else's.

Every child of a daemon carries the rack's folder in its environment. Unlike a recorded process id this
has no gap between start and record, and an id given to another process later is never mistaken for ours.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import psutil

from lab.errors import LabFault
from lab.virtual.folder import RackFolder

MARK = "LAB_VIRTUAL_RACK"
_END_SECONDS = 5.0


@dataclass(frozen=True)
class Leftover:
    """A process of a rack whose daemon is gone."""

    pid: int
    name: str


def environment(folder: RackFolder) -> dict[str, str]:
    """The environment that a rack's children are started with."""
    return {**os.environ, MARK: str(folder.path)}


def find(folder: RackFolder) -> list[psutil.Process]:
    """Every running process of this user that carries the rack's mark."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(folder.path) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def end(folder: RackFolder) -> list[Leftover]:
    """End what is left of a rack and say what it was.

    Raises:
        LabFault: a process is still there after SIGKILL.
    """
    processes = find(folder)
    ended = []
    for process in processes:
        try:
            ended.append(Leftover(process.pid, process.name()))
            process.terminate()
        except psutil.NoSuchProcess:
            continue
    _, alive = psutil.wait_procs(processes, timeout=_END_SECONDS)
    for process in alive:
        process.kill()
    _, alive = psutil.wait_procs(alive, timeout=_END_SECONDS)
    if alive:
        raise LabFault(
            f"processes of the virtual rack cannot be ended: {', '.join(str(left.pid) for left in alive)}",
            tried="SIGTERM, then SIGKILL",
            next_step="see why with `ps -o pid,stat,wchan,args`",
        )
    return ended
