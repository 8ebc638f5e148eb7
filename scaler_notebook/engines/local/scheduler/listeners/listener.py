"""A scheduler's end of the connections to its clients, by which batches of frames are received and sent."""

import selectors
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from scaler_notebook.engines.local.ipc.transport import Keys
from scaler_notebook.protocol.messages import Buffer

from .unix_listener import UnixListener


class Listener(Protocol):
    """A scheduler's end of the connections to all clients. Nothing blocks."""

    address: str  # what clients connect to

    @property
    def has_more(self) -> bool:
        """Whether :meth:`receive` may find something."""

    @property
    def deadline(self) -> float | None:
        """When :meth:`receive` is to be called if not before, in monotonic seconds; None if nothing is due."""

    def receive(self) -> Iterator[tuple[bytes, Sequence[Buffer]]]:
        """Yield each batch that has arrived, with the client that has sent it.

        Who does not take all batches finds the rest by the next call; other clients come first then.
        """

    def send(self, client: bytes, frames: Sequence[Buffer]) -> None:
        """Send a client a batch now, or as soon as the client takes more; nothing if the client is gone.

        Parameters
        ----------
        client
            The client.
        frames
            The batch.
        """

    def unread(self, client: bytes) -> int:
        """Return how many bytes wait here until a client reads; 0 if unknown."""

    def process_of(self, client: bytes) -> int:
        """Return the number of a client's process as the system reports it; 0 if unknown."""

    def close(self) -> None:
        """Close all connections."""


def open_listener(
    directory: str,
    selector: selectors.BaseSelector,
    gone: Callable[[bytes], None],
    keys: Keys | None,
    port: int,
) -> Listener:
    """Listen for clients.

    Parameters
    ----------
    directory
        The directory for a Unix socket.
    selector
        The scheduler's; a key's data is called without arguments when its file is ready.
    gone
        Called with a client whose connection has ended, where that can be noticed.
    keys
        The keys to a TCP socket; None for a Unix socket.
    port
        The port of a TCP socket; 0 for any free one.

    Raises
    ------
    EngineStartError
        The port is not available.
    """
    if keys is None:
        return UnixListener(directory, selector, gone)
    from .curve_listener import CurveListener  # here, because only this needs ZeroMQ

    return CurveListener(selector, keys, port)
