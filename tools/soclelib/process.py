# SPDX-License-Identifier: MIT
"""A child process that does not outlive us, the sockets that lead to it, and the file that it writes."""
import ctypes
import os
import signal
import socket
import subprocess
import time

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


def start(command, env=None, output=None):
    """Starts a command without input; its output goes to a file. It is killed when we die."""
    def in_child():
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    with open(output or os.devnull, "wb") as sink:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, env=env,
                                start_new_session=True, preexec_fn=in_child)


def wait(process, patience):
    """Waits a moment for a child to end by itself."""
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        pass


def end(process, patience=2.0):
    """Ends a child, kindly first."""
    if process is None or process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port():
    """A TCP port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def connect(address, process, patience=20.0):
    """A Link to a (host, port) or a path that the child is about to listen on; None when the child ended or did
    not listen in time."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    give_up = time.monotonic() + patience
    while time.monotonic() < give_up and process.poll() is None:
        link = socket.socket(family)
        try:
            link.connect(address)
            return Link(link)
        except OSError:
            link.close()
            time.sleep(0.02)
    return None


class Link:
    """A socket whose other end may be slow: what it does not take now is kept, so that nobody waits for anybody."""

    def __init__(self, connection):
        self.socket = connection
        self.socket.setblocking(False)
        self.kept = b""

    def read(self):
        """Bytes that have come; empty when there are none now. EOFError at the end, or when the link is broken."""
        try:
            data = self.socket.recv(65536)
        except (BlockingIOError, InterruptedError):
            return b""
        except OSError as error:
            raise EOFError from error
        if not data:
            raise EOFError
        return data

    def write(self, data=b""):
        """Sends data behind what was kept, as far as it is taken."""
        self.kept += data
        try:
            while self.kept:
                self.kept = self.kept[self.socket.send(self.kept):]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self.kept = b""  # its end is noticed where it is read

    def fileno(self):
        """For selectors."""
        return self.socket.fileno()

    def close(self):
        """Both ways."""
        self.socket.close()


class Tail:
    """What somebody else appends to a file that may not be there yet."""

    def __init__(self, path):
        self.path = path
        self.file = None

    def read(self):
        """Bytes since the last call."""
        if self.file is None:
            try:
                self.file = open(self.path, "rb")
            except FileNotFoundError:
                return b""
        return self.file.read()

    def close(self):
        """Harmless when nothing was read."""
        if self.file:
            self.file.close()
