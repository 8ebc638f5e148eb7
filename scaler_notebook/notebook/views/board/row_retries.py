"""The Retry button of a board: the calls of rows are submitted again."""

import threading
import weakref
from collections.abc import Callable
from typing import Any

from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.futures.group import FutureGroup
from scaler_notebook.protocol.errors import EngineStartError
from scaler_notebook.quantities import thin_spaced
from scaler_notebook.wording import counted

from .board_row import CANCELLED, CANCELLING, FAILED, LOST
from .table import TaskTable


class RowRetries:
    """Submits the calls of the rows of one board again, on threads: an engine that has ended is started again.

    A task that is being stopped is submitted again when it has stopped.

    Parameters
    ----------
    table
        The table of the board.
    group
        The group that the board shows, if any: the new task takes the place of the old one there.
    say
        Called with what becomes of a click, in words; on any thread.
    """

    def __init__(self, table: TaskTable, group: FutureGroup[Any] | None, say: Callable[[str], None]) -> None:
        self._table = table
        self._group = None if group is None else weakref.ref(group)
        self._say = say
        self._retrying = threading.Lock()  # two clicks are one try
        self._when_stopped: set[int] = set()  # numbers of rows
        self._retried: list[ScalerFuture[Any]] = []  # nobody else has those that take no place in a group

    def complete(self, group: FutureGroup[Any]) -> None:
        """Take the group in which new tasks take the places of old ones."""
        self._group = weakref.ref(group)

    def start(self, numbers: list[int]) -> None:
        """Submit the calls of rows with these numbers again, on a thread."""
        threading.Thread(target=self._retry, args=(numbers,), name="scaler_notebook retry").start()

    def start_what_has_stopped(self) -> None:
        """Submit again what was to be when it has stopped; what goes on, or has a result after all, is left alone."""
        waiting = list(self._when_stopped)
        rows = zip(waiting, self._table.rows(waiting), strict=True)
        ended = {number: row for number, row in rows if row.kind != CANCELLING}
        self._when_stopped.difference_update(ended)
        stopped = sorted(number for number, row in ended.items() if row.kind == CANCELLED)
        if stopped:
            self.start(stopped)

    def _retry(self, numbers: list[int]) -> None:
        """Submit again the calls of rows that have ended without a value, and later of those that are being stopped."""
        with self._retrying:
            self._table.take_in()
            kinds = {number: row.kind for number, row in zip(numbers, self._table.rows(numbers), strict=True)}
            said = self._submit_again([number for number in numbers if kinds[number] in (FAILED, CANCELLED, LOST)])
            later = {number for number in numbers if kinds[number] == CANCELLING}
            self._when_stopped |= later
            self._table.take_in()
        self._say(f"{said}; {_tasks(len(later))} will be, once stopped" if later else said)

    def _submit_again(self, numbers: list[int]) -> str:
        """Submit the calls of rows again; return what became of that, in words."""
        group = self._group() if self._group is not None else None
        again, problem = 0, None
        for number in numbers:
            future = self._table.future(number)
            if future is None:
                problem = "nothing holds the future of some any more"
                continue
            try:
                (new,) = [future.retry()] if group is None else group.retry([future])
            except (RuntimeError, EngineStartError) as error:
                problem = str(error)
                continue
            again += 1
            if group is None or not any(each is new for each in group):  # a user's own retry is not in it either
                self._retried.append(new)
        return "; ".join(filter(None, [f"{_tasks(again)} submitted again", problem]))


def _tasks(number: int) -> str:
    """Write a number of tasks as the board does."""
    return thin_spaced(counted(number, "task"))
