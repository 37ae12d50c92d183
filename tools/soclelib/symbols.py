# SPDX-License-Identifier: MIT
"""Names of kernel functions for addresses, from the built program, when binutils are there."""
import shutil
import subprocess

from soclelib.common import build_folder

KERNEL_BASE = 0xFFFFFFFF80000000


def names(addresses):
    """{address: "function file:line"} for addresses of the kernel; the others are left out."""
    wanted = sorted({address for address in addresses if address >= KERNEL_BASE})
    program = build_folder() / "kernel.elf"
    tool = shutil.which("addr2line")
    if not wanted or not tool or not program.exists():
        return {}
    done = subprocess.run([tool, "-f", "-e", str(program)] + [hex(address) for address in wanted],
                          capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    return {address: " ".join(lines[2 * at:2 * at + 2]) for at, address in enumerate(wanted)}
