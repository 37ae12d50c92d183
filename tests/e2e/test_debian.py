# SPDX-License-Identifier: MIT
"""Guests that Debian ships and nobody made for us: its memory tester, which shows what it does on the screen alone, and
its installer."""
import os
import re
import time
from pathlib import Path

import pytest
from machine import SANDY

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "socle"
MEMTEST, MEMTEST32 = CACHE / "memtest" / "memtest", CACHE / "memtest" / "memtest32"
INSTALLER, INSTALLER_INITRD = CACHE / "installer" / "linux", CACHE / "installer" / "initrd.gz"

LOOK_EVERY = 5  # seconds
SCREEN = r"(?:^\|.*\n){24}^\|.*$"


def needs(path):
    """A mark that skips a test where a file could not be fetched."""
    return pytest.mark.skipif(not path.exists(), reason=f"no {path.name} here: tools/setup could not fetch Debian's packages")


def screen(machine, guest):
    """The 25 rows of a guest's screen."""
    machine.type(f"screen {guest.name}")
    return guest.wait(SCREEN)[0]


@needs(MEMTEST32)
@pytest.mark.parametrize("image, platform, cpus, options, last", [
    (MEMTEST, "qemu-tcg", 2, (), "Test #10"),  # which waits 160 s, twice for bits that could fade
    pytest.param(MEMTEST, "qemu-tcg", 2, (), "Status: Pass", marks=pytest.mark.matrix),
    pytest.param(MEMTEST32, "qemu-tcg", 1, (), "Status: Pass", marks=pytest.mark.matrix),
    pytest.param(MEMTEST, "bochs", 1, (), "Status: Pass", marks=pytest.mark.matrix),
    pytest.param(MEMTEST32, "bochs", 2, (), "Test #10", marks=pytest.mark.matrix),
    pytest.param(MEMTEST, "bochs", 1, ("--cpu", SANDY), "Test #10", marks=pytest.mark.matrix)])
def test_memtest(socle, image, platform, cpus, options, last):
    """Its tests, once, on all of a small guest's memory; the one of 32 bits is started in 32-bit mode."""
    machine = socle.boot(socle.guest("memtest", linux=image, options="nopause nobench", memory="16M", cpus=cpus),
                         *options, platform=platform, cpus=cpus, timeout=2400)
    guest, shown = machine["memtest"], ""
    machine.wait("first guest ran")
    while last not in shown:
        time.sleep(LOOK_EVERY)
        shown = screen(machine, guest)
        assert "Errors" not in shown or "Errors: 0" in shown, shown
    assert re.search(r"Memtest86\+ v", shown) and re.search(rf"CPU: {cpus} Cores", shown), shown
    assert re.search(r"Memory *: +16MB", shown), shown
    machine.type("quit")
    machine.expect(0)


@needs(INSTALLER_INITRD)
@pytest.mark.matrix
@pytest.mark.parametrize("platform", ["qemu-tcg", "bochs"])
def test_installer(socle, platform):
    """It asks for the language. With 512 MiB of memory it would first say that this is little."""
    machine = socle.boot(socle.guest("installer", linux=INSTALLER, initrd=INSTALLER_INITRD, memory="1G",
                                     options="console=ttyS0 cryptomgr.notests"),
                         "--memory", "2G", platform=platform, cpus=1, timeout=2400)
    guest = machine["installer"]
    guest.wait("Run /init as init process")
    guest.wait("Select a language")
    guest.wait("English")
    machine.type("quit")
    machine.expect(0)
