# SPDX-License-Identifier: MIT
"""A test that failed by QEMU's known fault is run once more (tests/e2e/conftest.py), once, and no other test is."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
LOST = "[four] !! triple fault at rip=0008:ffffffff80019b71 on vcpu 2"
OTHER = "[four] !! triple fault at rip=0008:ffffffff81019b71 on vcpu 2"
EXAMPLE = f"""
def runs(folder, line):
    (folder / "serial.log").write_text(line)
    with (folder / "runs").open("a") as log:
        log.write("x")
    return len((folder / "runs").read_text())

def test_first_time_only(tmp_path):
    assert runs(tmp_path, "{LOST}") == 2

def test_every_time(tmp_path):
    assert runs(tmp_path, "{LOST}") == 3

def test_something_else(tmp_path):
    assert runs(tmp_path, "{OTHER}") == 2
"""


def test_once_more(tmp_path):
    """The first passes and says so, the others fail."""
    shutil.copy(TESTS / "e2e" / "conftest.py", tmp_path)
    (tmp_path / "test_example.py").write_text(EXAMPLE, encoding="utf-8")
    result = subprocess.run([sys.executable, "-m", "pytest", "-q", "-ra", "-p", "no:cacheprovider", "test_example.py"],
                            cwd=tmp_path, env=dict(os.environ, PYTHONPATH=str(TESTS)), capture_output=True,
                            text=True, check=False)
    assert "2 failed, 1 passed" in result.stdout, result.stdout + result.stderr
    assert "test_first_time_only: QEMU's first CPU left a guest" in result.stdout
    assert "test_something_else: QEMU" not in result.stdout
