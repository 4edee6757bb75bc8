"""`python -m lab.virtual RACKFILE READY_FD`: the daemon of a virtual rack, started by `control.up`.

On READY_FD it writes one JSON object per line: `{"progress": TEXT}`, then `{"ready": true}` or
`{"fault": {"kind": CLASS, "message": …, "server": …, "tried": …, "next_step": …}}`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys

from lab.errors import LabError
from lab.rack.load import load_rack
from lab.virtual.daemon import RackDaemon
from lab.virtual.folder import RackFolder

_log = logging.getLogger("lab.virtual")


def main(rack_file: str, ready_fd: int) -> int:
    """Run the daemon; its exit code is that of the error which ended it, 0 for none."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    logging.getLogger("qemu").setLevel(logging.CRITICAL)  # a monitor that closes at power-off is no error
    with os.fdopen(ready_fd, "w", buffering=1) as channel:

        def tell(message: dict[str, object]) -> None:
            try:
                channel.write(json.dumps(message) + "\n")
            except BrokenPipeError:  # who started us did not wait; the rack is up all the same
                _log.warning("nobody reads: %s", message)

        def ready() -> None:
            tell({"ready": True})
            channel.close()

        try:
            rack = load_rack(rack_file)
            asyncio.run(
                RackDaemon(rack, RackFolder.of(rack.rack)).run(lambda text: tell({"progress": text}), ready)
            )
        except LabError as error:
            _log.error("%s", error)
            if not channel.closed:
                fields = {key: getattr(error, key) for key in ("message", "server", "tried", "next_step")}
                tell({"fault": {"kind": type(error).__name__, **fields}})
            return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
