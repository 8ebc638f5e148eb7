"""The one seam through which every blocking wait of ours goes, and what may wait where.

A *host* says how this process waits: a plain script blocks; the notebook layer installs a host that keeps a kernel
alive while a cell blocks (:mod:`scaler_notebook.notebook.bridge`).
"""

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

from .. import forks
from . import callbacks, reentrant

if TYPE_CHECKING:
    from .group import FutureGroup
    from .lifecycle import TaskLifecycle


class Signal:
    """A one-shot event that can also wake something other than a thread's lock."""

    def __init__(self) -> None:
        self._is_set = False
        # A bare lock: ``threading.Event`` has a condition, which an interrupt of who waits can leave locked, with the
        # agent's thread waiting for ever to set it.
        self._gate = threading.Lock()
        self._gate.acquire()
        self._hook: Callable[[], None] | None = None

    def set(self) -> None:
        """Wake whoever waits; any thread, never blocks."""
        self._is_set = True
        with suppress(RuntimeError):  # it is open, and somebody goes through just now
            self._gate.release()
        hook = self._hook
        if hook is not None:
            hook()

    def is_set(self) -> bool:
        """Was it set?"""
        return self._is_set

    def wake_by(self, hook: Callable[[], None]) -> None:
        """Have ``hook`` called by :meth:`set`. Look at :meth:`is_set` afterwards: it may have been set before."""
        self._hook = hook

    def block(self, timeout: float | None) -> bool:
        """Block this thread until it is set; Ctrl-C gets through on the main thread."""
        if not self._is_set and self._gate.acquire(timeout=_seconds(timeout)):
            with suppress(RuntimeError):
                self._gate.release()  # for who else waits
        return self._is_set


def _seconds(timeout: float | None) -> float:
    return -1 if timeout is None else min(max(0.0, timeout), threading.TIMEOUT_MAX)


class Host(Protocol):
    """How this process waits, and where its event loop is."""

    def wait(self, signal: Signal, timeout: float | None) -> bool:
        """Wait until ``signal`` is set; False after ``timeout`` seconds."""

    def lending(self) -> AbstractContextManager[None]:
        """Around a wait that does not go through :meth:`wait`, that of a coroutine."""

    def is_cell(self, frame: FrameType) -> bool:
        """Is this the frame that executes a notebook's cell? What it calls may wait, although a loop is running."""

    def post(self, call: Callable[[], object]) -> None:
        """Run something of the user's: in the event loop where there is one, else on the callback thread."""

    def call_at_end(self, future: "TaskLifecycle", call: Callable[[], object]) -> None:
        """Run something of the user's once a future is done: in a notebook before the line behind a wait for that."""

    def stopped(self) -> bool:
        """Is a notebook's stop button cancelling the cell that runs? It ends its awaits, and leaves the tasks alone."""

    def offer_cancel(self, futures: "Sequence[TaskLifecycle]") -> None:
        """The stop button has ended a wait for these, and they run on: show how to stop them, where one can see it."""

    def widget(self, shown: "TaskLifecycle | FutureGroup[Any]") -> Any:
        """A widget that shows a future or a group; RuntimeError where there are none."""

    @property
    def shows_results(self) -> bool:
        """Do views show what tasks return? Then engines make previews of results."""

    @property
    def waits_at_exit(self) -> bool:
        """Do unfinished tasks hold up the end of this process (a script), or end with it (a kernel)?"""


class PlainHost:
    """A script or an interactive interpreter."""

    waits_at_exit = True
    shows_results = False

    def wait(self, signal: Signal, timeout: float | None) -> bool:
        return reentrant.wait(signal, timeout)

    def lending(self) -> AbstractContextManager[None]:
        return nullcontext()

    def is_cell(self, frame: FrameType) -> bool:
        return False

    def stopped(self) -> bool:
        return False

    def offer_cancel(self, futures: "Sequence[TaskLifecycle]") -> None:
        """A script's user sees nothing but its own output."""

    def post(self, call: Callable[[], object]) -> None:
        callbacks.post(call)

    def call_at_end(self, future: "TaskLifecycle", call: Callable[[], object]) -> None:
        future.add_done_callback(lambda _: call())

    def widget(self, shown: "TaskLifecycle | FutureGroup[Any]") -> Any:
        raise RuntimeError("widgets need a Jupyter kernel, and this process is none")


_host: Host = PlainHost()
_local = threading.local()


@forks.in_child
def _forget() -> None:
    """Neither the kernel's messages nor the terminal's line are a forked child's business."""
    install_host(PlainHost())


def host() -> Host:
    """The host in force."""
    return _host


def install_host(new: Host) -> None:
    """Replace the host; what waits already goes on as it began."""
    global _host
    _host = new


@contextmanager
def no_waiting() -> Iterator[None]:
    """Within it, on this thread, ``cancel()`` asks and returns: for those who call callbacks during a wait."""
    before = getattr(_local, "refused", False)
    _local.refused = True
    try:
        yield
    finally:
        _local.refused = before


def forbid_waiting_on_this_thread() -> None:
    """For the agent's thread: it could wait for itself only."""
    _local.refused = True


def may_wait() -> bool:
    """May the caller block? Not on the agent's thread, in a widget's callback, or in a callback of an event loop.

    "Is a loop running on this thread?" is the wrong question, for a cell always has one. What counts is whether
    code of a cell or a callback of the loop is nearer on the stack.
    """
    if getattr(_local, "refused", False):
        return False
    if asyncio._get_running_loop() is None:
        return True
    run = asyncio.Handle._run.__code__
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if _host.is_cell(frame):
            return True
        if frame.f_code is run:
            return False
        frame = frame.f_back
    return False  # a loop that is not written in Python called us
