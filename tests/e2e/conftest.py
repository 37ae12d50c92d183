# SPDX-License-Identifier: MIT
"""What pytest wants to know before it looks at the tests."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
pytest_plugins = ("pytest_socle",)


def pytest_configure(config):
    """The names of marks."""
    config.addinivalue_line("markers", "matrix: in one more place, for `make matrix`")
    config.addinivalue_line("markers", "races: once more with real threads, for `make races`")
