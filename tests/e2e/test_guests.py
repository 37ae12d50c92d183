# SPDX-License-Identifier: MIT
"""The in-guest tests (tests/guest/list.py) on the CPU models, CPU counts and interleavings that matter: in a few
places by `make e2e`, in all others by `make matrix`; those of several CPUs again and again by `make races`, on QEMU,
whose CPUs are threads of the host and so never meet twice in the same way."""
import sys

import pytest
from machine import CNL, HASWELL, ROOT, SANDY, SKYLAKE, run

sys.path.insert(0, str(ROOT / "tests" / "guest"))
from list import TESTS  # noqa: E402

SAPPHIRE = "sapphire_rapids"
QEMU = "qemu"  # its own emulation, AMD-V
# The emulator's CET ends in a panic of its own as soon as firmware writes to a read-only page with CR0.WP = 0.
MORE_OPTIONS = {SAPPHIRE: ("--exclude-features", "cet")}
SLOWDOWN = 4  # time-outs in the list are for an idle machine; quantum 1 alone takes twice as long

# (CPU model, CPUs, quantum); quantum 0: the CPUs run at the same time
EVERYWHERE = [(model, cpus, 16) for model in (SKYLAKE, SANDY, HASWELL, CNL) for cpus in (2, 4, 1)]
EVERYWHERE += [(SKYLAKE, 2, quantum) for quantum in (1, 3, 32)]
# Where interleaving matters: more vCPUs than CPUs, as many, and fewer
MANY = [(SKYLAKE, cpus, quantum) for cpus in (2, 4) for quantum in (1, 3, 16, 32)] + [(SKYLAKE, 1, 16)]
MANY += [(model, cpus, 16) for model in (SANDY, HASWELL, CNL, SAPPHIRE) for cpus in (2, 4)]
SOME = [(SKYLAKE, 2, 16), (SKYLAKE, 4, 3), (SKYLAKE, 1, 16), (SANDY, 2, 16), (HASWELL, 4, 16), (CNL, 1, 16)]
ONCE = SOME[:1]
THREADS = [(QEMU, cpus, 0) for cpus in (1, 2, 4, 8)]
# test: (places of `make e2e`, more places of `make matrix`)
PLACES = {
    "suite": ([(SKYLAKE, 2, 16), (SANDY, 4, 16), (HASWELL, 1, 16), (CNL, 2, 16), (SKYLAKE, 2, 3), (QEMU, 2, 0)],
              EVERYWHERE + THREADS),
    "pc": ([(SKYLAKE, 2, 16), (SANDY, 1, 16), (QEMU, 1, 0)], EVERYWHERE + [(SAPPHIRE, 2, 16), (SAPPHIRE, 4, 3)]
           + THREADS),
    "smp": ([(SKYLAKE, 2, 16), (SKYLAKE, 4, 3), (CNL, 2, 16), (QEMU, 4, 0)], MANY + THREADS),
    "races": ((), ()),  # is for test_races()
    "flood": ([(SKYLAKE, 4, 16)], [(SKYLAKE, 4, 3), (CNL, 4, 16)]),
    "apicv": ([(SKYLAKE, 1, 16)], [(model, 1, 16) for model in (HASWELL, CNL)]),
    "apicv-smp": ([(SKYLAKE, 2, 16), (HASWELL, 4, 3)],
                  [place for place in MANY if place[0] in (SKYLAKE, HASWELL, CNL)]),
    "flood-one": ([(SKYLAKE, 1, 16)], ()),
    "one-cpu": ([(SKYLAKE, 1, 16)], [(model, 1, 3) for model in (SANDY, HASWELL, CNL)] + THREADS[:1]),
    "isolation": ([*ONCE, (QEMU, 2, 0)], SOME + THREADS),
    "lifecycle": ([(SKYLAKE, 2, 16), (HASWELL, 4, 16), (QEMU, 8, 0)], SOME + THREADS),
    "failure": (ONCE, ()),
    "example": ([*ONCE, (QEMU, 1, 0)], [(SANDY, 4, 16)]),
}
TIMES = 20


def parameters(test, model, cpus, quantum, marks, suffix=""):
    """One case. Those on QEMU go one after the other, as their CPUs need the host's."""
    marks = [*marks, pytest.mark.xdist_group("qemu-tcg")] if model == QEMU else marks
    name = f"{test.name}-{model}-{cpus}cpu" + (f"-q{quantum}" if quantum else "") + suffix
    return pytest.param(test, model, cpus, quantum, marks=marks, id=name)


def cases():
    """All (test, model, cpus, quantum)."""
    for test in TESTS:
        quick, more = PLACES.get(test.name, (ONCE, ()))
        for place in [*quick, *(place for place in more if place not in quick)]:
            yield parameters(test, *place, [] if place in quick else [pytest.mark.matrix])


def boot(folder, test, model, cpus, quantum):
    """Ends as the list says."""
    if model == QEMU:
        options, platform = (), "qemu-tcg"
    else:
        options, platform = ("--cpu", model, "--quantum", quantum, *MORE_OPTIONS.get(model, ())), "bochs"
    run(folder, ROOT / test.config, "--cpus", cpus, *options, *test.options, platform=platform,
        timeout=test.timeout * SLOWDOWN).expect(test.status, *test.lines, never=test.never)


@pytest.mark.parametrize("test, model, cpus, quantum", cases())
def test_guests(tmp_path, test, model, cpus, quantum):
    """Once in each place."""
    boot(tmp_path, test, model, cpus, quantum)


@pytest.mark.races
@pytest.mark.parametrize("test, model, cpus, quantum", [
    parameters(test, *place, [], f"-{time}") for test in TESTS if test.name == "races" for time in range(TIMES)
    for place in THREADS])
def test_races(tmp_path, test, model, cpus, quantum):
    """Again, and it will not be the same."""
    boot(tmp_path, test, model, cpus, quantum)
