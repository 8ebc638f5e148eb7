"""IPython in a terminal: text in place of cards, and one live line while a prompt waits for tasks."""

import os
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any, TextIO

from scaler_notebook.client.executor import all_unfinished
from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.futures.group import FutureGroup
from scaler_notebook.client.submission.call_text import shorten
from scaler_notebook.client.task_graph import GraphFutures
from scaler_notebook.client.task_state.observed_task import ObservedTask
from scaler_notebook.client.waiting import asyncio_wait
from scaler_notebook.client.waiting.host import PlainHost, install_host
from scaler_notebook.client.waiting.signal import Signal
from scaler_notebook.notebook import tracebacks
from scaler_notebook.notebook.settings_store import settings
from scaler_notebook.notebook.views import lists, rows
from scaler_notebook.notebook.views.row import elapsed, progress_words
from scaler_notebook.notebook.views.settle import settle
from scaler_notebook.notebook.views.static import static_html, terminal_text
from scaler_notebook.protocol.states import TaskState

QUIET_PERIOD = 0.5  # seconds of a wait before the live line appears
REPAINT_INTERVAL = 0.1  # seconds between two paints of the line
DEFAULT_WIDTH = 100  # characters, in a terminal that does not say how wide it is
CLEAR_LINE = "\r\x1b[K"
PREVIEW_BYTES = 1_000_000  # a larger result is not loaded only to be shown
OUTPUT_LINES = 10  # of the end of a task's output

_active = False


class TerminalHost(PlainHost):
    """Implements :class:`scaler_notebook.client.waiting.host.Host`.

    Parameters
    ----------
    stream
        Where the live line is painted, if that is a terminal; stderr by default.
    """

    prints_output = False  # it is shown with the future

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def wait(self, signal: Signal, timeout: float | None) -> bool:
        """Wait for a signal; on the main thread, a line says what runs.

        Parameters
        ----------
        signal
            The signal.
        timeout
            The longest wait, in seconds; None for no limit.

        Returns
        -------
        bool
            Whether the signal is set.
        """
        stream = self._stream if self._stream is not None else sys.stderr
        if threading.current_thread() is not threading.main_thread() or not stream.isatty():
            return asyncio_wait.wait(signal, timeout)
        deadline = None if timeout is None else time.monotonic() + timeout
        pause, painted = QUIET_PERIOD, False
        try:
            while True:
                left = pause if deadline is None else min(pause, deadline - time.monotonic())
                if asyncio_wait.wait(signal, max(0.0, left)):
                    return True
                if deadline is not None and time.monotonic() >= deadline:
                    return False
                stream.write(CLEAR_LINE + shorten(status_line(all_unfinished()), _terminal_width(stream) - 1))
                stream.flush()
                pause, painted = REPAINT_INTERVAL, True
        finally:
            if painted:
                stream.write(CLEAR_LINE)
                stream.flush()

    def offer_cancel(self, futures: Sequence[ObservedTask]) -> None:
        """Say how to stop the tasks that run on after Ctrl-C."""
        tasks = "it runs" if len(futures) == 1 else f"{len(futures)} tasks run"
        which = futures[0].task_id if len(futures) == 1 else "--all"
        print(f"{tasks} on; stop with %scaler cancel {which}")


def status_line(unfinished: Sequence[ScalerFuture[Any]]) -> str:
    """Write on one line what is under way, and how to stop waiting."""
    working = [future for future in unfinished if future.state is not TaskState.SUBMITTED]
    queued = len(unfinished) - len(working)
    parts = []
    if working:
        oldest = working[0]
        row = rows.row(oldest)
        parts.append(f"{row['word']} {elapsed(row, time.time())}  {terminal_text.plain(oldest.call)}")
        if row["progress"] is not None:
            parts.append(progress_words(row["progress"]))
        if len(working) > 1:
            parts.append(f"{len(working) - 1} more")
    if queued:
        parts.append(f"{queued} queued")
    return " · ".join([*parts, "Ctrl-C ends the wait"])


def activate(shell: Any) -> None:
    """Have futures and groups displayed as text, and waits say what they wait for. Idempotent."""
    global _active
    if not _active:
        _active = True
        install_host(TerminalHost())
        formatter = shell.display_formatter.ipython_display_formatter
        formatter.for_type(ScalerFuture, show)
        formatter.for_type(FutureGroup, _show_group)
        formatter.for_type(GraphFutures, lambda futures: _show_group(futures.group))
        lists.register(formatter, _show_group)
        tracebacks.install(shell)


def show(future: ScalerFuture[Any]) -> None:
    """Print a future as a card is shown: its state, its result or error, and the end of its output."""
    settle(future, settings.progress_after)
    row = rows.row(future)
    row["result"] = _result_repr(future) or row["result"]
    print(static_html.text(row))
    lines = terminal_text.plain(row["output"]).splitlines()
    if len(lines) > OUTPUT_LINES:
        print(f"  … %scaler logs {future.task_id} prints all of its output")
    for line in lines[-OUTPUT_LINES:]:
        print(f"  | {line}")


def _result_repr(future: ScalerFuture[Any]) -> str | None:
    """Return the ``repr`` of a result; None if there is none to show.

    The user's code runs for that, unlike in a kernel: the person at the prompt waits, and can interrupt it.
    """
    done = future.state is TaskState.FINISHED and not future.failed
    if not done or not future.shows_result or future.result_bytes > PREVIEW_BYTES:
        return None
    try:
        value = future.result(0)
        return repr(value) if value is not None else None
    except Exception as error:
        return f"<its repr raised {error!r}>"


def _show_group(group: FutureGroup[Any]) -> None:
    """Print a board as text."""
    from scaler_notebook.notebook.views.board import display

    display.show(group)


def _terminal_width(stream: TextIO) -> int:
    """Return the width of a terminal, in characters."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or DEFAULT_WIDTH
    except (OSError, ValueError):
        return DEFAULT_WIDTH
