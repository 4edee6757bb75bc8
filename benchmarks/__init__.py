"""Our speed beside the peers', in one run each; scripts that print ratios, never assertions."""
