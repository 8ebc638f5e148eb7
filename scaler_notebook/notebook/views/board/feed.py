"""The live board of many futures: what its widget shows, and what its buttons do."""

import itertools
import threading
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.futures.group import FutureGroup
from scaler_notebook.client.task_state.observed_task import ObservedTask
from scaler_notebook.client.waiting.signal import Signal
from scaler_notebook.notebook.views import modules, preview, rows
from scaler_notebook.notebook.views.card import feed
from scaler_notebook.notebook.views.feed import LONGEST_NAME, Content, Feed, ViewHost, ViewWidget, ask_to_stop
from scaler_notebook.notebook.views.front_end import FrontEnd
from scaler_notebook.notebook.views.publisher import publisher
from scaler_notebook.protocol.errors import EngineStartError

from .board_row import CANCELLED, CANCELLING, FAILED, LOST, BoardRow
from .table import TaskTable

MAX_OPEN = 4  # rows whose details are sent; a page that was closed cannot say so

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

    Rows are sent as columns. Each text is sent once, and again in a snapshot; rows refer to texts by number. Times are
    milliseconds since ``epoch``.

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
        self._group = None if group is None else weakref.ref(group)
        self._edges = [] if group is None else list(map(list, group.edges))  # rows are in the order of the group
        self._changed = changed
        self._seen_version = table.version
        self._epoch = 0.0
        self._strings: dict[str, int] = {}
        self._open: dict[int, Detail] = {}
        self.drawn = Signal()  # set when a view was sent the board
        self._answers = 0
        self._answer: Content | None = None
        self._retrying = threading.Lock()  # two clicks are one try
        self._retry_when_stopped: set[int] = set()
        self._retried: list[ScalerFuture[Any]] = []  # nobody else has those that take no place in a group
        table.on_change = self._mark
        self._mark()

    def _mark(self) -> None:
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
        self._title, self._group, self._title_due = title, weakref.ref(group), True
        self._mark()

    def close(self) -> None:
        """Close the table and the widget."""
        self._table.close()
        for number in list(self._open):
            self._close_row(number)
        super().close()

    # ------------------------------------------------------------------ what is sent

    def publish(self) -> None:
        """Take in what has changed, and send it if a view listens."""
        self._table.take_in()
        for number, detail in list(self._open.items()):
            detail.show(self._table.future(number))
        self._retry_what_has_stopped()
        super().publish()
        if self._sequence:
            self.drawn.set()
        if self._table.version > self._seen_version:
            self._seen_version = self._table.version
            self._changed()

    def snapshot(self) -> Content:
        """Build a message with the whole board; on the publisher's thread."""
        self._strings = {}
        self._table.changed()
        numbers = range(len(self._table))
        if numbers and not self._epoch:
            self._epoch = self._table.rows([0])[0].submitted
        self._table.changed_nested()
        details = list(self._open.values())
        about = {"whole": True, "title": self._title, "epoch": self._epoch, "edges": self._edges}
        content = self._content(numbers, range(len(self._table.nested)), details)
        return {**content, **about, "newest_first": self._table.newest_first}

    def changes(self) -> Content | None:
        """Build a message with what has changed since the last one; None for nothing. On the publisher's thread."""
        numbers = self._table.changed()
        details = [detail for detail in list(self._open.values()) if detail.due]
        nested = self._table.changed_nested()
        if not numbers and not nested and not details and self._answer is None and not self._title_due:
            return None
        if not self._epoch:
            return self.snapshot()  # the first rows of an empty board
        return {**self._content(numbers, nested, details), "numbers": numbers, "title": self._title}

    def _content(self, numbers: Sequence[int], nested: Sequence[int], details: list["Detail"]) -> Content:
        """Build what a snapshot and a message of changes have in common.

        Parameters
        ----------
        numbers
            The numbers of the rows to send.
        nested
            The numbers of the nested rows to send.
        details
            The details to send.
        """
        known = len(self._strings)
        changed = self._table.rows(numbers)
        answer, self._answer, self._title_due = self._answer, None, False
        columns = list(zip(*map(self._shortened, changed), strict=True))
        below = self._nested_content(nested) if nested else None
        return {
            "type": "rows",
            "strings": list(itertools.islice(self._strings, known, None)),
            "columns": columns,
            "progress": [
                (number, *row.progress)
                for number, row in zip(numbers, changed, strict=True)
                if row.progress is not None and not row.over
            ],
            "details": [detail.content() for detail in details],
            "answer": answer,
            "nested": below,
        }

    def _nested_content(self, numbers: Sequence[int]) -> Content:
        """Build what is sent of nested rows with these numbers."""
        rows = self._table.nested.rows(numbers)
        return {
            "numbers": list(numbers),
            "columns": list(zip(*(self._shortened(each.row) for each in rows), strict=True)),
            "below": [each.below for each in rows],
            "parent": [each.parent for each in rows],
            "omitted": list(self._table.nested.omitted.items()),
        }

    def _shortened(self, row: BoardRow) -> tuple[int | None, ...]:
        """Return a row's columns, in the order of COLUMNS in board_rows.js."""
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
        return self._strings.setdefault(text, len(self._strings))

    def _milliseconds(self, at: float | None) -> int | None:
        return None if at is None else round((at - self._epoch) * 1000)

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
                    self._start_retry(numbers)
                return numbers is not None
            case {"type": "open", "row": number} if self._is_row(number):
                self._open_row(number)
                return True
            case {"type": "output", "row": number, "view": str(view), "from": int(start)} if self._is_row(number):
                publisher.call_later(0, partial(self._send_output, number, view[:LONGEST_NAME], start))
                return True
            case {"type": "close", "row": number} if self._is_row(number):
                self._close_row(number)
                return True
        return False

    def _send_output(self, number: int, view: str, start: int) -> None:
        """Send what the task of a row has written to the card that asks for it; on the publisher's thread.

        Parameters
        ----------
        number
            The number of the row.
        view
            The card.
        start
            The character with which it begins.
        """
        self.answer(feed.output_message(self._table.future(number), view, start))

    def _is_row(self, number: object) -> bool:
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
        futures = [future for number in numbers if (future := self._table.future(number)) is not None]
        asked = sum(ask_to_stop(future, force) for future in futures)
        verb = "to be killed" if force else "asked to stop"
        self._say(_tasks(asked, verb), len(numbers) - asked)

    def _start_retry(self, numbers: list[int]) -> None:
        """Submit calls again on a thread: an engine that has ended is started again."""
        threading.Thread(target=self._retry, args=(numbers,), name="scaler_notebook retry").start()

    def _retry(self, numbers: list[int]) -> None:
        """Submit again the calls of rows that have ended without a value, and later of those that are being stopped."""
        with self._retrying:
            self._table.take_in()
            kinds = {number: row.kind for number, row in zip(numbers, self._table.rows(numbers), strict=True)}
            said = self._submit_again([number for number in numbers if kinds[number] in (FAILED, CANCELLED, LOST)])
            later = {number for number in numbers if kinds[number] == CANCELLING}
            self._retry_when_stopped |= later
            self._table.take_in()
        self._say(f"{said}; {_tasks(len(later), 'will be, once stopped')}" if later else said)

    def _retry_what_has_stopped(self) -> None:
        """Submit again what was to be when it has stopped; what goes on, or has a result after all, is left alone."""
        waiting = list(self._retry_when_stopped)
        rows = zip(waiting, self._table.rows(waiting), strict=True)
        ended = {number: row for number, row in rows if row.kind != CANCELLING}
        self._retry_when_stopped.difference_update(ended)
        stopped = sorted(number for number, row in ended.items() if row.kind == CANCELLED)
        if stopped:
            self._start_retry(stopped)

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
        return "; ".join(filter(None, [_tasks(again, "submitted again"), problem]))

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
            late = f"{ended} had already ended"
            text = late if only else f"{text}; {late}"
        self._answers += 1
        self._answer = {"number": self._answers, "text": text}
        self._mark()

    def _open_row(self, number: int) -> None:
        future = self._table.future(number)
        self._close_row(number)
        while len(self._open) >= MAX_OPEN:
            self._close_row(next(iter(self._open)))
        self._open[number] = Detail(number, future, self._host, self._mark)
        self._mark()

    def _close_row(self, number: int) -> None:
        detail = self._open.pop(number, None)
        if detail is not None:
            detail.close()


class Detail:
    """The details of a row that is open: output, error, result and messages.

    Parameters
    ----------
    number
        The number of the row.
    future
        The future; None if it is gone.
    host
        The host of the kernel.
    mark
        Called when there is something to send.
    """

    def __init__(self, number: int, future: ScalerFuture[Any] | None, host: ViewHost, mark: Callable[[], None]) -> None:
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
        """Build the whole detail; on the publisher's thread."""
        self.due = False  # first: what changes while we look is sent again
        future = self._future
        if future is None:
            return {"number": self._number, "row": None, "trace": ""}
        return {
            "number": self._number,
            "row": rows.row(future),
            "trace": str(future.trace()),
        }

    def close(self) -> None:
        """Watch the future no more."""
        if self._future is not None:
            self._future.unwatch(self._changed)

    def _changed(self, _: ObservedTask) -> None:
        if self._future is not None and self._future.done():
            preview.ask(self._future)
        self.due = True
        self._mark()


def _tasks(number: int, what: str) -> str:
    return f"{number} {'task' if number == 1 else 'tasks'} {what}"
