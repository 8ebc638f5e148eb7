"""A client's end of a connection to a scheduler, by which batches of frames are sent and received."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from scaler_notebook.engines.local.ipc.transport import Keys
from scaler_notebook.protocol.messages import Buffer

from .unix_channel import UnixChannel

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop


class Channel(Protocol):
    """A client's end of a connection to a scheduler. Nothing blocks but :meth:`wait` and :meth:`close`."""

    has_ended: bool  # has the scheduler closed its end, or sent what is no batch?

    def watch(self, loop: "AbstractEventLoop", readable: Callable[[], None]) -> None:
        """Call a function from now on when there may be something to receive.

        Parameters
        ----------
        loop
            The event loop that calls the function; all that is sent from now on is sent on the loop's thread.
        readable
            The function.
        """

    def send(self, frames: Sequence[Buffer]) -> None:
        """Send a batch now, or as soon as the scheduler takes more."""

    def receive(self) -> Iterator[Sequence[Buffer]]:
        """Yield each batch that has arrived; the buffers behind the first frame are writable memory of their own.

        Who does not take all batches has to call this again: the function of :meth:`watch` is called for what arrives
        later.

        Raises
        ------
        ProtocolError
            What has arrived is no batch.
        """

    def wait(self, timeout: float) -> bool:
        """Wait until there may be something to receive; False if there is nothing after ``timeout`` seconds."""

    def close(self, linger: float) -> None:
        """Close the connection, after what is not sent yet has been, or ``linger`` seconds."""


def open_channel(address: str, keys: Keys | None) -> Channel:
    """Connect to a scheduler.

    Parameters
    ----------
    address
        The address of the scheduler's socket.
    keys
        The keys to a TCP socket; None for a Unix socket.

    Raises
    ------
    OSError
        Nobody listens there.
    """
    if keys is None:
        return UnixChannel(address)
    from .curve_channel import CurveChannel  # here, because nothing else in this process may need ZeroMQ

    return CurveChannel(address, keys)
