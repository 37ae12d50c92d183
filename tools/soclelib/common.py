# SPDX-License-Identifier: MIT
"""What every part of the host tool shares: exit statuses, errors, and where things are."""
import os
import sys
from pathlib import Path

STATUS_OK = 0  # every guest ended well
STATUS_GUEST = 1  # a guest failed
STATUS_SOCLE = 2  # Socle itself failed: panic, preflight, configuration
STATUS_TIMEOUT = 3
STATUS_PLATFORM = 4  # the emulator is missing or does not start

ROOT = Path(__file__).resolve().parent.parent.parent


class Failure(Exception):
    """An error with its exit status; the text is complete and for the user."""

    def __init__(self, text, status=STATUS_SOCLE):
        super().__init__(text)
        self.status = status


def build_folder():
    """Where the built programs are: $BUILD, or build/ beside tools/."""
    return Path(os.environ.get("BUILD") or ROOT / "build").resolve()


def cache_folder():
    """Where tools/setup keeps what it fetched."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "socle"


def parse_size(text):
    """Bytes of a size such as 64M or 2G; Failure when it is none."""
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    factor = units.get(text[-1:].upper(), 0)
    number = text[:-1] if factor else text
    if not number.isdigit():
        raise Failure(f"'{text}' is not a size; write for example 512M or 2G")
    return int(number) * (factor or 1)


def say(text):
    """One line of our own, apart from what the machine prints."""
    print(f"socle-run: {text}", file=sys.stderr, flush=True)
