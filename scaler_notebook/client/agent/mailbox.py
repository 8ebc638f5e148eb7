"""What a client has to say to its engine, on its way to the agent: nothing of it is known before all of it is."""

from collections import deque
from contextlib import suppress
from typing import Generic, TypeVar

from scaler_notebook.protocol.messages import ClientMessage

T = TypeVar("T")


class Letter(Generic[T]):
    """What one call of the user's has to say: messages in their order, and the futures that are known before those."""

    __slots__ = ("futures", "messages", "taken")

    def __init__(self, *messages: ClientMessage) -> None:
        self.messages: list[ClientMessage] = list(messages)
        self.futures: list[T] = []
        self.taken = False  # by the agent; it is in the mailbox before that


class Mailbox(Generic[T]):
    """Letters from any thread, taken by the agent's alone, in order.

    A letter is put in by one append, which no interrupt divides: before it nobody knows of anything, after it the
    agent sends all of it, whatever becomes of the thread that wrote it.
    """

    def __init__(self) -> None:
        self._letters: deque[Letter[T]] = deque()
        self.put = self._letters.append

    def __len__(self) -> int:
        return len(self._letters)

    def first(self) -> Letter[T]:
        """The next one, which stays until :meth:`drop_first`: somebody may ask for its futures meanwhile."""
        letter = self._letters[0]
        letter.taken = True
        return letter

    def drop_first(self) -> None:
        """The next one has been taken."""
        self._letters.popleft()

    def has_had(self, letter: Letter[T]) -> bool:
        """Was a letter put in? The agent may be at it, or done with it."""
        return any(each is letter for each in self._snapshot()) or letter.taken  # in this order

    def futures(self) -> list[T]:
        """The futures of what has not been taken."""
        return [future for letter in self._snapshot() for future in letter.futures]

    def _snapshot(self) -> list[Letter[T]]:
        while True:
            with suppress(RuntimeError):  # it changed meanwhile
                return list(self._letters)
