"""A feed: one widget model, and the messages that keep its views current, in order.

A front end that has made the model, shown or not, sends ``{"type": "here"}``; if its page lacks the model's module,
``{"type": "module", "page": NAME}``, and gets it once. A view sends ``{"type": "ready", "view": NAME}`` when it
listens, and gets a snapshot; later messages carry what has changed. Each message has a sequence number one higher than
the last: a view that misses one sends ``{"type": "gap"}`` to get a snapshot. A view that is taken down sends
``{"type": "left", "view": NAME}``; the view of a page that was closed cannot. Nothing is sent when no view is left.
"""

import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import anywidget
import traitlets

from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.notebook.kernel.ipykernel_compat import let_front_end_choose

from .front_end import FrontEnd
from .publisher import publisher
from .static.mime import sendable

Content: TypeAlias = dict[str, Any]

UNNAMED = ""  # a view that will not say when it leaves
MAX_VIEWS = 256  # of one model that are known by name; pages that are closed without a word leave theirs
LONGEST_NAME = 64  # characters that count
GAP_INTERVAL = 1.0  # seconds between two snapshots that gaps ask for

log = logging.getLogger(__name__)


class ViewHost(Protocol):
    """A notebook's kernel, as its feeds know it.

    Attributes
    ----------
    our_comms
        The comm ids of the widgets of our views.
    takes_whole_modules
        Whether its front end gets script and style with each widget, as anywidget's own do.
    """

    our_comms: set[str]
    takes_whole_modules: bool


class ViewWidget(anywidget.AnyWidget):
    """The widget of one feed. It has no state; its front end is loaded once for all widgets of a page.

    Parameters
    ----------
    front_end
        What runs in the browser.
    host
        The kernel.
    place
        The name of what its views cover in a page; empty if it is shown as widgets are.
    """

    _esm = Path(__file__).with_name("loader.js").read_text("utf-8")  # of a path, anywidget would keep every widget
    _module = traitlets.Unicode().tag(sync=True)
    _place = traitlets.Unicode().tag(sync=True)

    def __init__(self, front_end: FrontEnd, host: ViewHost, place: str = "") -> None:
        if host.takes_whole_modules:
            self._esm, self._css = front_end.script, front_end.style
        super().__init__(_module=front_end.name, _place=place)
        self.front_end = front_end


def ask_to_stop(future: ScalerFuture[Any], kill: bool) -> bool:
    """Ask a task to stop, as its buttons do; return False if it has ended.

    Parameters
    ----------
    future
        The future of the task.
    kill
        End its process at once: whoever clicks Kill has seen that the task went on after the grace period.
    """
    return future.request_cancel_unfinished(kill, 0.0 if kill else None)


class Feed(ABC):
    """Implements :class:`~.publisher.View`: is marked when what it shows changes, and sends on the publisher's thread.

    Parameters
    ----------
    host
        The host of the kernel.
    widget
        The widget; it has no state.
    on_met
        Called, where messages are handled, when a front end says for the first time that it has made the model.
    """

    def __init__(self, host: ViewHost, widget: ViewWidget, on_met: Callable[[], None] = lambda: None) -> None:
        self.widget = widget
        self._on_met = on_met
        self.met = False  # has a front end made the model?
        self.ready = False  # has a front end shown it?
        self.views: dict[str, None] = {}  # those that listen, the latest; whose page was closed without a word stays
        self._retired = False
        self._host = host
        self._comm_id = widget.comm.comm_id
        self._sequence = 0
        self._snapshot_due = False
        self._gap_answered = -math.inf
        self._complained = False
        host.our_comms.add(self._comm_id)
        let_front_end_choose(widget.comm)  # it was opened by the cell, which may go on for long
        widget.on_msg(self._heard)

    @abstractmethod
    def snapshot(self) -> Content:
        """Build a message with all that a view needs; on the publisher's thread."""

    @abstractmethod
    def changes(self) -> Content | None:
        """Build a message with what has changed since the last one; None for nothing. On the publisher's thread."""

    @abstractmethod
    def act(self, content: Content) -> bool:
        """Carry out what a view asks for; returns False for a message that is unknown.

        On the kernel's main thread or a subshell's: it must not wait. Nothing in ``content`` is checked yet.
        """

    def publish(self) -> None:
        """Send a snapshot or what has changed, whichever is due."""
        if self.closed:  # by somebody else
            self.close()
        if not self.views or self.closed:
            return
        whole, self._snapshot_due = self._snapshot_due, False
        try:
            content = self.snapshot() if whole else self.changes()
        except Exception:
            self._snapshot_due = True  # the next message has what this one would have told
            raise
        if content is not None:
            self._sequence += 1
            self.widget.send(sendable({**content, "seq": self._sequence, "now": time.time()}))
            let_front_end_choose(self.widget.comm)

    def tell(self, content: Content) -> None:
        """Send a message that is no part of what a snapshot shows, if a view listens; on the publisher's thread."""
        if self.views and not self.closed:
            self.widget.send(sendable(content))
            let_front_end_choose(self.widget.comm)

    def retire(self) -> None:
        """Close the model as soon as no view shows it.

        Until then it stays: a page that was loaded again, or Voilà's, does not put static HTML in a view's place.
        """
        self._retired = True
        if not self.views.keys() - {UNNAMED}:
            self.close()

    @property
    def closed(self) -> bool:
        """Whether the model is closed, by us or by somebody else: marimo closes the comm of a cell that runs again."""
        comm = self.widget.comm
        return comm is None or getattr(comm, "_closed", False)

    @property
    def is_left(self) -> bool:
        """Whether pages have shown it, and all of them have said that they do no more."""
        return self.ready and not self.views

    def close(self) -> None:
        """Close the model; its views go. Idempotent."""
        self._host.our_comms.discard(self._comm_id)
        publisher.forget(self)
        if not self.closed:
            self.widget.layout.close()  # a model of its own, which ipywidgets would leave open
            self.widget.close()

    def _heard(self, widget: Any, content: Any, buffers: Any) -> None:
        """Handle a message from a view."""
        match content:
            case {"type": "here"}:
                self._meet()
            case {"type": "module", "page": str(page)}:
                if self.widget.front_end.is_wanted(page[:LONGEST_NAME]):
                    publisher.call_later(0, self._send_module)
            case {"type": "ready", **more}:
                self._meet()
                name = more.get("view")
                self.views[name[:LONGEST_NAME] if isinstance(name, str) else UNNAMED] = None
                while len(self.views) > MAX_VIEWS:
                    del self.views[next(iter(self.views))]
                self.ready = self._snapshot_due = True
                publisher.mark(self)
            case {"type": "left", "view": str(name)}:
                self.views.pop(name[:LONGEST_NAME], None)
                if self._retired:
                    publisher.call_later(0, self.retire)
            case {"type": "gap"}:
                now = time.monotonic()
                wait = max(0.0, self._gap_answered + GAP_INTERVAL - now)
                self._gap_answered = now + wait
                publisher.call_later(wait, self._answer_gap)
            case {"type": str()} if self.act(content):
                pass
            case _ if not self._complained:
                self._complained = True
                log.warning("a view sent what is no message of ours, and more of it is ignored: %.200r", content)

    def _meet(self) -> None:
        """Take note that a front end has made the model."""
        if not self.met:
            self.met = True
            self._on_met()

    def _send_module(self) -> None:
        """Send what runs in the browser."""
        if not self.closed:
            self.widget.send({"type": "module"}, buffers=[self.widget.front_end.packed])
            let_front_end_choose(self.widget.comm)

    def answer(self, content: Content) -> None:
        """Send the answer to one view's request; answers have no place among the numbered messages."""
        if not self.closed:
            self.widget.send(sendable(content))
            let_front_end_choose(self.widget.comm)

    def _answer_gap(self) -> None:
        """Send a snapshot."""
        self._snapshot_due = True
        publisher.mark(self)
