"""What a notebook shows for a future: a live card while it runs, static HTML when it has ended."""

import time
import uuid
from collections.abc import Sequence
from typing import Any

from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.task_state.lifecycle import TaskLifecycle
from scaler_notebook.notebook.kernel import ipykernel_compat
from scaler_notebook.notebook.kernel.host import KernelHost, kernel_host
from scaler_notebook.notebook.views import mime, preview, rows, static_html
from scaler_notebook.notebook.views.publisher import View, publisher

from .feed import CardFeed

READY_PATIENCE = 3.0  # seconds with an ear for it that a front end gets to show a widget, before HTML takes its place
LATE_CLICKS = 2.0  # seconds after its end for which a card still hears clicks
LATE_PAGES = 60.0  # seconds after its end for which a card that nobody has shown can be (Voilà executes first)
FLUSH_PATIENCE = 0.2  # seconds that a cell is prolonged at most, and only if a view has something to say
MAX_OFFERED = 3  # cards that an interrupted cell shows by itself


class Card:
    """One display of one future: a widget while it runs, with words beside it, and words alone afterwards.

    Parameters
    ----------
    future
        What it shows.
    host
        The kernel that it is displayed in.
    """

    def __init__(self, future: ScalerFuture[Any], host: KernelHost) -> None:
        self.task_id = future.task_id
        self.cell = host.shell.execution_count  # the one that it is displayed in
        self.cell_id = ipykernel_compat.cell_id(host.shell)  # that one in the notebook, however often it is run
        self._future = future
        self._host = host
        self._display_id = uuid.uuid4().hex
        self._feed: CardFeed | None = None
        self._fallback = False  # this front end shows no widgets
        self._ended = False
        self._passed_on = 0  # displays of the task that were looked at
        self._parent = ipykernel_compat.parent(host.kernel)

    def show(self) -> None:
        """Display it in the cell that runs."""
        bundle = self._static()
        if not self._future.done():
            earlier = {card._future for card in _live if card.is_of_an_earlier_run(self)} - {self._future}
            self._feed = CardFeed(self._future, self._host, lambda: publisher.mark(self), tuple(earlier))
            _live.add(self)
            bundle["application/vnd.jupyter.widget-view+json"] = {
                "version_major": 2,
                "version_minor": 0,
                "model_id": self._feed.widget.model_id,
            }
            publisher.call_later(READY_PATIENCE, self._was_it_ready)
        self._host.shell.display_pub.publish(data=bundle, metadata={}, transient={"display_id": self._display_id})
        self._future.watch(self._changed)
        self._changed(self._future)

    def is_of_an_earlier_run(self, other: "Card") -> bool:
        """Was it shown when the cell of the other ran before?"""
        return self.cell_id is not None and self.cell_id == other.cell_id and self.cell != other.cell

    def publish(self) -> None:
        """Replace it by its static form; on the publisher's thread."""
        displays = self._future.displays if self._future.displayed > self._passed_on else ()
        for display in displays[self._passed_on :]:
            self._passed_on += 1
            if mime.is_native(display):
                self._host.display_in(self._parent, mime.sendable(display.bundle), mime.sendable(display.metadata))
        if self._future.done() and not self._ended:
            self._ended = True
            preview.ask(self._future)
            last_words.add(self)
            _live.discard(self)
            # Clicks that wait behind a busy main thread come to it before this does, and get their answer.
            self._host.post(self._retire_soon)
        if self._ended or (self._fallback and self._is_unseen()):
            self._host.display_pub.publish(
                data=self._static(), metadata={}, transient={"display_id": self._display_id}, update=True
            )

    def _changed(self, future: TaskLifecycle) -> None:
        if future.displayed > self._passed_on or future.done() or (self._fallback and self._is_unseen()):
            publisher.mark(self)

    def _static(self) -> dict[str, Any]:
        row = rows.row(self._future)
        remark = self._feed.note if self._feed is not None else None
        if not self._future.done():
            remark = f"stop it with %scaler cancel {self._future.task_id}"
        shown = {"text/plain": static_html.text(row), "text/html": static_html.html(row, remark=remark)}
        return {kind: mime.sendable(text) for kind, text in shown.items()}

    # ------------------------------------------------------------------ the widget

    def _was_it_ready(self) -> None:
        """A front end that shows widgets has said ``ready`` once the kernel could hear it for long enough."""
        if not self._is_unseen():
            return
        left = self._host.hears_since + READY_PATIENCE - time.monotonic()
        if left > 0:
            publisher.call_later(min(left, READY_PATIENCE), self._was_it_ready)
            return
        self._fallback = True
        _live.discard(self)
        publisher.mark(self)

    def _is_unseen(self) -> bool:
        return self._feed is not None and not self._feed.ready and not self._future.done()

    def _retire_soon(self) -> None:
        if self._feed is not None:
            publisher.call_later(LATE_CLICKS if self._feed.ready else LATE_PAGES, self._feed.retire)


_live: "set[Card]" = set()  # cards with a Cancel button
last_words: "set[View]" = set()  # ended ones whose static form was sent since the last cell began


def cell_begins(info: Any) -> None:
    """Send again what ended cards said since the last cell began.

    Who runs a notebook without a browser (nbclient, papermill) keeps only what is sent while a cell runs; a task that
    ended between two cells would be "running" for ever in the saved notebook.
    """
    while last_words:
        publisher.mark(last_words.pop())
    publisher.flush(FLUSH_PATIENCE)


def cell_ends(result: Any) -> None:
    """Have the views say how things stand before the cell is over, for the same reason."""
    publisher.flush(FLUSH_PATIENCE)


def listen(shell: Any) -> None:
    """Hear of cells, from the first view on. Did these fire more often than for cells, it would do no harm."""
    for event, callback in (("pre_run_cell", cell_begins), ("post_run_cell", cell_ends)):
        if callback not in shell.events.callbacks[event]:
            shell.events.register(event, callback)


def offer_cancel(futures: Sequence[TaskLifecycle], host: KernelHost) -> None:
    """The stop button has ended a wait for these, and they run on: show a card of each, unless this cell has one."""
    seen = {card.task_id for card in _live if card.cell == host.shell.execution_count}
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
