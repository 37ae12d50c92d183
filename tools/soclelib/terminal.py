# SPDX-License-Identifier: MIT
"""A person's terminal, whose keys go to the machine one by one, control characters included."""
import os
import termios

LEAVE = 0x1C  # Ctrl-\, twice in a row
HOW_TO_LEAVE = "Ctrl-\\ twice"


class Terminal:
    """The terminal behind a file descriptor; if it is none, nothing is done to it."""

    def __init__(self, fd=0):
        self.fd = fd
        self.saved = None
        self.last = None

    def open(self):
        """Keys come at once, without echo, and none of them means anything here. What we print is still made fit for
        a terminal. True when it is one."""
        if not os.isatty(self.fd):
            return False
        self.saved = termios.tcgetattr(self.fd)
        new = termios.tcgetattr(self.fd)
        new[0] &= ~(termios.IXON | termios.ICRNL | termios.INLCR | termios.IGNCR | termios.ISTRIP)
        new[3] &= ~(termios.ICANON | termios.ECHO | termios.ISIG | termios.IEXTEN)
        new[6][termios.VMIN], new[6][termios.VTIME] = 1, 0
        termios.tcsetattr(self.fd, termios.TCSADRAIN, new)
        return True

    def close(self):
        """As it was before."""
        if self.saved:
            termios.tcsetattr(self.fd, termios.TCSADRAIN, self.saved)
            self.saved = None

    def read(self):
        """What was typed; empty at the end. KeyboardInterrupt when the person wants to leave."""
        data = os.read(self.fd, 4096)
        for byte in data if self.saved else b"":
            if byte == LEAVE and self.last == LEAVE:
                raise KeyboardInterrupt
            self.last = byte
        return data
