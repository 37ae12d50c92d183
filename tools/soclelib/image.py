# SPDX-License-Identifier: MIT
"""Collects what belongs on the EFI system partition and writes the disk image."""
import re
import struct
from pathlib import Path

from soclelib import config, fat
from soclelib.common import Failure, build_folder

MIN_IMAGE = 48 << 20
HEADROOM = 8 << 20  # room for a user's own changes on the stick
GPT_MAGIC = b"EFI PART"
MAX_NAME = 95  # of a file on the stick, as lib/config.h has it
MAX_CLEAN = 60  # what is kept of the name of a file from elsewhere
NOT_IN_NAMES = set('"*:<>?|\\')
HINTS = (  # what to do about a file that is not there
    (r"linux/", "; it comes from Debian's packages: 'tools/setup' fetches them where there is a network, then 'make' "
     "puts it there. 'make demo' needs none of it"),
    (r".*\s", "; arguments go into options"),
)


def is_disk_image(path):
    """True when the file is a disk with a GUID partition table."""
    try:
        with open(path, "rb") as file:
            file.seek(fat.SECTOR)
            return file.read(8) == GPT_MAGIC
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}") from error


def read_program(name):
    """A built program; Failure when it was not built."""
    path = build_folder() / name
    try:
        return path.read_bytes()
    except OSError as error:
        raise Failure(f"{path}: not there; run 'make' first") from error


def without_symbols(data):
    """An ELF64 program up to the end of its last segment, without section headers: what is loaded, and
    nothing of what debuggers want. Anything else comes back as it is."""
    if len(data) < 64 or data[:6] != b"\x7fELF\x02\x01":
        return data
    table, = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    end = table + size * count
    if size < 56 or not count or end > len(data):
        return data
    for at in range(table, end, size):
        offset, = struct.unpack_from("<Q", data, at + 8)
        length, = struct.unpack_from("<Q", data, at + 32)
        end = max(end, offset + length)
    if end > len(data):
        return data
    out = bytearray(data[:end])
    struct.pack_into("<Q", out, 40, 0)  # section headers: where
    struct.pack_into("<HH", out, 60, 0, 0)  # how many, which one has their names
    return bytes(out)


def held(name):
    """Whether the stick can hold a file under this name: the loader's rule (lib/config.h)."""
    parts = name.split("/")
    return (len(name) <= MAX_NAME and all(" " < c <= "~" for c in name) and not set(name) & NOT_IN_NAMES
            and all(part and part[-1] != "." for part in parts))


def find_guest_file(config_path, file, allow_missing):
    """The bytes of a file that the configuration names, or None when it may be missing and is."""
    where = f"{config_path}:{file.line}:{file.column}: '{file.name}'"
    places = [config_path.parent / Path(file.name).expanduser()]
    if held(file.name):
        places.append(build_folder() / "guests" / file.name)
    for place in places:
        if place.is_dir():
            raise Failure(f"{where}: {place} is a folder")
        if place.exists():
            try:
                return place.read_bytes()
            except OSError as error:
                raise Failure(f"{where}: cannot read {place}: {error.strerror}") from error
    if allow_missing:
        return None
    hint = next((hint for pattern, hint in HINTS if re.match(pattern, file.name)), "")
    raise Failure(f"{where}: no such file (looked for {' and '.join(map(str, places))}){hint}")


def stick_name(name, known):
    """The name on the stick of a file from anywhere on the host. known: those that were given out, by name."""
    if held(name):
        return name
    clean = re.sub(r"[^A-Za-z0-9_.+-]", "_", Path(name).name)[-MAX_CLEAN:].rstrip(".")
    return known.setdefault(name, f"outside/{len(known) + 1}-{clean}")


def collect(config_path, allow_missing=False):
    """The tree of the EFI system partition for a configuration."""
    config_path = Path(config_path)
    data, parsed = config.read(config_path)
    tree = fat.Folder()
    tree.add("EFI/BOOT/BOOTX64.EFI", read_program("BOOTX64.EFI"))
    programs = ["kernel.elf", "manager.elf", "vmm.elf", "input.elf"] + (["selftest.elf"] if parsed.self_test else [])
    for name in programs:
        tree.add(f"socle/{name}", without_symbols(read_program(name)))
    reserved = {name.lower() for name in programs} | {"socle.conf"}
    outside, renamed = {}, []
    for file in parsed.files:
        if file.name.lower() in reserved:
            raise Failure(f"{config_path}:{file.line}:{file.column}: '{file.name}' is the name of a part of "
                          "Socle itself; give the guest's file another one")
        content = find_guest_file(config_path, file, allow_missing)
        if content is None:
            continue
        name = stick_name(file.name, outside)
        try:
            tree.add("socle/" + name, content)
        except Failure as error:
            raise Failure(f"{config_path}:{file.line}:{file.column}: {error}") from error
        if name != file.name:
            renamed.append((file, name))
    tree.add("socle/socle.conf", config.rename(data, renamed))
    return tree


def tree_size(folder):
    """Bytes that a tree takes on the volume, roughly and rather too many."""
    total = 4096
    for item in folder.entries.values():
        total += 4096 + (tree_size(item) if isinstance(item, fat.Folder) else len(item))
    return total


def leave_tree(folder, target):
    """Writes the tree as plain files below target."""
    target.mkdir(parents=True, exist_ok=True)
    for name, item in folder.entries.items():
        if isinstance(item, fat.Folder):
            leave_tree(item, target / name)
        else:
            (target / name).write_bytes(item)


def write(config_path, output, size=0, esp_dir=None, allow_missing=False):
    """Writes the disk image of a configuration; size 0: as large as needed."""
    tree = collect(config_path, allow_missing)
    if esp_dir:
        leave_tree(tree, Path(esp_dir))
    needed = -(-(tree_size(tree) * 9 // 8 + HEADROOM) // (1 << 20)) << 20
    output = Path(output)
    partial = output.with_name(output.name + ".part")
    try:
        fat.write_disk(partial, tree, size or max(MIN_IMAGE, needed))
        partial.replace(output)
    except OSError as error:
        raise Failure(f"{output}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
