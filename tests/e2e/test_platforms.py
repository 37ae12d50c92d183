# SPDX-License-Identifier: MIT
"""The machine around Socle: repeatable runs, USB, screen, other emulators, the self-test without VT-x."""
import re
import subprocess

import pytest
from machine import BUILD, OK, ROOT, SOCLE, run

TWO = "[guest one]\nmultiboot = hello.elf\n[guest two]\nmultiboot = hello.elf\n"
SELF_TEST = "[host]\nself-test = yes\n"


@pytest.mark.parametrize("cpus, quantum", [(2, 16), (4, 3)])
def test_runs_are_identical(tmp_path, cpus, quantum):
    """Two runs send the same bytes and take the same number of ticks."""
    options = ["--cpus", cpus, "--quantum", quantum]
    first = run(tmp_path, TWO, *options).expect(OK)
    second = run(tmp_path, TWO, *options).expect(OK)
    assert first.serial == second.serial
    assert first.report["ticks"] and first.report["ticks"] == second.report["ticks"]


def test_runs_are_identical_on_qemu(tmp_path):
    """The same bytes, and in them the same ticks, where time counts instructions: of the many small guests, for which
    that is also a place where instructions end at other moments than anywhere else."""
    options = ["--cpus", 1, "--icount"]
    suite = ROOT / "tests/guest/suite.conf"
    first, second = (run(tmp_path, suite, *options, platform="qemu-tcg", timeout=600).expect(OK) for _ in range(2))
    assert re.search(rb"first guest ran \d+ ms \(\d+ ticks\)", first.serial)
    assert first.serial == second.serial


@pytest.mark.parametrize("cpus", [1, 2, 4, pytest.param(8, marks=pytest.mark.matrix)])
def test_self_test_without_virtualization(tmp_path, cpus):
    """The microkernel's own tests need no VT-x: QEMU alone, with ACPI tables and several CPUs."""
    run(tmp_path, SELF_TEST, "--cpus", cpus, platform="qemu-tcg", timeout=400).expect(
        OK, rf"^socle: cpus: {cpus} of {cpus} running", r"self-test in ring 3: passed")


def test_starts_from_usb(tmp_path):
    """The image is one for a stick: usb-storage on xHCI."""
    result = run(tmp_path, SELF_TEST, "--usb", "--cpus", 1, "--icount", platform="qemu-tcg").expect(OK, r"^socle: ")
    assert "USB" in result.text


def picture(path):
    """(width, height, bytes) of a PPM file."""
    data = path.read_bytes()
    magic, width, height, depth = data.split(maxsplit=4)[:4]
    assert magic == b"P6" and depth == b"255"
    return int(width), int(height), data[-int(width) * int(height) * 3:]


def test_screen_console(tmp_path):
    """The same words are on the screen: text of one ink on one paper, over many lines."""
    shot = tmp_path / "screen.ppm"
    run(tmp_path, SELF_TEST, "--cpus", 1, "--icount", "--screenshot", shot, platform="qemu-tcg").expect(OK)
    width, height, pixels = picture(shot)
    assert width >= 640 and height >= 480
    colours = {pixels[at:at + 3] for at in range(0, len(pixels), 3)}
    assert 2 <= len(colours) <= 8
    stride = width * 3
    paper = pixels[-3:]
    rows = [pixels[at:at + stride] != paper * width for at in range(0, len(pixels), stride)]
    written = sum(1 for above, below in zip(rows, rows[1:]) if below and not above)
    assert written >= 8, f"only {written} lines of text on the screen"


@pytest.mark.parametrize("version", ["2.7", "3.1"])
def test_other_emulator(tmp_path, version):
    """A second implementation, and one with ACPI tables; fetched by tools/setup --bochs VERSION."""
    check = subprocess.run([ROOT / "tools" / "setup", "--check", "--build-only", "--bochs", version], check=False)
    if check.returncode:
        pytest.skip(f"Bochs {version} is not there (tools/setup --bochs {version})")
    run(tmp_path, TWO, "--bochs", version, timeout=300).expect(OK, r"^\[one\] ", r"^\[two\] ")


def test_esp_folder_is_what_the_image_holds(tmp_path):
    """image --esp-dir leaves the same files as the image has."""
    (tmp_path / "test.conf").write_text(TWO, encoding="utf-8")
    image, folder = tmp_path / "disk.img", tmp_path / "esp"
    subprocess.run([SOCLE, "image", tmp_path / "test.conf", "-o", image, "--esp-dir", folder], check=True)
    kernel = subprocess.run(["mtype", "-i", f"{image}@@1M", "::/socle/kernel.elf"], check=True,
                            capture_output=True).stdout
    assert kernel == (folder / "socle" / "kernel.elf").read_bytes()
    assert (BUILD / "kernel.elf").read_bytes()[0x100:0x10000] == kernel[0x100:0x10000]


def test_stick_is_small(tmp_path):
    """Kernel and programs are under 1 MiB together."""
    (tmp_path / "test.conf").write_text(TWO, encoding="utf-8")
    folder = tmp_path / "esp"
    subprocess.run([SOCLE, "image", tmp_path / "test.conf", "-o", tmp_path / "disk.img", "--esp-dir", folder],
                   check=True)
    names = ["EFI/BOOT/BOOTX64.EFI"] + [f"socle/{name}.elf" for name in ("kernel", "manager", "vmm")]
    assert sum((folder / name).stat().st_size for name in names) < 1 << 20
