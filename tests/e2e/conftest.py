# SPDX-License-Identifier: MIT
"""What pytest wants to know before it looks at the tests."""


def pytest_configure(config):
    """The names of marks."""
    config.addinivalue_line("markers", "matrix: in one more place, for `make matrix`")
    config.addinivalue_line("markers", "races: once more with real threads, for `make races`")
