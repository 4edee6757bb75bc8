"""The `lab` command for the tests of this folder."""

from tests.lab_command import lab

__all__ = ["lab"]
