"""The output and the progress of running tasks, forwarded to clients; and the limits of tasks' memory."""

import math
import time
from collections.abc import Callable

from scaler_notebook.protocol.messages import EngineMessage, TaskProgress

from .core.core import Core
from .error_boundary import ErrorBoundary
from .processes import exit_cause, process_tree
from .processes.process_pool import ProcessPool

INTERVAL = 0.05  # seconds between two reads, at most


class OutputForwarder:
    """Reads the output of running tasks, the more often the more they write, and checks their memory.

    Parameters
    ----------
    core
        Knows which process runs which client's task.
    pool
        The processes.
    boundary
        Keeps an exception about one task from the others.
    send
        Sends a message to a client.
    """

    def __init__(
        self, core: Core, pool: ProcessPool, boundary: ErrorBoundary, send: Callable[[bytes, EngineMessage], None]
    ) -> None:
        self._core, self._pool, self._boundary, self._send = core, pool, boundary, send
        self._next_look = self._next_memory_look = 0.0

    @property
    def deadline(self) -> float | None:
        """When :meth:`look` has something to do, in monotonic seconds; None while no process runs anything."""
        return self._next_look if self._core.overview.running or self._pool.importing else None

    def look(self) -> None:
        """Forward what tasks have written, and kill those that have too much memory, if it is time."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + INTERVAL  # set first, in case of an exception below
        self._pool.drain()
        if now >= self._next_memory_look:
            self._next_memory_look = now + INTERVAL
            self._look_at_memory()
        running = self._core.overview.running
        for pid in running:
            overview = self._core.overview
            if overview.is_announced(pid) and not overview.has_more(
                pid
            ):  # the client gets TaskStarted before any output
                self._boundary.call(self.forward, pid)
        self._next_look = now + min(INTERVAL, self._pool.pace(running) if running else math.inf)

    def _look_at_memory(self) -> None:
        """Kill the processes whose tasks exceed their limit of memory."""
        for pid, limit in self._core.overview.limited:
            held = self._pool[pid].page.held
            # The second figure counts what forks share once, and takes longer to find out.
            if process_tree.resident(pid) - held <= limit:
                continue
            if (size := process_tree.resident(pid, shared_once=True) - held) > limit:
                self._pool.kill(pid, why=exit_cause.over_limit(size, limit), out_of_memory=True)

    def forward(self, pid: int, over: bool = False) -> None:
        """Send a process's client what its task has written, displayed and reported since the last call.

        Parameters
        ----------
        pid
            The number of the process; if the process holds no task, nothing is sent.
        over
            Has the task ended, or its process died?
        """
        held = self._core.overview.holder(pid)
        if held is None:
            return
        task_id, owner = held
        for message in self._pool[pid].output.new_messages(task_id, over):
            self._send(owner, message)
        progress = self._pool[pid].new_progress(self._core.overview.seq(pid))
        if progress is not None:
            self._send(owner, TaskProgress(task_id, *progress))
