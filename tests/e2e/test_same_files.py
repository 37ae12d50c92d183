# SPDX-License-Identifier: MIT
"""The same Multiboot files, started by QEMU itself and under Socle: they must be told the same and say the same.
QEMU's side is the machine that such kernels are written for: COM1, fw_cfg, the debug exit, `-append`, `-initrd`."""
import re
import shutil
import subprocess
from dataclasses import dataclass

import pytest
from machine import BUILD, GUEST_FAILED, run

MEMORY = 64
QEMU = ("qemu-system-x86_64", "-machine", "pc", "-accel", "tcg", "-cpu", "max", "-m", str(MEMORY), "-nodefaults",
        "-no-reboot", "-display", "none", "-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=0x4")
# What a kernel without fw_cfg reads: one variable a line (the environment module of kvm-unit-tests)
ENVIRONMENT = b"NR_CPUS=4\nMEMLIMIT=64\nBOOTLOADER=1\n"


@dataclass(frozen=True)
class Guest:
    """A file, and how it is started."""

    name: str
    elf: str
    cpus: int = 1
    options: str = ""
    modules: tuple = ()  # "FILE" or "FILE ARGUMENTS"
    code: int = 0  # that it gives the debug exit


GUESTS = (
    Guest("hello", "hello.elf", options="modules=2 -x a=b", modules=("env one  two", "module.txt")),
    Guest("silent", "hello.elf"),
    Guest("wrong", "hello.elf", options="modules=3", modules=("module.txt a=1",), code=1),
    Guest("fwcfg", "fwcfg.elf", cpus=4, options="cpus=4"),
    Guest("smp", "smp.elf", cpus=4),
    Guest("acpi", "acpi.elf", cpus=3),
    Guest("paging", "paging.elf"),
    Guest("exceptions", "exceptions.elf"),
    Guest("rtc", "rtc.elf"),
)


def qemu(folder, guest):
    """(exit code, lines)."""
    command = [*QEMU, "-smp", str(guest.cpus), "-kernel", guest.elf]
    command += ["-append", guest.options] if guest.options else []
    command += ["-initrd", ",".join(guest.modules)] if guest.modules else []
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=400, check=False)
    assert done.returncode & 1, f"no debug exit: status {done.returncode}, {done.stderr.decode()}"
    return done.returncode >> 1, done.stdout.decode().splitlines()


def configuration():
    """All guests side by side."""
    text = "[host]\nconsole = serial\nwhen-done = poweroff\n"
    for guest in GUESTS:
        text += f"[guest {guest.name}]\nmultiboot = {guest.elf}\nmemory = {MEMORY}M\ncpus = {guest.cpus}\n"
        text += f"options = {guest.options}\n" if guest.options else ""
        text += "".join(f"module = {module}\n" for module in guest.modules)
    return text


def words(lines):
    """What a guest found out, without what differs between machines: the loader's name, counts, sizes, what one of
    them lacks."""
    found = []
    for line in lines:
        told = re.match(r"hello from 64-bit mode, started by Multiboot 1[^:]*: (.*)", line)
        if told:
            found.append(("command line", told[1].rstrip()))
        elif re.match(r"module \d+ '", line):
            found.append(("module", line))
        elif re.match(r"(ok|FAILURE|ERROR)\s", line):
            found.append(tuple(line.split()[:2]))
        elif re.match(r"\w+: (SUCCESS|FAILURE|ERROR) ", line):
            found.append(tuple(line.split()[:2]))
    return found


def without_skipped(mine, other):
    """Tests that ran on both, and all else."""
    names = {pair[1] for pair in other if pair[0] == "ok"}
    return [pair for pair in mine if pair[0] != "ok" or pair[1] in names]


def test_same_files(tmp_path):
    """The command line, the modules, each verdict and the exit code."""
    if not shutil.which(QEMU[0]):
        pytest.skip("no QEMU")
    files = {name: (BUILD / "guests" / name).read_bytes() for name in {guest.elf for guest in GUESTS} | {"module.txt"}}
    files["env"] = ENVIRONMENT
    socle = run(tmp_path, configuration(), "--cpus", 2, timeout=600, files=files).expect(GUEST_FAILED)
    for guest in GUESTS:
        code, lines = qemu(tmp_path, guest)
        assert code == guest.code
        socle.expect(GUEST_FAILED, rf"^socle: guest {guest.name}: (success|failure) \(debug exit {code}\)")
        prefix = f"[{guest.name}] "
        ours = words(line[len(prefix):] for line in socle.text.splitlines() if line.startswith(prefix))
        theirs = words(lines)
        assert ours and without_skipped(ours, theirs) == without_skipped(theirs, ours), guest.name
