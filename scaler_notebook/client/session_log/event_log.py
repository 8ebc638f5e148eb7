"""The event log: a file with a line per task event, to follow a session from outside the kernel.

Set ``SCALER_NOTEBOOK_LOG`` to a path before the kernel starts; each line is JSON with ``time`` (seconds since the
epoch), ``event``, ``task``, ``call`` and ``detail``.
"""

import json
import logging
import os
import threading
import time
from typing import Any

from scaler_notebook import forks
from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.task_state.observed_task import ObservedTask
from scaler_notebook.protocol.states import CancelReason, TaskState

VARIABLE = "SCALER_NOTEBOOK_LOG"
_KEY = os.fsencode(VARIABLE)

_writing = threading.RLock()  # a signal handler of the user's may submit
_refused: set[str] = set()  # paths whose failure was logged already

log = logging.getLogger(__name__)


@forks.after_fork_in_child
def _forget() -> None:
    global _writing
    _writing = threading.RLock()


def log_events(future: ScalerFuture[Any]) -> None:
    """Write the events of a new future to the log, if the variable is set."""
    # The mapping behind os.environ, where there is one, says at once that there is no such variable.
    if _KEY in getattr(os.environ, "_data", (_KEY,)) and (path := os.environ.get(VARIABLE)):
        writer = _EventWriter(path, future)
        future.watch(writer.look)
        writer.look(future)  # the task may have been cancelled already


class _EventWriter:
    """A watcher that writes a line for each change of one future's state.

    Parameters
    ----------
    path
        The path of the log.
    future
        The new future.
    """

    def __init__(self, path: str, future: ObservedTask) -> None:
        self._path = path
        self._last = TaskState.SUBMITTED
        self._write(future, "submitted", "")

    def look(self, future: ObservedTask) -> None:
        """Write a line if the state is a new one; called after each change."""
        state = future.state
        if state is self._last:
            return
        before, self._last = self._last, state
        match state:
            case TaskState.RUNNING if before is TaskState.CANCELLING:
                self._write(future, "cancel refused", "it still runs")
            case TaskState.RUNNING:
                self._write(future, "started", "")
            case TaskState.CANCELLING:
                self._write(future, "cancel requested", "")
            case TaskState.FINISHED if future.failure is not None:
                self._write(future, "failed", future.failure.headline)
            case TaskState.FINISHED:
                took = (future.ended_at or 0.0) - (future.started_at or future.submitted_at)
                self._write(future, "finished", f"{took:.2f} s")
            case TaskState.CANCELLED:
                self._write(future, "cancelled", _ending(future.cancel_reason))

    def _write(self, future: ObservedTask, event: str, detail: str) -> None:
        """Append a line to the log; a failure is logged once for each path.

        Parameters
        ----------
        future
            The future.
        event
            The name of the event.
        detail
            What is to be said about it.
        """
        line = {"time": time.time(), "event": event, "task": future.task_id, "call": future.call, "detail": detail}
        text = json.dumps(line, ensure_ascii=False) + "\n"
        try:
            with _writing:
                _append(self._path, text.encode("utf-8", "backslashreplace"))
        except OSError as error:  # a full disk, no directory, a pipe that nobody reads: the log alone is lost
            if self._path not in _refused:
                _refused.add(self._path)
                log.warning("%s: lines for %s are lost: %s", VARIABLE, self._path, error)


def _append(path: str, line: bytes) -> None:
    """Append a line to a file, or to what else the path names; never wait for somebody who reads it.

    Parameters
    ----------
    path
        The path.
    line
        The line.

    Raises
    ------
    OSError
        There is no such file and none can be made, or it takes nothing now.
    """
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY, 0o666)
    try:
        while line:
            line = line[os.write(fd, line) :]
    finally:
        os.close(fd)


def _ending(reason: CancelReason | None) -> str:
    """Return how a cancelled task ended, in words."""
    if reason in (CancelReason.STOPPED, CancelReason.NEVER_STARTED):
        return f"{reason.value}, confirmed by TaskCancelConfirm(Canceled)"
    return reason.value if reason is not None else ""
