"""A group whose futures are still being submitted: who looks at the cell sees them come."""

import math
import time
from collections.abc import Iterable
from contextlib import suppress
from operator import length_hint
from typing import Any, Generic, TypeVar

from scaler_notebook.client.waiting.host import FillingBoard, current_host
from scaler_notebook.quantities import amount

from .future import ScalerFuture
from .group import FutureGroup

T = TypeVar("T")

SOON = 0.2  # seconds of submits after which the board is shown that the cell is going to show at its end
MANY = 5_000  # tasks whose submits take longer than that: the board is shown before them


class GrowingGroup(Generic[T]):
    """The futures of a group, in the order in which they are submitted.

    Parameters
    ----------
    name
        What a person reads above the board until the group is complete.
    iterables
        The arguments of the calls; only their lengths are asked for.
    """

    def __init__(self, name: str, iterables: Iterable[Iterable[Any]] = ()) -> None:
        self._name = name
        self._soon = 0.0 if _least_length(iterables) >= MANY else SOON
        self._futures: list[ScalerFuture[T]] = []
        self._due = math.inf  # when the host is asked for a board, by the monotonic clock
        self._board: FillingBoard | None = None

    def add(self, future: ScalerFuture[T]) -> None:
        """Add a future."""
        self._futures.append(future)
        if len(self._futures) == 1:
            self._due = time.monotonic() + self._soon  # the engine has started
        if self._board is not None:
            self._board.add(future)
        elif time.monotonic() >= self._due:
            self._due = math.inf
            self._board = current_host().open_group_board(self._name, tuple(self._futures))
            if self._board is not None:
                self._board.wait_until_drawn()

    def complete(self, name: str | None) -> FutureGroup[T]:
        """Return the group of all of them.

        Parameters
        ----------
        name
            What a person reads; None: the name until now, and how many there are.
        """
        group = FutureGroup(self._futures, f"{self._name} × {amount(len(self._futures))}" if name is None else name)
        if self._board is not None:
            self._board.complete(group)
        return group


def _least_length(iterables: Iterable[Iterable[Any]]) -> int:
    """Return the length of the shortest iterable, as far as they tell; 0 if one does not."""
    with suppress(Exception):  # the user's code, which is asked for nothing that it must have
        return min((length_hint(each) for each in iterables), default=0)
    return 0
