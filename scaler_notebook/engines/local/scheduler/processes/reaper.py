"""The reaper, which waits for task processes that have ended, and kills what they have left running."""

import contextlib
import logging
import os
import time
from collections.abc import Callable, Collection, Container, Mapping

from scaler_notebook.task.isolation import orphans
from scaler_notebook.task.resource_usage import RSS_UNIT

from . import process_tree
from .exit_cause import UNKNOWN, CauseFinder
from .task_process import TaskProcess

# Seconds that killed descendants of a task may take to be gone before the task is confirmed all the same. They run no
# more code, but on a starved machine they go slowly, and one that waits for a dead file system never goes.
LINGER = 5.0

log = logging.getLogger(__name__)


class Reaper:
    """Waits for processes that have ended, and finds out why.

    Parameters
    ----------
    processes
        The task processes that are ready, by number.
    last_messages
        Called with a process that was waited for, to read what the process had sent before its end.
    gone
        Called with a process that is gone, with all descendants.
    """

    def __init__(
        self,
        processes: Mapping[int, TaskProcess],
        last_messages: Callable[[TaskProcess], object],
        gone: Callable[[TaskProcess], None],
    ) -> None:
        self._processes, self._last_messages, self._gone = processes, last_messages, gone
        self._causes = CauseFinder()
        self._vanishing: list[TaskProcess] = []  # reaped processes whose descendants are not all gone
        self._left_orphans = False  # may a process that has died have left orphans?
        self._unknown: set[int] = set()  # reaped numbers of orphans, or of a process whose Ready is not read yet

    def has_reaped(self, pid: int) -> bool:
        """Return whether a process of this number was waited for before its Ready was read."""
        return pid in self._unknown

    def reap(self, starting: Collection[TaskProcess], starter: int) -> None:
        """Reap, without blocking, whatever has ended: task processes, and orphans that they have left.

        Parameters
        ----------
        starting
            The processes whose Ready has not come; what is called here may start others.
        starter
            The number of the process that task processes are forked from; 0 for none.
        """
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
                if pid == 0:
                    break
                process = self._processes.get(pid)
                if process is not None:
                    self._ended(process, status, usage.ru_maxrss * RSS_UNIT)
                else:
                    self._unknown.add(pid)
        if not starting:
            self._unknown.clear()
            self.end_orphans((*self._processes, starter))
        for process in list(self._vanishing):
            if process.gone or time.monotonic() - process.reaped_at > LINGER:
                self._vanishing.remove(process)
                self._gone(process)

    def end_orphans(self, ours: Container[int]) -> None:
        """Kill what dead task processes have left running; see :mod:`scaler_notebook.task.isolation.orphans`.

        Not to be called while a process starts, because the number of that child is not known yet.

        Parameters
        ----------
        ours
            The numbers of the children that are no orphans.
        """
        if not self._left_orphans:
            return
        self._left_orphans = False
        for pid in orphans.children():
            if pid not in ours:
                for each in (*process_tree.freeze(pid), pid):
                    process_tree.kill(each)

    @property
    def vanishing(self) -> float | None:
        """Seconds until :meth:`reap` must be called again, because what was killed is not gone yet; None: never."""
        if not self._vanishing:
            return None
        waited = time.monotonic() - min(process.reaped_at for process in self._vanishing)
        return min(max(0.001, waited / 10), 0.1)

    def _ended(self, process: TaskProcess, status: int, peak: int) -> None:
        """Handle the end of a process; an exception must not keep the task from ending."""
        try:
            self._find_cause(process, status, peak)
        except Exception:
            log.exception("the end of process %d could not be handled in full", process.pid)
            if process.cause is None:
                process.cause, process.reaped_at = UNKNOWN, time.monotonic()
            if process.pid in self._processes and process not in self._vanishing:
                self._vanishing.append(process)

    def _find_cause(self, process: TaskProcess, status: int, peak: int) -> None:
        """Set the exit cause, read the last messages, and kill what is left of the process group."""
        cause = self._causes.cause(status, peak, process.killed_for, process.out_of_memory)
        where = "in the initializer: " if process.page.preparing else ""
        process.cause = cause._replace(words=f"{where}{cause.words}")
        process.reaped_at = time.monotonic()
        self._last_messages(process)  # a result that was sent before the end counts
        process_tree.kill_group(process.pid)
        self._left_orphans = True
        if process.gone:
            self._gone(process)
        else:
            self._vanishing.append(process)
