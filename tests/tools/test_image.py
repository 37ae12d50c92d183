# SPDX-License-Identifier: MIT
"""socle image: what is on the disk, that two runs give the same bytes, and what is refused."""
import struct
import subprocess

import pytest
from soclelib import config, fat, image
from soclelib.common import Failure


def make(host, text, *options):
    """Writes an image; returns (finished process, path)."""
    path = host.folder / "disk.img"
    return host.socle("image", host.config(text), "-o", path, *options), path


def on_disk(path, name):
    """A file of the image, read by mtools."""
    return subprocess.run(["mtype", "-i", f"{path}@@1M", f"::/{name}"], capture_output=True, check=True).stdout


def test_holds_what_the_configuration_names(host):
    """Loader, programs, configuration and the guests' files, from beside it or from the build folder."""
    (host.folder / "sub").mkdir()
    (host.folder / "sub" / "My-Module.with.dots.bin").write_bytes(b"m" * 70000)
    (host.folder / "notes.txt").write_bytes(b"notes\n")
    text = ("\ufeff[host]\r\nself-test = yes\r\n[guest one]\nmultiboot = hello.elf ; a comment\n"
            "module = notes.txt with words\n[guest two] # another\n  flat=sub/My-Module.with.dots.bin\n")
    done, path = make(host, text)
    assert done.returncode == 0, done.stderr
    assert on_disk(path, "socle/hello.elf") == b"hello, guest\n"
    assert on_disk(path, "socle/notes.txt") == b"notes\n"
    assert on_disk(path, "socle/sub/My-Module.with.dots.bin") == b"m" * 70000
    assert on_disk(path, "socle/socle.conf") == (host.folder / "test.conf").read_bytes()
    assert on_disk(path, "EFI/BOOT/BOOTX64.EFI") == (host.build / "BOOTX64.EFI").read_bytes()
    for name in ("kernel.elf", "manager.elf", "vmm.elf", "input.elf", "selftest.elf"):
        assert on_disk(path, f"socle/{name}") == (host.build / name).read_bytes()


def test_without_self_test_its_program_stays_out(host):
    """selftest.elf is on the stick only when it is asked for."""
    _, path = make(host, "[guest one]\nmultiboot = hello.elf\n")
    listing = subprocess.run(["mdir", "-b", "-i", f"{path}@@1M", "::/socle"], capture_output=True, text=True,
                             check=True).stdout
    assert "selftest" not in listing and "kernel.elf" in listing


def test_file_beside_the_configuration_wins(host):
    """A user's own hello.elf is taken before the built one."""
    (host.folder / "hello.elf").write_bytes(b"mine\n")
    _, path = make(host, "[guest one]\nmultiboot = hello.elf\n")
    assert on_disk(path, "socle/hello.elf") == b"mine\n"


def test_same_input_gives_same_bytes(host):
    """Nothing of the time or the machine is in an image."""
    _, path = make(host, "[guest one]\nmultiboot = hello.elf\n")
    first = path.read_bytes()
    path.unlink()
    make(host, "[guest one]\nmultiboot = hello.elf\n")
    assert path.read_bytes() == first


@pytest.mark.parametrize("size", ["48M", "300M", "3G"])
def test_disk_is_sound(host, size):
    """Other people's tools find no fault with partition table and file system."""
    _, path = make(host, "[guest one]\nmultiboot = hello.elf\n", "--size", size)
    table = subprocess.run(["/usr/sbin/sgdisk", "-v", "-i", "1", path], capture_output=True, text=True,
                           check=True).stdout
    assert "No problems found" in table and "EFI system partition" in table
    volume = host.folder / "volume"
    subprocess.run(["dd", f"if={path}", f"of={volume}", "bs=1M", "skip=1", "conv=sparse", "status=none"],
                   check=True)
    subprocess.run(["/usr/sbin/fsck.fat", "-n", volume], capture_output=True, check=True)


def test_esp_folder(host):
    """--esp-dir leaves the same tree as plain files."""
    folder = host.folder / "esp"
    done, _ = make(host, "[guest one]\nmultiboot = hello.elf\n", "--esp-dir", folder)
    assert done.returncode == 0
    assert (folder / "socle" / "hello.elf").read_bytes() == b"hello, guest\n"
    assert (folder / "EFI" / "BOOT" / "BOOTX64.EFI").exists()


@pytest.mark.parametrize("text, message", [
    ("[guest one]\nmultiboot = nowhere.elf\n", "test.conf:2:13: 'nowhere.elf': no such file"),
    ("[guest one]\nmultiboot = hello.elf\nmodule = gone words\n", "test.conf:3:10: 'gone': no such file"),
    ("[guest one]\nflat = ../secret\n", "test.conf:2:8: '../secret': no such file"),
    ("[guest one]\nflat = /nowhere/file\n", "test.conf:2:8: '/nowhere/file': no such file (looked for /nowhere/file)"),
    ("[guest one]\nflat = /etc\n", "test.conf:2:8: '/etc': /etc is a folder"),
    ("[guest one]\nlinux = linux/gone\n", "it comes from Debian's packages: 'tools/setup' fetches them"),
    ("[guest one]\nflat = hello.elf -x\n", "'hello.elf -x': no such file"),
    ("[guest one]\nflat = kernel.elf\n", "test.conf:2:8: 'kernel.elf' is the name of a part of Socle"),
], ids=["missing image", "missing module", "dot dot", "absolute", "folder", "no Linux", "arguments", "reserved"])
def test_bad_file_names(host, text, message):
    """Errors name file, line and column, and leave no image behind."""
    done, path = make(host, text)
    assert done.returncode == 2
    assert message in done.stderr
    assert not path.exists()


def test_files_from_anywhere(host):
    """Names that no stick could hold get others there, and in its configuration."""
    place = host.folder / "some where" / "else"
    place.mkdir(parents=True)
    (place / "my kernel").write_bytes(b"kernel")
    (place / "disk.img").write_bytes(b"initrd")
    (host.folder / "conf").mkdir()
    text = (f"[guest one] ; \xe9\r\nlinux = {place}/my kernel ; mine\r\ninitrd = ../some where/else/disk.img\n"
            f"[guest two]\nmultiboot = ./../conf/../conf/m.elf\nmodule =  {host.folder}/conf/m.elf  {place}\n"
            f"module = hello.elf\n[guest three]\nlinux = {place}/my kernel\n")
    (host.folder / "conf" / "m.elf").write_bytes(b"multiboot")
    path = host.folder / "conf" / "test.conf"
    path.write_bytes(text.encode("latin-1"))
    folder = host.folder / "esp"
    done = host.socle("image", path, "-o", host.folder / "disk.img", "--esp-dir", folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "socle" / "socle.conf").read_bytes().decode("latin-1") == (
        "[guest one] ; \xe9\r\nlinux = outside/1-my_kernel ; mine\r\ninitrd = outside/2-disk.img\n"
        f"[guest two]\nmultiboot = outside/3-m.elf\nmodule =  outside/4-m.elf  {place}\n"
        "module = hello.elf\n[guest three]\nlinux = outside/1-my_kernel\n")
    for name, content in ("1-my_kernel", b"kernel"), ("2-disk.img", b"initrd"), ("3-m.elf", b"multiboot"):
        assert (folder / "socle" / "outside" / name).read_bytes() == content


def test_unbuilt_program(host):
    """A build that was not made is told as such."""
    (host.build / "vmm.elf").unlink()
    done, _ = make(host, "[guest one]\nmultiboot = hello.elf\n")
    assert done.returncode == 2 and "run 'make' first" in done.stderr


def test_unreadable_configuration(host):
    """No configuration, no image."""
    done = host.socle("image", host.folder / "none.conf", "-o", host.folder / "disk.img")
    assert done.returncode == 2 and "none.conf: cannot read" in done.stderr


def test_too_small_an_image(host):
    """Files that do not fit are told as such."""
    (host.folder / "big").write_bytes(bytes(60 << 20))
    done, _ = make(host, "[guest one]\nflat = big\n", "--size", "48M")
    assert done.returncode == 2 and "--size" in done.stderr


def test_allow_missing(host):
    """For tests of the loader: an image without the file."""
    done, path = make(host, "[guest one]\nflat = gone\n", "--allow-missing")
    assert done.returncode == 0 and path.exists()


def test_columns_and_comments():
    """The parser's idea of lines is the loader's."""
    parsed = config.parse("[guest a]\n ; flat = x\n  module =  a;b.bin rest ; said\r\n[host]\nflat = no\n")
    assert [(file.name, file.line, file.column) for file in parsed.files] == [("a;b.bin", 3, 13)]


def test_names_that_fat_cannot_hold():
    """Collisions of case and forbidden characters."""
    tree = fat.Folder()
    tree.add("a/File", b"1")
    with pytest.raises(Failure):
        tree.add("a/fILE", b"2")
    with pytest.raises(Failure):
        tree.add("a/b:c", b"")
    with pytest.raises(Failure):
        tree.add("a/File/x", b"")


def test_programs_lose_their_symbols():
    """A program's loaded part stays as it is; section headers and what follows go."""
    segments = struct.pack("<IIQQQQQQ", 1, 5, 0x100, 0, 0, 16, 16, 8)
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, 0x1000, 64, 0x300, 0, 64, 56,
                         1, 64, 4, 3)
    program = (header + segments).ljust(0x100, b"\0") + b"c" * 16 + b"debug" * 100
    short = image.without_symbols(program)
    assert len(short) == 0x110 and short.endswith(b"c" * 16)
    assert short[:40] == program[:40] and short[64:] == program[64:0x110]
    assert struct.unpack_from("<Q", short, 40) == (0,) and struct.unpack_from("<HH", short, 60) == (0, 0)
    assert image.without_symbols(b"rubbish") == b"rubbish"
    assert image.without_symbols(program[:0x108]) == program[:0x108]  # cut off: for the loader to refuse
