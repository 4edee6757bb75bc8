"""A server's console by IPMI Serial over LAN: `stream` is the way in."""
