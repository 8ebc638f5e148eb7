"""A plug-in of coverage.py, for ``make coverage``: our processes save what was measured before they end.

The scheduler leaves by ``os._exit``: the counts are saved before. A task process is ended by SIGKILL, between two tasks
or within one: it saves before each message to the scheduler, that it is ready or how a task ended, for behind that it
may be killed at any moment.

Not counted: what a task ran that was killed, and since the last saving before that; a process that is killed while it
saves (``coverage combine`` warns of its file); task processes that are new interpreters
(``SCALER_NOTEBOOK_START_METHOD=spawn``, and macOS); what runs on the workers of a Scaler cluster.
"""

import contextlib
import os
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

import coverage

WORKER = "scaler_notebook.engines.local.worker.main"  # the fork server has imported it before it forks
SHARE = 5.0  # times as long as the last saving took, until the next: at most a sixth of the time is spent on it


class Saving:
    """Sends what a task process says to the scheduler, and saves the measured lines before.

    Parameters
    ----------
    send
        The function that sends.
    """

    def __init__(self, send: Callable[..., None]) -> None:
        self._send = send
        self._next = 0.0

    def __call__(self, *arguments: Any) -> None:
        measured = coverage.Coverage.current()
        begun = time.monotonic()
        if measured is not None and begun >= self._next:
            measured.save()
            ended = time.monotonic()
            self._next = ended + SHARE * (ended - begun)
        self._send(*arguments)


def _after_fork() -> None:
    worker: Any = sys.modules.get(WORKER)
    if worker is not None and not isinstance(worker.send_blocking, Saving):
        worker.send_blocking = Saving(worker.send_blocking)


_leave = os._exit


def _exit(status: int) -> NoReturn:
    """End the process at once, as ``os._exit`` does, but save what was measured."""
    with contextlib.suppress(Exception):
        if (measured := coverage.Coverage.current()) is not None:
            measured.save()
    _leave(status)


# Named so that it pickles by reference: tests submit os._exit as a task. coverage.py's own patch is a closure.
_exit.__module__ = "os"


def coverage_init(registry: object, options: object) -> None:
    """Called by coverage.py in each process that it measures."""
    os._exit = _exit
    os.register_at_fork(after_in_child=_after_fork)
