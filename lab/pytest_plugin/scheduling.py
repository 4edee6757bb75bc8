"""With xdist, all tests about one server run on one worker.

xdist's own `loadgroup` writes the group into the test's id; pytest 9.2 keeps ids elsewhere, so that with
xdist 3.8 groups are silently ignored and two workers would fight for one server's lease. Here the server is
read from the id's parameters instead, which every version of both leaves alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from lab.selection import Target


class ByServer(LoadScopeScheduling):  # type: ignore[misc]  # xdist ships no types
    """Hands out the tests of a server as a whole; a test about none goes anywhere."""

    def __init__(self, config: pytest.Config, log: Any, targets: Sequence[Target]) -> None:
        super().__init__(config, log)
        self._targets = targets

    def _split_scope(self, nodeid: str) -> str:
        return server_in(nodeid, self._targets) or nodeid


def server_in(nodeid: str, targets: Sequence[Target]) -> str | None:
    """The server that the test of this id is about; None where its parameters name no target."""
    parameters = f"-{nodeid.partition('[')[2].rstrip(']')}-"
    named = [target for target in targets if f"-{target.id}-" in parameters]
    return max(named, key=lambda target: len(target.id)).server.name if named else None
