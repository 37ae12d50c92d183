# SPDX-License-Identifier: MIT
"""What pytest wants to know before it looks at the tests."""


def pytest_configure(config):
    """The name of a mark."""
    config.addinivalue_line("markers", "matrix: in one more place, for `make matrix`")
