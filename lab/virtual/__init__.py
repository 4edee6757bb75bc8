"""The virtual rack: QEMU servers with real BMC protocols."""
