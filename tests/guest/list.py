# SPDX-License-Identifier: MIT
"""The in-guest tests: which configuration is run, for how long at most, and how it must end."""
from dataclasses import dataclass


@dataclass(frozen=True)
class GuestTest:
    """One boot. The time-out is in wall seconds on the emulator, without other load."""

    name: str
    config: str  # relative to the project
    timeout: int
    status: int = 0  # exit status of tools/socle
    lines: tuple = ()  # regular expressions, each found in the output
    options: tuple = ()  # of tools/socle run
    never: tuple = ("FAILURE", "ERROR:", "not so:", "socle: panic:")


TESTS = (
    GuestTest("suite", "tests/guest/suite.conf", 180, lines=(r"\d+ guests ended as expected",)),
    GuestTest("pc", "tests/guest/pc.conf", 240, lines=(r"17 guests ended as expected",)),
    GuestTest("smp", "tests/guest/smp.conf", 240,
              lines=(r"\[eight\] smp: SUCCESS", r"guest idle: success .* \d{1,3} exits")),
    GuestTest("races", "tests/guest/races.conf", 60, lines=(r"\[eight\] smp: SUCCESS", r"11 guests ended as expected")),
    GuestTest("flood", "tests/guest/flood.conf", 240,
              lines=(r"\[neighbour\] share: SUCCESS", r"\[beside\] share: SUCCESS")),
    GuestTest("flood-one", "tests/guest/flood-one.conf", 60),
    GuestTest("one-cpu", "tests/guest/one-cpu.conf", 60),
    GuestTest("isolation", "tests/guest/isolation.conf", 240,
              lines=(r"\[intruder\] intruder: SUCCESS", r"\[memcheck\] memcheck: SUCCESS")),
    GuestTest("apicv", "tests/guest/apicv.conf", 90),
    GuestTest("apicv-smp", "tests/guest/apicv-smp.conf", 120),
    GuestTest("lifecycle", "tests/guest/lifecycle.conf", 120),
    GuestTest("large", "tests/guest/large.conf", 200, options=("--memory", "8G")),
    GuestTest("selftest", "tests/guest/selftest.conf", 150, lines=("self-test in ring 3: passed",)),
    GuestTest("failure", "tests/guest/failure.conf", 60, status=1, never=("socle: panic:",)),
    GuestTest("example", "guests/example.conf", 90),
)
