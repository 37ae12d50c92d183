# SPDX-License-Identifier: MIT
"""One run from start to end, for tests that want no more: the plug-in's machine, worked through."""
from pytest_socle import (BUILD, GUEST_FAILED, NO_PLATFORM, OK, ROOT, SOCLE, SOCLE_FAILED, TIMEOUT,  # noqa: F401
                          Machine)


def run(folder, config, *options, platform="bochs", timeout=150, dialog=(), files=None):
    """Runs a configuration (a path, or its text) to its end and returns the Machine. dialog: [(pattern, text)], what to
    type when a line matches; without it nobody can type, and Bochs' runs repeat to the instruction."""
    machine = Machine(folder, config, *options, platform=platform, timeout=timeout, files=files, typed=bool(dialog))
    try:
        for pattern, text in dialog:
            machine.wait(pattern)
            for line in text.splitlines():
                machine.type(line)
        machine.finish()
    finally:
        machine.stop()
    return machine
