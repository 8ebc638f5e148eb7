"""The live card of one future: what its widget shows, and what its buttons do."""

import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.task_state.observed_task import ObservedTask
from scaler_notebook.notebook.views import modules, preview, rows
from scaler_notebook.notebook.views.feed import LONGEST_NAME, Content, Feed, ViewHost, ViewWidget, ask_to_stop
from scaler_notebook.notebook.views.front_end import FrontEnd
from scaler_notebook.notebook.views.publisher import publisher
from scaler_notebook.protocol.errors import EngineStartError

from .usage_sampler import UsageSampler

TOO_LATE = "It had already ended when the click arrived; how it ended stands."
GONE = "Nothing holds this future any more: it cannot be submitted again."
MAX_OUTPUT = 5_000_000  # characters of a task's output that are sent at once; the last ones
PREVIEW_PATIENCE = 2.0  # seconds for the preview of what was submitted again by a card that is retired

SCRIPT = modules.joined(Path(__file__).with_name("widget.js"))
STYLE = Path(__file__).with_name("card.css").read_text("utf-8")
_FRONT_END = FrontEnd(SCRIPT, STYLE)


class CardWidget(ViewWidget):
    """The widget of one card, for a place in the page if it has a name."""

    def __init__(self, host: ViewHost, place: str) -> None:
        super().__init__(_FRONT_END, host, place)


def output_message(future: ScalerFuture[Any] | None, question: Content) -> Content:
    """Build the answer to a view that asks for what a task has written.

    Parameters
    ----------
    future
        The future of the task; None if it is gone.
    question
        What the view has sent, as :func:`is_output_question` knows it.
    """
    start, rewrites = question["from"], question["rewrites"]
    part: str | None = None
    if future is not None:
        now = future.output_rewrites  # before the text: what is cleared in between is noticed at the next question
        text = future.last_output(sys.maxsize)[0]
        if now != rewrites or not 0 <= start <= len(text):
            start, rewrites = 0, now  # the task has cleared what it had written
        part = text[max(start, len(text) - MAX_OUTPUT) :]
        start = len(text) - len(part)
    about = {"view": question["view"][:LONGEST_NAME], "question": question["question"]}
    return {"type": "output", **about, "rewrites": rewrites, "from": start, "text": part}


def is_output_question(content: Content) -> bool:
    """Return whether a message from a page, which is not checked yet, asks for what a task has written."""
    match content:
        case {"type": "output", "view": str(), "question": int(), "rewrites": int(), "from": int()}:
            return True
    return False


class CardFeed(Feed):
    """Keeps the views of one card current until its future has ended, and answers clicks until it is closed.

    A click on Retry submits the call again, and the card shows the new future from there on.

    Parameters
    ----------
    future
        The future that the card shows.
    host
        The host of the kernel.
    noted
        Called when there is a new note.
    earlier
        Futures that an earlier run of the same cell has left running.
    on_met
        Called when a front end says for the first time that it has made the model.
    on_retry
        Called with the new future when the call was submitted again.
    place
        The name of what the views cover in a page; empty if they are shown as widgets are.
    alone
        Whether nothing else shows what the task displays, as for :func:`.rows.row`.
    """

    def __init__(
        self,
        future: ScalerFuture[Any],
        host: ViewHost,
        noted: Callable[[], None] = lambda: None,
        earlier: Sequence[ScalerFuture[Any]] = (),
        on_met: Callable[[], None] = lambda: None,
        on_retry: Callable[[ScalerFuture[Any]], None] = lambda future: None,
        place: str = "",
        alone: bool = False,
    ) -> None:
        super().__init__(host, CardWidget(host, place), on_met)
        self._alone = alone
        self._noted, self._on_retry = noted, on_retry
        self._earlier = earlier
        self.note: str | None = None  # a remark for the person who looks
        self._shows: ScalerFuture[Any] | None = future
        self._shown = weakref.ref(future)  # also when the card keeps it alive no more
        self._retrying = False
        self._changing = threading.Lock()  # guards which future the card shows: a retry comes on a thread of its own
        self._last: Content = {}
        self._rich: str | None = None  # that the views have
        self._sampler = UsageSampler(self.tell, lambda: bool(self.views) and not self.closed)
        for watched in (future, *earlier):
            watched.watch(self._changed)
        self._changed(future)

    def snapshot(self) -> Content:
        """Build a message with the whole card; on the publisher's thread."""
        if self._shows is None:
            kept = self._shown() is not None
            return {**self._last, "note": self.note, "retry": self._can_be_retried(), "keeps_output": kept}
        row = rows.row(self._shows, self._alone)
        running = [left for left in self._earlier if not left.done()]
        earlier = {"running": len(running), "refused": any(left.refused for left in running)}
        return {
            "type": "row",
            "row": row,
            "note": self.note,
            "earlier": earlier,
            "retry": self._can_be_retried(),
            "keeps_output": True,
        }

    def changes(self) -> Content:
        """Build a message with the whole card, but for figures that were sent; on the publisher's thread."""
        content = self.snapshot()
        row = content["row"]
        if row["rich"] is not None and row["rich"] == self._rich:
            content["row"] = {name: value for name, value in row.items() if name != "rich"}  # figures may be large
        self._rich = row["rich"]
        return content

    def act(self, content: Content) -> bool:
        """Carry out what a view asks for; return False for a message that is unknown."""
        match content:
            case {"type": "cancel", "force": bool(force)}:
                if self._shows is None or not ask_to_stop(self._shows, force):
                    self.note = TOO_LATE
                    publisher.mark(self)
                    self._noted()
                return True
            case {"type": "where"}:
                if self._shows is not None:
                    self._sampler.where(self._shows)
                return True
            case {"type": "retry"}:
                if not self._retrying:
                    self._retrying = True
                    # Not here: an engine that has ended is started again.
                    threading.Thread(target=self._retry, name="scaler_notebook retry").start()
                return True
            case {"type": "output"} if is_output_question(content):
                publisher.call_later(0, partial(self._send_output, content))
                return True
            case {"type": "cancel_earlier", "force": bool(force)}:
                for future in self._earlier:
                    ask_to_stop(future, force)
                return True
        return False

    @property
    def runs(self) -> bool:
        """Whether the card shows a task that has not ended."""
        return self._shows is not None and not self._shows.done()

    def retire(self) -> None:
        """Close the model, and let go of the future: a view that is still shown keeps no result alive."""
        with self._changing:
            if self.runs:
                return  # submitted again
            self._last = self.snapshot()
            self._let_go()
        super().retire()

    def close(self) -> None:
        """Let go of the future, and close the widget."""
        with self._changing:
            self._let_go()
        super().close()

    def _can_be_retried(self) -> bool:
        future = self._shown()
        return future is not None and (future.failed or future.cancelled())

    def _send_output(self, question: Content) -> None:
        """Send what the task has written to the view that asks for it."""
        self.answer(output_message(self._shown(), question))

    def _retry(self) -> None:
        future = self._shown()
        try:
            if future is None:
                self.note = GONE
            elif self._can_be_retried():
                self._show(future.retry())
        except (RuntimeError, EngineStartError) as error:
            self.note = str(error)
        finally:
            self._retrying = False
            publisher.mark(self)

    def _show(self, future: ScalerFuture[Any]) -> None:
        with self._changing:
            if self._shows is not None:
                self._shows.unwatch(self._changed)
            self._shown, self._shows = weakref.ref(future), future
        self.note = f"submitted again as task {future.task_id}"
        future.watch(self._changed)
        self._on_retry(future)
        self._changed(future)

    def _let_go(self) -> None:
        shows, earlier = self._shows, self._earlier
        for watched in (*((shows,) if shows is not None else ()), *earlier):
            watched.unwatch(self._changed)
        self._shows, self._earlier = None, ()
        self._sampler.stop()
        self._noted = self._on_met = lambda: None

    def _changed(self, future: ObservedTask) -> None:
        shows = self._shows
        if shows is not None:
            self._sampler.follow(shows)
        if shows is not None and shows.done():
            preview.ask(shows)
            if self._retired:
                publisher.call_later(PREVIEW_PATIENCE, self.retire)
        publisher.mark(self)
