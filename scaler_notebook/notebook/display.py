"""What a notebook shows for a future: a live card while it runs, static HTML when it has ended."""

import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anywidget

from ..client.future import ScalerFuture
from ..client.lifecycle import TaskLifecycle
from . import rendering, rows
from .bridge import KernelHost, kernel_host
from .kernel_internals import let_front_end_choose
from .publisher import publisher

READY_PATIENCE = 3.0  # seconds that a front end gets to show a widget before HTML takes its place
LATE_CLICKS = 2.0  # seconds after its end for which a card still hears clicks
FLUSH_PATIENCE = 0.2  # seconds that a cell is prolonged at most, and only if a view has something to say
PREVIEW_BYTES = 1_000_000  # a larger result is not loaded only to be shown
PREVIEW_TEXT = 2_000  # characters

MAX_OFFERED = 3  # cards that an interrupted cell shows by itself

_HERE = Path(__file__).parent


class CardWidget(anywidget.AnyWidget):
    """The widget of one card. It has no state: rows reach it as messages, in their order."""

    _esm = _HERE / "card.js"
    _css = _HERE / "card.css"


class Card:
    """One display of one future.

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
        self._future = future
        self._host = host
        self._display_id = uuid.uuid4().hex
        self._sequence = 0
        self._ready = False
        self._preview: str | None = None
        self._preview_asked = False
        self._note: str | None = None
        self._widget: CardWidget | None = None
        self._ended = False
        self._fallback = False  # this front end shows no widgets

    def show(self) -> None:
        """Display it in the cell that runs."""
        bundle = self._static()
        if not self._future.done():
            self._widget = widget = CardWidget()
            self._host.our_comms.add(widget.comm.comm_id)
            widget.on_msg(self._on_message)
            _live.add(self)
            bundle["application/vnd.jupyter.widget-view+json"] = {
                "version_major": 2,
                "version_minor": 0,
                "model_id": widget.model_id,
            }
            publisher.call_later(READY_PATIENCE, self._was_it_ready)
        self._host.shell.display_pub.publish(data=bundle, metadata={}, transient={"display_id": self._display_id})
        self._future.watch(self._changed)
        self._changed(self._future)

    def publish(self) -> None:
        """Send what has changed; on the publisher's thread."""
        future = self._future
        if future.done():
            if not self._ended:
                self._ended = True
                _last_words.add(self)
                _live.discard(self)
                # Clicks that wait behind a busy main thread come to it before this does, and get their answer.
                self._host.post(lambda: publisher.call_later(LATE_CLICKS, self._close_widget))
            self._ask_for_preview()
            self._update_static()
        elif self._fallback:
            self._update_static()
        elif self._ready:
            self._send_row()

    def _changed(self, future: TaskLifecycle) -> None:
        publisher.mark(self)

    # ------------------------------------------------------------------ the widget

    def _on_message(self, widget: Any, content: Any, buffers: Any) -> None:
        """From the front end; on the kernel's main thread or a subshell's, so it only asks and marks."""
        match content:
            case {"type": "ready"}:
                self._ready = True
                publisher.mark(self)
            case {"type": "cancel", "force": bool(force)}:
                if not self._future.request_cancel_unfinished(force):
                    self._note = "It had already ended when the click arrived; how it ended stands."
                    publisher.mark(self)

    def _send_row(self) -> None:
        widget = self._widget
        if widget is None or widget.comm is None:
            return
        self._sequence += 1
        row = rows.row(self._future, self._preview)
        widget.send({"type": "row", "seq": self._sequence, "now": time.time(), "row": row})
        if self._note is not None:
            widget.send({"type": "note", "text": self._note})
        let_front_end_choose(widget.comm)

    def _was_it_ready(self) -> None:
        """A front end that shows widgets has said ``ready`` by now, if the kernel could hear it: ask the loop."""
        if not self._ready and not self._future.done():
            self._host.post(lambda: publisher.call_later(READY_PATIENCE / 3, self._fall_back))

    def _fall_back(self) -> None:
        if not self._ready and not self._future.done():
            self._fallback = True
            self._close_widget()
            self._update_static()

    def _close_widget(self) -> None:
        _live.discard(self)
        widget, self._widget = self._widget, None
        if widget is not None:
            self._host.our_comms.discard(widget.comm.comm_id)
            widget.layout.close()  # a model of its own, which ipywidgets would leave open
            widget.close()

    # ------------------------------------------------------------------ static forms

    def _static(self) -> dict[str, Any]:
        row = rows.row(self._future, self._preview)
        hint = self._note if self._future.done() else f"stop it with %scaler cancel {self._future.task_id}"
        return {"text/plain": rendering.text(row), "text/html": rendering.html(row, hint=hint)}

    def _update_static(self) -> None:
        self._host.display_pub.publish(
            data=self._static(), metadata={}, transient={"display_id": self._display_id}, update=True
        )

    def _ask_for_preview(self) -> None:
        """A ``repr`` is the user's code: it belongs into the kernel's loop, and the badge does not wait for it."""
        if not self._preview_asked and not self._future.failed and not self._future.cancelled():
            self._preview_asked = True
            if self._future.result_bytes <= PREVIEW_BYTES:
                self._host.post(self._make_preview)

    def _make_preview(self) -> None:
        try:
            value = self._future.result(0)
        except Exception:
            return  # discarded meanwhile, or it does not load; whoever asks for the result is told
        if value is None:
            return
        try:
            text = repr(value)
        except Exception as error:
            text = f"<{type(value).__name__}, whose repr raised {error!r}>"
        self._preview = text if len(text) <= PREVIEW_TEXT else text[: PREVIEW_TEXT - 1] + "…"
        publisher.mark(self)


_live: "set[Card]" = set()  # cards with a Cancel button
_last_words: "set[Card]" = set()  # ended cards whose static form was sent since the last cell began


def cell_begins(info: Any) -> None:
    """Send again what ended cards said since the last cell began.

    Who runs a notebook without a browser (nbclient, papermill) keeps only what is sent while a cell runs; a task that
    ended between two cells would be "running" for ever in the saved notebook.
    """
    while _last_words:
        publisher.mark(_last_words.pop())
    publisher.flush(FLUSH_PATIENCE)


def cell_ends(result: Any) -> None:
    """Have the views say how things stand before the cell is over, for the same reason."""
    publisher.flush(FLUSH_PATIENCE)


def _listen(shell: Any) -> None:
    """Hear of cells, from the first card on. Did these fire more often than for cells, it would do no harm."""
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
    if host is None:  # a terminal: IPython calls this hook there too
        print(rendering.text(rows.row(future)))
        return
    _listen(host.shell)
    Card(future, host).show()
