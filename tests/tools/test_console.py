# SPDX-License-Identifier: MIT
"""A person at the terminal of a run, and at 'socle console'; on an emulator that plays a script."""
import os
import pty
import subprocess
import time


class Person:
    """A process of tools/socle on a terminal of its own."""

    def __init__(self, host, *words):
        self.terminal, theirs = pty.openpty()
        self.child = subprocess.Popen(host.command(*words), env=host.environment, stdin=theirs, stdout=theirs,
                                      stderr=theirs, start_new_session=True)
        os.close(theirs)
        self.seen = b""

    def wait(self, text):
        """Reads until the text was shown."""
        while text not in self.seen:
            try:
                self.seen += os.read(self.terminal, 4096)
            except OSError as error:
                raise AssertionError(f"{text!r} was never shown: {self.seen!r}") from error

    def type(self, keys):
        """Presses keys."""
        os.write(self.terminal, keys)

    def end(self):
        """Exit status."""
        status = self.child.wait(30)
        os.close(self.terminal)
        return status


def start(host, *options):
    """A run in the background, once 'socle console' can find it."""
    child = subprocess.Popen(host.command("run", host.config(), "--platform", "bochs", *options),
                             env=host.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
    for _ in range(200):
        if list(host.runtime.glob("*/run-*")):
            return child
        time.sleep(0.05)
    raise AssertionError("the run does not start")


def test_shows_what_the_machine_prints(host):
    """From a little before one came."""
    host.bochs("say socle: starts", "sleep 2", "say [one] a late line", "say socle: end status=0")
    child = start(host)
    time.sleep(0.5)
    done = host.socle("console")
    assert child.wait(20) == 0
    assert done.returncode == 0 and "[one] a late line" in done.stdout and "socle: starts" in done.stdout
    assert "nobody can type" in done.stdout


def test_keys_reach_the_machine(host):
    """All of them, and two of Ctrl-\\ leave the machine alone."""
    host.bochs("say socle: starts", "echo", "sleep 2", "say socle: end status=0")
    child = start(host, "--input", "yes")
    person = Person(host, "console")
    person.wait(b"socle: starts")
    person.type(b"\x03\x1a\x1b[A\x1d\x13\x11\x1c.")
    person.wait(b"<\x03\x1a\x1b[A\x1d\x13\x11\x1c.>")
    person.type(b"\x1c\x1c")
    assert person.end() == 0
    assert child.wait(30) == 0


def test_keys_of_a_run(host):
    """The terminal of a run is one, too: Ctrl-C is the machine's."""
    host.bochs("say socle: starts", "echo", "sleep 60")
    person = Person(host, "run", host.config(), "--platform", "bochs")
    person.wait(b"Ctrl-\\ twice")
    person.wait(b"socle: starts")
    person.type(b"\x03q\r")
    person.wait(b"<\x03q>")
    person.type(b"\x1c")
    person.type(b"\x1c")
    assert person.end() == 130


def test_nobody_waits_for_anybody(host):
    """A machine that prints a lot before it reads, and a person who types a lot before that."""
    host.bochs("say socle: starts", "dump 60000", "count 2000000", "say socle: end status=0")
    done = host.run("--timeout", 50, typed="x" * 1999999 + "\n")
    assert done.returncode == 0 and len(done.stdout) > 60000 * 80


def test_without_a_machine(host):
    """Nothing to attach to."""
    done = host.socle("console")
    assert done.returncode == 2 and "no machine is running" in done.stderr
