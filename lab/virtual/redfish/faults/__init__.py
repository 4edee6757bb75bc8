"""How a Redfish face errs: faults by count or probability, and real vendors' habits (`profiles.yaml`)."""
