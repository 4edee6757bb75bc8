"""From measurements to pages."""
