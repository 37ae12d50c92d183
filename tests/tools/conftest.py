# SPDX-License-Identifier: MIT
"""What the tests of the host tool share: a build folder with stand-ins, and an emulator that is none."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))

PROGRAMS = ("BOOTX64.EFI", "kernel.elf", "manager.elf", "vmm.elf", "input.elf", "selftest.elf")

# Plays a machine: takes the serial file and the log from the configuration it is given, and does what
# the script says, one action per line.
FAKE_BOCHS = r'''#!/usr/bin/python3
import re, socket, sys, time
if "--help" in sys.argv:
    print("Supported CPU models:\n\ni386\ncorei3_cnl\n\n=====")
    sys.exit(0)
rc = open(sys.argv[sys.argv.index("-f") + 1]).read()
log = open(re.search(r"^log: (.*)$", rc, re.M).group(1), "w")
port = re.search(r"dev=127.0.0.1:(\d+)", rc)
if port:
    server = socket.create_server(("127.0.0.1", int(port.group(1))))
    link = server.accept()[0]
    write, read = link.sendall, link.recv
else:
    file = open(re.search(r"mode=file, dev=(.*)$", rc, re.M).group(1), "wb", buffering=0)
    write = file.write
log.write("00000000000i[      ] start\n"); log.flush()
for line in open(__file__ + ".script"):
    verb, _, rest = line.rstrip("\n").partition(" ")
    if verb == "say": write(rest.encode().decode("unicode_escape").encode("latin-1") + b"\r\n")
    if verb == "part": write(rest.encode().decode("unicode_escape").encode("latin-1"))
    if verb == "log": log.write(rest + "\n"); log.flush()
    if verb == "sleep": time.sleep(float(rest))
    if verb == "echo": write(b"<" + read(100).strip() + b">\r\n")
    if verb == "dump": write((b"." * 79 + b"\n") * int(rest))
    if verb == "count":
        left = int(rest)
        while left: left -= len(read(min(left, 4096)))
    if verb == "save": open(rest, "w").write(rc)
log.write("00001234567i[SIM   ] quit_sim called with exit code 1\n")
sys.exit(1)
'''


class Host:
    """Runs tools/socle in a world of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.build = folder / "build"
        (self.build / "guests").mkdir(parents=True)
        for name in PROGRAMS:
            (self.build / name).write_bytes(f"this is {name}\n".encode() * 100)
        (self.build / "guests" / "hello.elf").write_bytes(b"hello, guest\n")
        self.cache = folder / "cache"
        self.temp = folder / "tmp"
        self.temp.mkdir()
        self.runtime = folder / "runtime"
        self.runtime.mkdir()
        self.environment = dict(os.environ, BUILD=str(self.build), XDG_CACHE_HOME=str(self.cache),
                                TMPDIR=str(self.temp), XDG_RUNTIME_DIR=str(self.runtime))

    def bochs(self, *script, version="3.0"):
        """Installs an emulator that does what the script says."""
        home = self.cache / "socle" / f"bochs-{version}"
        home.mkdir(parents=True, exist_ok=True)
        program = home / "bochs"
        program.write_text(FAKE_BOCHS)
        program.chmod(0o755)
        (home / "bochs.script").write_text("\n".join(script) + "\n")

    def config(self, text="[guest one]\nmultiboot = hello.elf\n", name="test.conf"):
        """Writes a configuration."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def command(self, *words):
        """The command line of tools/socle."""
        return [sys.executable, str(ROOT / "tools" / "socle"), *map(str, words)]

    def socle(self, *words, typed=None):
        """Runs tools/socle; returns the finished process with text output."""
        return subprocess.run(self.command(*words), input=typed, capture_output=True, text=True,
                              stdin=None if typed is not None else subprocess.DEVNULL, timeout=60,
                              env=self.environment, check=False)

    def run(self, *options, typed=None, config=None):
        """socle run of a configuration on the stand-in emulator."""
        return self.socle("run", config or self.config(), "--platform", "bochs", *options, typed=typed)


@pytest.fixture
def host(tmp_path):
    """A Host in a fresh folder."""
    return Host(tmp_path)
