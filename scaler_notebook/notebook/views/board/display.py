"""The display of a group, and of the whole session: a live board with its static forms beside it."""

import math
import time
from collections.abc import Callable
from typing import Any

from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.futures.group import FutureGroup
from scaler_notebook.notebook.kernel.host import KernelHost, kernel_host
from scaler_notebook.notebook.views.live_display import LiveDisplay, last_words, listen
from scaler_notebook.notebook.views.publisher import publisher

from . import static_html
from .feed import BoardFeed
from .table import BoardRow, SessionTable, TaskTable

STATIC_INTERVAL = 1.0  # seconds between two static forms where no widget lives
LIVE_INTERVAL = 30.0  # ... and where one does, which needs them only for the notebook that is saved
SESSION_TITLE = "all tasks of this session"
HOW_TO_STOP = "%scaler status lists what is unfinished, %scaler cancel --all stops it"


class Board(LiveDisplay):
    """One display of a group or of the session; live until the kernel ends.

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
        self._shown_at = -math.inf  # when the static forms were sent again, by the monotonic clock
        self._said_version = -1  # of the table, where no widget lives
        self._scheduled = False
        self._bare = False  # was the widget left out?
        self._feed = BoardFeed(host, title, table, group, self._settled, self._met)

    def show(self) -> None:
        """Display it in the cell that runs."""
        self.send(self._feed.widget, update=False)
        self.expect_front_end()
        if self._table.settled:
            self._settled()

    def publish(self) -> None:
        """Send the static forms again, for those who see them alone; on the publisher's thread."""
        if self._fallback:
            self._table.take_in()
            if self._table.settled:
                if self._table.version > self._said_version:
                    last_words.add(self)
            elif self._shown_at + STATIC_INTERVAL > time.monotonic():
                self._publish_after(STATIC_INTERVAL)
                return
            self._said_version = self._table.version
        self._shown_at = time.monotonic()
        # Who exports an executed notebook prefers the widget, which shows nothing without its kernel.
        self._bare = self._fallback or (self._table.settled and not self._known())
        self.send(None if self._bare else self._feed.widget, update=True)

    def static_forms(self) -> dict[str, str]:
        """Return the table of tasks as it is now, as text and as HTML, by MIME type."""
        rows: list[BoardRow] = self._table.rows(range(len(self._table)))
        counts = self._table.counts()
        remark = HOW_TO_STOP if not self._table.settled else None
        return {
            "text/plain": static_html.text(self._title, counts, rows),
            "text/html": static_html.html(self._title, counts, rows, remark=remark),
        }

    def is_unseen(self) -> bool:
        """Return whether no front end has shown the live board yet."""
        return not self._feed.ready

    def fall_back(self) -> None:
        """Close the widget: from here on only the static forms are seen."""
        self._feed.release()
        self._table.on_change = self._mark

    def _settled(self) -> None:
        """All have ended: the notebook that is saved shall say so. A front end draws the widget again for it."""
        if self._known():
            self._publish_after(LIVE_INTERVAL)
        else:
            last_words.add(self)
            self._mark()

    def _known(self) -> bool:
        return self._feed.met or self._feed.ready

    def _met(self) -> None:
        if self._bare and not self._fallback:
            self._mark()

    def _publish_after(self, interval: float) -> None:
        """Publish so many seconds after the last time, or soon if they have passed."""
        if not self._scheduled:
            self._scheduled = True
            publisher.call_later(max(0.0, self._shown_at + interval - time.monotonic()), self._publish_scheduled)

    def _publish_scheduled(self) -> None:
        self._scheduled = False
        self._mark()

    def _mark(self) -> None:
        publisher.mark(self)


def title_of(group: FutureGroup[Any]) -> str:
    """Return the title above the board of a group."""
    return group.name or f"{len(group)} tasks"


def show(group: FutureGroup[Any]) -> None:
    """IPython's display hook for a group."""
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


def _show(title: str, table: TaskTable, group: FutureGroup[Any] | None) -> None:
    host = kernel_host()
    if host is None:  # a terminal: IPython calls this hook there too
        print(static_html.text(title, table.counts(), table.rows(range(len(table)))))
        table.close()
        return
    listen(host.shell)
    Board(host, title, table, group).show()
