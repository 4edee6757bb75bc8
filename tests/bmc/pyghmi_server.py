"""A BMC made with pyghmi's own server: SHA-1 whatever is offered, boot flags that can be read back.

Run as a process: `python -m tests.bmc.pyghmi_server PORT`; each power command is a line on its output.
"""

from __future__ import annotations

import sys

from pyghmi.ipmi.bmc import Bmc


class RecordingBmc(Bmc):  # type: ignore[misc]  # pyghmi is untyped
    """Keeps power and boot device in memory."""

    power, boot = "off", "default"

    def get_power_state(self) -> str:
        """As told."""
        return self.power

    def power_on(self) -> None:
        """On."""
        self._note("on")

    def power_off(self) -> None:
        """Off."""
        self._note("off")

    def power_reset(self) -> None:
        """Reset."""
        print("reset", flush=True)

    def get_boot_device(self) -> str:
        """As set."""
        return self.boot

    def set_boot_device(self, bootdevice: str) -> None:
        """Keep it."""
        self.boot = bootdevice

    def _note(self, state: str) -> None:
        self.power = state
        print(state, flush=True)


if __name__ == "__main__":
    bmc = RecordingBmc({"lab": "s3cret-lab-Pw"}, port=int(sys.argv[1]), address="127.0.0.1")
    print("listening", flush=True)
    bmc.listen()
