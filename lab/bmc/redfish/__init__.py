"""BMCs by Redfish: `provider` is the way in."""
