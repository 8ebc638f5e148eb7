"""The messages to clients that are not sent yet, and how long they may wait for others.

Each batch wakes the client, which costs more than a brief task does. So the results of brief tasks wait for each other
while further tasks wait for a slot: the client cannot see the difference, because the tasks that it has queued take
longer. Everything else, and all that was put before, is sent at once.
"""

import time
from collections import defaultdict
from collections.abc import Callable

from scaler_notebook.protocol.messages import EngineMessage, TaskResult, TaskResultType

PATIENCE = 0.002  # seconds that the result of a brief task waits at most
BRIEF = 0.003  # seconds; a task that has taken longer is one whose result somebody may be watching for


class OutgoingMessages:
    """The messages of one scheduler that are not sent yet, by client.

    Parameters
    ----------
    has_queue
        Returns whether tasks wait for a slot.
    """

    def __init__(self, has_queue: Callable[[], bool]) -> None:
        self._has_queue = has_queue
        self._by_client: defaultdict[bytes, list[EngineMessage]] = defaultdict(list)
        self._wait_until = 0.0  # in monotonic seconds

    def put(self, client: bytes, message: EngineMessage) -> None:
        """Add a message.

        Parameters
        ----------
        client
            The client.
        message
            The message.
        """
        if not _may_wait(message):
            self._wait_until = 0.0
        elif not self._by_client:
            self._wait_until = time.monotonic() + PATIENCE
        self._by_client[client].append(message)

    @property
    def deadline(self) -> float | None:
        """When the messages are to be sent, in monotonic seconds; None if there are none."""
        if not self._by_client:
            return None
        return self._wait_until if self._has_queue() else 0.0

    def take(self) -> dict[bytes, list[EngineMessage]]:
        """Remove and return all messages, by client, in order."""
        taken, self._by_client = self._by_client, defaultdict(list)
        return taken


def _may_wait(message: EngineMessage) -> bool:
    """Return whether a message is the value of a brief task, and small."""
    if not isinstance(message, TaskResult) or message.outcome is not TaskResultType.SUCCESS:
        return False
    figures = message.figures
    return 0.0 <= figures.ended - figures.started < BRIEF and not message.payload.buffers
