#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the bench guest on the emulator, prints what its operations cost beside what bare assembly needs (floor)
and what we want (aim), and writes bench.json. Ticks of the emulator's TSC are instructions: exact and
repeatable, never to be called cycles.

usage: tools/bench.py [OPTION OF socle run]..."""
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

from soclelib.common import ROOT, build_folder  # noqa: E402

# name: (operation, floor, aim, limit that fails the run)
ROWS = {
    "cpuid": ("CPUID", 44, 100, 120),
    "rdmsr": ("RDMSR that the kernel settles", 44, 120, 120),
    "wrmsr": ("WRMSR that the kernel settles", 44, 120, 120),
    "vmcall": ("VMCALL that the kernel settles", 44, 120, 120),
    "tsc-deadline-arm": ("arm the TSC deadline", None, 150, 160),
    "tsc-deadline-immediate": ("immediate deadline, its handler and EOI", None, 500, 500),
    "self-ipi": ("self-IPI by x2APIC ICR, its handler and EOI", None, 400, 410),
    "eoi": ("EOI by x2APIC MSR", None, 150, 150),
    "tpr": ("write to CR8", None, 150, 130),
    "ipi-same-cpu": ("IPI to a halted vCPU on the same CPU and one back", None, 2500, 6900),
    "ipi-other-cpu": ("IPI to a halted vCPU on another CPU and one back", None, 2500, 2500),
    "hlt-wake": ("out of HLT by a timer", None, 900, 900),
    "pio-ring3": ("port write settled in ring 3", None, 600, 600),
    "ioapic-ring3": ("IOAPIC register settled in ring 3", None, 900, 900),
    "mmio-rmw": ("device register read and written by one instruction", None, 2000, 1200),
    "mmio-code16": ("device register read by 16-bit code", None, 2000, 1900),
    "ept-touch-4k": ("first touch of a 4 KiB page, beside zeroing", None, 900, None),
    "cow-write": ("first write to a shared page, beside the copy", None, 1200, None),
    "fork-1g": ("fork of a running 1 GiB guest", None, 50000, None),
    "linux-exits": ("exits of Debian's kernel to its shell", None, 12000, 12000),
}
LINUX_RATIO = 1.03  # instructions of Linux to its first program: as a guest, against the bare machine


# One CPU where that will do: with more, the TSC moves in steps of a turn, here the shortest.
RUNS = (("bench.conf", "1", "16"), ("ipi-same.conf", "1", "16"), ("ipi-other.conf", "2", "1"))


def run(config, options, folder=None, talk=()):
    """(exit status, serial text) of one run; folder: to build the image from. talk: (what a line has in it, what is typed
    then)."""
    with tempfile.NamedTemporaryFile() as log:
        command = [str(ROOT / "tools" / "socle"), "run", str(ROOT / "tests" / "bench" / config), "--platform", "bochs",
                   "--log", log.name, *([] if talk else ["--input", "no"]), *options]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              env=dict(os.environ, BUILD=str(folder or build_folder()))) as child:
            for pattern, text in talk:
                for line in child.stdout:
                    if pattern in line:
                        child.stdin.write(text)
                        child.stdin.flush()
                        break
            child.communicate()
        return child.returncode, Path(log.name).read_text(encoding="utf-8", errors="replace")


def measure(config, cpus, quantum, options):
    """(exit status, {name: ticks}) of one run."""
    status, text = run(config, ["--cpus", cpus, "--quantum", quantum, *options])
    found = re.findall(r"bench: ([\w-]+) ticks=(\d+)", text)
    return status, {name: int(ticks) for name, ticks in found}


def number(pattern, text):
    """The number in a text, or 0."""
    found = re.search(pattern, text)
    return int(found[1]) if found else 0


def measure_linux(options):
    """[(name, ticks)] of Debian's kernel: to its first program on the bare machine, the same as a guest, exits to the
    shell, and those by reason."""
    options = ["--cpus", "1", "--timeout", "900", *options]
    _, bare = run("linux-init.conf", options, build_folder() / "bare")
    _, guest = run("linux-init.conf", options, talk=[(b"first guest ran", b"stats linux\n")])
    init = r"bench: linux-init tsc=(\d+)"
    rows = [("linux-bare", number(init, bare) - number(r"bench: linux-entry tsc=(\d+)", bare)),
            ("linux-init", number(init, guest) - number(r"entered first at tick (\d+)", guest))]
    _, shell = run("linux-shell.conf", options,
                   talk=[(b"linux: ready", b"stats linux\n"), (b"in all;", b"quit\n")])
    rows.append(("linux-exits", number(r"linux: 1 cpus, (\d+) exits", shell)))
    reasons = re.findall(r"^socle:   ([a-z-]+) +(\d+)\r?$", shell, re.M)
    rows += [(f"linux-exits-{reason}", int(count)) for reason, count in reasons]
    return [(name, value) for name, value in rows if value > 0]


def main():
    """Prints the table; exit status 1 when something is missing or above its limit."""
    failures, ticks = [], {}
    for config, cpus, quantum in RUNS:
        status, found = measure(config, cpus, quantum, sys.argv[1:])
        ticks.update(found)
        if status:
            failures.append(f"the run of {config} ended with status {status}")
    if (build_folder() / "guests" / "linux" / "bench.img").exists():
        ticks.update(measure_linux(sys.argv[1:]))
        bare = ticks.pop("linux-bare", 0)
        limit = int(bare * LINUX_RATIO) + 1
        ROWS["linux-init"] = ("Debian's kernel to its first program; floor: the bare machine", bare, limit, limit)
    else:
        del ROWS["linux-exits"]
    rows = []
    print(f"{'name':<24}{'ticks':>10}{'floor':>10}{'aim':>10}  operation")
    for name, (operation, floor, aim, limit) in ROWS.items():
        if name not in ticks:
            if limit:
                failures.append(f"{name} was not measured")
            continue
        value = ticks[name]
        rows.append({"name": name, "ticks": value, "floor": floor, "aim": aim})
        note = "" if value <= aim else "  (above the aim)"
        print(f"{name:<24}{value:>10}{floor if floor else '':>10}{aim:>10}  {operation}{note}")
        if limit and value > limit:
            failures.append(f"{name} takes {value} ticks, more than {limit}")
    for name in sorted(set(ticks) - set(ROWS)):
        rows.append({"name": name, "ticks": ticks[name], "floor": None, "aim": None})
        print(f"{name:<24}{ticks[name]:>10}{'':>10}{'':>10}  (for comparison)")
    target = build_folder() / "bench.json"
    target.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(f"written to {target}")
    for failure in failures:
        print(f"bench: {failure}")
    good = sum(1 for name, row in ROWS.items() if row[3] and ticks.get(name, row[3] + 1) <= row[3])
    print(f"bench: {good} passed, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
