# SPDX-License-Identifier: MIT
"""Runs the whole system through tools/socle and lets tests look at what it said."""
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = Path(os.environ.get("BUILD") or ROOT / "build").resolve()
SOCLE = ROOT / "tools" / "socle"

OK, GUEST_FAILED, SOCLE_FAILED, TIMEOUT, NO_PLATFORM = range(5)


@dataclass
class Run:
    """How one run ended and what it printed."""

    status: int
    text: str  # the console, as a person sees it
    serial: bytes  # the serial line, byte by byte
    report: dict
    messages: str  # of tools/socle itself

    def lines(self, pattern):
        """All lines that match."""
        return [line for line in self.text.splitlines() if re.search(pattern, line)]

    def expect(self, status, *patterns, never=()):
        """Fails unless the run ended with status and has a line for each pattern, and none for never."""
        problems = []
        if self.status != status:
            problems.append(f"status {self.status}, not {status}")
        problems += [f"no line matches {pattern!r}" for pattern in patterns if not self.lines(pattern)]
        problems += [f"unwanted: {line}" for pattern in never for line in self.lines(pattern)]
        if problems:
            raise AssertionError("\n".join(problems) + f"\n--- console ---\n{self.text}\n--- tool ---\n"
                                 + self.messages)
        return self


def run(folder, config, *options, platform="bochs", timeout=150, typed=None, files=None):
    """Runs a configuration (a path, or its text) and returns a Run. files: more files, by name, beside it."""
    folder = Path(folder)
    if isinstance(config, str):
        path = folder / "test.conf"
        path.write_text(config, encoding="utf-8")
        config = path
    for name, content in (files or {}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    serial, report = folder / "serial.log", folder / "report.json"
    report.unlink(missing_ok=True)
    command = [sys.executable, str(SOCLE), "run", str(config), "--platform", platform, "--timeout",
               str(timeout), "--log", str(serial), "--report", str(report), "--emulator-log",
               str(folder / "emulator.log"), *map(str, options)]
    done = subprocess.run(command, input=typed, stdin=None if typed is not None else subprocess.DEVNULL,
                          capture_output=True, timeout=timeout + 60, check=False,
                          env=dict(os.environ, BUILD=str(BUILD)))
    return Run(done.returncode, done.stdout.decode("utf-8", errors="replace"),
               serial.read_bytes() if serial.exists() else b"",
               json.loads(report.read_text(encoding="utf-8")) if report.exists() else {},
               done.stderr.decode("utf-8", errors="replace"))
