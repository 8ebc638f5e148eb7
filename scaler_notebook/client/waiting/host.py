"""The host of this process, which every blocking wait of this package goes through.

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

PRINT_PATIENCE = 0.2  # seconds that a wait goes on for what is to be printed, where nobody reads it


class FutureLike(Protocol):
    """The part of a future that a host needs: whether it is done, and a callback for its end."""

    def done(self) -> bool:
        """Return whether the task has ended."""

    def add_done_callback(self, fn: Callable[[Any], object]) -> None:
        """Have ``fn`` called with the future once the future is done."""


class FillingBoard(Protocol):
    """A board of a group whose futures are still being submitted."""

    def add(self, future: Any) -> None:
        """Add a future."""

    def wait_until_drawn(self) -> None:
        """Wait for a moment until a front end has the first rows; the thread that submits would starve the others."""

    def complete(self, group: Any) -> None:
        """Take the group, which has all of its futures now."""


class Host(Protocol):
    """How this process waits, and where its event loop is."""

    def wait(self, signal: Signal, timeout: float | None) -> bool:
        """Wait until a signal is set; return False if it is not, within the time.

        Parameters
        ----------
        signal
            The signal.
        timeout
            Seconds; None waits for ever.
        """

    def release_slot(self) -> AbstractContextManager[None]:
        """Release the current task's slot within the ``with`` block, for a wait other than by :meth:`wait`."""

    def is_cell(self, frame: FrameType) -> bool:
        """Return whether a frame executes a notebook's cell. What a cell calls may wait, although a loop is running."""

    def post(self, call: Callable[[], object]) -> None:
        """Run a call of the user's: in the event loop where there is one, else on the callback thread."""

    def call_at_end(self, future: FutureLike, call: Callable[[], object]) -> None:
        """Run a call of the user's once a future is done: in a notebook, before the line after a wait for the future.

        Parameters
        ----------
        future
            The future.
        call
            What is called.
        """

    def run_end_calls(self) -> None:
        """Make the calls of :meth:`call_at_end` whose futures are done: for a wait that had nothing to wait for."""

    def stopped(self) -> bool:
        """Return whether the stop button is cancelling the running cell, which ends the cell's awaits and no tasks."""

    def offer_cancel(self, futures: Sequence[Any]) -> None:
        """Show how to stop these futures' tasks, if anything can be shown: the stop button has ended a wait."""

    def open_board(self, title: str) -> Callable[[Any], None]:
        """Show a board without futures, if anything can be shown; what is returned adds a future, on any thread."""

    def open_group_board(self, title: str, futures: Sequence[Any]) -> FillingBoard | None:
        """Show the board of a group that is being submitted, if the cell that runs is going to show it; else None.

        Parameters
        ----------
        title
            The title above the board, until the group is complete.
        futures
            Its futures so far.
        """

    def widget(self, shown: Any) -> Any:
        """Return a widget that shows a future or a group; RuntimeError where there are none."""

    @property
    def cell_number(self) -> int | None:
        """The number of the cell that runs, as its prompt has it; None where there are none."""

    @property
    def shows_results(self) -> bool:
        """Whether views show what tasks return: then engines make previews of results."""

    @property
    def prints_output(self) -> bool:
        """Whether what tasks write is printed unless the user says otherwise: where nothing else shows it."""

    @property
    def waits_at_exit(self) -> bool:
        """Whether unfinished tasks hold up the end of this process (a script), or end with it (a kernel)."""


class PlainHost:
    """The host of a script or an interactive interpreter."""

    waits_at_exit = True
    prints_output = True
    shows_results = False
    cell_number: int | None = None

    def wait(self, signal: Signal, timeout: float | None) -> bool:
        """Block this thread until a signal is set; return False if it is not, within the time.

        Parameters
        ----------
        signal
            The signal.
        timeout
            Seconds; None waits for ever.
        """
        found = asyncio_wait.wait(signal, timeout)
        self.run_end_calls()
        return found

    def release_slot(self) -> AbstractContextManager[None]:
        """Do nothing: this process is no task."""
        return nullcontext()

    def is_cell(self, frame: FrameType) -> bool:
        """Return False: there are no cells."""
        return False

    def stopped(self) -> bool:
        """Return False: there is no stop button."""
        return False

    def offer_cancel(self, futures: Sequence[Any]) -> None:
        """Do nothing: a script's user sees nothing but the script's own output."""

    def open_board(self, title: str) -> Callable[[Any], None]:
        """Show nothing."""
        return lambda future: None

    def open_group_board(self, title: str, futures: Sequence[Any]) -> FillingBoard | None:
        """Return None: there are no cells."""
        return None

    def post(self, call: Callable[[], object]) -> None:
        """Run a call of the user's on the callback thread."""
        callback_thread.post(call)

    def call_at_end(self, future: FutureLike, call: Callable[[], object]) -> None:
        """Run a call of the user's once a future is done, on the callback thread.

        Parameters
        ----------
        future
            The future.
        call
            What is called.
        """
        future.add_done_callback(lambda _: call())

    def run_end_calls(self) -> None:
        """Wait a moment for what tasks have written to be printed: who prints a result next would tear its lines."""
        callback_thread.output.drain(PRINT_PATIENCE)

    def widget(self, shown: Any) -> Any:
        """Raise a RuntimeError: there are no widgets."""
        raise RuntimeError("widgets need a Jupyter kernel, and this process is none")


_host: Host = PlainHost()


@forks.after_fork_in_child
def _forget() -> None:
    """In a forked child: wait as a script does, for the kernel and the terminal are the parent's."""
    install_host(PlainHost())


def current_host() -> Host:
    """Return the host in force."""
    return _host


def install_host(new: Host) -> None:
    """Replace the host; waits that have begun go on as they began."""
    global _host
    _host = new
