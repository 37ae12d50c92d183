# SPDX-License-Identifier: MIT
"""'socle console': a second terminal on a machine that 'socle run' has started."""
import selectors
import socket
import sys

from soclelib.common import Failure, say
from soclelib.run import console_folder
from soclelib.terminal import HOW_TO_LEAVE, Terminal


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
    """Copies both ways until the machine ends or the person leaves. What is typed may also come from a pipe; its end
    is not ours."""
    link = newest()
    terminal = Terminal()
    selector = selectors.DefaultSelector()
    selector.register(link, selectors.EVENT_READ)
    try:
        if terminal.open():
            say(f"keys go to the machine; {HOW_TO_LEAVE} leaves it alone")
        try:
            selector.register(0, selectors.EVENT_READ)
        except (PermissionError, ValueError, OSError):
            pass  # a plain file or nothing: nobody types
        while True:
            for key, _ in selector.select():
                if key.fileobj is link:
                    data = link.recv(65536)
                    if not data:
                        return 0
                    sys.stdout.buffer.write(data)
                    sys.stdout.buffer.flush()
                else:
                    data = terminal.read()
                    if data:
                        link.sendall(data)
                    else:
                        selector.unregister(0)
    except (KeyboardInterrupt, ConnectionError):
        return 0
    finally:
        terminal.close()
        link.close()
