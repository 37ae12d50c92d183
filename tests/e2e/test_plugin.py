# SPDX-License-Identifier: MIT
"""The pytest plug-in as others use it: from a folder elsewhere, by the steps of docs/testing.md; and a user's own
kernel from anywhere on the host."""
import os
import re
import subprocess

import pytest
from pytest_socle import BUILD, INITRD, KERNEL, OK, ROOT

DOC = (ROOT / "docs/testing.md").read_text(encoding="utf-8")
LINUX = pytest.mark.skipif(not (BUILD / "guests" / KERNEL).exists(),
                           reason="no Linux here: tools/setup could not fetch Debian's packages")
pytestmark = pytest.mark.xdist_group("qemu-tcg")

FAILING = '''
def test_vain(socle):
    machine = socle.boot(socle.guest("one", multiboot="hello.elf"), platform="qemu-tcg", cpus=1)
    machine["one"].wait("nothing of the kind", timeout=200)

def test_nested(socle):
    socle.boot(socle.guest("one", multiboot="hello.elf"), platform="qemu-kvm").finish()

def test_typo(socle):
    socle.boot(socle.guest("one", multiboot="hello.elf"), platform="qemu-tcg")["won"]
'''


def block(language):
    """The example of the documentation."""
    return re.search(rf"^```{language}\n(.*?)^```", DOC, re.M | re.S)[1]


def outside(folder, commands):
    """Runs commands in a folder that knows nothing of Socle."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHONPATH"))}
    return subprocess.run(["bash", "-euc", commands], cwd=folder, env=dict(environment, BUILD=str(BUILD)), timeout=900,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)


@LINUX
def test_example_of_the_documentation(tmp_path):
    """Passes as it stands there."""
    (tmp_path / "test_guests.py").write_text(block("python"), encoding="utf-8")
    done = outside(tmp_path, block("sh").replace("~/socle", str(ROOT)))
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout


def test_failures_are_told(tmp_path):
    """What was waited for, what was said instead, and where the rest is; what is missing; who is there."""
    (tmp_path / "test_failing.py").write_text(FAILING, encoding="utf-8")
    done = outside(tmp_path, block("sh").replace("~/socle", str(ROOT)).replace("test_guests.py", "-rs test_failing.py"))
    assert done.returncode == 1
    for words in ("> *machine..one...wait", "waited in vain for 'nothing of the kind': one has ended",
                  "--- last lines of one ---\nE +this is Socle\n", "socle: guest one: success", "all of it: /",
                  "SKIPPED.*nested KVM cannot be used: |[12] passed", "no guest is called won; there are: one"):
        assert re.search(words, done.stdout), f"{words!r} is not in:\n{done.stdout}"


@LINUX
def test_own_kernel(socle, tmp_path):
    """Kernel and initrd are wherever they are: beside, above, by their full name."""
    conf, above, other = tmp_path / "conf", tmp_path / "above", tmp_path / "some where"
    for folder in (conf, above, other):
        folder.mkdir()
    (above / "bzImage").symlink_to(BUILD / "guests" / KERNEL)
    (other / "my initrd").symlink_to(BUILD / "guests" / INITRD)
    (conf / "my.conf").write_text(f"[guest mine]\nlinux = ../above/bzImage\ninitrd = {other}/my initrd\n"
                                  "options = console=ttyS0 quiet cryptomgr.notests\nmemory = 128M\n", encoding="utf-8")
    machine = socle.boot(conf / "my.conf", platform="qemu-tcg", cpus=1)
    machine["mine"].wait("linux: ready")
    assert machine["mine"].sh("grep -o quiet /proc/cmdline").output == "quiet"
    machine["mine"].type("poweroff")
    assert machine.finish() == OK
