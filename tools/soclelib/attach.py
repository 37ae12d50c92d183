# SPDX-License-Identifier: MIT
"""'socle console': a second terminal on a machine that 'socle run' has started."""
import os
import selectors
import socket
import sys
import termios
import tty

from soclelib.common import Failure
from soclelib.run import console_folder


def newest():
    """The socket of the machine that was started last."""
    sockets = sorted(console_folder().glob("run-*"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in sockets:
        link = socket.socket(socket.AF_UNIX)
        try:
            link.connect(str(path))
            return link
        except OSError:
            link.close()
            path.unlink(missing_ok=True)  # left by a run that was killed
    raise Failure("no machine is running here ('socle run' starts one)")


def attach():
    """Copies both ways until the machine ends or Ctrl-C."""
    link = newest()
    saved = termios.tcgetattr(0) if os.isatty(0) else None
    selector = selectors.DefaultSelector()
    selector.register(link, selectors.EVENT_READ)
    try:
        if saved:
            tty.setcbreak(0)
            selector.register(0, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                data = link.recv(65536) if key.fileobj is link else os.read(0, 4096)
                if not data:
                    return 0
                if key.fileobj is link:
                    sys.stdout.buffer.write(data)
                    sys.stdout.buffer.flush()
                else:
                    link.sendall(data)
    except (KeyboardInterrupt, ConnectionError):
        return 0
    finally:
        if saved:
            termios.tcsetattr(0, termios.TCSADRAIN, saved)
        link.close()
