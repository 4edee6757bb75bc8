"""The virtual rack: QEMU servers whose power, consoles and media are reached by real BMC protocols.

One daemon per rack (`daemon`) owns a `Chassis` per server, which is QEMU under QMP. Two faces look at each
chassis: `ipmi_sim` (`ipmi/`) and our Redfish service (`redfish/`). `control` starts, stops and asks the
daemon. Everything listens on loopback and runs without root. Source: facts/virtual-rack.md.
"""
