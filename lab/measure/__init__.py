"""Measurements: what a host costs, from command output to typed values. `from lab import measure`."""

from lab.measure.attack_surface import attack_surface
from lab.measure.boot import boot
from lab.measure.devices import bill, devices
from lab.measure.disks import disks
from lab.measure.footprint import footprint
from lab.measure.model import Measured

__all__ = ["Measured", "attack_surface", "bill", "boot", "devices", "disks", "footprint"]
