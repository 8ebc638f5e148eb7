"""The display of a group, and of the whole session: a live board with its static forms beside it."""

import math
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.futures.group import FutureGroup
from scaler_notebook.client.waiting.signal import Signal
from scaler_notebook.notebook.kernel.host import KernelHost, kernel_host
from scaler_notebook.notebook.views.live_display import (
    LIVE_INTERVAL,
    STATIC_INTERVAL,
    LiveDisplay,
    NewestViews,
    last_words,
    listen,
)
from scaler_notebook.notebook.views.notices.watch import watch
from scaler_notebook.notebook.views.publisher import publisher
from scaler_notebook.quantities import thin_spaced
from scaler_notebook.wording import counted

from . import static_html
from .board_row import BoardRow, Kind
from .feed import BoardFeed
from .table import SessionTable, TaskTable

SESSION_TITLE = "all tasks of this session"
DRAW_PATIENCE = 0.3  # seconds for a front end to ask for the module and the rows of a board
DRAW_PAUSE = 60.0  # seconds in which none is waited for after one has not come in time
MAX_KEPT = 50  # boards that stay live when their tasks have ended
HOW_TO_STOP = "%scaler board shows it live, %scaler status lists what is unfinished, %scaler cancel --all stops it"
HOW_TO_REOPEN = "as long as this kernel runs, %scaler board shows the tasks that it still holds"

_kept = NewestViews()


class Board(LiveDisplay):
    """One display of a group or of the session; live while its tasks run, and then as long as it is among the newest.

    Parameters
    ----------
    host
        The kernel that it is displayed in.
    title
        What a person reads.
    table
        What it shows.
    group
        The group, if it is one.
    """

    def __init__(self, host: KernelHost, title: str, table: TaskTable, group: FutureGroup[Any] | None = None) -> None:
        super().__init__(host)
        self._title = title
        self._table = table
        self._feed = BoardFeed(host, title, table, group, self._changed, self.meet_front_end, self.place)

    def show(self) -> None:
        """Display it in the cell that runs."""
        self.send(self._feed.widget, update=False)
        self.expect_front_end()
        watch.add(self)
        _kept.add(self, MAX_KEPT)
        if self._table.settled:
            self._changed()

    @property
    def drawn(self) -> Signal:
        """A signal that is set when a front end was sent the board."""
        return self._feed.drawn

    def complete(self, group: FutureGroup[Any]) -> None:
        """Take the group of all futures that were added."""
        self._title = title_of(group)
        self._feed.complete(self._title, group)
        self.publish_within(STATIC_INTERVAL)

    def publish(self) -> None:
        """Send the static forms again, and the widget for who shows it itself; on the publisher's thread."""
        # Who shows or exports a saved notebook prefers the widget, which shows nothing without its kernel.
        bare = self._fallback or self.closed or self._table.settled
        self.send(None if bare else self._feed.widget, update=True)

    def static_forms(self) -> dict[str, str]:
        """Return the table of tasks as it is now, as text and as HTML, by MIME type."""
        rows: list[BoardRow] = self._table.rows(range(len(self._table)))
        counts = self._table.counts()
        remark = HOW_TO_REOPEN if self._table.settled else HOW_TO_STOP
        return {
            "text/plain": static_html.text(self._title, counts, rows),
            "text/html": static_html.html(self._title, counts, rows, remark=remark if rows else None),
        }

    def tally(self) -> tuple[str, Mapping[Kind, int]]:
        """Return the title, and how many tasks are of each kind."""
        return self._title, self._table.counts()

    def kinds(self) -> Mapping[str, Kind]:
        """Return the kind of each task, by id."""
        return self._table.kinds()

    @property
    def runs(self) -> bool:
        """Whether tasks of it have not ended. A later board of the session has the same buttons."""
        return not self._table.settled and not self._table.newest_first

    @property
    def is_left(self) -> bool:
        """Whether its tasks have ended, and no page shows it any more."""
        return len(self._table) > 0 and self._table.settled and self._feed.is_left

    @property
    def closed(self) -> bool:
        """Whether there is no live board any more."""
        return self._feed.closed

    def close(self) -> None:
        """Close the live board; the static forms stay, as they are now."""
        watch.remove(self)  # its table hears of nothing any more
        self._feed.close()
        self.publish_now()

    def is_unseen(self) -> bool:
        """Return whether no front end has shown the live board yet."""
        return not self._feed.ready

    def is_met(self) -> bool:
        """Return whether a front end has made the model."""
        return self._feed.met

    def _changed(self) -> None:
        """Have the static forms say what is new: below a live view, which does not mind, or when all have ended.

        A front end that shows the widget itself draws it again for that.
        """
        if self._table.settled and not self.is_met():
            last_words.add(self)
            self._mark()
        elif self._covered or self._fallback:
            self.publish_within(LIVE_INTERVAL if self._feed.ready and not self._table.settled else STATIC_INTERVAL)
        elif self._table.settled:
            self.publish_within(LIVE_INTERVAL)
        elif self._bare:  # more tasks have come
            self.publish_within(STATIC_INTERVAL)

    def _mark(self) -> None:
        publisher.mark(self)


class GroupBoard:
    """Implements :class:`~scaler_notebook.client.waiting.host.FillingBoard`.

    Parameters
    ----------
    title
        The title above the board, until the group is complete.
    futures
        Its futures so far.
    host
        The host of the kernel.

    Attributes
    ----------
    awaited_from
        When a front end is waited for again, by the monotonic clock: one that has not come in time may have been slow
        once, or there is none.
    """

    awaited_from = -math.inf

    def __init__(self, title: str, futures: Sequence[ScalerFuture[Any]], host: KernelHost) -> None:
        self._host = host
        self._table = TaskTable(futures)
        self._board = Board(host, title, self._table)
        self._board.show()

    def add(self, future: ScalerFuture[Any]) -> None:
        """Add a future."""
        self._table.add(future)

    def wait_until_drawn(self) -> None:
        """Wait until a front end was sent the first rows, if one comes in time."""
        if time.monotonic() >= GroupBoard.awaited_from and not self._host.wait(self._board.drawn, DRAW_PATIENCE):
            GroupBoard.awaited_from = time.monotonic() + DRAW_PAUSE

    def complete(self, group: FutureGroup[Any]) -> None:
        """Take the group; the cell that runs has shown it now."""
        self._board.complete(group)
        _shown_in[group] = self._host.shell.execution_count


_shown_in: "weakref.WeakKeyDictionary[FutureGroup[Any], int]" = weakref.WeakKeyDictionary()  # groups, by GroupBoard


def title_of(group: FutureGroup[Any]) -> str:
    """Return the title above the board of a group."""
    if not len(group):
        return f"{group.name}, an empty group" if group.name else "an empty group"
    return group.name or thin_spaced(counted(len(group), "task"))  # as the chips write numbers


def show(group: FutureGroup[Any]) -> None:
    """IPython's display hook for a group."""
    host = kernel_host()
    if host is not None and _shown_in.pop(group, None) == host.shell.execution_count:
        return  # while it was submitted
    _show(title_of(group), TaskTable(group), group)


def show_session() -> None:
    """``%scaler board``."""
    _show(SESSION_TITLE, SessionTable(), None)


def open_board(title: str, host: KernelHost) -> Callable[[ScalerFuture[Any]], None]:
    """Display a board without futures; what is returned adds one, on any thread.

    Parameters
    ----------
    title
        The title above the board.
    host
        The host of the kernel.
    """
    table = TaskTable(())
    listen(host.shell)
    Board(host, title, table).show()
    return table.add


def open_group_board(title: str, futures: Sequence[ScalerFuture[Any]], host: KernelHost) -> GroupBoard:
    """Display the board of a group that is being submitted.

    Parameters
    ----------
    title
        The title above the board, until the group is complete.
    futures
        Its futures so far.
    host
        The host of the kernel.
    """
    listen(host.shell)
    return GroupBoard(title, futures, host)


def _show(title: str, table: TaskTable, group: FutureGroup[Any] | None) -> None:
    host = kernel_host()
    if host is None:  # a terminal: IPython calls this hook there too
        print(static_html.text(title, table.counts(), table.rows(range(len(table)))))
        table.close()
        return
    listen(host.shell)
    Board(host, title, table, group).show()
