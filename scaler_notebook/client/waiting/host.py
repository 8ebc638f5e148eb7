"""The one seam through which every blocking wait of ours goes.

A *host* says how this process waits: a plain script blocks; the notebook layer installs a host that keeps a kernel
alive while a cell blocks (:mod:`scaler_notebook.notebook.kernel.host`).
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import FrameType
from typing import Any, Protocol

from scaler_notebook import forks

from . import asyncio_wait, callback_thread
from .signal import Signal


class FutureLike(Protocol):
    """What a host has to know of a future: whether it is done, and how to hear of that."""

    def done(self) -> bool:
        """Has the task ended?"""

    def add_done_callback(self, fn: Callable[[Any], object]) -> None:
        """Have ``fn`` called with the future once that is done."""


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

    def call_at_end(self, future: FutureLike, call: Callable[[], object]) -> None:
        """Run something of the user's once a future is done: in a notebook before the line behind a wait for that."""

    def stopped(self) -> bool:
        """Is a notebook's stop button cancelling the cell that runs? It ends its awaits, and leaves the tasks alone."""

    def offer_cancel(self, futures: Sequence[Any]) -> None:
        """The stop button has ended a wait for these, and they run on: show how to stop them, where one can see it."""

    def widget(self, shown: Any) -> Any:
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
        return asyncio_wait.wait(signal, timeout)

    def lending(self) -> AbstractContextManager[None]:
        return nullcontext()

    def is_cell(self, frame: FrameType) -> bool:
        return False

    def stopped(self) -> bool:
        return False

    def offer_cancel(self, futures: Sequence[Any]) -> None:
        """A script's user sees nothing but its own output."""

    def post(self, call: Callable[[], object]) -> None:
        callback_thread.post(call)

    def call_at_end(self, future: FutureLike, call: Callable[[], object]) -> None:
        future.add_done_callback(lambda _: call())

    def widget(self, shown: Any) -> Any:
        raise RuntimeError("widgets need a Jupyter kernel, and this process is none")


_host: Host = PlainHost()


@forks.after_fork_in_child
def _forget() -> None:
    """Neither the kernel's messages nor the terminal's line are a forked child's business."""
    install_host(PlainHost())


def current_host() -> Host:
    """The host in force."""
    return _host


def install_host(new: Host) -> None:
    """Replace the host; what waits already goes on as it began."""
    global _host
    _host = new
