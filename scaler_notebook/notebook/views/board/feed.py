"""The live board of many futures: what its widget shows, and what its buttons do."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from scaler_notebook.client.futures.group import FutureGroup
from scaler_notebook.client.waiting.signal import Signal
from scaler_notebook.notebook.views import modules
from scaler_notebook.notebook.views.card import feed
from scaler_notebook.notebook.views.feed import Content, Feed, ViewHost, ViewWidget, ask_to_stop
from scaler_notebook.notebook.views.front_end import FrontEnd
from scaler_notebook.notebook.views.publisher import publisher
from scaler_notebook.quantities import amount, thin_spaced
from scaler_notebook.wording import counted

from .board_row import FAILED, LOST, BoardRow
from .open_rows import OpenRows
from .row_encoder import RowEncoder
from .row_retries import RowRetries
from .table import TaskTable

_FRONT_END = FrontEnd(
    modules.joined(Path(__file__).with_name("board.js")),
    feed.STYLE + Path(__file__).with_name("board.css").read_text("utf-8"),  # the card's, for the row that is open
)


class BoardWidget(ViewWidget):
    """The widget of one board, for a place in the page if it has a name: rows reach it as messages."""

    def __init__(self, host: ViewHost, place: str) -> None:
        super().__init__(_FRONT_END, host, place)


class BoardFeed(Feed):
    """Keeps the views of one board current, and carries out what their buttons ask for, until it is closed.

    The rows are sent as columns (:class:`.RowEncoder`).

    Parameters
    ----------
    host
        The host of the kernel.
    title
        The name of the group, or of the session.
    table
        The table that the board shows; closed with the feed.
    group
        The group that the board shows, if any: a task that is retried takes its place there.
    changed
        Called on the publisher's thread when something in the table has changed.
    on_met
        Called when a front end says for the first time that it has made the model.
    place
        The name of what the views cover in a page; empty if they are shown as widgets are.
    """

    def __init__(
        self,
        host: ViewHost,
        title: str,
        table: TaskTable,
        group: FutureGroup[Any] | None = None,
        changed: Callable[[], None] = lambda: None,
        on_met: Callable[[], None] = lambda: None,
        place: str = "",
    ) -> None:
        super().__init__(host, BoardWidget(host, place), on_met)
        self._title = title
        self._title_due = False  # did it change?
        self._table = table
        self._edges = [] if group is None else list(map(list, group.edges))  # rows are in the order of the group
        self._changed = changed
        self._seen_version = table.version
        self._encoder = RowEncoder()
        self._open_rows = OpenRows(table, self._mark)
        self._retries = RowRetries(table, group, self._say)
        self.drawn = Signal()  # set when a view was sent the board
        self._answers = 0
        self._answer: Content | None = None
        table.on_change = self._mark
        self._mark()

    def _mark(self) -> None:
        """Have the feed publish soon what is new."""
        publisher.mark(self)

    def complete(self, title: str, group: FutureGroup[Any]) -> None:
        """Take the group of the futures that were added.

        Parameters
        ----------
        title
            Its name.
        group
            The group.
        """
        self._title, self._title_due = title, True
        self._retries.complete(group)
        self._mark()

    def close(self) -> None:
        """Close the table and the widget."""
        self._table.close()
        self._open_rows.close_all()
        super().close()

    # ------------------------------------------------------------------ what is sent

    def publish(self) -> None:
        """Take in what has changed, and send it if a view listens."""
        self._table.take_in()
        self._open_rows.follow_retries()
        self._retries.start_what_has_stopped()
        super().publish()
        if self._sequence:
            self.drawn.set()
        if self._table.version > self._seen_version:
            self._seen_version = self._table.version
            self._changed()

    def snapshot(self) -> Content:
        """Build a message with the whole board; on the publisher's thread."""
        self._encoder.start_anew()
        self._table.changed()
        numbers = range(len(self._table))
        self._table.changed_nested()
        content = self._content(numbers, range(len(self._table.nested)), self._open_rows.contents())
        about = {"whole": True, "title": self._title, "epoch": self._encoder.epoch, "edges": self._edges}
        return {**content, **about, "newest_first": self._table.newest_first}

    def changes(self) -> Content | None:
        """Build a message with what has changed since the last one; None for nothing. On the publisher's thread."""
        numbers = self._table.changed()
        details = self._open_rows.changes()
        nested = self._table.changed_nested()
        if not numbers and not nested and not details and self._answer is None and not self._title_due:
            return None
        if not self._encoder.epoch:
            return self.snapshot()  # the first rows of an empty board
        return {**self._content(numbers, nested, details), "numbers": numbers, "title": self._title}

    def _content(self, numbers: Sequence[int], nested: Sequence[int], details: list[Content]) -> Content:
        """Build what a snapshot and a message of changes have in common.

        Parameters
        ----------
        numbers
            The numbers of the rows to send.
        nested
            The numbers of the nested rows to send.
        details
            What is sent of open rows.
        """
        changed = self._table.rows(numbers)
        answer, self._answer, self._title_due = self._answer, None, False
        columns = self._encoder.columns(changed)
        below = self._nested_content(nested) if nested else None
        return {
            "type": "rows",
            "strings": self._encoder.take_new_texts(),
            "columns": columns,
            "progress": [
                (number, *row.progress.values())
                for number, row in zip(numbers, changed, strict=True)
                if row.progress is not None and not row.over
            ],
            "details": details,
            "answer": answer,
            "nested": below,
        }

    def _nested_content(self, numbers: Sequence[int]) -> Content:
        """Build what is sent of nested rows with these numbers."""
        rows = self._table.nested.rows(numbers)
        return {
            "numbers": list(numbers),
            "columns": self._encoder.columns([each.row for each in rows]),
            "below": [each.below for each in rows],
            "parent": [each.parent for each in rows],
            "omitted": list(self._table.nested.omitted.items()),
        }

    # ------------------------------------------------------------------ what is asked

    def act(self, content: Content) -> bool:
        """Carry out what a view asks for; return False for a message that is unknown."""
        match content:
            case {"type": "cancel", "rows": asked, "force": bool(force)}:
                numbers = self._meant(asked, lambda row: not row.over)
                if numbers is not None:
                    self._cancel(numbers, force)
                return numbers is not None
            case {"type": "retry", "rows": asked}:
                numbers = self._meant(asked, lambda row: row.kind in (FAILED, LOST))
                if numbers is not None:
                    self._retries.start(numbers)
                return numbers is not None
            case {"type": "open", "row": number} if self._is_row(number):
                self._open_rows.open(number)
                return True
            case {"type": "output", "row": number} if self._is_row(number) and feed.is_output_question(content):
                publisher.call_later(0, partial(self._send_output, number, content))
                return True
            case {"type": "close", "row": number} if self._is_row(number):
                self._open_rows.close(number)
                return True
        return False

    def _send_output(self, number: int, question: Content) -> None:
        """Send what the task of a row has written to the card that asks for it; on the publisher's thread.

        Parameters
        ----------
        number
            The number of the row.
        question
            What the card has sent.
        """
        self.answer(feed.output_message(self._table.future(number), question))

    def _is_row(self, number: object) -> bool:
        """Return whether a value from a page, which is not checked yet, is the number of a row."""
        return type(number) is int and 0 <= number < len(self._table)

    def _meant(self, asked: object, wanted: Callable[[BoardRow], bool]) -> list[int] | None:
        """Return the rows that a message names.

        Parameters
        ----------
        asked
            ``"all"``, or a list of numbers; not checked yet.
        wanted
            Chooses among all rows.

        Returns
        -------
        list[int] | None
            The numbers of the rows; None for a message that is unknown.
        """
        if asked == "all":
            self._table.take_in()
            return self._table.where(wanted)
        if isinstance(asked, list) and asked and all(map(self._is_row, asked)):
            return list(dict.fromkeys(asked))
        return None

    def _cancel(self, numbers: list[int], force: bool) -> None:
        """Ask the tasks of rows to stop, and answer how many were asked.

        Parameters
        ----------
        numbers
            The numbers of the rows.
        force
            End their processes at once.
        """
        futures = [future for number in numbers if (future := self._table.future(number)) is not None]
        asked = sum(ask_to_stop(future, force) for future in futures)
        verb = "to be killed" if force else "asked to stop"
        self._say(f"{thin_spaced(counted(asked, 'task'))} {verb}", len(numbers) - asked)

    def _say(self, text: str, ended: int = 0) -> None:
        """Answer a click.

        Parameters
        ----------
        text
            What is done about it.
        ended
            How many tasks had ended before.
        """
        if ended:
            only = text.startswith("0 ")
            late = f"{amount(ended)} had already ended"
            text = late if only else f"{text}; {late}"
        self._answers += 1
        self._answer = {"number": self._answers, "text": text}
        self._mark()
