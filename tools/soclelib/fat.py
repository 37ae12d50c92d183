# SPDX-License-Identifier: MIT
"""Writes a FAT32 volume and a GPT disk around it. Pure functions of their input: the same files give the same
bytes, with fixed identifiers and times."""
import struct
import zlib

from soclelib.common import Failure

SECTOR = 512
RESERVED = 32  # sectors before the first FAT
MIN_CLUSTERS = 65525  # fewer would be FAT16
MAX_CLUSTERS = 0x0FFFFFF5
END_OF_CHAIN = 0x0FFFFFFF
FIRST_LBA = 2048  # of the partition
DATE = (2000 - 1980) << 9 | 1 << 5 | 1
VOLUME_ID = 0x50C1E001
LABEL = b"SOCLE      "
DISK_GUID = bytes.fromhex("50c1e000000000004000800000000001")
PART_GUID = bytes.fromhex("50c1e000000000004000800000000002")
ESP_GUID = bytes.fromhex("28732ac11ff8d211ba4b00a0c93ec93b")  # C12A7328-F81F-11D2-BA4B-00A0C93EC93B
SHORT_CHARS = set("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'()-@^_`{}~")
FORBIDDEN = set('"*/:<>?\\|')


class Folder:
    """A directory in the making: names to Folder or bytes."""

    def __init__(self):
        self.entries = {}

    def add(self, path, data):
        """Puts data at path ("a/b/c"). Failure when the name cannot be on a FAT volume or is taken."""
        head, _, rest = path.partition("/")
        if not head or set(head) & FORBIDDEN or head in (".", "..") or head[-1] in ". " or len(head) > 255:
            raise Failure(f"'{path}': such a name cannot be on a FAT volume")
        known = {name.lower(): name for name in self.entries}
        name = known.get(head.lower(), head)
        if rest:
            folder = self.entries.setdefault(name, Folder())
            if not isinstance(folder, Folder):
                raise Failure(f"'{name}' would be a file and a folder")
            folder.add(rest, data)
        elif name in self.entries and self.entries[name] != data:
            raise Failure(f"two files would be named '{name}' (FAT does not tell upper from lower case)")
        else:
            self.entries[name] = data


def short_name(name, taken):
    """(eleven bytes of the 8.3 name, whether a long name is needed too)."""
    base, dot, extension = name.rpartition(".")
    if not dot:
        base, extension = name, ""
    fits = set(base + extension) <= SHORT_CHARS and 0 < len(base) <= 8 and len(extension) <= 3
    if fits:
        short = base.ljust(8) + extension.ljust(3)
        if short not in taken:
            taken.add(short)
            return short.encode(), False

    def plain(text):
        return "".join(c if c in SHORT_CHARS else "_" for c in text.upper() if c not in " .")

    for number in range(1, 100000):
        tail = f"~{number}"
        short = (plain(base)[: 8 - len(tail)] + tail).ljust(8) + plain(extension)[:3].ljust(3)
        if short not in taken:
            taken.add(short)
            return short.encode(), True
    raise Failure("too many files of one name in a folder")


def directory_entry(short, attribute, cluster, size):
    """The 32 bytes of a directory entry."""
    return struct.pack("<11sBBBHHHHHHHI", short, attribute, 0, 0, 0, DATE, DATE, cluster >> 16, 0, DATE,
                       cluster & 0xFFFF, size)


def long_entries(name, short):
    """The entries that carry a long name, in the order they stand on disk."""
    total = 0
    for byte in short:
        total = ((total & 1) << 7 | total >> 1) + byte & 0xFF
    units = name.encode("utf-16-le")
    units += b"\0\0" if len(units) % 26 else b""
    units += b"\xff" * (-len(units) % 26)
    pieces = [units[at:at + 26] for at in range(0, len(units), 26)]
    out = b""
    for index in range(len(pieces), 0, -1):
        piece = pieces[index - 1]
        order = index | (0x40 if index == len(pieces) else 0)
        out += struct.pack("<B10sBBB12sH4s", order, piece[:10], 0x0F, 0, total, piece[10:22], 0, piece[22:])
    return out


class Volume:
    """A FAT32 volume of a fixed size, filled once from a Folder."""

    def __init__(self, sectors):
        self.sectors = sectors
        self.per_cluster = 1
        while True:
            clusters = (sectors - RESERVED) // self.per_cluster
            self.fat_sectors = ((clusters + 2) * 4 + SECTOR - 1) // SECTOR
            self.data_start = RESERVED + 2 * self.fat_sectors
            self.clusters = (sectors - self.data_start) // self.per_cluster
            if self.per_cluster >= 8 or self.clusters // 2 < MIN_CLUSTERS * 2:
                break
            self.per_cluster *= 2
        if not MIN_CLUSTERS <= self.clusters < MAX_CLUSTERS:
            raise Failure(f"a FAT32 volume cannot have {self.clusters} clusters")
        self.fat = [0x0FFFFFF8, END_OF_CHAIN]
        self.pieces = []  # (sector, bytes)

    def allocate(self, count):
        """The first of count clusters in a row, chained; 0 for none."""
        if count == 0:
            return 0
        first = len(self.fat)
        if first + count > self.clusters + 2:
            raise Failure("the files do not fit in the image; give it a larger --size")
        self.fat += list(range(first + 1, first + count)) + [END_OF_CHAIN]
        return first

    def store(self, cluster, data):
        """Puts data into a chain that begins at cluster."""
        if data:
            self.pieces.append((self.data_start + (cluster - 2) * self.per_cluster, data))

    def clusters_of(self, size):
        """How many clusters size bytes take."""
        return -(-size // (self.per_cluster * SECTOR))

    def directory_bytes(self, folder, is_root):
        """The size of a folder's own entries."""
        count = 1 if is_root else 2
        taken = set()
        for name in sorted(folder.entries):
            short, long = short_name(name, taken)
            count += 1 + (len(long_entries(name, short)) // 32 if long else 0)
        return count * 32

    def add_folder(self, folder, parent=0, is_root=True):
        """Stores a folder and all below it; returns its cluster."""
        own = self.allocate(max(1, self.clusters_of(self.directory_bytes(folder, is_root))))
        if is_root:
            out = directory_entry(LABEL, 0x08, 0, 0)
        else:
            out = directory_entry(b".".ljust(11), 0x10, own, 0)
            out += directory_entry(b"..".ljust(11), 0x10, parent, 0)
        taken = set()
        for name in sorted(folder.entries):
            item = folder.entries[name]
            short, long = short_name(name, taken)
            if long:
                out += long_entries(name, short)
            if isinstance(item, Folder):
                cluster = self.add_folder(item, 0 if is_root else own, False)
                out += directory_entry(short, 0x10, cluster, 0)
            else:
                cluster = self.allocate(self.clusters_of(len(item)))
                self.store(cluster, item)
                out += directory_entry(short, 0x20, cluster, len(item))
        self.store(own, out)
        return own

    def finish(self):
        """[(sector, bytes)] of the whole volume; what is not listed is zero."""
        boot = struct.pack("<3s8sHBHBHHBHHHIIIHHIHH12xBBBI11s8s", b"\xeb\x58\x90", b"SOCLE   ", SECTOR,
                           self.per_cluster, RESERVED, 2, 0, 0, 0xF8, 0, 63, 255, FIRST_LBA, self.sectors,
                           self.fat_sectors, 0, 0, 2, 1, 6, 0x80, 0, 0x29, VOLUME_ID, LABEL, b"FAT32   ")
        boot = boot.ljust(510, b"\0") + b"\x55\xaa"
        free = self.clusters + 2 - len(self.fat)
        info = struct.pack("<I480xIII12xI", 0x41615252, 0x61417272, free, len(self.fat), 0xAA550000)
        fat = struct.pack(f"<{len(self.fat)}I", *self.fat)
        return [(0, boot), (1, info), (6, boot), (7, info), (RESERVED, fat),
                (RESERVED + self.fat_sectors, fat)] + self.pieces


def gpt_header(own, other, sectors, entries_lba, entries_crc):
    """One of the two headers of the partition table."""
    def pack(crc):
        return struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, crc, 0, own, other, 34,
                           sectors - 34, DISK_GUID, entries_lba, 128, 128, entries_crc)
    return pack(zlib.crc32(pack(0)))


def write_disk(path, folder, size):
    """Writes a disk of size bytes at path: GPT, one EFI system partition that holds folder."""
    sectors = size // SECTOR
    last = sectors - 35
    last -= (last + 1) % 8
    volume = Volume(last + 1 - FIRST_LBA)
    volume.add_folder(folder)
    name = "Socle".encode("utf-16-le").ljust(72, b"\0")
    entries = struct.pack("<16s16sQQQ72s", ESP_GUID, PART_GUID, FIRST_LBA, last, 0, name)
    entries = entries.ljust(128 * 128, b"\0")
    crc = zlib.crc32(entries)
    protective = bytes(446) + struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xEE, b"\xff\xff\xff", 1,
                                          min(sectors - 1, 0xFFFFFFFF))
    with open(path, "wb") as disk:
        def put(sector, data):
            disk.seek(sector * SECTOR)
            disk.write(data)

        put(0, protective.ljust(510, b"\0") + b"\x55\xaa")
        put(1, gpt_header(1, sectors - 1, sectors, 2, crc))
        put(2, entries)
        for sector, data in volume.finish():
            put(FIRST_LBA + sector, data)
        put(sectors - 33, entries)
        put(sectors - 1, gpt_header(sectors - 1, 1, sectors, sectors - 33, crc))
        disk.truncate(sectors * SECTOR)
