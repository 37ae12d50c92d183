# SPDX-License-Identifier: MIT
"""Time in Debian guests: what they do when there is nothing to do, and how right their clocks are."""
import re
import time

import pytest

IPS = 50000000  # of the emulated CPU of Bochs: its clock is right by definition
MAX_DRIFT = 0.001
MAX_IDLE = 0.02  # of a CPU, four guests together



def uptime(guest):
    """The guest's clock in seconds."""
    return float(guest.sh("cat /proc/uptime").output.split()[0])


def ready(machine):
    """Waits for all guests' shells."""
    for guest in machine.guests.values():
        guest.wait("linux: ready")


def used(machine):
    """Milliseconds of CPU that each guest's process has had, its vCPUs included, and its exits."""
    found = {}
    for name in machine.guests:
        machine.type(f"stats {name}")
        exits, ms = machine.wait(rf"{name}: \d+ cpus, (\d+) exits, .* (\d+) ms in all").groups()
        found[name] = (int(ms), int(exits))
    return found


@pytest.mark.parametrize("platform, options", [  # where time is counted in instructions, whatever else the host does
    pytest.param("bochs", (), id="bochs"), pytest.param("qemu-tcg", ("--icount",), id="qemu-tcg", marks=pytest.mark.matrix)])
def test_idle(socle, platform, options):
    """Four guests at their prompts take 2 % of a CPU at most, all together: while one of them sleeps in its shell, the
    others do nothing at all."""
    seconds = 20
    machine = socle.boot("".join(socle.linux(name, memory="96M") for name in ("a", "b", "c", "d")),
                         *options, platform=platform, cpus=1, timeout=900)
    ready(machine)
    machine["a"].sh("sleep 5")  # what the boot has left to do
    before, begin = used(machine), uptime(machine["a"])
    machine["a"].sh(f"sleep {seconds}")
    passed, after = uptime(machine["a"]) - begin, used(machine)
    shares = {name: (after[name][0] - before[name][0]) / 1000 / passed for name in after}
    told = {name: (after[name][1] - before[name][1]) / passed for name in after}
    machine.type("quit")
    machine.finish()
    assert sum(shares.values()) <= MAX_IDLE, f"CPU by guest: {shares}, exits a second: {told}"


def test_drift(socle):
    """A guest's clock against the host's, which sees each answer late, but the luckiest of many hardly."""
    machine = socle.boot(socle.linux("linux"), platform="qemu-tcg", timeout=600)
    guest = machine["linux"]
    ready(machine)

    def sample():
        pairs = []
        for _ in range(12):
            there = uptime(guest)
            pairs.append((time.monotonic() - there, there))
        return min(pairs)

    first = sample()
    guest.sh("sleep 45")
    second = sample()
    clock = guest.sh("cat /sys/devices/system/clocksource/clocksource0/current_clocksource").output
    machine.type("quit")
    drift = (second[0] - first[0]) / (second[1] - first[1])
    assert clock in ("tsc", "kvm-clock")
    assert abs(drift) < MAX_DRIFT, f"{drift * 100:.3f} % by {clock}"


@pytest.mark.matrix
def test_drift_in_ticks(socle):
    """The same where the host's clock is the number of instructions: two runs of which one lasts longer."""
    ends = []
    for seconds in (2, 32):
        machine = socle.boot(socle.linux("linux"), platform="bochs", cpus=1, timeout=600)
        ready(machine)
        machine["linux"].type(f"sleep {seconds}; cat /proc/uptime; poweroff -f")
        there = machine["linux"].wait(r"^(\d+\.\d\d) \d+\.\d\d$", 300)[1]
        machine.finish()
        ends.append((float(there), int(re.search(r"(\d+) ticks", machine.messages)[1]) / IPS))
    (guest, host), (guest_later, host_later) = ends
    drift = (guest_later - guest) / (host_later - host) - 1
    assert abs(drift) < MAX_DRIFT, f"{drift * 100:.3f} %"
