"""The IPMI face: `ipmi_sim` (OpenIPMI's lanserv), its configuration generated per server."""
