"""One module per family of hypervisors, and the contract they share."""
