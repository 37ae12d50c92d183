# SPDX-License-Identifier: MIT
"""Turns the bytes of the machine's serial port into what a person wants to see, and finds the lines that say
how the run goes."""
import re

ESCAPES = re.compile(rb"\x1b(\[[0-?]*[ -/]*[@-~]|[@-Z\\^_]|=|\(.)")
# The monitor's prompt, which goes when something else is printed: what is in its place afterwards is all that counts.
PROMPT = re.compile(rb"^(?:(?:socle> [^\r\n]*)?\r +\r)+")
END_LINE = re.compile(r"^socle: end status=(\d+)(?: \((.*)\))?")
REFUSAL_LINE = re.compile(r"^socle: (?:refused|error): (.*)")
PANIC_LINE = re.compile(r"^socle: panic:(.*)")


class Console:
    """Bytes in, text out. Until Socle's first line, what the firmware prints loses its escape sequences and
    empty lines; after that, bytes pass as they are (to a terminal) or without escapes (elsewhere)."""

    def __init__(self, raw):
        self.raw = raw
        self.partial = b""
        self.speaking = False  # Socle has printed a line
        self.end_status = None
        self.end_text = ""
        self.refusal = ""
        self.panic = None
        self.lines = 0

    def feed(self, data):
        """Takes bytes, returns those to print."""
        out = b""
        first = not self.speaking
        self.partial += data
        while b"\n" in self.partial:
            line, self.partial = self.partial.split(b"\n", 1)
            plain = self.take_line(line)
            if not self.speaking:
                out += plain.strip() + b"\n" if plain.strip() else b""
            elif first or not self.raw:
                out += plain + b"\n"
        if self.raw and self.speaking:
            if first:
                return out + self.partial
            return data
        return out

    def take_line(self, line):
        """Notes what a whole line says; returns what a person would see of it."""
        exact = PROMPT.sub(b"", line).rstrip(b"\r")
        plain = ESCAPES.sub(b"", exact).replace(b"\r", b"").replace(b"\0", b"")
        if self.speaking and plain.startswith(b"socle:") and not exact.startswith(b"socle:"):
            plain = b" " + plain  # a guest's words stay recognizable as such
        self.look_at(plain.decode("utf-8", errors="replace"), exact.decode("utf-8", errors="replace"))
        return plain

    def look_at(self, line, exact):
        """Notes what a whole line says; exact: byte by byte. The manager puts one into "socle:" of a
        guest that somebody is attached to, so that no guest can say how the run ended."""
        self.lines += 1
        if line.startswith("socle: "):
            self.speaking = True
        found = END_LINE.match(exact)
        if found and self.end_status is None:
            self.end_status = int(found.group(1))
            self.end_text = found.group(2) or self.refusal
        found = REFUSAL_LINE.match(line)
        if found and not self.refusal:
            self.refusal = found.group(1)
        found = PANIC_LINE.match(exact)
        if found and self.panic is None:
            self.panic = found.group(1).strip()

    def rest(self):
        """Takes the end of the stream: what is left of an unfinished line, to print."""
        line, self.partial = self.partial, b""
        spoke, plain = self.speaking, self.take_line(line)
        if not plain.strip():
            return b""
        return b"\n" if self.raw and spoke else plain + b"\n"
