# SPDX-License-Identifier: MIT
"""QEMU, with nested KVM or with its own emulation (TCG)."""
import json
import os
import re
import shutil
import time
from pathlib import Path

from soclelib import process, symbols
from soclelib.common import STATUS_PLATFORM, Failure, cache_folder

FIRMWARE = ("/usr/share/ovmf/OVMF.fd", "/usr/share/OVMF/OVMF.fd", "/usr/share/qemu/OVMF.fd",
            "/usr/share/edk2/x64/OVMF.4m.fd", "/usr/share/edk2-ovmf/x64/OVMF.fd")


NESTING = {"vmx": "kvm_intel", "svm": "kvm_amd"}  # CPU flag: the module that can nest it


def kvm_missing(root=Path("/")):
    """None when guests of this host get VT-x or AMD-V; else what is missing."""
    try:
        flags = set((root / "proc/cpuinfo").read_text(encoding="ascii", errors="replace").split())
    except OSError:
        return "there is no /proc/cpuinfo"
    found = flags & set(NESTING)
    if not found:
        return "this machine's CPUs offer neither VT-x nor AMD-V"
    if not os.access(root / "dev/kvm", os.R_OK | os.W_OK):
        return "/dev/kvm is not there or not ours to use"
    module = NESTING[found.pop()]
    try:
        nested = (root / f"sys/module/{module}/parameters/nested").read_text(encoding="ascii").strip()
    except OSError:
        return f"the module {module} is not loaded"
    if nested not in ("Y", "1"):
        return f"{module} has nested=0: load it with nested=1"
    return None


def firmware():
    """The UEFI firmware for QEMU."""
    fetched = sorted(cache_folder().glob("bochs-*/OVMF.fd"))
    for path in [Path(place) for place in FIRMWARE] + fetched:
        if path.exists():
            return path
    raise Failure("no UEFI firmware (OVMF.fd) is there; run 'tools/setup'", STATUS_PLATFORM)


class Qemu:
    """One virtual machine of QEMU."""

    def __init__(self, options, disk, folder, wants_input, kvm):
        self.options = options
        self.disk = disk
        self.folder = folder
        self.kvm = kvm
        self.name = "qemu-kvm" if kvm else "qemu-tcg"
        self.program = shutil.which("qemu-system-x86_64")
        if not self.program:
            raise Failure("qemu-system-x86_64 is not there; run 'tools/setup'", STATUS_PLATFORM)
        if kvm and kvm_missing():
            raise Failure(f"nested KVM cannot be used: {kvm_missing()}", STATUS_PLATFORM)
        if options.icount and (kvm or options.cpus != 1):  # with more, QEMU 7.2 lets a CPU starve
            raise Failure("--icount is for qemu-tcg with --cpus 1", STATUS_PLATFORM)
        if options.exclude_features or options.quantum or options.ips or options.bochs:
            raise Failure("--quantum, --ips, --bochs and --exclude-features are for Bochs", STATUS_PLATFORM)
        self.model = options.cpu or ("host" if kvm else "max")
        self.child = None
        self.link = None
        # A socket's other end shows in the machine as time: identical runs write to a file.
        self.serial = process.Tail(folder / "serial") if options.icount and not wants_input else None
        self.asked = 0.0  # when QMP was asked last

    @property
    def description(self):
        """What the closing line calls this platform."""
        return f"{self.name} ({self.model}, {self.options.cpus} CPUs)"

    def command(self):
        """The command line."""
        options = self.options
        accel = "kvm" if self.kvm else "tcg,thread=" + ("single" if options.icount else "multi")
        disk = str(self.disk).replace(",", ",,")
        command = [
            self.program, "-nodefaults", "-machine", "q35", "-accel", accel, "-cpu", self.model,
            "-smp", str(options.cpus), "-m", f"{max(1, options.memory >> 20)}M",
            "-bios", str(firmware()), "-display", "none", "-vga", "std", "-no-reboot",
            "-drive", f"if=none,id=disk,format=raw,snapshot=on,file={disk}",
            "-chardev", f"file,id=com1,path={self.serial.path}" if self.serial else
            f"socket,id=com1,server=on,wait=on,path={self.folder}/com1",
            "-serial", "chardev:com1",
            "-chardev", f"file,id=debug,path={self.folder}/debugcon",
            "-device", "isa-debugcon,iobase=0xe9,chardev=debug",
            "-qmp", f"unix:{self.folder}/qmp,server=on,wait=off",
        ]
        # Time is instructions: runs repeat, and a busy host does not show. 8 ns each: with less, the firmware's
        # waits alone take minutes.
        if options.icount:
            command += ["-icount", "shift=3,sleep=off", "-rtc", "base=2000-01-01,clock=vm", "-seed", "1"]
        if options.qmp:
            command += ["-qmp", f"unix:{options.qmp},server=on,wait=off"]
        if options.usb:
            command += ["-device", "qemu-xhci", "-device", "usb-storage,drive=disk,bootindex=0"]
        else:
            command += ["-device", "ide-hd,drive=disk,bootindex=0"]
        if options.screenshot:
            command += ["-no-shutdown"]  # stays, with its screen, after power-off
        return command

    def start(self):
        """Starts QEMU; afterwards read() gives what the serial port sends."""
        self.child = process.start(self.command(), None, self.folder / "qemu.out")
        if self.serial:
            return
        self.link = process.connect(str(self.folder / "com1"), self.child)
        if not self.link:
            raise Failure("QEMU does not start:\n" + self.log_tail(), STATUS_PLATFORM)

    def read(self):
        """Bytes from the machine's serial port since the last call."""
        if self.serial:
            return self.serial.read()
        self.link.write()
        try:
            return self.link.read()
        except EOFError:
            return b""

    def write(self, data):
        """Types data at the machine's serial port, if that has somebody who types."""
        if self.link:
            self.link.write(data)

    def ended(self):
        """True when the machine is off, even though QEMU may wait for a screenshot."""
        if self.child.poll() is not None:
            return True
        now = time.monotonic()
        if not self.options.screenshot or now - self.asked < 1.0:
            return False
        self.asked = now
        return self.powered_off()

    def fault(self):
        """QEMU ends by itself at a triple fault (-no-reboot), so there is nothing to watch."""
        return None

    def log_tail(self, lines=15):
        """What QEMU itself said."""
        path = self.folder / "qemu.out"
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        told = [line for line in text.splitlines() if "waiting for connection" not in line]
        return "\n".join("  " + line for line in told[-lines:])

    def post_mortem(self):
        """Where each CPU is, one line per CPU."""
        answers = self.ask({"execute": "human-monitor-command", "arguments": {"command-line": "info registers -a"}})
        text = str(answers[0].get("return", "")) if answers else ""
        places = [int(address, 16) for address in re.findall(r"RIP=([0-9a-f]{16})", text)]
        names = symbols.names(places)
        return "\n".join(f"  CPU {cpu} was at {address:#x} {names.get(address, '')}".rstrip()
                         for cpu, address in enumerate(places))

    def ticks(self):
        """QEMU counts none."""
        return None

    def ask(self, *commands):
        """Sends QMP commands, returns their answers."""
        link = process.connect(str(self.folder / "qmp"), self.child, 5.0)
        if not link:
            return []
        connection = link.socket
        connection.settimeout(10.0)
        answers = []
        with connection, connection.makefile("rw", encoding="utf-8") as stream:
            stream.readline()
            for command in ({"execute": "qmp_capabilities"},) + commands:
                stream.write(json.dumps(command) + "\n")
                stream.flush()
                for line in stream:
                    answer = json.loads(line)
                    if "event" not in answer:
                        answers.append(answer)
                        break
        return answers[1:]

    def powered_off(self):
        """True when the machine has switched itself off but QEMU waits (-no-shutdown)."""
        answers = self.ask({"execute": "query-status"})
        return bool(answers) and answers[0].get("return", {}).get("status") == "shutdown"

    def screenshot(self, path):
        """Writes the screen as a PPM file, once the machine is off or a moment has passed."""
        for _ in range(20):
            if self.child.poll() is not None:
                return False
            if self.powered_off():
                break
            time.sleep(0.2)
        target = {"filename": str(Path(path).resolve())}
        answers = self.ask({"execute": "screendump", "arguments": target})
        return bool(answers) and "return" in answers[0]

    def stop(self, log_copy=None):
        """Ends QEMU and closes everything; log_copy: where its words are to be kept."""
        process.end(self.child)
        for thing in (self.link, self.serial):
            if thing:
                thing.close()
        path = self.folder / "qemu.out"
        if log_copy and path.exists():
            shutil.copyfile(path, log_copy)
