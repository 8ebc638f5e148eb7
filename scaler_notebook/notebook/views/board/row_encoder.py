"""The short form in which a board's rows are sent."""

import itertools
from collections.abc import Sequence
from typing import Any, TypeAlias

from .board_row import BoardRow

Columns: TypeAlias = list[tuple[Any, ...]]


class RowEncoder:
    """Writes rows as columns, in the order of COLUMNS in board_rows.js, for pages that have read all before.

    Each text is sent once: rows refer to texts by number. Times are milliseconds since ``epoch``.

    Attributes
    ----------
    epoch
        When the first row was submitted, in Unix seconds; 0 until there is a row.
    """

    def __init__(self) -> None:
        self.epoch = 0.0
        self._numbers: dict[str, int] = {}  # by text
        self._sent = 0  # how many texts

    def start_anew(self) -> None:
        """Write for pages that know no text."""
        self._numbers, self._sent = {}, 0

    def columns(self, rows: Sequence[BoardRow]) -> Columns:
        """Return the columns of rows; their new texts are to be sent with them."""
        if rows and not self.epoch:
            self.epoch = rows[0].submitted
        return list(zip(*map(self._shortened, rows), strict=True))

    def take_new_texts(self) -> list[str]:
        """Return the texts that were not sent yet, in the order of their numbers, and count them as sent."""
        new = list(itertools.islice(self._numbers, self._sent, None))
        self._sent = len(self._numbers)
        return new

    def _shortened(self, row: BoardRow) -> tuple[int | None, ...]:
        """Return the values of a row."""
        return (
            self._number_of(row.call),
            row.kind,
            self._number_of(row.processor),
            self._milliseconds(row.submitted),
            self._milliseconds(row.started),
            self._milliseconds(row.ended),
            self._number_of(row.note),
            int(row.refused),
            row.tries,
            None if row.cpu is None else round(row.cpu * 1000),
        )

    def _number_of(self, text: str) -> int:
        """Return the number of a text, a new one for a new text."""
        return self._numbers.setdefault(text, len(self._numbers))

    def _milliseconds(self, at: float | None) -> int | None:
        """Return a time in milliseconds since the epoch."""
        return None if at is None else round((at - self.epoch) * 1000)
