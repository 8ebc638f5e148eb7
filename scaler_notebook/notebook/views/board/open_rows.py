"""The rows of a board that are open: their output, error, result and messages are sent, too."""

from collections.abc import Callable
from typing import Any

from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.task_state.observed_task import ObservedTask
from scaler_notebook.notebook.views import preview, rows
from scaler_notebook.notebook.views.feed import Content

from .table import TaskTable

MAX_OPEN = 4  # rows whose details are sent; a page that was closed cannot say so


class OpenRows:
    """The rows of one board that are open, the last few that were opened.

    Rows are opened and closed where messages are handled, and read on the publisher's thread.

    Parameters
    ----------
    table
        The table of the board.
    mark
        Called, on any thread, when there is something to send.
    """

    def __init__(self, table: TaskTable, mark: Callable[[], None]) -> None:
        self._table = table
        self._mark = mark
        self._details: dict[int, RowDetails] = {}

    def numbers(self) -> list[int]:
        """Return the numbers of the open rows, the one that was opened last at the end."""
        return list(self._details)

    def open(self, number: int) -> None:
        """Open a row; if too many are open then, close the one that was opened first."""
        self.close(number)
        while len(self._details) >= MAX_OPEN:
            self.close(next(iter(self._details)))
        self._details[number] = RowDetails(number, self._table.future(number), self._mark)
        self._mark()

    def close(self, number: int) -> None:
        """Close a row, if it is open."""
        details = self._details.pop(number, None)
        if details is not None:
            details.close()

    def close_all(self) -> None:
        """Close all rows."""
        for number in self.numbers():
            self.close(number)

    def follow_retries(self) -> None:
        """Have each row show the future that the table has for the row now."""
        for number, details in list(self._details.items()):
            details.show(self._table.future(number))

    def contents(self) -> list[Content]:
        """Build what is sent of all open rows; on the publisher's thread."""
        return [details.content() for details in list(self._details.values())]

    def changes(self) -> list[Content]:
        """Build what is sent of the open rows that have changed since they were sent; on the publisher's thread."""
        return [details.content() for details in list(self._details.values()) if details.due]


class RowDetails:
    """The details of one open row.

    Parameters
    ----------
    number
        The number of the row.
    future
        The future that the row shows; None if it is gone.
    mark
        Called when there is something to send.
    """

    def __init__(self, number: int, future: ScalerFuture[Any] | None, mark: Callable[[], None]) -> None:
        self.due = True  # is there something that was not sent?
        self._number = number
        self._future: ScalerFuture[Any] | None = None
        self._mark = mark
        self.show(future)

    def show(self, future: ScalerFuture[Any] | None) -> None:
        """Go on with the future of another try of the call; None changes nothing."""
        if future is None or future is self._future:
            return
        self.close()
        self._future = future
        future.watch(self._changed)
        self._changed(future)

    def content(self) -> Content:
        """Build the whole message about the row; on the publisher's thread."""
        self.due = False  # first: what changes while we look is sent again
        future = self._future
        if future is None:
            return {"number": self._number, "row": None, "trace": ""}
        return {"number": self._number, "row": rows.row(future, alone=True), "trace": str(future.trace())}

    def close(self) -> None:
        """Watch the future no more."""
        if self._future is not None:
            self._future.unwatch(self._changed)

    def _changed(self, _: ObservedTask) -> None:
        """Note that the future has changed; ask for a preview of the result once there is one."""
        if self._future is not None and self._future.done():
            preview.ask(self._future)
        self.due = True
        self._mark()
