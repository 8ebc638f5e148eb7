"""A ZeroMQ socket to a scheduler at a TCP port."""

from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterator, Sequence

import zmq

from scaler_notebook.engines.local.ipc.tcp.curve import connect
from scaler_notebook.engines.local.ipc.tcp.frame_pieces import split
from scaler_notebook.engines.local.ipc.tcp.zmq_frames import receive_batches, send_batch
from scaler_notebook.engines.local.ipc.transport import Keys
from scaler_notebook.protocol.messages import Buffer


class CurveChannel:
    """A client's end of a ZeroMQ connection that is encrypted.

    Implements :class:`~.channel.Channel`.

    Parameters
    ----------
    address
        The address of the scheduler's socket.
    keys
        The keys.
    """

    def __init__(self, address: str, keys: Keys) -> None:
        self.has_ended = False  # ZeroMQ does not tell
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.sndhwm = self._socket.rcvhwm = 0  # a bound would block; how much is submitted is the user's choice
        connect(self._socket, address, keys)
        self._loop: AbstractEventLoop | None = None
        self._readable: Callable[[], None]  # from :meth:`watch` on
        self._is_scheduled = False

    def watch(self, loop: AbstractEventLoop, readable: Callable[[], None]) -> None:
        """Call a function when there may be something to receive: see :meth:`.Channel.watch`."""
        self._loop, self._readable = loop, readable
        self._fd = int(self._socket.getsockopt(zmq.FD))
        loop.add_reader(self._fd, readable)

    def send(self, frames: Sequence[Buffer]) -> None:
        """Send a batch; what arrives meanwhile is received soon, as the descriptor is edge-triggered."""
        send_batch(self._socket, split(frames))
        if self._loop is not None and not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._receive_soon)

    def _receive_soon(self) -> None:
        self._is_scheduled = False
        if self._loop is not None:
            self._readable()

    def receive(self) -> Iterator[Sequence[Buffer]]:
        """Yield each batch that has arrived: see :meth:`.Channel.receive`."""
        return receive_batches(self._socket, plain=1, writable=True)

    def wait(self, timeout: float) -> bool:
        """Wait until there may be something to receive; False if there is nothing after ``timeout`` seconds."""
        return bool(self._socket.poll(int(max(0.0, timeout) * 1000)))

    def close(self, linger: float) -> None:
        """Close the connection, after what is not sent yet has been, or ``linger`` seconds."""
        if self._loop is not None:
            self._loop.remove_reader(self._fd)
            self._loop = None
        self._socket.close(linger=int(linger * 1000))
        self._context.term()
