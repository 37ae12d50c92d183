# SPDX-License-Identifier: MIT
"""What cannot run says so, in a sentence, and nothing half-starts."""
import pytest
from machine import GUEST_FAILED, OK, SOCLE_FAILED, run

GUEST = "[guest one]\nmultiboot = hello.elf\n"
STARTED = (r"\[one\]", r"starting the kernel", r"panic")  # none of these may be seen

MACHINES = [
    ("no EPT", "bochs", ["--cpu", "core2_penryn_t9600"], r"^socle: refused: .*no EPT"),
    ("no unrestricted guest", "bochs", ["--cpu", "corei5_lynnfield_750"],
     r"^socle: refused: .*no unrestricted guest"),
    ("VT-x taken away", "bochs", ["--exclude-features", "vmx"], r"^socle: refused: .*no VT-x"),
    ("AMD-V taken away", "bochs", ["--cpu", "ryzen", "--exclude-features", "svm"], r"^socle: refused: .*no AMD-V"),
    ("a virtual machine without", "qemu-tcg", ["--cpu", "max,-svm"], r"^socle: refused: .*neither VT-x nor AMD-V"),
    ("no nested paging", "qemu-tcg", ["--cpu", "max,-npt"], r"^socle: refused: .*no nested paging"),
    ("too little memory", "bochs", ["--memory", "96M"], r"^socle: (refused|error): .*memory"),
]


@pytest.mark.parametrize("platform, options, line", [case[1:] for case in MACHINES],
                         ids=[case[0] for case in MACHINES])
def test_machine_is_refused(tmp_path, platform, options, line):
    """Preflight explains what is missing and what to do."""
    config = GUEST + ("memory = 512M\n" if "--memory" in options else "")
    run(tmp_path, config, *options, platform=platform).expect(SOCLE_FAILED, line, never=STARTED)


CONFIGS = [
    ("unknown section", "[gust one]\nmultiboot = hello.elf\n", 1),
    ("unknown key", "[guest one]\nmultiboot = hello.elf\ncpu = 2\n", 3),
    ("doubled key", "[guest one]\nmultiboot = hello.elf\ncpus = 1\ncpus = 2\n", 4),
    ("value out of range", "[guest one]\nmultiboot = hello.elf\nmemory = 3 bananas\n", 3),
    ("guest without an image", "[host]\n[guest one]\ncpus = 1\n", 2),
    ("two guests of one name", GUEST + GUEST, 3),
    ("line without sense", GUEST + "what is this\n", 3),
    ("no guest at all", "[host]\nwhen-done = poweroff\n", None),
]


@pytest.mark.parametrize("config, line", [case[1:] for case in CONFIGS], ids=[case[0] for case in CONFIGS])
def test_configuration_error(tmp_path, config, line):
    """An error names file, line and column, and the machine does not half-start."""
    place = f"{line}:" if line else ""
    run(tmp_path, config).expect(SOCLE_FAILED, rf"^socle: error: socle.conf:{place}.*\d+: \w+", never=STARTED)


def test_missing_file(tmp_path):
    """A file that is not on the stick, found by the loader."""
    config = "[guest one]\nmultiboot = hello.elf\nmodule = nowhere.bin with words\n"
    run(tmp_path, config, "--allow-missing").expect(
        SOCLE_FAILED, r"^socle: error: socle.conf:3:10: .*nowhere.bin", never=STARTED)


def test_missing_file_on_the_host(tmp_path):
    """The host's tool finds it even earlier."""
    result = run(tmp_path, "[guest one]\nmultiboot = nowhere.elf\n")
    assert result.status == SOCLE_FAILED
    assert "test.conf:2:13: 'nowhere.elf': no such file" in result.messages


def test_guest_larger_than_the_machine(tmp_path):
    """A guest for which there is not enough memory."""
    run(tmp_path, GUEST + "memory = 4G\n").expect(SOCLE_FAILED, r"^socle: (refused|error): .*memory",
                                                  never=STARTED)


def test_image_that_is_none(tmp_path):
    """A file that is no multiboot image fails that guest alone."""
    config = GUEST + "[guest bad]\nmultiboot = rubbish.bin\n"
    run(tmp_path, config, files={"rubbish.bin": bytes(range(256)) * 64}).expect(
        GUEST_FAILED, r"^\[one\] ", r"^socle: .*\bbad\b", never=("panic",))


def test_image_larger_than_its_guest(tmp_path):
    """A flat image that does not fit in the guest's memory is found before anything starts."""
    config = GUEST + "[guest big]\nflat = big.bin\nmemory = 1M\n"
    run(tmp_path, config, files={"big.bin": bytes(3 << 20)}).expect(
        SOCLE_FAILED, r"^socle: error: socle.conf:4:8: .*big.*memory", never=STARTED)


def test_hello_is_not_refused(tmp_path):
    """The guest that the cases above start from is a good one."""
    run(tmp_path, GUEST).expect(OK, r"^\[one\] ")
