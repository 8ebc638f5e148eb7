"""A display that is live where a front end shows widgets, and static HTML everywhere else and for ever."""

import math
import threading
import time
import uuid
import weakref
from abc import ABC, abstractmethod
from functools import partial
from typing import Any, Protocol

from scaler_notebook.notebook.kernel import ipykernel_compat
from scaler_notebook.notebook.kernel.host import KernelHost

from .feed import ViewWidget
from .publisher import View, publisher
from .static.mime import sendable

# Seconds that a front end gets to show a widget before HTML takes its place; only those count in which the kernel
# reads messages.
READY_PATIENCE = 3.0
FLUSH_PATIENCE = 0.2  # seconds that a flush prolongs a cell at most, and only if a view has something to say
STATIC_INTERVAL = 1.0  # seconds between two static forms where nothing else is seen
LIVE_INTERVAL = 30.0  # ... and below a live view, where they are for the notebook that is saved
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
PLACE = "scaler-place"  # the class of what a live view may cover, as in cover.js

last_words: "set[View]" = set()  # ended ones whose static form was sent since the last cell began
_waiting: "set[LiveDisplay]" = set()  # those that nobody shows live, and whose static form is to be sent again


class LiveDisplay(ABC):
    """A widget for one output of a cell, and the static forms that the output holds.

    Where the front end makes a model of each widget, shown or not, the output holds the static forms alone, and the
    live view finds them in the page and covers them: what is saved needs no kernel. Elsewhere the output holds the
    widget, too, until its tasks have ended or nobody has shown it in time. Implements :class:`~.publisher.View`.

    Parameters
    ----------
    host
        The kernel that it is displayed in.
    """

    def __init__(self, host: KernelHost) -> None:
        self._host = host
        self._display_id = uuid.uuid4().hex
        self._covered = ipykernel_compat.shows_widgets_unasked(host.shell)
        self._fallback = False  # this front end shows no widgets
        self._bare = False  # was the widget left out, where it could have been shown?
        self._sent_at = -math.inf  # when the output was sent, by the monotonic clock
        self._due_at = math.inf  # when it is to be sent again

    @abstractmethod
    def publish(self) -> None:
        """Send the output again, if there is something new to see; on the publisher's thread."""

    @abstractmethod
    def static_forms(self) -> dict[str, str]:
        """Return what is shown now, without a widget, by MIME type."""

    @abstractmethod
    def is_unseen(self) -> bool:
        """Return whether there is a live widget that no front end has shown yet."""

    @abstractmethod
    def is_met(self) -> bool:
        """Return whether a front end has made the widget's model."""

    @property
    def place(self) -> str:
        """The name of what a live view covers in the page; empty where the output has the widget."""
        return self._display_id if self._covered else ""

    def send(self, widget: ViewWidget | None, *, update: bool) -> None:
        """Send the output.

        Parameters
        ----------
        widget
            Shown in place of the static forms by who can; None: there are the static forms alone.
        update
            Whether this replaces what was sent before; else it is displayed in the cell that runs.
        """
        self._sent_at, self._due_at = time.monotonic(), math.inf
        _waiting.discard(self)
        bundle: dict[str, Any] = sendable(self.static_forms())
        if self._covered:
            # Dollars in what a task says are no formula.
            names = f"{PLACE} {PLACE}-{self.place} mathjax_ignore"
            bundle["text/html"] = f'<div class="{names}">{bundle["text/html"]}</div>'
        self._bare = widget is None and not self._covered
        metadata: dict[str, Any] = {}
        if widget is not None and not self._covered:
            # The widget's own metadata tells Colab which widget manager draws it.
            found = widget._repr_mimebundle_()
            assert found is not None, "a widget with a view"
            bundle[WIDGET_VIEW], metadata = found[0][WIDGET_VIEW], found[1]
        outputs = self._host.display_pub if update else self._host.shell.display_pub
        outputs.publish(data=bundle, metadata=metadata, transient={"display_id": self._display_id}, update=update)

    def publish_within(self, interval: float) -> None:
        """Publish so many seconds after the output was sent, or now if they have passed; on any thread."""
        if self.is_unseen():
            _waiting.add(self)
        at = max(time.monotonic(), self._sent_at + interval)
        if at < self._due_at:
            self._due_at = at
            # A weak reference: who waits keeps no display alive, nor its futures.
            publisher.call_later(at - time.monotonic(), partial(_publish_if_due, weakref.ref(self)))

    def publish_now(self) -> None:
        """Publish what :meth:`publish_within` would have published later."""
        self._due_at = time.monotonic()
        publisher.mark(self)

    def is_due(self) -> bool:
        """Return whether the moment has come that :meth:`publish_within` has set."""
        return self._due_at <= time.monotonic()

    def expect_front_end(self) -> None:
        """Fall back to the static forms unless a front end shows the widget in time."""
        if not self._covered:
            publisher.call_later(READY_PATIENCE, self._fall_back_unless_ready)

    def _fall_back_unless_ready(self) -> None:
        """Fall back to the static forms unless a front end has shown the widget, or still has time to.

        A front end that shows widgets sends ``here`` and then ``ready``, and the kernel has read messages for long
        enough to know. Who has said the one will say the other, however slow the link is.
        """
        if self.is_met() or not self.is_unseen():
            return
        left = self._host.hears_since + READY_PATIENCE - time.monotonic()
        if left > 0:
            publisher.call_later(min(left, READY_PATIENCE), self._fall_back_unless_ready)
            return
        self._fallback = True
        self.publish_now()

    def meet_front_end(self) -> None:
        """Show the widget to a front end that comes late."""
        self._fallback = False
        if self._bare:
            self.publish_now()


class Closable(Protocol):
    """A live view that can be closed; what is saved of it stays."""

    @property
    def runs(self) -> bool:
        """Whether its buttons are needed: it is closed in no case."""

    @property
    def is_left(self) -> bool:
        """Whether pages have shown it, and none does any more."""

    @property
    def closed(self) -> bool:
        """Whether it is closed."""

    def close(self) -> None:
        """Close it."""


class NewestViews:
    """The newest views of one kind, which stay live when their tasks have ended. They are not held here."""

    def __init__(self) -> None:
        self._known: list[weakref.ref[Closable]] = []  # the newest last
        self._mutex = threading.Lock()  # guards that; views are closed outside of it

    def add(self, view: Closable, most: int) -> None:
        """Add a view as the newest one, and close others: what pages have left, and the oldest beyond the bound.

        Parameters
        ----------
        view
            The view.
        most
            How many views stay at most, but for those that run.
        """
        with self._mutex:
            known = [each for reference in self._known if (each := reference()) is not None and each is not view]
            known = [*(each for each in known if not each.closed), view]
            surplus = {id(each) for each in known[:-1] if each.is_left and not each.runs}
            stay = [each for each in known if id(each) not in surplus]
            surplus |= {id(each) for each in stay[: max(0, len(stay) - most)] if not each.runs}
            self._known = [weakref.ref(each) for each in known if id(each) not in surplus]
        for each in known:
            if id(each) in surplus:
                each.close()


def _publish_if_due(reference: "weakref.ref[LiveDisplay]") -> None:
    """Publish a display, unless that was done meanwhile."""
    display = reference()
    if display is not None and display.is_due():
        publisher.mark(display)


def cell_begins(info: Any) -> None:
    """Send again what ended displays said since the last cell began.

    Who runs a notebook without a browser (nbclient, papermill) keeps only what is sent while a cell runs; a task that
    ended between two cells would be "running" for ever in the saved notebook.
    """
    while last_words:
        publisher.mark(last_words.pop())
    publisher.flush(FLUSH_PATIENCE)


def cell_ends(result: Any) -> None:
    """Publish the displays that wait before the cell is over: nbclient and papermill keep what is sent until then."""
    publisher.flush(FLUSH_PATIENCE)  # boards take in what their tasks did, and only then have something to say
    for display in tuple(_waiting):
        display.publish_now()
    publisher.flush(FLUSH_PATIENCE)


def listen(shell: Any) -> None:
    """Register :func:`cell_begins` and :func:`cell_ends` with the events of a shell, once.

    Events that come more often than cells do no harm.
    """
    for event, callback in (("pre_run_cell", cell_begins), ("post_run_cell", cell_ends)):
        if callback not in shell.events.callbacks[event]:
            shell.events.register(event, callback)
