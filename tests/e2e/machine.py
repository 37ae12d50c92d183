# SPDX-License-Identifier: MIT
"""Runs the whole system through tools/socle and lets tests look at what it said."""
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
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


def converse(command, environment, dialog, timeout):
    """Runs a command and types each text of the dialog when a line matches its pattern, in order. Returns
    (exit status, output, messages)."""
    with tempfile.TemporaryFile() as messages:
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=messages,
                                 env=environment)
        watchdog = threading.Timer(timeout, child.kill)
        watchdog.start()
        waiting, output = list(dialog), b""
        for line in child.stdout:
            output += line
            if waiting and re.search(waiting[0][0], line.decode("utf-8", errors="replace")):
                child.stdin.write(waiting.pop(0)[1].encode())
                child.stdin.flush()
                if not waiting:
                    child.stdin.close()
        status = child.wait()
        watchdog.cancel()
        if not child.stdin.closed:
            child.stdin.close()
        messages.seek(0)
        return status, output, messages.read()


def run(folder, config, *options, platform="bochs", timeout=150, dialog=None, files=None):
    """Runs a configuration (a path, or its text) and returns a Run. files: more files, by name, beside it;
    dialog: [(pattern, text)], what to type when a line matches."""
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
    environment = dict(os.environ, BUILD=str(BUILD))
    if dialog:
        status, output, messages = converse(command, environment, dialog, timeout + 60)
    else:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout + 60,
                              check=False, env=environment)
        status, output, messages = done.returncode, done.stdout, done.stderr
    return Run(status, output.decode("utf-8", errors="replace"),
               serial.read_bytes() if serial.exists() else b"",
               json.loads(report.read_text(encoding="utf-8")) if report.exists() else {},
               messages.decode("utf-8", errors="replace"))
