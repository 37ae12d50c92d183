# SPDX-License-Identifier: MIT
"""Debian's own kernel as a guest, with the shell of guests/linux: typed at, looked at, switched off."""
import lzma
import re
import struct

import pytest
from machine import BUILD, OK, run

CLOUD, FULL = "vmlinuz-cloud-amd64", "vmlinuz-amd64"
pytestmark = pytest.mark.skipif(not (BUILD / "guests" / "linux" / CLOUD).exists(),
                                reason="no Linux here: tools/setup could not fetch Debian's packages")

CONFIG = """[guest {name}]
linux = linux/{kernel}
initrd = linux/initrd.img
options = console=ttyS0 cryptomgr.notests quiet {options}
memory = 256M
cpus = {cpus}
"""
MAX_EXITS = 12000  # to the shell, on one CPU
LOOK = """send linux dmesg -r | grep '^<[0-4]>'; nproc; cat /proc/interrupts
send linux echo clock $(cat /sys/devices/system/clocksource/*/current_clocksource); echo lo""ok
"""
# What Linux warns of on the bare emulator too: the CPU.
KNOWN = re.compile("RETBleed: WARNING")


def warnings(result):
    """What the kernel's log has of warnings and worse."""
    return [line for line in result.lines(r"^\[linux\] <[0-4]>") if not KNOWN.search(line)]


def check_interrupts(result, cpus):
    """Those of a PC with an IOAPIC: from the devices that it has, none lost and none from nowhere."""
    rows = dict(re.findall(r"^\[linux\] +(\w+):((?: +\d+)+)", result.text, re.M))
    counts = {name: list(map(int, row.split())) for name, row in rows.items()}
    assert {"4", "9", "LOC", "SPU", "ERR", "MIS"} <= set(counts), result.text
    assert not {name for name in counts if name.isdigit()} - {"0", "1", "4", "8", "9", "12"}, result.text
    assert len(counts["LOC"]) == cpus and all(counts["LOC"]) and sum(counts["4"]), result.text
    assert not any(counts["SPU"] + counts["ERR"] + counts["MIS"] + counts["9"]), result.text
    assert result.lines(r"IO-APIC +4-edge +ttyS0") and result.lines(r"IO-APIC +9-fasteoi +acpi"), result.text


def boot(folder, cpus, dialog, options="", kernel=CLOUD):
    """Runs one guest of so many CPUs; one emulated CPU, as more of them lose a guest's stack pointer."""
    config = CONFIG.format(name="linux", cpus=cpus, options=options, kernel=kernel)
    return run(folder, config, "--cpus", 1, timeout=900, dialog=dialog)


@pytest.mark.parametrize("kernel, cpus", [
    (CLOUD, 1), (CLOUD, 4), pytest.param(CLOUD, 2, marks=pytest.mark.matrix),
    pytest.param(FULL, 2, marks=pytest.mark.matrix)])
def test_shell(tmp_path, kernel, cpus):
    """A person types commands, reads what they say, and switches off."""
    dialog = [("linux: ready", "stats linux\n"), (r"^socle: +hlt ", LOOK),
              (r"^\[linux\] look", "send linux poweroff\n")]
    result = boot(tmp_path, cpus, dialog, kernel=kernel).expect(
        OK, rf"^\[linux\] linux: ready, \S+, {cpus} CPUs", rf"^\[linux\] {cpus}$", r"^\[linux\] clock tsc",
        r"guest linux: success \(powered off\)")
    assert not warnings(result), result.text
    check_interrupts(result, cpus)
    exits = int(re.search(r"linux: \d+ cpus, (\d+) exits", result.text).group(1))
    assert cpus > 1 or exits < MAX_EXITS


def test_reboot_and_panic(tmp_path):
    """`reboot` starts the guest again, and so does a panic: at once where the kernel tells of it, which Debian's does
    when its module is there, or when it resets by itself."""
    dialog = [("linux: ready", "send linux reboot\n"), ("starting again", ""),
              ("linux: ready", "send linux echo c > /proc/sysrq-trigger\n"), ("kernel panicked, restarting", ""),
              ("linux: ready", "send linux rmmod pvpanic_mmio; echo c > /proc/sysrq-trigger\n"), ("starting again", ""),
              ("linux: ready", "send linux poweroff\n")]
    boot(tmp_path, 2, dialog, "panic=1\nrestart = on-failure").expect(
        OK, r"guest linux: reset.*starting again", r"Kernel panic", r"guest linux: success")


def unpacked(image):
    """The ELF file in a bzImage that is compressed by xz (boot protocol, setup_sects, payload_offset and its length)."""
    at, size = struct.unpack_from("<II", image, 0x248)
    at += (image[0x1f1] + 1) * 512
    return lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(image[at:at + size])


@pytest.mark.matrix
@pytest.mark.parametrize("platform", ["qemu-tcg", "bochs"])
def test_vmlinux(socle, tmp_path, platform):
    """The same kernel by the other way in, PVH: memory, tables, command line and initrd are found there, too."""
    vmlinux = tmp_path / "vmlinux"
    vmlinux.write_bytes(unpacked((BUILD / "guests" / "linux" / FULL).read_bytes()))
    machine = socle.boot(socle.linux("linux", linux=vmlinux, memory="256M"), platform=platform, cpus=1, timeout=900)
    guest = machine["linux"]
    guest.wait("linux: ready")
    log = guest.sh("dmesg | grep -e RSDP -e 'Command line' -e RAMDISK -e 'Memory:'").output
    assert "ACPI: RSDP 0x00000000000F0000" in log and "console=ttyS0" in log and "RAMDISK: [mem" in log, log
    assert not re.search("(?i)no valid RSDP", log), log
    guest.type("poweroff")
    machine.expect(OK, r"guest linux: success \(powered off\)")


def test_two(tmp_path):
    """Two of them and a small guest on two CPUs with AMD-V; one goes, the other stays."""
    config = "".join(CONFIG.format(name=name, cpus=2, options="", kernel=CLOUD) for name in ("web", "db"))
    dialog = [("linux: ready", ""), ("linux: ready", "isolation\n"),
              (r"isolation: ok, \d+ pages", "send web echo $((6 * 7)); poweroff\n"),
              ("guest web: success", "send db echo $((6 * 7)); poweroff\n")]
    run(tmp_path, config + "[guest hello]\nmultiboot = hello.elf\n", "--cpus", 2, platform="qemu-tcg", timeout=600,
        dialog=dialog).expect(OK, r"^\[web\] 42", r"^\[db\] 42", "3 guests ended as expected")
