# SPDX-License-Identifier: MIT
"""The Bochs emulator: its configuration, its start, and what its log says about the machine."""
import os
import re
import shutil
import subprocess

from soclelib import process, symbols
from soclelib.common import STATUS_PLATFORM, Failure, cache_folder

DEFAULT_VERSION = "3.0"
DEFAULT_MODEL = "corei7_skylake_x"
IPS = 50000000
QUANTUM = 16
HOST_MIB = 2048  # of memory that the emulator keeps in its own; the rest is in a file
TELLING = re.compile(r"PANIC|3rd|RIP=|>> |CR2=|CR3=|R[AS][XP]=|in .* mode|EFER")  # lines of its log
TRIPLE_FAULT = re.compile(rb"3rd \(\d+\) exception with no resolution")
PORT_ATTEMPTS = 5


class Bochs:
    """One emulated machine."""

    name = "bochs"

    def __init__(self, options, disk, folder, wants_input):
        self.options = options
        self.folder = folder
        self.version = options.bochs or DEFAULT_VERSION
        self.home = cache_folder() / f"bochs-{self.version}"
        if not (self.home / "bochs").exists():
            extra = "" if self.version == DEFAULT_VERSION else f" --bochs {self.version}"
            raise Failure(f"Bochs {self.version} is not there; run 'tools/setup{extra}'", STATUS_PLATFORM)
        if options.screenshot:
            raise Failure("Bochs has no graphics output here; take screenshots on QEMU", STATUS_PLATFORM)
        if options.qmp:
            raise Failure("--qmp is for QEMU", STATUS_PLATFORM)
        if options.usb:
            raise Failure("USB start is for QEMU (--platform qemu-tcg or qemu-kvm)", STATUS_PLATFORM)
        self.model = options.cpu or DEFAULT_MODEL
        known = self.models() if options.cpu else []
        if known and self.model not in known:
            raise Failure(f"Bochs {self.version} has no CPU model '{self.model}'; it has " + ", ".join(known),
                          STATUS_PLATFORM)
        self.wants_input = wants_input
        self.child = None
        self.link = None
        self.serial = process.Tail(folder / "serial")
        self.log_path = folder / "bochs.log"
        self.log_at = 0
        os.symlink(disk, folder / "disk.img")  # so that lock files are ours alone

    @property
    def description(self):
        """What the closing line calls this platform."""
        return f"bochs {self.version} ({self.model}, {self.options.cpus} CPUs)"

    def models(self):
        """The CPU models it emulates, by its own word."""
        told = subprocess.run([self.home / "bochs", "--help", "cpu"], stdin=subprocess.DEVNULL, text=True, timeout=30,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False).stdout
        return re.findall(r"^(\w+)$", told.partition("Supported CPU models:")[2], re.M)

    def write_config(self, port):
        """The emulator's configuration file. Times and seeds are fixed: runs repeat to the instruction."""
        options = self.options
        newer = self.version not in ("2.7", "3.0")
        cpu = [f"model={self.model}", f"count={options.cpus}", f"ips={options.ips or IPS}",
               f"quantum={options.quantum or QUANTUM}", "reset_on_triple_fault=0",
               f"ignore_bad_msrs={0 if newer else 1}"]
        if newer:
            cpu.append("cpuid_freq=ips")
        if options.exclude_features:
            cpu.append(f'exclude_features="{options.exclude_features}"')
        com1 = f"mode=socket-server, dev=127.0.0.1:{port}" if port else f"mode=file, dev={self.folder}/serial"
        memory = max(1, options.memory >> 20)
        lines = [
            "display_library: term",
            f"romimage: file={self.home}/OVMF.fd, address=0x0, options=none",
            f"vgaromimage: file={self.home}/VGABIOS",
            "cpu: " + ", ".join(cpu),
            f"memory: guest={memory}, host={min(memory, HOST_MIB)}",
            "pci: enabled=1, chipset=i440fx",
            "ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14",
            f"ata0-master: type=disk, path={self.folder}/disk.img, mode=volatile, "
            f"journal={self.folder}/redolog",
            "vga: extension=vbe, update_freq=5, realtime=0",  # the host's clock must not show
            "sound: waveoutdrv=dummy",
            "clock: sync=none, time0=946684800",
            f"log: {self.log_path}",
            "panic: action=fatal",
            "error: action=ignore",
            "port_e9_hack: enabled=1",
            f"com1: enabled=1, {com1}",
        ]
        if newer:
            lines.append("fw_cfg: enabled=1")
        path = self.folder / "bochsrc"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    def start(self):
        """Starts the emulator; afterwards read() gives what the serial port sends."""
        for _ in range(PORT_ATTEMPTS):
            port = process.free_port() if self.wants_input else 0
            command = [self.home / "bochs", "-q", "-unlock", "-f", self.write_config(port)]
            if self.version == "2.7":  # its debugger waits for a command
                (self.folder / "commands").write_text("c\n", encoding="utf-8")
                command += ["-rc", self.folder / "commands"]
            env = dict(os.environ, TERM="xterm")
            self.child = process.start(command, env, self.folder / "bochs.out")
            if not port:
                return
            self.link = process.connect(("127.0.0.1", port), self.child)
            if self.link:
                return
            process.end(self.child)  # perhaps another run took the port
        raise Failure("Bochs does not start:\n" + self.log_tail(), STATUS_PLATFORM)

    def read(self):
        """Bytes from the machine's serial port since the last call."""
        if self.link:
            self.link.write()
            try:
                return self.link.read()
            except EOFError:
                return b""
        return self.serial.read()

    def write(self, data):
        """Types data at the machine's serial port."""
        if self.link:
            self.link.write(data)

    def ended(self):
        """True when the emulator has ended."""
        return self.child.poll() is not None

    def fault(self):
        """A sentence when the emulator's log tells of a machine that cannot go on."""
        try:
            with open(self.log_path, "rb") as log:
                log.seek(self.log_at)
                new = log.read()
        except FileNotFoundError:
            return None
        keep = new.rfind(b"\n") + 1
        self.log_at += keep
        if TRIPLE_FAULT.search(new[:keep]):
            return "the machine died of a triple fault:\n" + self.log_tail(24)
        return None

    def log_tail(self, lines=15):
        """The end of the emulator's log, for a report."""
        try:
            text = self.log_path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            text = (self.folder / "bochs.out").read_text(encoding="utf-8", errors="replace")
        told = text.splitlines()
        if lines > 1:
            told = [line for line in told if TELLING.search(line)] or told
        return "\n".join("  " + line for line in told[-lines:])

    def post_mortem(self):
        """Ends the emulator, which writes its CPUs' registers to the log at that; where each CPU was, one
        line per CPU, in names of the kernel's functions when its program is at hand."""
        process.end(self.child)
        try:
            text = self.log_path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        places = {}
        for cpu, address in re.findall(r"\[CPU(\d+) *\] \| RIP=([0-9a-f]{16})", text):
            places[int(cpu)] = int(address, 16)
        names = symbols.names(list(places.values()))
        return "\n".join(f"  CPU {cpu} was at {address:#x} {names.get(address, '')}".rstrip()
                         for cpu, address in sorted(places.items()))

    def ticks(self):
        """The emulator's clock at its end, from the last line of its log; None when it was killed."""
        if self.child is None or self.child.poll() is None:
            return None
        last = self.log_tail(1).split()
        found = re.match(r"(\d{11,})", last[0]) if last else None
        return int(found.group(1)) if found else None

    def screenshot(self, path):
        """Not here: Debian's build has no graphics output."""

    def stop(self, log_copy=None):
        """Ends the emulator and closes everything; log_copy: where its log is to be kept."""
        process.end(self.child)
        for thing in (self.link, self.serial):
            if thing:
                thing.close()
        if log_copy and self.log_path.exists():
            shutil.copyfile(self.log_path, log_copy)
