"""A feed: one widget model, and the messages that keep its views current, in order.

A view sends ``{"type": "ready", "view": NAME}`` when it listens, and gets a snapshot; later messages carry what has
changed. Each message has a sequence number one higher than the last: a view that misses one sends ``{"type": "gap"}``
to get a snapshot. A view that is taken down sends ``{"type": "left", "view": NAME}``; the view of a page that was
closed cannot. Nothing is sent when no view is left.
"""

import logging
import math
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, TypeAlias

import anywidget
import traitlets

from scaler_notebook.notebook.kernel.host import KernelHost
from scaler_notebook.notebook.kernel.ipykernel_compat import let_front_end_choose

from .publisher import publisher
from .static.mime import sendable

Content: TypeAlias = dict[str, Any]

UNNAMED = ""  # a view that will not say when it leaves
MOST_VIEWS = 256  # of one model that are known by name; pages that are closed without a word leave theirs
LONGEST_NAME = 64  # characters that count
GAP_INTERVAL = 1.0  # seconds between two snapshots that gaps ask for

log = logging.getLogger(__name__)


class ViewWidget(anywidget.AnyWidget):
    """The widget of one feed. It has no state; its front end is loaded once for all widgets of a page.

    Parameters
    ----------
    module
        The text of the front end's module, as anywidget has it in ``_esm``.
    css
        The style sheet.
    """

    _esm = Path(__file__).with_name("loader.js").read_text("utf-8")  # of a path, anywidget would keep every widget
    _module = traitlets.Unicode().tag(sync=True)
    _css = traitlets.Unicode().tag(sync=True)

    def __init__(self, module: str, css: str) -> None:
        super().__init__(_module=module, _css=css)


class Feed(ABC):
    """Implements :class:`~.publisher.View`: is marked when what it shows changes, and sends on the publisher's thread.

    Parameters
    ----------
    host
        The host of the kernel.
    widget
        The widget; it has no state.
    """

    def __init__(self, host: KernelHost, widget: ViewWidget) -> None:
        self.widget = widget
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
        if self.widget.comm is None:  # somebody has closed the widget
            self.close()
        if not self.views or self.widget.comm is None:
            return
        whole, self._snapshot_due = self._snapshot_due, False
        content = self.snapshot() if whole else self.changes()
        if content is not None:
            self._sequence += 1
            self.widget.send(sendable({**content, "seq": self._sequence, "now": time.time()}))
            let_front_end_choose(self.widget.comm)

    def retire(self) -> None:
        """Close the model as soon as no view shows it.

        Until then it stays: a page that was loaded again, or Voilà's, does not put static HTML in a view's place.
        """
        self._retired = True
        if not self.views.keys() - {UNNAMED}:
            self.close()

    def close(self) -> None:
        """Close the model; its views go. Idempotent."""
        self._host.our_comms.discard(self._comm_id)
        publisher.forget(self)
        if self.widget.comm is not None:
            self.widget.layout.close()  # a model of its own, which ipywidgets would leave open
            self.widget.close()

    def _heard(self, widget: Any, content: Any, buffers: Any) -> None:
        """Handle a message from a view."""
        match content:
            case {"type": "ready", **more}:
                name = more.get("view")
                self.views[name[:LONGEST_NAME] if isinstance(name, str) else UNNAMED] = None
                while len(self.views) > MOST_VIEWS:
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

    def _answer_gap(self) -> None:
        """Send a snapshot."""
        self._snapshot_due = True
        publisher.mark(self)
