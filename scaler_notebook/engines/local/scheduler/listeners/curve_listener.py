"""The ZeroMQ socket of a scheduler's clients, at a TCP port."""

import selectors
from collections.abc import Iterator, Sequence

import zmq

from scaler_notebook.engines.local.ipc.tcp.curve import bind
from scaler_notebook.engines.local.ipc.tcp.frame_pieces import join
from scaler_notebook.engines.local.ipc.tcp.zmq_frames import receive_batches, send_batch
from scaler_notebook.engines.local.ipc.transport import Keys
from scaler_notebook.protocol.messages import Buffer

from .connection_limit import ConnectionLimit


class CurveListener:
    """A ZeroMQ socket that is encrypted.

    Implements :class:`~.listener.Listener`. ZeroMQ does not tell when a connection ends.

    Parameters
    ----------
    selector
        The scheduler's; a key's data is called without arguments when its file is ready.
    keys
        The keys that clients need.
    port
        The port; 0 for any free one.
    """

    deadline = None

    def __init__(self, selector: selectors.BaseSelector, keys: Keys, port: int) -> None:
        self.has_more = True  # the descriptor is edge-triggered: may there be more although it is not readable?
        self._context = zmq.Context()
        self._socket = socket = self._context.socket(zmq.ROUTER)
        socket.linger = 0
        socket.sndhwm = socket.rcvhwm = 0  # a bound would drop confirmations; the number of tasks bounds the memory
        self._limit = ConnectionLimit(socket)
        selector.register(self._limit.fileno(), selectors.EVENT_READ, self._limit.look)
        self.address = bind(socket, keys, port)
        selector.register(int(socket.getsockopt(zmq.FD)), selectors.EVENT_READ, self._readable)

    def _readable(self) -> None:
        self.has_more = True

    def receive(self) -> Iterator[tuple[bytes, Sequence[Buffer]]]:
        """Yield batches that have arrived: see :meth:`.Listener.receive`."""
        for frame, *frames in receive_batches(self._socket, plain=2, writable=False):
            yield bytes(frame), join(frames)
        self.has_more = False  # only now: after an exception the rest is received all the same

    def send(self, client: bytes, frames: Sequence[Buffer]) -> None:
        """Send a client a batch: see :meth:`.Listener.send`."""
        self.has_more = True  # for what arrives during a send the descriptor does not become readable again
        send_batch(self._socket, frames, client)

    def unread(self, client: bytes) -> int:
        """Return 0: ZeroMQ does not tell."""
        return 0

    def process_of(self, client: bytes) -> int:
        """Return 0: over TCP no process is known."""
        return 0

    def close(self) -> None:
        """Close all connections."""
        self._limit.close()
        self._socket.close()
