"""The hypervisor lab: drives real servers through install, boot, tests and measurement of hypervisors."""
