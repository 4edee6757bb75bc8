"""Power outlets by SNMP, the last way to switch a server: `provider` is the way in."""
