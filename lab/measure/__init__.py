"""Measurements: what a host costs, from command output to typed values. `from lab import measure`."""

from lab.measure.boot_times import boot
from lab.measure.installed_disk import footprint
from lab.measure.pci_devices import bill, devices
from lab.measure.surface import attack_surface

__all__ = ["attack_surface", "bill", "boot", "devices", "footprint"]
