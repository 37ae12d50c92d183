# SPDX-License-Identifier: MIT
"""Multiboot kernels of others, as Debian ships them: the Xen hypervisor and tboot, each with Debian's Linux to
start."""
import os
from pathlib import Path

import pytest
from machine import OK, run

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "socle"
XEN, TBOOT, LINUX = CACHE / "multiboot" / "xen", CACHE / "multiboot" / "tboot", CACHE / "linux" / "vmlinuz-cloud-amd64"
pytestmark = pytest.mark.skipif(not (XEN.exists() and TBOOT.exists() and LINUX.exists()),
                                reason="no Xen here: tools/setup could not fetch Debian's packages")

CONFIG = """[guest xen]
multiboot = xen
options = com1=115200,8n1 console=com1 noreboot no-real-mode
module = vmlinuz console=hvc0 earlyprintk=xen
memory = 256M
cpus = 2
time-limit = 120s

[guest tboot]
multiboot = tboot
options = logging=serial serial=115200,8n1,0x3f8
module = vmlinuz console=ttyS0 earlyprintk=ttyS0,115200
memory = 128M
time-limit = 120s
"""


def test_xen_and_tboot(tmp_path):
    """Xen finds the machine: tables, both CPUs, IOAPIC, timers. tboot finds no trusted execution, and goes on without.
    Both start Linux, with the module's string as its command line."""
    files = {"xen": XEN.read_bytes(), "tboot": TBOOT.read_bytes(), "vmlinuz": LINUX.read_bytes()}
    run(tmp_path, CONFIG, "--cpus", 2, timeout=600, files=files,
        dialog=[("Linux version", ""), ("Linux version", "quit\n")]).expect(
            OK, r"\[xen\] \(XEN\) Command line: com1=115200,8n1 console=com1 noreboot no-real-mode$",
            r"\[xen\] \(XEN\)  \[0000000000100000, 000000000fffffff\] \(usable\)", r"\[xen\] \(XEN\) ACPI: APIC .* SOCLE",
            r"\[xen\] \(XEN\) Enabling APIC mode", r"\[xen\] \(XEN\) Platform timer is 3.580MHz ACPI PM Timer",
            r"\[xen\] \(XEN\) Brought up 2 CPUs", r"\[xen\] \[.*Linux version",
            r"\[tboot\] TBOOT: command line: tboot logging=serial serial=115200,8n1,0x3f8",
            r"\[tboot\] TBOOT: \t0000000000100000 - 0000000008000000  \(1\)",
            r"\[tboot\] TBOOT: \tvmlinuz console=ttyS0 earlyprintk=ttyS0,115200", r"\[tboot\] \[.*Linux version")
