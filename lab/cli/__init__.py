"""The lab command."""
