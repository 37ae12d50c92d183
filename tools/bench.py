#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the bench guest on the emulator, prints what its operations cost beside what bare assembly needs (floor)
and what we want (aim), and writes bench.json. Ticks of the emulator's TSC are instructions: exact and
repeatable, never to be called cycles.

usage: tools/bench.py [OPTION OF socle run]..."""
import json
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
}


# One CPU where that will do: with more, the TSC moves in steps of a turn, here the shortest.
RUNS = (("bench.conf", "1", "16"), ("ipi-same.conf", "1", "16"), ("ipi-other.conf", "2", "1"))


def measure(config, cpus, quantum, options):
    """(exit status, {name: ticks}) of one run."""
    with tempfile.NamedTemporaryFile() as log:
        command = [str(ROOT / "tools" / "socle"), "run", str(ROOT / "tests" / "bench" / config),
                   "--platform", "bochs", "--cpus", cpus, "--quantum", quantum, "--log", log.name,
                   "--input", "no"] + options
        status = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                check=False).returncode
        text = Path(log.name).read_text(encoding="utf-8", errors="replace")
    found = re.findall(r"bench: ([\w-]+) ticks=(\d+)", text)
    return status, {name: int(ticks) for name, ticks in found}


def main():
    """Prints the table; exit status 1 when something is missing or above its limit."""
    failures, ticks = [], {}
    for config, cpus, quantum in RUNS:
        status, found = measure(config, cpus, quantum, sys.argv[1:])
        ticks.update(found)
        if status:
            failures.append(f"the run of {config} ended with status {status}")
    rows = []
    print(f"{'name':<24}{'ticks':>8}{'floor':>8}{'aim':>8}  operation")
    for name, (operation, floor, aim, limit) in ROWS.items():
        if name not in ticks:
            if limit:
                failures.append(f"{name} was not measured")
            continue
        value = ticks[name]
        rows.append({"name": name, "ticks": value, "floor": floor, "aim": aim})
        note = "" if value <= aim else "  (above the aim)"
        print(f"{name:<24}{value:>8}{floor if floor else '':>8}{aim:>8}  {operation}{note}")
        if limit and value > limit:
            failures.append(f"{name} takes {value} ticks, more than {limit}")
    for name in sorted(set(ticks) - set(ROWS)):
        rows.append({"name": name, "ticks": ticks[name], "floor": None, "aim": None})
        print(f"{name:<24}{ticks[name]:>8}{'':>8}{'':>8}  (for comparison)")
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
