"""The watch over the views of this notebook: which of them have tasks that run, and which have come to their end."""

import logging
import threading
import time
import weakref
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from scaler_notebook.notebook.views.board.board_row import KINDS, Kind

UNFINISHED: tuple[Kind, ...] = ("queued", "running", "cancelling")
MAX_TITLE = 80  # characters

log = logging.getLogger(__name__)


class Watched(Protocol):
    """A view that is watched."""

    @property
    def place(self) -> str:
        """The name of its place in the page; empty if it has none."""

    def tally(self) -> tuple[str, Mapping[Kind, int]]:
        """Return the title, and how many tasks are of each kind."""

    def kinds(self) -> Mapping[str, Kind]:
        """Return the kind of each task, by id."""


class Notice(NamedTuple):
    """The end of what a view shows, in words."""

    title: str
    words: str
    place: str


class Look(NamedTuple):
    """The findings of one look at all views."""

    ended: list[Notice]
    running: int  # tasks that run, of all views together; one in two views counts once
    places: list[str]  # of the views that have them


class Watch:
    """The views that were displayed, until their tasks have ended. A view that its owner drops is watched no more."""

    def __init__(self) -> None:
        self._shown = weakref.WeakKeyDictionary[Watched, float]()  # and when, by the monotonic clock
        self._mutex = threading.Lock()  # guards that: cells add views while the publisher's thread looks
        self._open: list[Watched] = []  # had unfinished tasks at the last look: held until their end is told

    def add(self, view: Watched) -> None:
        """Watch a view from now on."""
        with self._mutex:
            self._shown[view] = time.monotonic()

    def remove(self, view: Watched) -> None:
        """Watch a view no more."""
        with self._mutex:
            self._shown.pop(view, None)

    def rest(self) -> None:
        """Hold no view until the next look."""
        self._open = []

    def look(self, least: float) -> Look:
        """Look at all views. The end of tasks that several views show is told once, when all of these know of it.

        Parameters
        ----------
        least
            Seconds that a view must have been shown for its end to be told.
        """
        before, self._open = self._open, []
        with self._mutex:
            shown = list(self._shown.items())
        now, running, places = time.monotonic(), set[str](), list[str]()
        unfinished, ended = set[frozenset[str]](), list[tuple[frozenset[str], Watched, Notice | None]]()
        for view, since in shown:
            try:
                title, counts = view.tally()
                goes_on = any(counts.get(kind) for kind in UNFINISHED)
                kinds = view.kinds() if goes_on or view in before else {}
            except Exception:
                log.exception("a view is watched no more")
                self.remove(view)
                continue
            if goes_on:
                self._open.append(view)
                unfinished.add(frozenset(kinds))
                running.update(task for task, kind in kinds.items() if kind == "running")
                if counts.get("running") and view.place:
                    places.append(view.place)
            elif view in before:
                notice = Notice(title[:MAX_TITLE], _words(counts), view.place) if now - since >= least else None
                ended.append((frozenset(kinds), view, notice))
        told: dict[frozenset[str], Notice] = {}
        for tasks, view, notice in ended:
            if tasks in unfinished:
                self._open.append(view)
            elif notice is not None:
                told.setdefault(tasks, notice)
        return Look(list(told.values()), len(running), places)


def _words(counts: Mapping[Kind, int]) -> str:
    """Write how it ended: ``400 done, 6 failed``; of a single task, how that one did."""
    kinds = [kind for kind in reversed(KINDS) if counts.get(kind)]
    ordered = sorted(kinds, key=lambda kind: kind != "done")
    return ordered[0] if sum(counts.values()) == 1 else ", ".join(f"{counts[kind]} {kind}" for kind in ordered)


watch = Watch()
