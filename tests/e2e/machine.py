# SPDX-License-Identifier: MIT
"""What the tests share beside the plug-in: a run from start to end, the CPU models, and a look at Linux' log."""
import re

from pytest_socle import (BUILD, GUEST_FAILED, NO_PLATFORM, OK, ROOT, SOCLE, SOCLE_FAILED, TIMEOUT,  # noqa: F401
                          Machine)

SKYLAKE, SANDY, HASWELL, CNL = ("corei7_skylake_x", "corei7_sandy_bridge_2600k", "corei7_haswell_4770", "corei3_cnl")
KNOWN = re.compile("RETBleed: WARNING")  # what Linux has to say on the bare emulators, too: the CPU


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


def complaints(linux):
    """The lines of a Linux guest's kernel log that are warnings or worse, but for those that it has bare."""
    return [line for line in linux.sh("dmesg -r").output.splitlines()
            if re.match("<[0-4]>", line) and not KNOWN.search(line)]
