"""The Unix stream sockets of a scheduler's clients."""

import contextlib
import errno
import itertools
import logging
import resource
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from scaler_notebook.engines.local.ipc.framing import Assembler
from scaler_notebook.engines.local.ipc.outbox import Outbox
from scaler_notebook.engines.local.ipc.transport import socket_address, socket_path
from scaler_notebook.protocol.errors import ProtocolError
from scaler_notebook.protocol.messages import Buffer

BACKLOG = 4096  # clients that wait to be accepted; the system's own limit may be lower
ACCEPT_AGAIN = 0.05  # seconds until another try where no descriptor is left
MAX_UNREAD = 16 << 20  # bytes; who leaves so much unread is not listened to until there is less
CLIENTS_PART = 2  # of so many descriptors one is a client's at most: the others are for results, and task processes
CREDENTIALS = struct.Struct("3i")  # process, user and group, see SO_PEERCRED in socket(7)

log = logging.getLogger(__name__)


class _Connection:
    """The connection of one client.

    Parameters
    ----------
    sock
        The socket.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.process = _peer(sock)
        self.outbox = Outbox(sock)
        self.assembler = Assembler(takes_descriptors=False)
        self.waits_for_room = False  # is there more to send than the socket takes?
        self.watched = selectors.EVENT_READ  # what the selector waits for

    @property
    def is_deaf(self) -> bool:
        """Whether the client has left so much unread that nothing more is read from it."""
        return self.waits_for_room and self.outbox.waiting > MAX_UNREAD

    @property
    def awaited(self) -> int:
        """What the selector is to wait for: a client that reads nothing is not read, so that answers do not pile up."""
        read = 0 if self.is_deaf else selectors.EVENT_READ
        return read | (selectors.EVENT_WRITE if self.waits_for_room else 0)

    def batches(self) -> Iterator[list[Buffer]]:
        """Yield the batches that have been read, as long as the client reads the answers."""
        for frames in self.assembler.batches():
            yield frames
            if self.is_deaf:
                return

    def close(self) -> None:
        """Close the socket, and the descriptors that nobody has taken."""
        self.sock.close()
        self.outbox.close()
        self.assembler.close()


class UnixListener:
    """A Unix socket in a directory that only the user can enter.

    Implements :class:`~.listener.Listener`.

    Parameters
    ----------
    directory
        The directory.
    selector
        The scheduler's; a key's data is called without arguments when its file is ready.
    gone
        Called with a client whose connection has ended.
    """

    def __init__(self, directory: str, selector: selectors.BaseSelector, gone: Callable[[bytes], None]) -> None:
        self.address = socket_address(directory)
        self.deadline: float | None = None  # when clients are accepted again, because no descriptor was left
        self._selector, self._gone = selector, gone
        self._numbers = itertools.count(1)
        self._connections: dict[bytes, _Connection] = {}
        self._ready: dict[bytes, None] = {}  # clients that may have sent something
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.bind(socket_path(self.address))
        self._sock.listen(BACKLOG)
        self._sock.setblocking(False)
        self._listen()

    def _listen(self) -> None:
        self.deadline = None
        self._selector.register(self._sock, selectors.EVENT_READ, self._accept)

    def _accept(self) -> None:
        """Accept the clients that wait."""
        try:
            while True:
                _check_room(len(self._connections))
                sock, _ = self._sock.accept()
                self._add(b"%d" % next(self._numbers), _Connection(sock))
        except (BlockingIOError, ConnectionError):
            pass
        except OSError as error:
            log.warning("a client cannot be accepted just now (%s); it is tried again", error)
            self._selector.unregister(self._sock)  # which would be ready until then
            self.deadline = time.monotonic() + ACCEPT_AGAIN

    def _add(self, client: bytes, connection: _Connection) -> None:
        """Watch a connection; close it where that cannot be: its client would wait for ever for an answer."""
        try:
            self._selector.register(connection.sock, selectors.EVENT_READ, partial(self._serve, client))
        except OSError:
            connection.close()
            raise
        self._connections[client] = connection

    def _serve(self, client: bytes) -> None:
        """Note that a client may have sent something, and send it what there is room for."""
        self._ready[client] = None
        connection = self._connections[client]
        if connection.waits_for_room:
            self._flush(client, connection)

    @property
    def has_more(self) -> bool:
        """Whether :meth:`receive` may find something."""
        return bool(self._ready)

    def receive(self) -> Iterator[tuple[bytes, Sequence[Buffer]]]:
        """Yield batches that have arrived: see :meth:`.Listener.receive`. Each socket is read once."""
        if self.deadline is not None and time.monotonic() >= self.deadline:
            self._listen()
        for client in [*self._ready]:
            del self._ready[client]
            self._ready[client] = None  # behind the others, if the rest is not taken
            connection = self._connections[client]
            if connection.is_deaf:
                del self._ready[client]
                continue
            try:
                for frames in connection.batches():
                    yield client, frames
                is_open = connection.assembler.read(connection.sock)
                for frames in connection.batches():
                    yield client, frames
                has_more = is_open and not connection.assembler.drained
            except BlockingIOError:
                is_open, has_more = True, False
            except OSError:
                is_open = has_more = False
            except ProtocolError as error:
                log.error("what a client sent is no batch, so its connection is closed: %s", error)
                is_open = has_more = False
            except MemoryError:  # there would be none at the next try either, and the client would wait for ever
                log.error("there is no memory for what a client sent, so its connection is closed")
                is_open = has_more = False
            if not has_more:
                del self._ready[client]
            if not is_open:
                self._end(client)

    def _end(self, client: bytes) -> None:
        """Close a connection that has ended, and report that."""
        connection = self._connections.pop(client)
        self._selector.unregister(connection.sock)
        connection.close()
        self._gone(client)

    def send(self, client: bytes, frames: Sequence[Buffer]) -> None:
        """Send a client a batch: see :meth:`.Listener.send`."""
        if (connection := self._connections.get(client)) is not None:
            connection.outbox.put(frames)
            self._flush(client, connection)

    def _flush(self, client: bytes, connection: _Connection) -> None:
        """Send what a socket takes, and come again when there is room for the rest."""
        try:
            connection.waits_for_room = not connection.outbox.flush()
        except OSError:  # the client is gone or takes nothing any more: the next read finds the end
            connection.waits_for_room = False
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)
        if connection.awaited != connection.watched:
            connection.watched = connection.awaited
            self._selector.modify(connection.sock, connection.watched, partial(self._serve, client))
            self._ready[client] = None  # what it has said may have been left where it was

    def unread(self, client: bytes) -> int:
        """Return how many bytes wait here until a client reads; 0 if it is gone."""
        connection = self._connections.get(client)
        return connection.outbox.waiting if connection is not None else 0

    def process_of(self, client: bytes) -> int:
        """Return the number of a client's process as the system reports it; 0 if unknown."""
        connection = self._connections.get(client)
        return connection.process if connection is not None else 0

    def close(self) -> None:
        """Close all connections."""
        self._sock.close()
        for connection in self._connections.values():
            connection.close()


def _check_room(connections: int) -> None:
    """Raise an OSError if there may be no more connections than there are."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != resource.RLIM_INFINITY and connections >= limit // CLIENTS_PART:
        raise OSError(errno.EMFILE, f"{connections} clients are connected, and no more can be")


def _peer(sock: socket.socket) -> int:
    """Return the number of the process at the other end of a connection; 0 if the system does not tell."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return 0
    process: int = CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, option, CREDENTIALS.size))[0]
    return process
