"""A Unix stream socket to a scheduler."""

import select
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from scaler_notebook.engines.local.client.readiness import wait_until_ready
from scaler_notebook.engines.local.ipc.framing import Assembler
from scaler_notebook.engines.local.ipc.outbox import Outbox
from scaler_notebook.engines.local.ipc.transport import socket_path
from scaler_notebook.protocol.errors import ProtocolError
from scaler_notebook.protocol.messages import Buffer

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

CONNECT_PATIENCE = 5.0  # seconds that a scheduler may take to accept those who came before; a stopped one never does
TIME = struct.Struct("ll")  # of SO_SNDTIMEO, see socket(7): seconds and microseconds


class UnixChannel:
    """A client's end of a Unix stream socket.

    Implements :class:`~.channel.Channel`.

    Parameters
    ----------
    address
        The address of the scheduler's socket, as ``ipc:///PATH``.

    Raises
    ------
    OSError
        Nobody listens there, or the scheduler accepts nobody.
    """

    def __init__(self, address: str) -> None:
        self.has_ended = False
        self._loop: AbstractEventLoop | None = None
        self._waits_for_room = False
        self._assembler = Assembler(takes_descriptors=False)
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # Not settimeout(), with which connect() does not wait for room among those that are still to be accepted.
            seconds, rest = divmod(CONNECT_PATIENCE, 1)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, TIME.pack(int(seconds), int(rest * 1e6)))
            self._sock.connect(socket_path(address))
            self._sock.setblocking(False)
        except BaseException:
            self._sock.close()
            raise
        self._outbox = Outbox(self._sock)

    def watch(self, loop: "AbstractEventLoop", readable: Callable[[], None]) -> None:
        """Call a function when there may be something to receive: see :meth:`.Channel.watch`."""
        self._loop = loop
        loop.add_reader(self._sock, readable)

    def send(self, frames: Sequence[Buffer]) -> None:
        """Send a batch now, or as soon as the scheduler takes more."""
        self._outbox.put(frames)
        self._flush()

    def _flush(self) -> None:
        """Send what the socket takes, and come again when there is room for the rest."""
        try:
            waits = not self._outbox.flush()
        except OSError:  # the scheduler is gone: whoever watches the process or reads the socket finds out
            waits = False
        if waits != self._waits_for_room and self._loop is not None:
            self._waits_for_room = waits
            if waits:
                self._loop.add_writer(self._sock, self._flush)
            else:
                self._loop.remove_writer(self._sock)

    def receive(self) -> Iterator[Sequence[Buffer]]:
        """Yield each batch that has arrived: see :meth:`.Channel.receive`."""
        try:
            yield from self._receive()
        except ProtocolError:  # where the next batch begins is not known
            self._end()
            raise

    def _receive(self) -> Iterator[Sequence[Buffer]]:
        yield from self._assembler.batches()
        while not self.has_ended:
            try:
                is_open = self._assembler.read(self._sock)
            except BlockingIOError:
                return
            except OSError:
                is_open = False
            if not is_open:
                self._end()
                return
            yield from self._assembler.batches()
            if self._assembler.drained:
                return

    def _end(self) -> None:
        """Watch the socket no longer: nothing more will be received from it."""
        self.has_ended = True
        if self._loop is not None:
            self._loop.remove_reader(self._sock)

    def wait(self, timeout: float) -> bool:
        """Wait until there may be something to receive; False if there is nothing after ``timeout`` seconds."""
        end = time.monotonic() + timeout
        while not self.has_ended:
            room = 0 if self._is_sent() else select.POLLOUT
            events = wait_until_ready(self._sock, end - time.monotonic(), select.POLLIN | room)
            if events != select.POLLOUT:
                return events != 0
        return False

    def close(self, linger: float) -> None:
        """Close the connection, after what is not sent yet has been, or ``linger`` seconds."""
        end = time.monotonic() + linger
        if self._loop is not None:
            self._loop.remove_reader(self._sock)
            self._loop.remove_writer(self._sock)
            self._loop = None
        while not self._is_sent() and (left := end - time.monotonic()) > 0:
            wait_until_ready(self._sock, left, select.POLLOUT)
        self._sock.close()
        self._outbox.close()
        self._assembler.close()

    def _is_sent(self) -> bool:
        """Send what the socket takes; True if nothing is left, or nobody to send it to."""
        try:
            return self._outbox.flush()
        except OSError:
            return True
