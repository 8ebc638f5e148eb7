"""What a client has to say to its engine, on its way to the agent: nothing of it is known before all of it is."""

from collections import deque
from contextlib import suppress
from typing import Generic, TypeVar

from scaler_notebook.protocol.messages import ClientMessage

T = TypeVar("T")


class OutgoingBatch(Generic[T]):
    """What one call of the user's has to say: messages in their order, and the futures that are known before those."""

    __slots__ = ("futures", "messages", "taken")

    def __init__(self, *messages: ClientMessage) -> None:
        self.messages: list[ClientMessage] = list(messages)
        self.futures: list[T] = []
        self.taken = False  # by the agent; it is in the outgoing before that


class OutgoingQueue(Generic[T]):
    """Letters from any thread, taken by the agent's alone, in order.

    A batch is put in by one append, which no interrupt divides: before it nobody knows of anything, after it the
    agent sends all of it, whatever becomes of the thread that wrote it.
    """

    def __init__(self) -> None:
        self._batches: deque[OutgoingBatch[T]] = deque()
        self.put = self._batches.append

    def __len__(self) -> int:
        return len(self._batches)

    def peek(self) -> OutgoingBatch[T]:
        """The next one, which stays until :meth:`pop`: somebody may ask for its futures meanwhile."""
        batch = self._batches[0]
        batch.taken = True
        return batch

    def pop(self) -> None:
        """The next one has been taken."""
        self._batches.popleft()

    def has_accepted(self, batch: OutgoingBatch[T]) -> bool:
        """Was a batch put in? The agent may be at it, or done with it."""
        return any(each is batch for each in self._snapshot()) or batch.taken  # in this order

    def futures(self) -> list[T]:
        """The futures of what has not been taken."""
        return [future for batch in self._snapshot() for future in batch.futures]

    def _snapshot(self) -> list[OutgoingBatch[T]]:
        while True:
            with suppress(RuntimeError):  # it changed meanwhile
                return list(self._batches)
