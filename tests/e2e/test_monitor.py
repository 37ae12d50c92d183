# SPDX-License-Identifier: MIT
"""What is typed on the host's console: the monitor, input to guests, and the report of a panic."""
from machine import GUEST_FAILED, OK, SOCLE_FAILED, run
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
