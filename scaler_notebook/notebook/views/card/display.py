"""The display of a future: a live card while the task runs, static HTML when the task has ended."""

import weakref
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.task_state.observed_task import ObservedTask
from scaler_notebook.notebook.kernel import ipykernel_compat
from scaler_notebook.notebook.kernel.host import KernelHost, kernel_host
from scaler_notebook.notebook.views import preview, rows
from scaler_notebook.notebook.views.board.board_row import Kind, kind_of
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
from scaler_notebook.notebook.views.static import mime, static_html
from scaler_notebook.protocol.states import TaskState

from .feed import CardFeed

LATE_CLICKS = 2.0  # seconds after its end for which a card still hears clicks
LATE_PAGES = 60.0  # seconds after its end for which a card that nobody has shown can be (Voilà executes first)
MAX_KEPT = 200  # cards of tasks that have ended, which go on hearing clicks where they stay in the page
MAX_OFFERED = 3  # cards that an interrupted cell shows by itself


class Card(LiveDisplay):
    """One display of one future: a widget while it runs, and the words that are saved.

    Parameters
    ----------
    future
        What it shows.
    host
        The kernel that it is displayed in.
    """

    def __init__(self, future: ScalerFuture[Any], host: KernelHost) -> None:
        super().__init__(host)
        self.task_id = future.task_id
        self.cell = host.shell.execution_count  # the one that it is displayed in
        self.cell_id = ipykernel_compat.cell_id(host.shell)  # that one in the notebook, however often it is run
        self._future = future
        self._feed: CardFeed | None = None
        self._ended = False
        self._said: tuple[TaskState, bool] | None = None  # what the static forms told last
        self._passed_on = 0  # displays of the task that were looked at
        self._passed_on_result = False
        self._parent = ipykernel_compat.parent(host.kernel)

    def show(self) -> None:
        """Display it in the cell that runs."""
        if self._covered or not self._future.done():
            earlier = {card._future for card in tuple(_live) if card.is_of_an_earlier_run(self)} - {self._future}
            self._feed = CardFeed(
                self._future,
                self._host,
                partial(publisher.mark, self),
                tuple(earlier),
                self.meet_front_end,
                partial(_follow, weakref.ref(self)),  # a weak reference: a feed that is kept keeps no result alive
                self.place,
            )
            self.expect_front_end()
        if not self._future.done():
            _live.add(self)
        self.send(None if self._feed is None else self._feed.widget, update=False)
        self._future.watch(self._changed)
        self._changed(self._future)
        watch.add(self)

    def tally(self) -> tuple[str, Mapping[Kind, int]]:
        """Return the call, and of which kind the task is."""
        return self._future.call, {kind_of(self._future): 1}

    def kinds(self) -> Mapping[str, Kind]:
        """Return of which kind the task is, by its id."""
        return {self._future.task_id: kind_of(self._future)}

    def follow(self, future: ScalerFuture[Any]) -> None:
        """Tell of another future from here on: the one of the call that was submitted again."""
        self._future.unwatch(self._changed)
        self._future, self.task_id = future, future.task_id
        self._passed_on, self._passed_on_result, self._ended = 0, False, False
        _live.add(self)
        future.watch(self._changed)
        self.publish_now()

    def is_of_an_earlier_run(self, other: "Card") -> bool:
        """Return whether this card was shown when the cell of the other card ran before."""
        return self.cell_id is not None and self.cell_id == other.cell_id and self.cell != other.cell

    def publish(self) -> None:
        """Send the task's new displays, and the output of the cell again where that is due; on the publisher's thread.

        The output has the widget while the task runs, and is static HTML once the task has ended or where no front
        end shows widgets.
        """
        displays = self._future.displays if self._future.displayed > self._passed_on else ()
        for display in displays[self._passed_on :]:
            self._passed_on += 1
            if mime.is_native(display):
                self._host.display_in(self._parent, mime.sendable(display.bundle), mime.sendable(display.metadata))
        result = self._future.preview if self._future.shows_result else None
        if result is not None and not self._passed_on_result:
            self._passed_on_result = True
            if mime.is_native(result):
                self._host.display_in(self._parent, mime.sendable(result.bundle), mime.sendable(result.metadata))
        if self._future.done() and not self._ended:
            self._ended = True
            preview.ask(self._future)
            last_words.add(self)
            _live.discard(self)
            # Clicks that wait behind a busy main thread come to it before this does, and get their answer.
            self._host.post(self._retire_soon)
        if self._ended or self.is_due():
            self.send(self._feed.widget if self._feed and not self._ended and not self._fallback else None, update=True)

    def _changed(self, future: ObservedTask) -> None:
        if future.displayed > self._passed_on or future.done():
            publisher.mark(self)
        elif self._covered or (self._fallback and self.is_unseen()):
            told = self._said == (future.state, future.refused)
            self.publish_within(LIVE_INTERVAL if told and not self.is_unseen() else STATIC_INTERVAL)

    def static_forms(self) -> dict[str, str]:
        """Return the card as it is now, as text and as HTML, by MIME type."""
        # Before we look: what changes meanwhile is told again.
        before, self._said = self._said, (self._future.state, self._future.refused)
        row = rows.row(self._future)
        feed = self._feed
        remark = feed.note if feed is not None else None
        live = self._covered and (before is None or (feed is not None and feed.ready))
        if not self._future.done() and not live:
            remark = f"stop it with %scaler cancel {self._future.task_id}"
        return {"text/plain": static_html.text(row), "text/html": static_html.html(row, remark=remark)}

    def is_unseen(self) -> bool:
        """Return whether the task has not ended, and no front end has shown the live card yet."""
        return self._feed is not None and not self._feed.ready and not self._future.done()

    def is_static(self) -> bool:
        """Return whether this front end shows no widgets."""
        return self._fallback

    def is_met(self) -> bool:
        """Return whether a front end has made the model."""
        return self._feed is not None and self._feed.met

    def _retire_soon(self) -> None:
        if self._feed is not None:
            if self._covered:  # elsewhere the view goes with the widget that its output had
                _kept.add(self._feed, MAX_KEPT)
            publisher.call_later(LATE_CLICKS if self._feed.ready else LATE_PAGES, self._feed.retire)


def _follow(card: "weakref.ref[Card]", future: ScalerFuture[Any]) -> None:
    """Have a card tell of another future, if there still is such a card."""
    if (known := card()) is not None:
        known.follow(future)


_kept = NewestViews()  # cards whose tasks have ended: they hear clicks for as long as a page has them


# Cards of tasks that have not ended. The publisher's thread removes them: others iterate over a copy.
_live: "set[Card]" = set()


def offer_cancel(futures: Sequence[ObservedTask], host: KernelHost) -> None:
    """Show cards of futures whose tasks run on after the stop button, unless this cell has cards of them."""
    seen = {card.task_id for card in tuple(_live) if card.cell == host.shell.execution_count and not card.is_static()}
    unseen = [future for future in futures if isinstance(future, ScalerFuture) and future.task_id not in seen]
    if len(unseen) <= MAX_OFFERED:
        for future in unseen:
            show(future)
    else:
        print(f"{len(futures)} tasks run on. Stop them with %scaler cancel --all; %scaler status lists them.")


def show(future: ScalerFuture[Any]) -> None:
    """IPython's display hook for a future."""
    host = kernel_host()
    assert host is not None, "terminals have a hook of their own"
    listen(host.shell)
    Card(future, host).show()
