"""The messages that a client has sent to an engine of a test."""

import threading
from typing import TypeVar

from scaler_notebook.protocol.messages import ClientMessage

PATIENCE = 5.0  # seconds; the default of every timeout of a test's engine, where everything takes microseconds

M = TypeVar("M", bound=ClientMessage)


class SentMessages:
    """The messages that the client has sent, in order."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._all: list[ClientMessage] = []
        self._untaken: list[ClientMessage] = []

    def add(self, message: ClientMessage) -> None:
        """Add a message. For the engine."""
        with self._condition:
            self._all.append(message)
            self._untaken.append(message)
            self._condition.notify_all()

    def all(self, kind: type[M]) -> list[M]:
        """Return every message of a class that has arrived so far."""
        with self._condition:
            return [message for message in self._all if isinstance(message, kind)]

    def next(self, kind: type[M], timeout: float = PATIENCE) -> M:
        """Return the oldest message of a class that this method has not returned before; wait for it if need be.

        Parameters
        ----------
        kind
            The class.
        timeout
            Seconds.

        Raises
        ------
        TimeoutError
            No such message came in time.
        """

        def position() -> int:
            fits = (i for i, message in enumerate(self._untaken) if isinstance(message, kind))
            return next(fits, -1)

        with self._condition:
            if not self._condition.wait_for(lambda: position() >= 0, timeout):
                names = ", ".join(type(message).__name__ for message in self._all) or "nothing"
                raise TimeoutError(f"the client sent no {kind.__name__} within {timeout} s; what it sent: {names}")
            found = self._untaken.pop(position())
        assert isinstance(found, kind)
        return found
