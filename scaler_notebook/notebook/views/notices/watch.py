"""The watch over the views of this notebook: which of them have tasks that run, and which have come to their end."""

import time
import weakref
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from scaler_notebook.notebook.views.board.board_row import KINDS, Kind

UNFINISHED: tuple[Kind, ...] = ("queued", "running", "cancelling")
MAX_TITLE = 80  # characters


class Watched(Protocol):
    """A view that is watched."""

    @property
    def place(self) -> str:
        """The name of its place in the page; empty if it has none."""

    def tally(self) -> tuple[str, Mapping[Kind, int]]:
        """Return the title, and how many tasks are of each kind."""


class Notice(NamedTuple):
    """The end of what a view shows, in words."""

    title: str
    words: str
    place: str


class Look(NamedTuple):
    """The findings of one look at all views."""

    ended: list[Notice]
    running: int  # tasks that run, of all views together
    places: list[str]  # of the views that have them


class Watch:
    """The views that were displayed, until their tasks have ended. A view that its owner drops is watched no more."""

    def __init__(self) -> None:
        self._shown = weakref.WeakKeyDictionary[Watched, float]()  # and when, by the monotonic clock
        self._open: list[Watched] = []  # had unfinished tasks at the last look: held until their end is told

    def add(self, view: Watched) -> None:
        """Watch a view from now on."""
        self._shown[view] = time.monotonic()

    def rest(self) -> None:
        """Hold no view until the next look."""
        self._open = []

    def look(self, least: float) -> Look:
        """Look at all views.

        Parameters
        ----------
        least
            Seconds that a view must have been shown for its end to be told.
        """
        before, self._open = self._open, []
        found, now = Look([], 0, []), time.monotonic()
        running = 0
        for view, since in list(self._shown.items()):
            title, counts = view.tally()
            running += counts.get("running", 0)
            if any(counts.get(kind) for kind in UNFINISHED):
                self._open.append(view)
                if counts.get("running") and view.place:
                    found.places.append(view.place)
            elif view in before and now - since >= least:
                found.ended.append(Notice(title[:MAX_TITLE], _words(counts), view.place))
        return found._replace(running=running)


def _words(counts: Mapping[Kind, int]) -> str:
    """Write how it ended: ``400 done, 6 failed``; of a single task, how that one did."""
    kinds = [kind for kind in reversed(KINDS) if counts.get(kind)]
    ordered = sorted(kinds, key=lambda kind: kind != "done")
    return ordered[0] if sum(counts.values()) == 1 else ", ".join(f"{counts[kind]} {kind}" for kind in ordered)


watch = Watch()
