"""A group whose futures are still being submitted: who looks at the cell sees them come."""

import math
import time
from typing import Generic, TypeVar

from scaler_notebook.client.waiting.host import FillingBoard, current_host

from .future import ScalerFuture
from .group import FutureGroup

T = TypeVar("T")

SOON = 0.2  # seconds of submits after which the board is shown that the cell is going to show at its end


class GrowingGroup(Generic[T]):
    """The futures of a group, in the order in which they are submitted.

    Parameters
    ----------
    name
        What a person reads above the board until the group is complete.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._futures: list[ScalerFuture[T]] = []
        self._due = math.inf  # when the host is asked for a board, by the monotonic clock
        self._board: FillingBoard | None = None

    def add(self, future: ScalerFuture[T]) -> None:
        """Add a future."""
        self._futures.append(future)
        if len(self._futures) == 1:
            self._due = time.monotonic() + SOON  # the engine has started
        if self._board is not None:
            self._board.add(future)
        elif time.monotonic() >= self._due:
            self._due = math.inf
            self._board = current_host().open_group_board(self._name, tuple(self._futures))

    def complete(self, name: str | None) -> FutureGroup[T]:
        """Return the group of all of them.

        Parameters
        ----------
        name
            What a person reads; None: the name until now, and how many there are.
        """
        group = FutureGroup(self._futures, f"{self._name} × {len(self._futures)}" if name is None else name)
        if self._board is not None:
            self._board.complete(group)
        return group
