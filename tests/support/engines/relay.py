"""A relay of TCP connections, to break them as a killed process or a network does."""

from __future__ import annotations

import selectors
import socket
import struct
import threading

PIECE = 65536  # bytes that are passed on at a time
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # a linger of no time


class Relay:
    """Passes on what comes to a port of its own, until :meth:`reset`.

    Parameters
    ----------
    host, port
        Where the connections go to.
    closes
        How many connections it first closes at once, as a tunnel does whose other end is not there yet.
    """

    def __init__(self, host: str, port: int, closes: int = 0) -> None:
        self._target = host, port
        self._closes = closes
        self._others: dict[socket.socket, socket.socket] = {}  # of each connection, the one at the other side
        self._told, self._tell = socket.socketpair()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, name="relay")
        self._thread.start()

    def reset(self) -> None:
        """Take no more connections, and reset those that there are. Idempotent."""
        self._tell.close()
        self._thread.join()

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector, self._told, self._listener:
            selector.register(self._told, selectors.EVENT_READ)
            selector.register(self._listener, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._told:
                        self._listener.close()  # first: who is reset comes again at once
                        for connection in self._others:
                            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
                            connection.close()
                        return
                    if key.fileobj is self._listener:
                        self._accept(selector)
                    elif isinstance(key.fileobj, socket.socket) and key.fileobj in self._others:
                        self._pass_on(key.fileobj, selector)

    def _accept(self, selector: selectors.BaseSelector) -> None:
        ours, _ = self._listener.accept()
        if self._closes:
            self._closes -= 1
            ours.close()
            return
        theirs = socket.create_connection(self._target)
        for one, other in ((ours, theirs), (theirs, ours)):
            self._others[one] = other
            selector.register(one, selectors.EVENT_READ)

    def _pass_on(self, source: socket.socket, selector: selectors.BaseSelector) -> None:
        """Send on what a connection has, or end both sides with it."""
        try:
            piece = source.recv(PIECE)
            if piece:
                self._others[source].sendall(piece)
                return
        except OSError:
            pass
        for each in (source, self._others[source]):
            del self._others[each]
            selector.unregister(each)
            each.close()

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *problem: object) -> None:
        self.reset()
