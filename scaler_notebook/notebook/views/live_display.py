"""A display that is live where a front end shows widgets, and static HTML everywhere else."""

import time
import uuid
from abc import ABC, abstractmethod
from typing import Any

from scaler_notebook.notebook.kernel.host import KernelHost

from .feed import ViewWidget
from .publisher import View, publisher
from .static.mime import sendable

# Seconds that a front end gets to show a widget before HTML takes its place; only those count in which the kernel
# reads messages.
READY_PATIENCE = 3.0
FLUSH_PATIENCE = 0.2  # seconds that a cell is prolonged at most, and only if a view has something to say
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"

last_words: "set[View]" = set()  # ended ones whose static form was sent since the last cell began


class LiveDisplay(ABC):
    """A widget in one output of a cell, with the static forms that take its place where no front end shows it.

    Implements :class:`~.publisher.View`.

    Parameters
    ----------
    host
        The kernel that it is displayed in.
    """

    def __init__(self, host: KernelHost) -> None:
        self._host = host
        self._display_id = uuid.uuid4().hex
        self._fallback = False  # this front end shows no widgets

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
    def fall_back(self) -> None:
        """Prepare for a front end that shows no widgets: from here on only the static forms are seen."""

    def send(self, widget: ViewWidget | None, *, update: bool) -> None:
        """Send the output.

        Parameters
        ----------
        widget
            Shown in place of the static forms by who can; None: there are the static forms alone.
        update
            Whether this replaces what was sent before; else it is displayed in the cell that runs.
        """
        bundle: dict[str, Any] = sendable(self.static_forms())
        if widget is not None:
            bundle[WIDGET_VIEW] = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
        outputs = self._host.display_pub if update else self._host.shell.display_pub
        outputs.publish(data=bundle, metadata={}, transient={"display_id": self._display_id}, update=update)

    def expect_front_end(self) -> None:
        """Fall back to the static forms unless a front end shows the widget in time."""
        publisher.call_later(READY_PATIENCE, self._fall_back_unless_ready)

    def _fall_back_unless_ready(self) -> None:
        """Fall back to the static forms unless a front end has shown the widget, or still has time to.

        A front end that shows widgets sends ``ready``: the kernel has read messages for long enough to know.
        """
        if not self.is_unseen():
            return
        left = self._host.hears_since + READY_PATIENCE - time.monotonic()
        if left > 0:
            publisher.call_later(min(left, READY_PATIENCE), self._fall_back_unless_ready)
            return
        self._fallback = True
        self.fall_back()
        publisher.mark(self)


def cell_begins(info: Any) -> None:
    """Send again what ended displays said since the last cell began.

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
