"""What is to happen later: one heap of timers, and the clock that they are measured by."""

import itertools
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

from .indexed_heap import IndexedHeap

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Clock(Protocol):
    """Tells the time. The standard module :mod:`time` is a clock; tests hand in one that they set."""

    def monotonic(self) -> float:
        """Seconds that never go backwards, for timers."""

    def time(self) -> float:
        """Seconds since the epoch, for people."""


class Timers(Generic[K, T]):
    """Events that are due at some time, each under a key by which it can be cancelled."""

    def __init__(self) -> None:
        self._due: IndexedHeap[K] = IndexedHeap()
        self._events: dict[K, T] = {}
        self._numbers = itertools.count()

    def __contains__(self, key: K) -> bool:
        return key in self._events

    def __repr__(self) -> str:
        return f"<Timers {self._due}>"

    def set(self, key: K, when: float, event: T) -> None:
        """Have ``event`` come at ``when``, in monotonic seconds, in place of an event that has this key."""
        if key in self._events:
            self._due.remove(key)
        self._events[key] = event
        self._due.add(key, when, next(self._numbers))

    def cancel(self, key: K) -> bool:
        """Drop the event of this key; gives whether there was one."""
        if key not in self._events:
            return False
        del self._events[key]
        self._due.remove(key)
        return True

    def pop_due(self, now: float) -> T | None:
        """Take the earliest event out, if that is due at ``now``; None if no event is."""
        first = self._due.first
        if first is None or first[0] > now:
            return None
        self._due.remove(first[2])
        return self._events.pop(first[2])

    @property
    def next(self) -> float | None:
        """When the earliest event is due, in monotonic seconds; None if there is none."""
        first = self._due.first
        return first[0] if first is not None else None
