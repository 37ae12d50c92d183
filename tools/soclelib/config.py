# SPDX-License-Identifier: MIT
"""Finds the files that a configuration names. The rules are those of lib/config.h; whether the rest of the
text makes sense is for the loader to say, so that there is one judge."""
import re
from dataclasses import dataclass

from soclelib.common import Failure

CODEC = ("utf-8", "surrogateescape")  # any bytes, and the same again
FILE_KEYS = ("flat", "multiboot", "linux", "module", "initrd")


@dataclass
class FileName:
    """A file as the configuration names it, and where."""

    name: str
    line: int
    column: int


@dataclass
class Config:
    """What tools need to know of a configuration."""

    files: list
    self_test: bool


def strip_comment(line):
    """The line without its comment: ; or # at the start or after white space."""
    found = re.search(r"(^|\s)[;#]", line)
    return line[: found.start()] if found else line


def parse(text):
    """Config of a text; never fails: what is not understood is left to the loader."""
    config = Config([], False)
    section = ""
    for number, raw in enumerate(text.lstrip("\ufeff").split("\n"), 1):
        line = strip_comment(raw.rstrip("\r"))
        header = re.match(r"\s*\[\s*(\w+)[^\]]*\]\s*$", line)
        if header:
            section = header.group(1)
            continue
        entry = re.match(r"(\s*([\w-]+)\s*=\s*)(.*?)\s*$", line)
        if not entry:
            continue
        key, value, column = entry.group(2), entry.group(3), len(entry.group(1)) + 1
        if section == "guest" and key in FILE_KEYS and value:
            name = value.split()[0] if key == "module" else value
            config.files.append(FileName(name, number, column))
        elif section == "host" and key == "self-test":
            config.self_test = value == "yes"
    return config


def rename(data, names):
    """The configuration with other names for files. names: [(FileName, new name)]."""
    lines = data.decode(*CODEC).split("\n")
    for file, new in names:
        line, at = lines[file.line - 1], file.column - 1
        lines[file.line - 1] = line[:at] + new + line[at + len(file.name):]
    return "\n".join(lines).encode(*CODEC)


def read(path):
    """(bytes, Config) of a configuration file."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Failure(f"{path}: cannot read the configuration: {error.strerror}") from error
    return data, parse(data.decode(*CODEC))
