"""Rows below the rows of a board: the tasks that its tasks have submitted, as far as the engine tells of them."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.notebook.views.nested import nested_kind, nested_name
from scaler_notebook.protocol.messages import TaskBrief

from .board_row import KINDS, BoardRow

_NUMBERS: dict[str, int] = {kind: number for number, kind in enumerate(KINDS)}


class NestedRow(NamedTuple):
    """One nested task: what a row of a board shows, the number of the board's row, and that of the nested row above."""

    row: BoardRow
    below: int
    parent: int | None  # None if the task of the board's row has submitted it itself


def nested_row(brief: TaskBrief, lost: bool) -> BoardRow:
    """Return what a board shows of a nested task.

    Parameters
    ----------
    brief
        What the engine has told of it.
    lost
        Whether the engine is gone.
    """
    return BoardRow(
        nested_name(brief),
        _NUMBERS[nested_kind(brief, lost)],
        str(brief.process) if brief.process else "",
        brief.submitted,
        brief.started or None,
        brief.ended or None,
        "",
        False,
    )


class NestedRows:
    """The nested rows of one board, by numbers of their own, which never change."""

    def __init__(self) -> None:
        self._rows: list[NestedRow] = []
        self._numbers: dict[str, int] = {}
        self._changed: set[int] = set()
        self._seen: dict[int, tuple[Mapping[str, TaskBrief], bool]] = {}  # by row of the board
        self.omitted: dict[int, int] = {}  # by row of the board, how many more tasks there are

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, number: int, future: ScalerFuture[Any]) -> None:
        """Take in what is known of the tasks below a row of the board.

        Parameters
        ----------
        number
            The number of the board's row.
        future
            The future that it shows.
        """
        if not future.nested:
            return
        now = future.nested, future.lost
        before = self._seen.get(number)
        if before is not None and before[0] is now[0] and before[1] == now[1]:
            return
        self._seen[number] = now
        for brief in sorted(future.nested.values(), key=lambda brief: brief.submitted):  # parents before their tasks
            parent = self._numbers.get(brief.parent)
            if parent is None and brief.parent != future.task_id:
                continue  # of a task that was left out
            place = self._put(brief.task_id, NestedRow(nested_row(brief, future.lost), number, parent))
            if future.nested_omitted != self.omitted.get(number, 0):
                self.omitted[number] = future.nested_omitted
                self._changed.add(place)  # the message about it says how many more there are

    def _put(self, task_id: str, row: NestedRow) -> int:
        """Add or replace a row; return its number.

        Parameters
        ----------
        task_id
            The id of the nested task.
        row
            Its row.
        """
        number = self._numbers.get(task_id)
        if number is None:
            number = self._numbers[task_id] = len(self._rows)
            self._rows.append(row)
        elif self._rows[number] == row:
            return number
        else:
            self._rows[number] = row
        self._changed.add(number)
        return number

    def changed(self) -> list[int]:
        """Return the numbers of the rows that differ from what they were at the last call, in order."""
        changed, self._changed = self._changed, set()
        return sorted(changed)

    def rows(self, numbers: Iterable[int]) -> list[NestedRow]:
        """Return the rows of these numbers."""
        return [self._rows[number] for number in numbers]
