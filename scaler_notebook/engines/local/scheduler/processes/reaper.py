"""The reaper, which waits for task processes that have ended, and kills what they have left running."""

import contextlib
import logging
import os
import time
from collections.abc import Callable, Mapping

from scaler_notebook.task.isolation import orphans
from scaler_notebook.task.resource_usage import RSS_UNIT

from . import process_tree
from .exit_cause import UNKNOWN, CauseFinder
from .task_process import TaskProcess

# Seconds that killed descendants of a task may take to be gone before the task is confirmed all the same. They run no
# more code, but on a starved machine they go slowly, and one that waits for a dead file system never goes.
LINGER = 5.0
MAX_LOOKS = 100  # for orphans, at a time: those that fork faster than they are killed must not hold the scheduler up

log = logging.getLogger(__name__)


class Reaper:
    """Waits for processes that have ended, and finds out why.

    Parameters
    ----------
    processes
        The task processes that are ready, by number.
    is_ours
        Called with the number of a child: is it one that task processes need, and no orphan that a task has left?
    last_messages
        Called with a process that was waited for, to read what the process had sent before its end.
    gone
        Called with a process that is gone, with all descendants.
    """

    def __init__(
        self,
        processes: Mapping[int, TaskProcess],
        is_ours: Callable[[int], bool],
        last_messages: Callable[[TaskProcess], object],
        gone: Callable[[TaskProcess], None],
    ) -> None:
        self._processes, self._is_ours, self._last_messages, self._gone = processes, is_ours, last_messages, gone
        self._causes = CauseFinder()
        self._vanishing: list[TaskProcess] = []  # reaped processes that are not known to be gone with all descendants
        self._may_be_orphans = False  # may something be left of a process that has died?
        self._unknown: set[int] = set()  # reaped numbers of orphans, or of a process whose Ready is not read yet

    def has_reaped(self, pid: int) -> bool:
        """Return whether a process of this number was waited for before its Ready was read."""
        return pid in self._unknown

    def reap(self, starting: bool) -> None:
        """Reap, without blocking, whatever has ended: task processes, and orphans that they have left.

        Parameters
        ----------
        starting
            Is there a process whose Ready has not come?
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
        if self._may_be_orphans:
            self._may_be_orphans = self._kill_orphans()
        for process in list(self._vanishing):
            if not process.gone or self._may_be_orphans:
                if time.monotonic() - process.reaped_at <= LINGER:
                    continue
                log.warning("what task process %d has left was killed, and is not gone yet", process.pid)
            try:
                self._gone(process)
            finally:
                if process.pid not in self._processes:  # else it is tried again, for its task has not ended
                    self._vanishing.remove(process)

    def _kill_orphans(self) -> bool:
        """Kill what dead task processes have left; return whether anything is there still.

        This process adopts orphans (:mod:`scaler_notebook.task.isolation.orphans`), and they stay its children until
        they are waited for. So a look at its children that finds none proves that there is none.
        """
        killed: set[int] = set()
        for _ in range(MAX_LOOKS):
            orphaned = [pid for pid in orphans.children() if not self._is_ours(pid)]
            new = [pid for pid in orphaned if pid not in killed]
            if not new:
                return bool(orphaned)
            for pid in new:
                for each in (*process_tree.freeze(pid), pid):
                    process_tree.kill(each)
            killed.update(new)
        return True

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
        self._may_be_orphans = True
        self._vanishing.append(process)
