# SPDX-License-Identifier: MIT
"""The in-guest tests (tests/guest/list.py) on the CPU models, CPU counts and interleavings that matter: in a few
places by `make e2e`, in all others by `make matrix`."""
import sys

import pytest
from machine import ROOT, run

sys.path.insert(0, str(ROOT / "tests" / "guest"))
from list import TESTS  # noqa: E402

SKYLAKE, SANDY, HASWELL, CNL = ("corei7_skylake_x", "corei7_sandy_bridge_2600k", "corei7_haswell_4770",
                                "corei3_cnl")
SAPPHIRE = "sapphire_rapids"
# The emulator's CET ends in a panic of its own as soon as firmware writes to a read-only page with CR0.WP = 0.
MORE_OPTIONS = {SAPPHIRE: ("--exclude-features", "cet")}
SLOWDOWN = 4  # time-outs in the list are for an idle machine; quantum 1 alone takes twice as long

# (CPU model, CPUs, quantum)
EVERYWHERE = [(model, cpus, 16) for model in (SKYLAKE, SANDY, HASWELL, CNL) for cpus in (2, 4, 1)]
EVERYWHERE += [(SKYLAKE, 2, quantum) for quantum in (1, 3, 32)]
# Where interleaving matters: more vCPUs than CPUs, as many, and fewer
MANY = [(SKYLAKE, cpus, quantum) for cpus in (2, 4) for quantum in (1, 3, 16, 32)] + [(SKYLAKE, 1, 16)]
MANY += [(model, cpus, 16) for model in (SANDY, HASWELL, CNL, SAPPHIRE) for cpus in (2, 4)]
SOME = [(SKYLAKE, 2, 16), (SKYLAKE, 4, 3), (SKYLAKE, 1, 16), (SANDY, 2, 16), (HASWELL, 4, 16), (CNL, 1, 16)]
ONCE = SOME[:1]
# test: (places of `make e2e`, more places of `make matrix`)
PLACES = {
    "suite": ([(SKYLAKE, 2, 16), (SANDY, 4, 16), (HASWELL, 1, 16), (CNL, 2, 16), (SKYLAKE, 2, 3)], EVERYWHERE),
    "pc": ([(SKYLAKE, 2, 16), (SANDY, 1, 16)], EVERYWHERE + [(SAPPHIRE, 2, 16), (SAPPHIRE, 4, 3)]),
    "smp": ([(SKYLAKE, 2, 16), (SKYLAKE, 4, 3), (CNL, 2, 16)], MANY),
    "flood": ([(SKYLAKE, 4, 16)], [(SKYLAKE, 4, 3), (CNL, 4, 16)]),
    "one-cpu": ([(SKYLAKE, 1, 16)], [(model, 1, 3) for model in (SANDY, HASWELL, CNL)]),
    "isolation": (ONCE, SOME),
    "lifecycle": ([(SKYLAKE, 2, 16), (HASWELL, 4, 16)], SOME),
    "failure": (ONCE, ()),
    "example": (ONCE, [(SANDY, 4, 16)]),
}


def cases():
    """All (test, model, cpus, quantum)."""
    for test in TESTS:
        quick, more = PLACES.get(test.name, (ONCE, ()))
        for place in [*quick, *(place for place in more if place not in quick)]:
            marks = () if place in quick else pytest.mark.matrix
            yield pytest.param(test, *place, id="{}-{}-{}cpu-q{}".format(test.name, *place), marks=marks)


@pytest.mark.parametrize("test, model, cpus, quantum", cases())
def test_guests(tmp_path, test, model, cpus, quantum):
    """Ends as the list says."""
    run(tmp_path, ROOT / test.config, "--cpu", model, "--cpus", cpus, "--quantum", quantum,
        *test.options, *MORE_OPTIONS.get(model, ()), timeout=test.timeout * SLOWDOWN).expect(
            test.status, *test.lines, never=test.never)
