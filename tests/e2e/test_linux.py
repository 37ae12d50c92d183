# SPDX-License-Identifier: MIT
"""Debian's own kernel as a guest, with the shell of guests/linux: typed at, looked at, beside others, switched off."""
import hashlib
import lzma
import re
import struct

import pytest
from machine import CNL, HASWELL, SANDY, complaints
from pytest_socle import BUILD, OK, ROOT

# Bochs has one CPU here: with more it loses a guest's stack pointer at faults (README).
BOCHS, OLD_BOCHS, NESTED = ("bochs", 1), ("bochs", 1, "--bochs", "2.7"), ("qemu-kvm", 2)
MODELS = tuple(("bochs", 1, "--cpu", model) for model in (SANDY, HASWELL, CNL))
TCG = {cpus: ("qemu-tcg", cpus) for cpus in (1, 2, 4)}
EVERYWHERE = (BOCHS, TCG[1], TCG[2], TCG[4], NESTED)
TIMEOUT = 900  # on a busy host; quiet, none takes two minutes
CLOUD, FULL = "linux/vmlinuz-cloud-amd64", "linux/vmlinuz-amd64"
MAX_EXITS = 12000  # to the shell, on one CPU with VT-x
LINES = 20000
SUM = hashlib.md5("".join(f"{n}\n" for n in range(1, LINES + 1)).encode()).hexdigest()


def places(*quick, more=EVERYWHERE):
    """Where a test is run: in the quick places by `make e2e`, in all others by `make matrix`."""
    for place in [*quick, *(place for place in more if place not in quick)]:
        marks = [] if place in quick else [pytest.mark.matrix]
        marks += [pytest.mark.xdist_group("qemu-tcg")] if place[0] == "qemu-tcg" else []
        yield pytest.param(place, marks=marks, id=re.sub("---bochs|---cpu", "", "-".join(map(str, place))))


def boot(socle, place, config):
    """(machine, its Linux guests in order, each with its shell)."""
    platform, cpus, *options = place
    machine = socle.boot(config, *options, platform=platform, cpus=cpus, timeout=TIMEOUT)
    guests = [machine[name] for name in re.findall(r"^\[guest (\w+)\]\nlinux", config, re.M)]
    for guest in guests:
        guest.wait("linux: ready")
    return machine, guests


def unpacked(image):
    """The ELF file in a bzImage that is compressed by xz (boot protocol, setup_sects, payload_offset and its length)."""
    at, size = struct.unpack_from("<II", image, 0x248)
    at += (image[0x1f1] + 1) * 512
    return lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(image[at:at + size])


def check_interrupts(table, cpus):
    """Those of a PC with an IOAPIC: from the devices that it has, none lost and none from nowhere."""
    rows = dict(re.findall(r"^ *(\w+):((?: +\d+)+)", table, re.M))
    counts = {name: list(map(int, row.split())) for name, row in rows.items()}
    assert {"4", "9", "LOC", "SPU", "ERR", "MIS"} <= set(counts)
    assert not {name for name in counts if name.isdigit()} - {"0", "1", "4", "8", "9", "12"}
    assert len(counts["LOC"]) == cpus and all(counts["LOC"]) and sum(counts["4"])
    assert not any(counts["SPU"] + counts["ERR"] + counts["MIS"] + counts["9"])
    assert re.search(r"IO-APIC +4-edge +ttyS0", table) and re.search(r"IO-APIC +9-fasteoi +acpi", table)


def power_off(*guests):
    """Each ends well."""
    for guest in guests:
        guest.type("poweroff")
    for guest in guests:
        end = guest.wait_end()
        assert (end.how, end.reason) == ("success", "powered off")


def sums(guest, times):
    """Starts to compute the same sum so often; a function that waits, and fails if one was wrong."""
    result = guest.begin(f"for i in $(seq {times}); do seq {LINES} | md5sum; done | uniq -c")

    def check():
        shell = result()
        assert (shell.status, shell.output.split()) == (0, [str(times), SUM, "-"]), guest.name

    return check


def loop_on_each(guest, cpus):
    """A shell loop on each of the guest's CPUs, all at once."""
    assert guest.sh("grep -c ^processor /proc/cpuinfo; cat /sys/devices/system/cpu/online").output == (
        f"{cpus}\n0-{cpus - 1}")
    loop = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo cpu $(cut -d\" \" -f39 /proc/$$/stat) $i"
    command = f"m=1; while [ $m -lt {1 << cpus} ]; do taskset $m sh -c '{loop}' & m=$((m*2)); done; wait"
    shell = guest.sh(command)
    assert sorted(shell.output.splitlines()) == [f"cpu {cpu} 20000" for cpu in range(cpus)]


@pytest.mark.parametrize("kernel, cpus, place", [
    pytest.param(kernel, cpus, *param.values, marks=param.marks, id=f"{name}-{cpus}vcpu-{param.id}")
    for name, kernel, cpus, quick in (("cloud", CLOUD, 1, [BOCHS]), ("cloud", CLOUD, 4, [BOCHS]), ("cloud", CLOUD, 2, []),
                                      ("full", FULL, 2, []))
    for param in places(*quick, more={1: (*EVERYWHERE, *MODELS, OLD_BOCHS), 2: (BOCHS, TCG[2]),
                                      4: (*EVERYWHERE, *MODELS)}[cpus])])
def test_shell(socle, kernel, cpus, place):
    """A person types commands, reads what they say, and switches off; the kernel has nothing to complain of."""
    machine, (linux,) = boot(socle, place, socle.linux("linux", kernel=kernel, cpus=cpus, memory="256M"))
    machine.type("stats linux")
    exits = int(machine.wait(r"linux: \d+ cpus, (\d+) exits")[1])
    assert cpus > 1 or place[0] != "bochs" or exits < MAX_EXITS
    assert linux.sh("nproc").output == str(cpus)
    assert linux.sh("cat /sys/devices/system/clocksource/*/current_clocksource").output in ("tsc", "kvm-clock")
    assert not complaints(linux)
    check_interrupts(linux.sh("cat /proc/interrupts").output, cpus)
    shell = linux.sh("echo out; echo err >&2; exit 3")
    assert (shell.status, shell.output) == (3, "out\nerr")
    power_off(linux)
    assert machine.finish() == OK


@pytest.mark.parametrize("place", places(BOCHS))
def test_reboot_and_panic(socle, place):
    """`reboot` starts the guest again, and so does a panic: at once where the kernel tells of it, which Debian's does
    when its module is there, or when it resets by itself."""
    machine, (linux,) = boot(socle, place, socle.linux("linux", "panic=1", cpus=2, restart="on-failure"))
    for command, end in (("reboot", "reset.*starting again"),
                         ("echo c > /proc/sysrq-trigger", "kernel panicked, restarting"),
                         ("rmmod pvpanic_mmio; echo c > /proc/sysrq-trigger", "reset.*starting again")):
        linux.type(command)
        machine.wait(rf"guest linux.*{end}", 300)
        linux.wait("linux: ready")
    assert linux.text.count("Kernel panic") >= 2
    power_off(linux)
    assert machine.finish() == OK


@pytest.mark.parametrize("place", places(more=EVERYWHERE))
def test_vmlinux(socle, tmp_path, place):
    """The same kernel by the other way in, PVH: memory, tables, command line and initrd are found there, too."""
    vmlinux = tmp_path / "vmlinux"
    text = socle.linux("linux", kernel=FULL, memory="256M")  # skips where there is none
    vmlinux.write_bytes(unpacked((BUILD / "guests" / FULL).read_bytes()))
    machine, (linux,) = boot(socle, place, text.replace(f"linux = {FULL}", f"linux = {vmlinux}"))
    log = linux.sh("dmesg | grep -e RSDP -e 'Command line' -e RAMDISK -e 'Memory:'").output
    assert "ACPI: RSDP 0x00000000000F0000" in log and "console=ttyS0" in log and "RAMDISK: [mem" in log, log
    assert not re.search("(?i)no valid RSDP", log), log
    power_off(linux)
    assert machine.finish() == OK


@pytest.mark.parametrize("times, place", [
    pytest.param(times, *param.values, marks=param.marks, id=f"{times}-{param.id}")
    for times, found in ((2, places(TCG[1], more=())), (20, places(more=EVERYWHERE))) for param in found])
def test_reboots_leak_nothing(socle, times, place):
    """Again and again: as many pages are free at the last time as at the first."""
    machine, (linux,) = boot(socle, place, socle.linux("linux", cpus=2))
    free = []
    for time in range(times + 1):
        if time:
            linux.type("reboot")
            linux.wait("linux: ready")
        machine.type("isolation")
        free.append(machine.wait(r"isolation: pages: .* (\d+) free")[1])
        machine.wait("isolation: ok")
    assert len(set(free)) == 1, free
    power_off(linux)
    assert machine.finish() == OK


@pytest.mark.parametrize("place", places(TCG[2]))
def test_unharmed(socle, place):
    """Two of them compute beside a guest that tries every way out and one that crashes, over and over: every sum is
    right, and nothing is anybody else's."""
    config = socle.linux("web", cpus=2) + socle.linux("db") + socle.guest(
        "intruder", multiboot="intruder.elf", options="-q", restart="always", restart_limit=0) + socle.guest(
        "crasher", multiboot="crasher.elf", options="triple", restart="always", restart_limit=0)
    machine, (web, db) = boot(socle, place, config)
    checks = [sums(web, 10), sums(db, 10)]
    machine.wait("guest crasher ended: triple fault, restarting")
    machine.wait("intruder: SUCCESS")
    for check in checks:
        check()
    machine.type("isolation")
    machine.wait("isolation: ok")
    power_off(web, db)
    machine.type("quit")
    machine.expect(OK, r"guest crasher: killed.*at quit", never=("FAILURE", "socle: panic:"))


@pytest.mark.parametrize("place", places(TCG[2]))
def test_more_vcpus_than_cpus(socle, place):
    """Four vCPUs where there are fewer CPUs, or as many: all are online, and all compute."""
    machine, (linux,) = boot(socle, place, socle.linux("linux", cpus=4))
    loop_on_each(linux, 4)
    sums(linux, 4)()
    power_off(linux)
    assert machine.finish() == OK


@pytest.mark.parametrize("place", places())
def test_three(socle, place):
    """Three guests of two vCPUs share the machine; each has all that it should."""
    machine, guests = boot(socle, place, "".join(socle.linux(name, cpus=2) for name in ("web", "db", "cache")))
    for guest in guests:
        loop_on_each(guest, 2)
    for check in [sums(guest, 5) for guest in guests]:
        check()
    power_off(*guests)
    assert machine.finish() == OK


@pytest.mark.parametrize("place", places(TCG[2]))
def test_kill_and_reset(socle, place):
    """One is killed and started again from the monitor; the other two compute on and notice nothing."""
    machine, (web, *others) = boot(socle, place, "".join(socle.linux(name) for name in ("web", "db", "cache")))
    checks = [sums(guest, 40) for guest in others]
    machine.type("kill web")
    assert web.wait_end().how == "killed"
    machine.type("reset web")
    web.wait("linux: ready")
    assert web.sh("echo again").output == "again"
    machine.type("reset web")
    web.wait("linux: ready")
    for check in checks:
        check()
    power_off(web, *others)
    assert machine.finish() == OK


@pytest.mark.parametrize("place", places(TCG[2], more=(BOCHS, NESTED)))
def test_make_run(socle, place):
    """What `make run` starts: two that one can type at, a small one beside them; switched off, the machine ends."""
    platform, cpus = place
    socle.linux("web")  # skips where there is none
    machine = socle.boot(ROOT / "guests" / "run.conf", platform=platform, cpus=cpus, timeout=TIMEOUT)
    for name in ("web", "db"):
        machine[name].wait("linux: ready")
        assert machine[name].sh("echo $((6 * 7))").output == "42"
    assert machine["memcheck"].wait_end().how == "success"
    power_off(machine["web"], machine["db"])
    assert machine.finish() == OK
