"""A leased server in our hands."""
