# SPDX-License-Identifier: MIT
"""What is typed on the host's console: the monitor, input to guests, and the report of a panic."""
import contextlib
import hashlib
import random
import re
import time

import pytest
from machine import GUEST_FAILED, OK, SANDY, SOCLE_FAILED, Machine, run
from pytest_socle import linux
from screen import Qmp
from test_platforms import picture

SPIN = "[guest spin]\nmultiboot = spinner.elf\n[guest one]\nmultiboot = hello.elf\n"
PANIC = (r"^socle: panic: asked for", r"on CPU \d", r"cr3 [0-9a-f]+", r"from 0xffffffff8\w+ panic\+0x",
         r"from 0xffffffff8\w+ kernel_syscall\+0x", r"^socle: end status=2")


def test_commands(tmp_path):
    """A person looks around and ends a guest that would not end."""
    dialog = [
        (r"guest one: success", "list\n"),
        (r"one +ended", "stats spin\n"),
        (r"timer +\d+", "isolation\n"),
        (r"^socle: isolation: ok.*\d+ pages", "nonsense\n"),
        (r"nonsense", "kill spin\n"),
    ]
    run(tmp_path, SPIN, dialog=dialog).expect(
        GUEST_FAILED, r"spin +running", r"spin: 1 cpus, \d+ exits", r"isolation: pages: \d+ kernel", r"guest spin: killed",
        r"end status=1", never=("panic",))


def test_screen(tmp_path):
    """What a guest has written for a screen, in characters that do nothing to a terminal."""
    config = "[guest tv]\nmultiboot = screen.elf\noptions = wait=yes\n"
    dialog = [("screen: drawn", "screen tv\n"), ("bottom right", "send tv x\n")]
    run(tmp_path, config, dialog=dialog).expect(
        OK, r"^\[tv\] \|top left$", r"^\[tv\] \| {36}\| in - the \+ middle \?\[2J$", r"^\[tv\] \| {68}bottom right$",
        r"screen: SUCCESS", never=("above the screen",))


def test_panic_report(tmp_path):
    """Registers, backtrace by name, the last exits; and the status tells."""
    dialog = [(r"guest one: success", "panic\n")]
    result = run(tmp_path, SPIN, dialog=dialog).expect(SOCLE_FAILED, *PANIC, r"exit \d+ vm \d+ vcpu 0 \S+ rip=0x")
    assert "panic: asked for" in result.messages.splitlines()[-1]


def test_panic_on_the_screen(tmp_path):
    """On a machine whose only console is the screen the report is there to read."""
    shot = tmp_path / "panic.ppm"
    config = "[host]\nself-test = yes\nwhen-done = wait\n"
    dialog = [(r"self-test in ring 3: passed", "panic\n")]
    run(tmp_path, config, "--cpus", 1, "--screenshot", shot, platform="qemu-tcg", dialog=dialog).expect(
        SOCLE_FAILED, *PANIC)
    width, _, pixels = picture(shot)
    stride = width * 3
    rows = [pixels[at:at + stride] for at in range(0, len(pixels), stride)]
    inked = sum(1 for row in rows if row != row[:3] * width)
    assert inked > len(rows) // 4


# --- a person who is attached to a guest ---

EAR = "[guest ear]\nmultiboot = listener.elf\n"
KEYS = EAR + "options = keys\n"
SPINS = "[guest spin]\nmultiboot = spinner.elf\ncount = 2\ncpus = 2\n"
PLACES = [pytest.param("bochs", ("--cpus", 2), id="bochs"), pytest.param("qemu-tcg", ("--cpus", 2), id="qemu"),
          pytest.param("bochs", ("--cpus", 1, "--cpu", SANDY), id="sandy bridge",
                       marks=pytest.mark.matrix)]
FNV_OFFSET, FNV_PRIME = 0xcbf29ce484222325, 0x100000001b3


@contextlib.contextmanager
def running(folder, config, *options, platform="bochs", timeout=400):
    """A machine that is ended with the block."""
    machine = Machine(folder, config, *options, platform=platform, timeout=timeout)
    try:
        yield machine
    finally:
        machine.stop()


def press(machine, keys):
    """Types bytes as they are."""
    machine.attached = False  # it is ours to know
    machine.child.stdin.write(keys)
    machine.child.stdin.flush()


def text_of(lines):
    """So many lines of all lengths up to 110, always the same."""
    chance = random.Random(lines)
    letters = "abcdefghijklmnopqrstuvwxyz0123456789 ./-"
    return "".join("".join(chance.choices(letters, k=chance.randint(1, 110))) + "\n" for _ in range(lines)).encode()


def exits(machine, name):
    """How often a guest has left guest mode, by the monitor's list."""
    machine.type("list")
    machine.wait(r"> list$")
    return int(machine.wait(rf"{name} .* (\d+) exits")[1])


@pytest.mark.parametrize("platform, options", PLACES)
def test_attach(tmp_path, platform, options):
    """Every key goes to one guest at a time, but for the one that leads back; a mistake is told."""
    with running(tmp_path, KEYS + SPINS, *options, platform=platform) as m:
        m["spin-2"].wait("spinning")
        m["ear"].wait("> ", 60)  # what has no end of a line is seen, too
        press(m, b"list" + b" " * 400 + b"\n")
        m.wait("error: nothing was done: a command has at most 239 characters")
        press(m, b"lisp\b\x7f\x7fix\x15attach eat\x7fr\r")
        m.wait("> attach ear$")
        m.wait("attached to ear; Ctrl-] leads back")
        for key in b"a\x03\x1a\x1b[A\x00\x7f\xff\r":
            press(m, bytes([key]))
            m.wait(rf"^key {key:02x}$")
        press(m, b"\x1d")
        m.wait("monitor; 'attach ear' or Ctrl-]")
        press(m, b"\x1d")
        m.wait("attached to spin-1")
        press(m, b"x\x1d\x1d")
        m.wait("attached to spin-2")
        press(m, b"\x1dlisten\n")
        m.wait("listen is no command; 'help' lists them")
        m.type("attach nobody")
        m.wait("no guest is called nobody; try list")
        m.type("send ear \x04")  # no control characters in commands
        m.type("send ear z")
        m.wait(r"^\[ear\]\+? ?key 7a")
        m.type("escape ear")
        m.wait("attached to ear")
        m.wait("^key 1d$")
        press(m, b"\x04")
        m.wait("guest ear: success")
        m.wait("monitor; ")  # who was attached to it is not any more
        m.type("attach ear")
        m.wait("ear has ended; 'reset ear' starts it again")
        m.type("quit")
        m.expect(OK, r"end status=0 \(quit\)")


def test_typing_attaches(tmp_path):
    """Where the configuration says who is meant, no command is needed; the escape key is one all the same."""
    with running(tmp_path, KEYS + "attach = yes\n" + SPINS, platform="qemu-tcg") as m:
        m["ear"].wait("> ", 60)
        press(m, b"a")
        m.wait("attached to ear")
        m.wait("^key 61$")
        press(m, b"\x1dquit\r")
        m.expect(OK)


@pytest.mark.parametrize("platform, options", PLACES)
def test_a_thousand_lines(tmp_path, platform, options):
    """Are pasted into a guest beside one that spins with interrupts off, and none is lost or changed."""
    text, value = text_of(1000), FNV_OFFSET
    for byte in text:
        value = (value ^ byte) * FNV_PRIME % 2**64
    with running(tmp_path, EAR + SPINS, *options, platform=platform) as m:
        m["spin-2"].wait("spinning")
        m["ear"].wait("listening")
        m.type("attach ear")
        m.wait("attached to ear")
        press(m, text + b"\x04\x1d")
        m["ear"].wait(rf"listener: {len(text)} bytes, 1000 lines, hash {value:x}$")
        m.type("quit")
        m.expect(OK, never=("has lost bytes", "is dropped"))


@pytest.mark.parametrize("platform, options", [("qemu-tcg", ("--cpus", 2)), ("bochs", ("--cpus", 1))],
                         ids=["qemu", "bochs"])
def test_a_thousand_lines_for_linux(tmp_path, platform, options):
    """Through its driver and its terminal into a file."""
    text = text_of(1000)
    with running(tmp_path, linux("web") + EAR, *options, platform=platform, timeout=900) as m:
        m["web"].wait("linux: ready")
        m.type("attach web")
        m.wait("attached to web")
        press(m, b"stty -echo; echo re''ady; cat > /tmp/f; wc -l /tmp/f; md5sum /tmp/f; stty echo\r")
        m.wait("^ready")
        press(m, text + b"\x04")
        m.wait(rf"{hashlib.md5(text).hexdigest()} +/tmp/f")
        press(m, b"\x1dquit\r")
        m.expect(OK, r"1000 /tmp/f$", never=("has lost bytes", "is dropped"))


def test_a_guest_that_does_not_read(tmp_path):
    """Keeps nobody in: what is too much for its buffers is dropped, with a word, and the way back is found."""
    with running(tmp_path, SPINS, platform="qemu-tcg") as m:
        m["spin-2"].wait("spinning")
        m.type("attach spin-1")
        m.wait("attached to spin-1")
        press(m, text_of(500) + b"\x1d")
        m.wait("spin-1 does not read what is typed: the rest is dropped")
        m.wait("monitor; ")
        m.type("quit")
        m.expect(OK)


@pytest.mark.parametrize("platform, options", PLACES)
def test_the_others_go_on(tmp_path, platform, options):
    """A guest is paused, resumed, reset, killed and started again, and its neighbour runs all the time."""
    with running(tmp_path, SPINS, *options, platform=platform) as m:
        m["spin-1"].wait("spinning")
        m["spin-2"].wait("spinning")
        m.type("pause spin-1")
        m.wait("spin-1 is paused")
        m.type("pause spin-1")
        m.wait("spin-1 is paused already")
        before = 0
        while before != (before := exits(m, "spin-1")):  # each vCPU stops when it next has a CPU
            time.sleep(0.5)
        neighbour = exits(m, "spin-2")
        time.sleep(3)
        assert exits(m, "spin-1") == before
        assert exits(m, "spin-2") > neighbour
        assert m.lines(r"spin-1 +paused") and m.lines(r"spin-2 +running")
        m.type("resume spin-1")
        m.wait("spin-1 goes on")
        while exits(m, "spin-1") == before:
            pass
        m.type("reset spin-1")
        m.wait("guest spin-1: reset by the monitor, starting again")
        m["spin-1"].wait("spinning")
        m.type("kill spin-1")
        m.wait("guest spin-1: killed")
        m.type("resume spin-1")
        m.wait("spin-1 is not running")
        m.type("reset spin-1")
        m.wait(r"^\[spin-1\] spinning")
        neighbour = exits(m, "spin-2")
        while exits(m, "spin-2") == neighbour:
            pass
        m.type("pause spin-1")
        m.wait("spin-1 is paused")
        m.type("kill spin-1")  # held as it is
        m.wait("guest spin-1: killed")
        m.type("list")
        m.wait(r"spin-1 +ended")
        m.type("stats spin-2")
        m.wait(r"spin-2: 2 cpus, \d+ exits")
        m.type("isolation")
        m.wait("isolation: ok")
        m.type("kill spin-2")
        m.expect(GUEST_FAILED, never=("panic",))


def test_a_time_limit_waits(tmp_path):
    """For a guest that is paused, also when it is reset from there."""
    config = "[guest timed]\nmultiboot = spinner.elf\ntime-limit = 8s\nexpect = time-limit\n"
    with running(tmp_path, config, "--cpus", 1, platform="qemu-tcg") as m:
        m["timed"].wait("spinning")
        m.type("pause timed")
        m.wait("timed is paused")
        time.sleep(9)
        m.type("reset timed")
        m.wait("starting again")
        assert int(m.wait(r"guest timed: time-limit.*, (\d+) ms")[1]) > 3000
        m.expect(OK)


def test_screen_and_keyboard(tmp_path):
    """A machine without a serial line: commands are typed on its keyboard, and it answers on its screen."""
    door = tmp_path / "qmp"
    with running(tmp_path, KEYS + SPINS, "--qmp", door, platform="qemu-tcg") as m:
        m["ear"].wait("> ", 60)
        m["spin-2"].wait("spinning")
        qmp = Qmp(door)
        qmp.press(*"lost", *["backspace"] * 3, *"ist", "ret")
        m.wait("> list$")
        m.wait("spin-2 +running")
        qmp.press(*"attach", "spc", *"ear")
        time.sleep(2)
        shown = qmp.screen(tmp_path / "screen.ppm")
        assert "socle: > list" in shown and "socle> attach ear" in shown, "\n".join(shown)
        assert any(re.match(r"socle: +spin-2 +running", line) for line in shown), "\n".join(shown)
        qmp.press("ret")
        m.wait("attached to ear")
        for key, codes in (("shift-a", "41"), ("a", "61"), ("ctrl-c", "03"), ("up", "1b 5b 41"), ("ret", "0d"),
                           ("shift-7", "26"), ("f1", "1b 4f 50"), ("caps_lock", ""), ("b", "42"), ("alt-x", "1b 58")):
            qmp.press(key)
            for code in codes.split():
                m.wait(rf"^key {code}$")
        qmp.press("ctrl-bracket_right")
        m.wait("monitor; ")
        qmp.press("caps_lock", *"quit", "ret")
        qmp.close()
        m.expect(OK)


@pytest.mark.matrix
def test_shell_on_the_screen(tmp_path):
    """A person edits a line in Linux' shell at the machine's own keyboard and screen, as on a terminal."""
    door = tmp_path / "qmp"
    with running(tmp_path, linux("web", cpus=1), "--qmp", door, platform="qemu-tcg", timeout=900) as m:
        m["web"].wait("linux: ready")
        qmp = Qmp(door)
        qmp.press(*"attach", "spc", *"web", "ret")
        m.wait("attached to web")
        qmp.press("ret", *"echo", "spc", *"axxd", *["left"] * 3, "b", "delete", *["right"] * 2, "backspace", *"cd")
        qmp.press("ret")
        m.wait("^abxcd")
        qmp.press("up", *["left"] * 5, *"123", "ret")
        m.wait("^123abxcd")
        time.sleep(2)
        shown = qmp.screen(tmp_path / "screen.ppm")
        session = shown[shown.index("/ # echo abxcd"):]
        assert session[:5] == ["/ # echo abxcd", "abxcd", "/ # echo 123abxcd", "123abxcd", "/ #"], "\n".join(shown)
        qmp.close()
