"""From command output to measurements."""
