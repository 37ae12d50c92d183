# SPDX-License-Identifier: MIT
"""What pytest wants to know before it looks at the tests, and the one fault of an emulator that is worth a second try."""
import re
import sys
import warnings
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
pytest_plugins = ("pytest_socle",)

# QEMU's emulation of FXRSTOR and XRSTOR, on any CPU and of any guest, changes a word of flags of its first CPU that is
# that CPU's own (cpu_clear_ignne(), seen in 7.2), without a lock. If that CPU is just leaving a guest, nested paging
# stays on, and what it runs next, Socle's kernel behind VMRUN, becomes the guest's state and faults to no end.
LOST = re.compile(rb"triple fault at rip=0008:ffffffff800[0-9a-f]{5} ")


def pytest_configure(config):
    """The names of marks."""
    config.addinivalue_line("markers", "matrix: in one more place, for `make matrix`")
    config.addinivalue_line("markers", "races: once more with real threads, for `make races`")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    """A test on QEMU in which that fault is seen is run once more, and says so."""
    outcome = yield
    folder = item.funcargs.get("tmp_path")
    if not outcome.excinfo or not folder:
        return
    if any(LOST.search(log.read_bytes()) for log in folder.rglob("serial.log")):
        for machine in getattr(item.funcargs.get("socle"), "machines", ()):
            machine.stop()
        warnings.warn(f"{item.name}: QEMU's first CPU left a guest with nested paging on; once more")
        item.runtest()
        outcome.force_result(None)
