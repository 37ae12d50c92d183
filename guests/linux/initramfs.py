#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the initramfs of the small Linux system: an uncompressed archive in cpio's "newc" format, which is
what the kernel takes (its documentation "initramfs buffer format"). Nobody needs to be root for that.

usage: guests/linux/initramfs.py OUTPUT BUSYBOX [MODULE...] [NAME=PROGRAM...]
"""
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
FOLDER, FILE, LINK, DEVICE = 0o040000, 0o100000, 0o120000, 0o020000
CONSOLE = (5, 1)  # major and minor number


def entry(number, name, mode, data=b"", device=(0, 0)):
    """One file of the archive."""
    path = name.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(path), 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + path
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def archive(busybox, modules, programs):
    """All of it, always the same for the same files. A module lies in a folder that is its kernel's release;
    programs: (name, contents), also of the libraries that they need."""
    folders = {"bin", "dev", "etc", "lib", "lib/modules", "proc", "root", "sys", "tmp"}
    folders |= {str(folder) for name, _ in programs for folder in Path(name).parents if str(folder) != "."}
    entries = [(name, FOLDER | 0o755) for name in sorted(folders)]
    entries += [
        ("dev/console", DEVICE | 0o600, b"", CONSOLE),
        ("bin/busybox", FILE | 0o755, busybox),
        ("bin/sh", LINK | 0o777, b"busybox"),
        ("init", LINK | 0o777, b"bin/busybox"),
        ("etc/inittab", FILE | 0o644, (HERE / "inittab").read_bytes()),
        ("etc/rc", FILE | 0o755, (HERE / "rc").read_bytes()),
    ]
    releases = sorted({path.parent.name for path in modules})
    entries += [(f"lib/modules/{release}", FOLDER | 0o755) for release in releases]
    entries += [(f"lib/modules/{path.parent.name}/{path.name}", FILE | 0o644, path.read_bytes())
                for path in sorted(modules)]
    entries += [(name, FILE | 0o755, program) for name, program in programs]
    body = b"".join(entry(number, *item) for number, item in enumerate(entries, 1))
    return body + entry(0, "TRAILER!!!", 0)


def main():
    """Exit status 0, or an exception."""
    output, busybox, *more = sys.argv[1:]
    programs = [(name, Path(path).read_bytes()) for name, path in (one.split("=") for one in more if "=" in one)]
    modules = [Path(one) for one in more if "=" not in one]
    Path(output).write_bytes(archive(Path(busybox).read_bytes(), modules, programs))


if __name__ == "__main__":
    main()
