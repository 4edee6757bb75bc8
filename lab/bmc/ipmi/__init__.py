"""BMCs by IPMI over LAN, on pyghmi: `provider` is the way in."""
