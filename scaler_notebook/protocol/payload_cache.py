"""Sending functions and small arguments once for each connection, and referring to them by their content after that.

The content is pickled anew at every submit, or known to be as it was, so nothing in it (a changed global, a mutated
argument, a redefined helper) is ever served stale: other content has another key.

Both ends of a connection remember the same payloads without telling each other, because messages arrive in the order
of sending and both ends forget by the same rule.
"""

import hashlib
from collections import OrderedDict
from dataclasses import fields
from operator import attrgetter
from typing import Generic, TypeVar

from .errors import ProtocolError
from .messages import Payload, Task
from .twins import maker

T = TypeVar("T")

SMALLEST = 512  # bytes; a reference to less would save nothing
LARGEST = 1024 * 1024  # bytes; more takes longer to hash than to send
CAPACITY = 64 * 1024 * 1024  # bytes that either end of a connection remembers

_others = attrgetter(*[field.name for field in fields(Task)][3:])  # the fields after id, function and arguments
_new_task = maker(Task)


class _RecentPayloads(Generic[T]):
    """The payloads that were sent, by key, least recently used first.

    Both ends hold the same keys, because both forget by the same sizes in the same order.

    Parameters
    ----------
    capacity
        The sum of sizes, in bytes, beyond which the least recently used payloads are forgotten.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._size = 0
        self._entries: OrderedDict[bytes, tuple[int, T]] = OrderedDict()

    def recall(self, key: bytes) -> T | None:
        """Return what is remembered under a key, and mark the key as used; None if nothing is."""
        found = self._entries.get(key)
        if found is None:
            return None
        self._entries.move_to_end(key)
        return found[1]

    def remember(self, key: bytes, size: int, what: T) -> None:
        """Remember a value under a key, and forget the oldest ones beyond the capacity.

        Parameters
        ----------
        key
            The content address.
        size
            The size in bytes.
        what
            The value.
        """
        self._entries[key] = (size, what)
        self._size += size
        while self._size > self._capacity:
            _, (forgotten, _) = self._entries.popitem(last=False)
            self._size -= forgotten


class Sender:
    """The sending end, which replaces payloads that the other end has by references.

    Parameters
    ----------
    capacity
        Bytes that are remembered.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._memory: _RecentPayloads[Payload] = _RecentPayloads(capacity)  # the references
        self._last: tuple[Payload | None, bytes] = None, b""  # what was hashed last, and its key

    def shorten(self, payload: Payload) -> Payload:
        """Return the payload, or a reference to the payload if it was sent before.

        Call this in the order of sending, and only for payloads that are sent.
        """
        if payload.buffers or not SMALLEST <= len(payload.data) <= LARGEST:
            return payload
        key = payload.key or self._key_of(payload)
        if (reference := self._memory.recall(key)) is not None:
            return reference
        self._memory.remember(key, len(payload.data), Payload(b"", (), key))
        return payload if payload.key else Payload(payload.data, (), key)

    def _key_of(self, payload: Payload) -> bytes:
        """Return the content address of a payload; that of the last one is at hand, for many tasks share a function."""
        last, key = self._last
        if payload is not last:
            key = hashlib.blake2b(payload.data, digest_size=16).digest()
            if type(payload.data) is bytes:  # nothing else stays as it is
                self._last = payload, key
        return key


class Receiver:
    """The receiving end, which replaces references by the payloads that they refer to.

    Parameters
    ----------
    capacity
        Bytes that are remembered.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._memory: _RecentPayloads[Payload] = _RecentPayloads(capacity)

    def complete(self, payload: Payload) -> Payload:
        """Return the payload, whether it came itself or as a reference.

        Raises
        ------
        ProtocolError
            The reference is to a payload that never came.
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
    """Return a task with references in place of the function and arguments that were sent before.

    Parameters
    ----------
    task
        The task as it was submitted.
    sender
        The sending end of the connection.
    """
    function, arguments = sender.shorten(task.function), sender.shorten(task.arguments)
    if function is task.function and arguments is task.arguments:
        return task
    return _with_payloads(task, function, arguments)


def completed(task: Task, receiver: Receiver) -> Task:
    """Return a task as it was submitted, with no references.

    Parameters
    ----------
    task
        The task as it was received.
    receiver
        The receiving end of the connection.

    Raises
    ------
    ProtocolError
        A reference is to a payload that never came.
    """
    if not task.function.key and not task.arguments.key:
        return task
    return _with_payloads(task, receiver.complete(task.function), receiver.complete(task.arguments))


def _with_payloads(task: Task, function: Payload, arguments: Payload) -> Task:
    """Return a task with another function and other arguments; :func:`dataclasses.replace` takes four times as long.

    Parameters
    ----------
    task
        The task.
    function, arguments
        What the returned task has in place of its own.
    """
    return _new_task(task.task_id, function, arguments, *_others(task))
