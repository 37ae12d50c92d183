# SPDX-License-Identifier: MIT
"""ACPICA's tools take the tables that a guest's firmware leaves: acpidump and acpixtract carry them, iasl
disassembles and compiles them to the same bytes without a remark, acpiexec runs their methods."""
import re
import subprocess

import pytest
from conftest import ROOT

# The RSDP has no table header, so none of the tools takes it alone; tests/unit/test_firmware.c checks it.
TABLES = ("APIC", "DSDT", "FACP", "FACS", "MCFG", "RSDT", "SSDT", "XSDT")
CPUS = (1, 2, 8, 16)
# Who compiled a table is in its header, and iasl says itself there.
COMPILER = slice(28, 36)
CHECKSUM = slice(9, 10)


def run(folder, *words):
    """Output of a command that must succeed."""
    done = subprocess.run(list(map(str, words)), cwd=folder, capture_output=True, text=True, timeout=120,
                          check=False)
    assert done.returncode == 0, f"{words}:\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The host program that makes the tables."""
    folder = tmp_path_factory.mktemp("acpi")
    run(ROOT, "make", f"BUILD={folder}", folder / "dsdt.c")
    run(ROOT, "gcc", "-std=gnu11", "-Wall", "-Werror", "-I.", "-fsanitize=address,undefined", "-o",
        folder / "guest_acpi", "tests/tools/guest_acpi.c", "vmm/machine/firmware.c", "vmm/machine/ram.c",
        "vmm/device/fwcfg.c", folder / "dsdt.c", "tests/unit/fake_host.c", "vmm/machine/bus.c")
    return folder / "guest_acpi"


@pytest.fixture(scope="module", params=CPUS)
def tables(request, program, tmp_path_factory):
    """CPUs, and a folder with one file for each table."""
    folder = tmp_path_factory.mktemp(f"tables{request.param}")
    run(folder, program, request.param, folder)
    assert {path.stem for path in folder.glob("*.bin")} == {"RSDP", *TABLES}
    return request.param, folder


def without_compiler(table):
    """A table's bytes but for who compiled it, and the checksum that depends on it."""
    table = bytearray(table)
    table[COMPILER] = bytes(8)
    table[CHECKSUM] = bytes(1)
    return bytes(table)


def test_dump_and_extract(tables):
    """A dump of them gives them back, byte by byte."""
    _, folder = tables
    dump = folder / "dump"
    dump.write_text("".join(run(folder, "acpidump", "-f", f"{name}.bin") for name in TABLES))
    run(folder, "acpixtract", "-a", dump)
    for name in TABLES:
        assert (folder / f"{name.lower()}.dat").read_bytes() == (folder / f"{name}.bin").read_bytes(), name


@pytest.mark.parametrize("name", TABLES)
def test_disassemble_and_compile(tables, name):
    """iasl finds nothing wrong, and what it understood is all that is there."""
    _, folder = tables
    said = run(folder, "iasl", "-p", f"{name}-d", "-d", f"{name}.bin")
    assert not re.search(r"error|warning|invalid|unknown|mismatch", said, re.I), said
    text = (folder / f"{name}-d.dsl").read_text()
    assert not re.search(r"\*\*\*|error|warning|invalid|incorrect|unknown", text, re.I), text
    said = run(folder, "iasl", "-oa", "-we", "-p", f"{name}-c", f"{name}-d.dsl")
    assert not re.search(r"\b(Error|Warning|Remark)\b +\d", said), said
    if re.search(r"\d+ Errors", said):
        assert "0 Errors, 0 Warnings, 0 Remarks" in said, said
    compiled = (folder / f"{name}-c.aml").read_bytes()
    original = (folder / f"{name}.bin").read_bytes()
    if name == "FACS":  # it has no such header
        assert compiled == original
    else:
        assert without_compiler(compiled) == without_compiler(original)


def test_methods(tables):
    """The CPUs that are there say so, and power-off is where the machine has it."""
    cpus, folder = tables
    orders = [f"evaluate \\_SB.C{n:03X}._STA" for n in range(16)] + ["evaluate \\_S5", "evaluate \\_PIC 1"]
    said = run(folder, "acpiexec", "-b", ";".join(orders), "DSDT.bin", "SSDT.bin")
    assert not re.search(r"ACPI (Error|Warning|BIOS)|Could not", said), said
    values = [int(value, 16) for value in re.findall(r"\[Integer\] = ([0-9A-F]+)", said)]
    assert values[:16] == [0xf if n < cpus else 0 for n in range(16)], said
    assert values[16:] == [0, 0, 0, 0], said  # SLP_TYP of power-off
