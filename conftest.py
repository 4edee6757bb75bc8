"""The fixtures for tests against servers; see `fixtures/`."""

pytest_plugins = ["fixtures.rack", "fixtures.machine", "fixtures.host", "fixtures.record"]
