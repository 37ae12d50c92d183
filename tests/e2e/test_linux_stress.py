# SPDX-License-Identifier: MIT
"""stress-ng in a Debian guest: its own checks hold, and the kernel's log stays quiet."""
import pytest
from machine import complaints
from pytest_socle import BUILD

SECONDS = 60  # of each
STRESSORS = ("cpu 2", "vm 2 --vm-bytes 32M --verify", "timer 1 --timer-freq {timers}", "fork 2", "switch 2")


@pytest.mark.matrix
@pytest.mark.parametrize("platform, cpus, timers", [  # a second; Bochs' CPU does 50 instructions in a microsecond
    ("bochs", 1, 1000), ("qemu-tcg", 2, 1000000)])
def test_stress(socle, platform, cpus, timers):
    """A minute each, on two vCPUs."""
    if not (BUILD / "guests" / "linux" / "stress.img").exists():
        pytest.skip("no stress-ng here: tools/setup could not fetch Debian's packages")
    machine = socle.boot(socle.linux("linux", initrd="linux/stress.img", memory="256M", cpus=2), platform=platform,
                         cpus=cpus, timeout=2400)
    guest = machine["linux"]
    guest.wait("linux: ready")
    for stressor in STRESSORS:
        done = guest.sh(f"stress-ng --{stressor.format(timers=timers)} --timeout {SECONDS}s")
        assert done.status == 0 and "successful run completed" in done.output, done.output
    assert not complaints(guest)
    machine.type("quit")
