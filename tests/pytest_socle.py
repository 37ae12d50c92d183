# SPDX-License-Identifier: MIT
"""A pytest plug-in that boots guests under Socle, types at them and reads what they say; for tests of any project
(docs/testing.md). One test: `def test(socle): machine = socle.boot(socle.linux("web")) ...`."""
import json
import os
import re
import shlex
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BUILD = Path(os.environ.get("BUILD") or ROOT / "build").resolve()
SOCLE = ROOT / "tools" / "socle"
sys.path.insert(0, str(ROOT / "tools"))

from soclelib.qemu import kvm_missing  # noqa: E402

OK, GUEST_FAILED, SOCLE_FAILED, TIMEOUT, NO_PLATFORM = range(5)
KERNEL, INITRD = "linux/vmlinuz-cloud-amd64", "linux/initrd.img"
LAST_LINES = 20  # in the report of a failure
TYPED = 238  # bytes of a line that the monitor takes
TO_MONITOR = b"\x1d"  # Ctrl-] as the first key: for the monitor, whoever else could be meant
PATIENCE = 60  # seconds, for a machine whose time is over

LINE = re.compile(r"\[([\w-]+)\](\+?) (.*)")
END = re.compile(r"socle: guest (?P<name>\S+): (?P<how>[a-z-]+)(?: \((?P<reason>.*)\))?, "
                 r"(?P<expected>as expected|at quit)?.*, (?P<ms>\d+) ms, (?P<exits>\d+) exits$")


@dataclass(frozen=True)
class End:
    """How a guest ended."""

    how: str  # success, failure, crash, refused, time-limit, killed, vmm-fault, reset
    reason: str  # in words, may be empty
    expected: bool
    ms: int  # that it ran
    exits: int


@dataclass(frozen=True)
class Shell:
    """What a command did."""

    status: int
    output: str  # without the line feeds at its end


def guest(name, **keys):
    """The text of a guest's section. Keys are those of docs/configuration.md, with _ for -; a Path becomes absolute,
    True is yes, a list repeats its key."""
    text = f"[guest {name}]\n"
    for key, values in keys.items():
        for value in values if isinstance(values, (list, tuple)) else [values]:
            if isinstance(value, Path):
                value = value.resolve()
            elif isinstance(value, bool):
                value = "yes" if value else "no"
            text += f"{key.replace('_', '-')} = {value}\n"
    return text


def linux(name, options="", kernel=KERNEL, **keys):
    """A guest with Debian's kernel and a shell on its console, which says "linux: ready" before the first prompt. The
    test is skipped where tools/setup could not fetch it."""
    if not (BUILD / "guests" / kernel).exists():
        pytest.skip("no Linux here: tools/setup could not fetch Debian's packages")
    options = f"console=ttyS0 cryptomgr.notests quiet {options}".strip()
    return guest(name, **{"linux": kernel, "initrd": INITRD, "options": options, "memory": "128M", **keys})


def quoted(text):
    """A word for the shell: in plain quotes where they do, else in the $'' of bash and busybox."""
    if text.isascii() and text.isprintable():
        return shlex.quote(text)
    return "$'" + "".join(chr(b) if 32 <= b < 127 and b not in b"'\\" else f"\\{b:03o}" for b in text.encode()) + "'"


class Guest:
    """A guest's console and its end."""

    def __init__(self, machine, name):
        self.machine = machine
        self.name = name
        self.log = machine.folder / f"{name}.log"
        self.text = ""  # all that it has printed
        self.end = None  # an End, when it has ended for good
        self.at = 0  # what was waited for lies before
        self.commands = 0
        self.file = self.log.open("w", encoding="utf-8")

    def take(self, text, goes_on):
        """Text that it printed: a line, or more of the last."""
        text = text if goes_on or not self.text else "\n" + text
        self.text += text
        self.file.write(text)
        self.file.flush()

    def wait(self, pattern, timeout=None):
        """Waits until what it printed after the last match matches, and returns the match (^ and $ are of lines).
        timeout: seconds; without, as long as the machine has."""
        __tracebackhide__ = True
        regex = re.compile(pattern, re.M)
        match = self.machine.wait_until(lambda: regex.search(self.text, self.at), timeout, repr(pattern), self)
        self.at = match.end()
        return match

    def wait_end(self, timeout=None):
        """Waits until it has ended for good, and returns its End."""
        __tracebackhide__ = True
        return self.machine.wait_until(lambda: self.end, timeout, f"end of {self.name}", self)

    def type(self, text):
        """Types a line."""
        self.machine.type(f"send {self.name} {text}")

    def sh(self, command, timeout=None):
        """Runs a shell's command, which has no input, at the guest's prompt: a Shell."""
        __tracebackhide__ = True
        return self.begin(command)(timeout)

    def begin(self, command):
        """The same, without waiting: a function that waits, and has sh()'s answer."""
        self.commands += 1
        number = self.commands
        # What is typed is printed too, so the words that are waited for are typed in two pieces.
        line = f'echo "@""{number}<";sh -c {{}} </dev/null;echo "@""{number}>$?."'
        room = TYPED - len(f"send {self.name} ")
        if len(line.format(quoted(command))) <= room:
            line = line.format(quoted(command))
        else:
            self.type("C=")
            while command:
                step = next(n for n in range(room, 0, -1) if len("C=$C" + quoted(command[:n])) <= room)
                self.type("C=$C" + quoted(command[:step]))
                command = command[step:]
            line = line.format('"$C"')
        self.type(line)

        def result(timeout=None):
            __tracebackhide__ = True
            begin = self.wait(rf"^@{number}<$", timeout)
            end = self.wait(rf"@{number}>(\d+)\.", timeout)
            return Shell(int(end[1]), self.text[begin.end():end.start()].strip("\n"))

        return result


class Machine:
    """A machine that runs a configuration (its path, or its text) through tools/socle, from its start to its verdict.
    options: more of `socle run`; files: more files, by name, beside the configuration; typed: somebody will type.
    In its folder: NAME.log of each guest, console.log, messages.log of the tool, serial.log, emulator.log."""

    def __init__(self, folder, config, *options, platform="bochs", timeout=150, files=None, typed=True):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        if isinstance(config, str):
            path = self.folder / "test.conf"
            path.write_text(config, encoding="utf-8")
            config = path
        for name, content in (files or {}).items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_bytes(content)
        try:
            text = config.read_text(encoding="utf-8", errors="replace")
        except OSError:
            text = ""  # tools/socle says it better
        self.guests = {name: Guest(self, name) for name in names(text)}
        self.attached = re.search(r"^\s*attach\s*=\s*yes", text, re.M)  # who types is not at the monitor at first
        self.status = None  # exit status of the tool, when it has ended
        self.console = []  # lines
        self.at = 0  # lines that were waited for
        self.over = False
        self.changed = threading.Condition()
        self.report_path = self.folder / "report.json"
        self.report_path.unlink(missing_ok=True)
        command = [sys.executable, SOCLE, "run", config, "--platform", platform, "--timeout", timeout, "--log",
                   self.folder / "serial.log", "--report", self.report_path, "--emulator-log",
                   self.folder / "emulator.log", *options]
        with (self.folder / "messages.log").open("wb") as messages:
            self.child = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=messages,
                                          stdin=subprocess.PIPE if typed else subprocess.DEVNULL,
                                          env=dict(os.environ, BUILD=str(BUILD)))
        self.last = time.monotonic() + timeout + PATIENCE
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def __getitem__(self, name):
        __tracebackhide__ = True
        if name not in self.guests:
            raise KeyError(f"no guest is called {name}; there are: {', '.join(self.guests)}")
        return self.guests[name]

    # --- what it says ---

    def read(self):
        """Runs beside the test until the tool closes its output."""
        with (self.folder / "console.log").open("w", encoding="utf-8") as log:
            rest = b""
            while data := self.child.stdout.read1(65536):
                *whole, rest = (rest + data).split(b"\n")
                with self.changed:
                    for line in whole:
                        line = line.decode("utf-8", errors="replace")
                        log.write(line + "\n")
                        self.take(line)
                    self.changed.notify_all()
                log.flush()
        with self.changed:
            self.over = True
            self.changed.notify_all()

    def take(self, line):
        """One line of the console: a guest's text, its end, or something else."""
        self.console.append(line)
        said, end = LINE.match(line), END.match(line)
        if said and said[1] in self.guests:
            self.guests[said[1]].take(said[3], bool(said[2]))
        elif end and end["name"] in self.guests:
            self.guests[end["name"]].end = End(end["how"], end["reason"] or "", bool(end["expected"]), int(end["ms"]),
                                               int(end["exits"]))

    @property
    def text(self):
        """The console, as a person sees it."""
        return "".join(line + "\n" for line in self.console)

    @property
    def messages(self):
        """What tools/socle itself said."""
        return (self.folder / "messages.log").read_text(encoding="utf-8", errors="replace")

    @property
    def serial(self):
        """The serial line, byte by byte."""
        path = self.folder / "serial.log"
        return path.read_bytes() if path.exists() else b""

    @property
    def report(self):
        """How the run ended, in facts."""
        return json.loads(self.report_path.read_text(encoding="utf-8")) if self.report_path.exists() else {}

    def lines(self, pattern):
        """All lines of the console that match."""
        return [line for line in self.console if re.search(pattern, line)]

    # --- waiting and typing ---

    def wait_until(self, look, timeout, what, of=None):
        """Waits until look() gives something, which is returned. of: the guest that it is about."""
        __tracebackhide__ = True
        limit = self.last if timeout is None else min(self.last, time.monotonic() + timeout)
        with self.changed:
            while True:
                found = look()
                if found:
                    return found
                why = ("the machine has ended" if self.over else f"{of.name} has ended" if of and of.end else
                       "it took too long" if time.monotonic() >= limit else None)
                if why:
                    break
                self.changed.wait(limit - time.monotonic())
        raise AssertionError(f"waited in vain for {what}: {why}\n" + self.tail(of))

    def wait(self, pattern, timeout=None):
        """Waits for a line of the console that matches, after that of the last match, and returns the match."""
        __tracebackhide__ = True
        regex = re.compile(pattern)

        def look():
            while self.at < len(self.console):
                self.at += 1
                match = regex.search(self.console[self.at - 1])
                if match:
                    return match
            return None

        return self.wait_until(look, timeout, repr(pattern))

    def type(self, line):
        """Types a line at the monitor."""
        if len(line) > TYPED:
            raise ValueError(f"the monitor takes lines of {TYPED} bytes: {line!r}")
        verb, _, name = line.partition(" ")
        if verb == "reset" and name in self.guests:
            self.guests[name].end = None  # it starts again
        try:
            if self.attached:
                self.child.stdin.write(TO_MONITOR)
                self.attached = False
            self.child.stdin.write(line.encode() + b"\n")
            self.child.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended, which the next wait tells

    def tail(self, of=None):
        """The last lines of a guest, and of the console; what the tool said; where all of it is."""
        parts = [(f"last lines of {of.name}", of.text.splitlines())] if of else []
        parts += [("last lines of the console", self.console), ("tools/socle", self.messages.splitlines())]
        return "".join(f"--- {title} ---\n" + "".join(f"{line}\n" for line in lines[-LAST_LINES:])
                       for title, lines in parts) + f"--- all of it: {self.folder}"

    # --- the end ---

    def finish(self):
        """Waits until the machine has ended, and returns the exit status: 0 every guest ended well, 1 a guest did not,
        2 Socle itself failed, 3 time-out, 4 the platform is missing."""
        __tracebackhide__ = True
        if self.child.stdin and not self.child.stdin.closed:
            try:
                self.child.stdin.close()
            except BrokenPipeError:
                pass
        self.wait_until(lambda: self.over, None, "the end of the machine")
        self.status = self.child.wait()
        for one in self.guests.values():
            one.file.close()
        return self.status

    def stop(self):
        """Ends what still runs."""
        if self.child.poll() is None:
            self.child.terminate()
        self.finish()

    def expect(self, status, *patterns, never=()):
        """Fails unless the run ended with status and has a line for each pattern, and none for never."""
        __tracebackhide__ = True
        if self.status is None:
            self.finish()
        problems = [f"status {self.status}, not {status}"] if self.status != status else []
        problems += [f"no line matches {pattern!r}" for pattern in patterns if not self.lines(pattern)]
        problems += [f"unwanted: {line}" for pattern in never for line in self.lines(pattern)]
        if problems:
            raise AssertionError("\n".join(problems) + f"\n--- console ---\n{self.text}--- tool ---\n{self.messages}")
        return self


def names(text):
    """The guests of a configuration."""
    found = []
    for section in re.split(r"^\s*(?=\[)", text, flags=re.M):
        name = re.match(r"\[\s*guest\s+([\w-]+)\s*\]", section)
        count = re.search(r"^\s*count\s*=\s*(\d+)", section, re.M)
        if name and count and int(count[1]) > 1:
            found += [f"{name[1]}-{n}" for n in range(1, int(count[1]) + 1)]
        elif name:
            found.append(name[1])
    return found


class Socle:
    """The fixture: boots machines, in the test's own folder."""

    guest, linux = staticmethod(guest), staticmethod(linux)

    def __init__(self, folder, platform):
        self.folder = folder
        self.platform = platform
        self.machines = []

    def boot(self, config, *options, platform=None, cpus=2, timeout=300, files=None):
        """Boots a configuration: a Path, or text, also that of guest() and linux(), which can be added; returns a
        Machine, which is ended with the test at the latest. platform: bochs, qemu-tcg, qemu-kvm, or what
        --socle-platform says; cpus of the machine; timeout: seconds for all of it."""
        platform = platform or self.platform
        if platform == "qemu-kvm" and kvm_missing():
            pytest.skip(f"nested KVM cannot be used: {kvm_missing()}")
        folder = self.folder / str(len(self.machines) + 1) if self.machines else self.folder
        self.machines.append(Machine(folder, config, "--cpus", cpus, *options, platform=platform, timeout=timeout,
                                     files=files))
        return self.machines[-1]


def pytest_addoption(parser):
    """What `pytest --help` shows."""
    parser.getgroup("socle").addoption("--socle-platform", default="fast", metavar="NAME", help=(
        "where machines are run that a test does not place itself: bochs, qemu-tcg, qemu-kvm, auto, fast (default)"))


@pytest.fixture
def socle(tmp_path, request):
    """Boots guests: socle.boot(...)."""
    tool = Socle(tmp_path, request.config.getoption("--socle-platform"))
    yield tool
    for machine in tool.machines:
        machine.stop()
