"""Driving a server's BMC: providers for Redfish and IPMI behind one protocol."""
