"""A limit to the connections of a TCP socket, to which anybody on the machine can connect without any key."""

import contextlib
import os
import socket

import zmq
from zmq.utils.monitor import recv_monitor_message

MAX_CONNECTIONS = 256  # connections; far fewer than the descriptors that a process may have open


class ConnectionLimit:
    """Closes each connection to a zmq socket that is one too many.

    Parameters
    ----------
    clients
        The socket, before it is bound.
    """

    def __init__(self, clients: "zmq.Socket[bytes]") -> None:
        self._clients = clients
        self._events = clients.get_monitor_socket(zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED)
        self._open: set[int] = set()  # descriptors of the connections

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when :meth:`look` is to be called."""
        return int(self._events.getsockopt(zmq.FD))

    def look(self) -> None:
        """Take note of the connections that have been made and ended, and close those that are too many."""
        with contextlib.suppress(zmq.Again):
            while True:
                event = recv_monitor_message(self._events, zmq.NOBLOCK)
                if event["event"] == zmq.EVENT_DISCONNECTED:
                    self._open.discard(event["value"])
                    continue
                self._open.add(event["value"])
                if len(self._open) > MAX_CONNECTIONS:
                    self._close(event["value"])

    def close(self) -> None:
        """End the watch."""
        self._clients.disable_monitor()

    def _close(self, descriptor: int) -> None:
        """Shut down a connection, which zmq then closes; nothing else that may have the descriptor by now."""
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as connection:
            if connection.family == socket.AF_INET:  # no other socket of the scheduler's is one
                connection.shutdown(socket.SHUT_RDWR)
