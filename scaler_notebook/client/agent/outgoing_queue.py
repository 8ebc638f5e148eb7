"""The queue of messages to the engine, from any thread to the agent's: a batch is sent as a whole or not at all."""

from collections import deque
from contextlib import suppress
from typing import Generic, TypeVar

from scaler_notebook.protocol.messages import ClientMessage

T = TypeVar("T")


class OutgoingBatch(Generic[T]):
    """The messages of one call of the user's, in order, and the futures that are registered before."""

    __slots__ = ("futures", "messages", "taken")

    def __init__(self, *messages: ClientMessage) -> None:
        self.messages: list[ClientMessage] = list(messages)
        self.futures: list[T] = []
        self.taken = False  # by the agent; before that it is in the queue


class OutgoingQueue(Generic[T]):
    """A queue of batches that any thread appends to, and that the agent's thread alone empties, in order.

    A batch is appended in one step, which no interrupt divides: before it nobody knows of the batch, after it the agent
    sends all of it, whatever becomes of the thread that appended it.
    """

    def __init__(self) -> None:
        self._batches: deque[OutgoingBatch[T]] = deque()
        self.put = self._batches.append

    def __len__(self) -> int:
        return len(self._batches)

    def peek(self) -> OutgoingBatch[T]:
        """Return the next batch, which stays in the queue until :meth:`pop`: its futures are found meanwhile."""
        batch = self._batches[0]
        batch.taken = True
        return batch

    def pop(self) -> None:
        """Remove the next batch, which the agent has handled."""
        self._batches.popleft()

    def has_accepted(self, batch: OutgoingBatch[T]) -> bool:
        """Whether a batch was appended, also if the agent is at it or has handled it."""
        # In this order: the agent marks a batch as taken before the batch is removed.
        return any(each is batch for each in self._snapshot()) or batch.taken

    def futures(self) -> list[T]:
        """Return the futures of the batches in the queue."""
        return [future for batch in self._snapshot() for future in batch.futures]

    def _snapshot(self) -> list[OutgoingBatch[T]]:
        while True:
            with suppress(RuntimeError):  # the queue changed meanwhile
                return list(self._batches)
