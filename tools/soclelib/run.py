# SPDX-License-Identifier: MIT
"""Runs a machine and watches it: prints its console, passes input, knows how it ended."""
import json
import os
import selectors
import shutil
import signal
import socket
import stat
import sys
import tempfile
import time
from pathlib import Path

from soclelib import image, process, qemu
from soclelib.bochs import Bochs
from soclelib.common import (STATUS_GUEST, STATUS_OK, STATUS_PLATFORM, STATUS_SOCLE, STATUS_TIMEOUT, Failure,
                             say)
from soclelib.qemu import Qemu
from soclelib.terminal import HOW_TO_LEAVE, Terminal
from soclelib.text import Console

GRACE_AFTER_END = 5.0  # for the machine to switch itself off
GRACE_AFTER_PANIC = 3.0  # for the backtrace
DEFAULT_TIMEOUT = 300
QUIET_BOOT = 5.0
QUIET_RUN = 15.0
POLL = 0.02
RECENT = 4096  # bytes that a visitor sees first
VISITOR_MAX = 1 << 22  # bytes that are kept for one who does not read
EMULATED = {"auto": "bochs", "fast": "qemu-tcg"}  # where nested KVM is not offered
MEANING = {
    STATUS_OK: "every guest ended well",
    STATUS_GUEST: "a guest failed",
    STATUS_SOCLE: "Socle itself failed",
    STATUS_TIMEOUT: "time-out",
    STATUS_PLATFORM: "the platform is missing",
}


def wants_input(choice):
    """Whether somebody may type: a terminal, a pipe or a file with bytes, but not /dev/null."""
    if choice != "auto":
        return choice == "yes"
    try:
        kind = os.fstat(0)
    except OSError:
        return False
    if stat.S_ISREG(kind.st_mode):
        return kind.st_size > 0
    return os.isatty(0) or stat.S_ISFIFO(kind.st_mode) or stat.S_ISSOCK(kind.st_mode)


def choose_platform(options, disk, folder, typed):
    """The machine to run on."""
    platform = options.platform
    if platform in EMULATED:
        special = options.bochs or options.quantum or options.ips or options.exclude_features
        platform = "bochs" if special else EMULATED[platform] if qemu.kvm_missing() else "qemu-kvm"
    if platform == "bochs":
        return Bochs(options, disk, folder, typed)
    return Qemu(options, disk, folder, typed, platform == "qemu-kvm")


def console_folder():
    """Where running machines leave their sockets for 'socle console'."""
    base = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    folder = base / f"socle-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise Failure(f"{folder} belongs to somebody else")
    return folder


class Watch:
    """One run, from start to verdict."""

    def __init__(self, machine, options, typed):
        self.machine = machine
        self.options = options
        self.typed = typed
        self.input_open = False  # somebody may still type
        self.console = Console(raw=sys.stdout.isatty())
        self.log = open(options.log, "wb") if options.log else None
        self.started = time.monotonic()
        self.last_output = self.last_word = self.last_fault_check = self.started
        self.deadline = None
        self.selector = selectors.DefaultSelector()
        self.listener = None
        self.visitors = []
        self.socket_path = None
        self.terminal = Terminal()
        self.recent = b""  # for visitors
        self.shot = False
        self.status = None
        self.reason = ""

    # --- the parts around the machine ---

    def open_all(self):
        """Terminal, input and the door for 'socle console'."""
        self.socket_path = console_folder() / f"run-{os.getpid()}"
        self.listener = socket.socket(socket.AF_UNIX)
        self.socket_path.unlink(missing_ok=True)
        self.listener.bind(str(self.socket_path))
        self.listener.listen()
        self.listener.setblocking(False)
        self.selector.register(self.listener, selectors.EVENT_READ, self.take_visitor)
        if self.typed:
            if self.terminal.open():
                say(f"keys go to the machine; {HOW_TO_LEAVE} ends it")
            try:
                self.selector.register(0, selectors.EVENT_READ, self.take_input)
                self.input_open = True
            except PermissionError:  # a plain file: all of it is there
                self.machine.write(sys.stdin.buffer.read())

    def close_all(self):
        """Leaves terminal and file system as they were."""
        self.terminal.close()
        for thing in [self.listener, self.log] + self.visitors:
            if thing:
                thing.close()
        if self.socket_path:
            self.socket_path.unlink(missing_ok=True)

    def take_input(self):
        """What was typed goes to the machine."""
        data = self.terminal.read()
        if not data:
            self.selector.unregister(0)
            self.input_open = False
            return
        self.machine.write(data)

    def take_visitor(self):
        """Somebody called 'socle console'."""
        link = process.Link(self.listener.accept()[0])
        self.visitors.append(link)
        self.selector.register(link, selectors.EVENT_READ, lambda: self.hear_visitor(link))
        link.write(self.recent)
        if not self.typed:
            link.write(b"\r\nsocle-run: nobody can type at this machine: 'socle run --input yes' would allow it\r\n")

    def hear_visitor(self, link):
        """Input of a visitor, or its end."""
        try:
            self.machine.write(link.read())
        except EOFError:
            self.lose_visitor(link)

    def lose_visitor(self, link):
        """It is gone, or does not read."""
        self.selector.unregister(link)
        self.visitors.remove(link)
        link.close()

    # --- watching ---

    def pump(self):
        """Moves the machine's output on; True when there was some."""
        data = self.machine.read()
        if not data:
            return False
        self.last_output = self.last_word = time.monotonic()
        if self.log:
            self.log.write(data)
            self.log.flush()
        self.show(self.console.feed(data))
        self.recent = (self.recent + data)[-RECENT:]
        for link in list(self.visitors):
            link.write(data)
            if len(link.kept) > VISITOR_MAX:
                self.lose_visitor(link)
        return True

    def show(self, data):
        """Prints bytes of the machine."""
        if data:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()

    def report_silence(self, now):
        """Tells that we are alive while nothing is printed."""
        patience = QUIET_RUN if self.console.speaking else QUIET_BOOT
        if now - self.last_word >= patience:
            self.last_word = now
            doing = "running" if self.console.speaking else "booting"
            say(f"{doing}, {now - self.started:.0f} s")

    def look_for_end(self, now):
        """Sets status and the time to leave once the machine has said how it ended."""
        console = self.console
        if self.status is None and console.end_status is not None:
            self.status = console.end_status if console.end_status in (0, 1, 2) else STATUS_SOCLE
            self.reason = console.end_text
        if console.panic is not None and not self.reason.startswith("panic: "):
            self.status, self.reason = STATUS_SOCLE, "panic: " + console.panic
            self.deadline = now + GRACE_AFTER_PANIC
        # A machine that stays on (when-done = wait) is left to whoever may type.
        if self.status is not None and self.deadline is None and not self.input_open:
            self.deadline = now + GRACE_AFTER_END

    def take_screenshot(self):
        """The screen as it is at the end, whatever the end is."""
        self.shot = True
        if not self.machine.screenshot(self.options.screenshot):
            say("no screenshot could be taken")

    def check(self, now):
        """True when the run is over."""
        self.look_for_end(now)
        late = self.deadline is not None and now >= self.deadline
        said_all = self.console.end_status is not None  # a panic's report ends with it, too
        if self.options.screenshot and self.status is not None and (late or said_all and not self.input_open):
            self.take_screenshot()
            return True
        if late:
            return True
        if self.options.timeout and self.deadline is None and now - self.started >= self.options.timeout:
            if self.status is not None:
                return True
            self.status, self.reason = STATUS_TIMEOUT, f"no end within {self.options.timeout:g} s"
            self.reason += "\n" + self.machine.post_mortem()
            return True
        if now - self.last_fault_check >= 0.5:
            self.last_fault_check = now
            fault = self.machine.fault()
            if fault and self.status is None:
                self.status, self.reason = STATUS_SOCLE, fault
                return True
        return False

    def watch(self):
        """Runs until the end."""
        self.machine.start()
        self.open_all()
        while True:
            ended = self.machine.ended()
            busy = self.pump()
            now = time.monotonic()
            if self.check(now):
                break
            if ended and not busy:
                break
            self.report_silence(now)
            for key, _ in self.selector.select(0 if busy else POLL):
                key.data()
        if self.status != STATUS_TIMEOUT:
            process.wait(self.machine.child, 2.0)  # it may be about to end by itself, and count its ticks
        while self.pump():
            pass
        self.show(self.console.rest())
        self.look_for_end(time.monotonic())
        if self.options.screenshot and not self.shot:
            self.take_screenshot()
        if self.status is None:
            self.status = STATUS_SOCLE
            self.reason = self.machine.fault() or ("the machine ended without a verdict:\n" +
                                                   self.machine.log_tail())


def closing_line(watch, machine, seconds, ticks):
    """What a run ends with, on stderr."""
    meaning = MEANING[watch.status]
    if watch.reason and watch.reason.split("\n")[0] != meaning:
        meaning += f": {watch.reason}" if watch.status else f" ({watch.reason})"
    first, _, rest = meaning.partition("\n")
    first = first.rstrip(":")
    count = f", {ticks} ticks" if ticks else ""
    if rest:
        print(rest, file=sys.stderr)
    say(f"{machine.description}: status {watch.status}, {first}; {seconds:.1f} s{count}")


def run(options):
    """The whole of 'socle run'; returns the exit status."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.default_int_handler)
    source = Path(options.source)
    folder = Path(tempfile.mkdtemp(prefix="socle-run-"))
    machine = watch = None
    try:
        disk = source.resolve()
        if not source.exists():
            raise Failure(f"{source}: no such file")
        if not image.is_disk_image(source):
            disk = folder / "image"
            image.write(source, disk, allow_missing=options.allow_missing)
        typed = wants_input(options.input)
        if options.timeout is None:
            options.timeout = 0 if typed and os.isatty(0) else DEFAULT_TIMEOUT
        machine = choose_platform(options, disk, folder, typed)
        watch = Watch(machine, options, typed)
        say(f"starting {machine.description}")
        watch.watch()
        seconds = time.monotonic() - watch.started
        ticks = machine.ticks()
        closing_line(watch, machine, seconds, ticks)
        if options.report:
            Path(options.report).write_text(json.dumps({
                "platform": machine.name, "description": machine.description, "status": watch.status,
                "reason": watch.reason.split("\n")[0], "seconds": round(seconds, 2), "ticks": ticks}) + "\n",
                encoding="utf-8")
        return watch.status
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    finally:
        if watch:
            watch.close_all()
        if machine:
            machine.stop(options.emulator_log)
        shutil.rmtree(folder, ignore_errors=True)
