"""Functions and small arguments travel once over a connection, and are referred to by their content's address after.

The content is pickled anew at every submit, so nothing that goes into it (a changed global, a mutated argument, a
redefined helper) is ever served stale: other content has another address.

Both ends of a connection remember the same payloads without telling each other: messages arrive in the order in which
they were sent, and both apply the same rule of what to forget.
"""

import hashlib
from collections import OrderedDict
from dataclasses import replace
from typing import Generic, TypeVar

from .errors import ProtocolError
from .messages import Payload, Task

T = TypeVar("T")

SMALLEST = 512  # bytes; a reference to less would save nothing
LARGEST = 1024 * 1024  # bytes; more takes longer to hash than to send
CAPACITY = 64 * 1024 * 1024  # bytes that either end of a connection remembers


class _RecentPayloads(Generic[T]):
    """By key, what was sent; the same keys at both ends, for both forget by the same sizes in the same order."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._size = 0
        self._entries: OrderedDict[bytes, tuple[int, T]] = OrderedDict()

    def recall(self, key: bytes) -> T | None:
        found = self._entries.get(key)
        if found is None:
            return None
        self._entries.move_to_end(key)
        return found[1]

    def remember(self, key: bytes, size: int, what: T) -> None:
        self._entries[key] = (size, what)
        self._size += size
        while self._size > self._capacity:
            _, (forgotten, _) = self._entries.popitem(last=False)
            self._size -= forgotten


class Sender:
    """The end that shortens what the other end has."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._memory: _RecentPayloads[bool] = _RecentPayloads(capacity)

    def shorten(self, payload: Payload) -> Payload:
        """The payload, or a reference to it if it was sent before. In the order of sending, and only what is sent."""
        if payload.buffers or not SMALLEST <= len(payload.data) <= LARGEST:
            return payload
        key = payload.key or hashlib.blake2b(payload.data, digest_size=16).digest()
        if self._memory.recall(key):
            return Payload(b"", (), key)
        self._memory.remember(key, len(payload.data), True)
        return replace(payload, key=key)


class Receiver:
    """The end that completes it."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._memory: _RecentPayloads[Payload] = _RecentPayloads(capacity)

    def complete(self, payload: Payload) -> Payload:
        """The payload itself, whether it came or was referred to.

        Raises
        ------
        ProtocolError
            It refers to what never came.
        """
        if not payload.key:
            return payload
        if payload.data:
            if self._memory.recall(payload.key) is None:
                self._memory.remember(payload.key, len(payload.data), payload)
            return payload
        known = self._memory.recall(payload.key)
        if known is None:
            raise ProtocolError("a reference to a payload that never came")
        return known


def shortened(task: Task, sender: Sender) -> Task:
    """A task whose function and arguments are sent at most once."""
    function, arguments = sender.shorten(task.function), sender.shorten(task.arguments)
    if function is task.function and arguments is task.arguments:
        return task
    return replace(task, function=function, arguments=arguments)


def completed(task: Task, receiver: Receiver) -> Task:
    """The task as it was submitted; raises as :meth:`Receiver.complete` does."""
    if not task.function.key and not task.arguments.key:
        return task
    return replace(task, function=receiver.complete(task.function), arguments=receiver.complete(task.arguments))
