"""Rack files: one YAML file is a rack; a server in it is data."""
