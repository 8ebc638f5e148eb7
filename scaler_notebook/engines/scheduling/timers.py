"""Timers in one heap, and the clock by which they are due."""

import itertools
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

from .indexed_heap import IndexedHeap

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Clock(Protocol):
    """A source of the time. The standard module :mod:`time` is a clock; tests have one that they set."""

    def monotonic(self) -> float:
        """Return seconds that never go backwards, for timers."""

    def time(self) -> float:
        """Return seconds since the epoch, for people."""


class Timers(Generic[K, T]):
    """Events that are due at some time, each under a key by which it can be cancelled.

    A timer that is set to a later time keeps its place in the heap until that comes to the top: those that are set
    again and again, and come hardly ever, cost little.
    """

    def __init__(self) -> None:
        self._due: IndexedHeap[K] = IndexedHeap()  # each at its time, or at an earlier one
        self._events: dict[K, tuple[float, int, T]] = {}  # when, the how manieth that was set, and what
        self._numbers = itertools.count()

    def __contains__(self, key: K) -> bool:
        return key in self._events

    def __repr__(self) -> str:
        return f"<Timers {self._due}>"

    def set(self, key: K, when: float, event: T) -> None:
        """Set a timer, in place of one that has the same key.

        Parameters
        ----------
        key
            The key by which the timer can be cancelled.
        when
            When the event is due, in monotonic seconds.
        event
            What :meth:`pop_due` returns then.
        """
        number = next(self._numbers)
        if key in self._events:
            if when >= self._due.rank(key):
                self._events[key] = when, number, event
                return
            self._due.remove(key)
        self._events[key] = when, number, event
        self._due.add(key, when, number)

    def cancel(self, key: K) -> bool:
        """Cancel the timer of this key; False if there is none."""
        if key not in self._events:
            return False
        del self._events[key]
        self._due.remove(key)
        return True

    def pop_due(self, now: float) -> T | None:
        """Remove and return the earliest event that is due at ``now``, in monotonic seconds; None if no event is."""
        key = self._first()
        if key is None or self._events[key][0] > now:
            return None
        self._due.remove(key)
        return self._events.pop(key)[2]

    @property
    def next(self) -> float | None:
        """When the earliest event is due, in monotonic seconds; None if there is no event."""
        key = self._first()
        return self._events[key][0] if key is not None else None

    def _first(self) -> K | None:
        """Return the key of the earliest event, after those before it have got their places; None if there is none."""
        while (first := self._due.first) is not None:
            place, number, key = first
            when, set_as, _ = self._events[key]
            if (place, number) == (when, set_as):
                return key
            self._due.remove(key)
            self._due.add(key, when, set_as)
        return None
