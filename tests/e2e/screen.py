# SPDX-License-Identifier: MIT
"""QEMU's screen, read as text, and its keyboard."""
import json
import re
import socket

from machine import ROOT
from test_platforms import picture

WIDTH, HEIGHT = 8, 16  # of a character, on screens that are not scaled


def glyphs():
    """Characters by their bitmaps: rows of 8 bits, the topmost first."""
    text = (ROOT / "lib" / "font.c").read_text(encoding="utf-8")
    words = re.findall(r"\{0x([0-9a-f]{16}), 0x([0-9a-f]{16})\}", text)
    return {bytes.fromhex(high + low): chr(0x20 + n) for n, (high, low) in enumerate(words)}


def lines(path):
    """The lines of text in a PPM file of the screen."""
    width, height, pixels = picture(path)
    known, paper, found = glyphs(), pixels[-3:], []
    left, top = width % WIDTH // 2, height % HEIGHT // 2
    for y in range(top, height - HEIGHT + 1, HEIGHT):
        rows = [[pixels[((y + i) * width + x) * 3:((y + i) * width + x) * 3 + 3] != paper for x in range(left, width)]
                for i in range(HEIGHT)]
        text = ""
        for x in range(0, width - left - WIDTH + 1, WIDTH):
            bits = bytes(int("".join("01"[dot] for dot in row[x:x + WIDTH]), 2) for row in rows)
            text += known.get(bits, "?")
        found.append(text.rstrip())
    return found


class Qmp:
    """QEMU's machine protocol, at the socket of --qmp."""

    def __init__(self, path):
        self.link = socket.socket(socket.AF_UNIX)
        self.link.settimeout(60)
        self.link.connect(str(path))
        self.stream = self.link.makefile("rw", encoding="utf-8")
        self.stream.readline()
        self.ask("qmp_capabilities")

    def ask(self, command, **arguments):
        """Carries out a command."""
        self.stream.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.stream.flush()
        for line in self.stream:
            answer = json.loads(line)
            if "event" not in answer:
                assert "return" in answer, answer
                return answer["return"]
        raise AssertionError("QEMU has ended")

    def press(self, *keys):
        """Presses keys one after the other; "shift-a" are two at once."""
        for key in keys:
            names = [{"type": "qcode", "data": name} for name in key.split("-")]
            self.ask("send-key", keys=names, **{"hold-time": 20})

    def screen(self, path):
        """The lines that are on the screen now."""
        self.ask("screendump", filename=str(path))
        return lines(path)

    def close(self):
        """For QEMU to go on alone."""
        self.link.close()
