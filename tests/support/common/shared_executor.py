"""Executors for the tests of a worker that need no engine of their own: they are put back after each of them."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from fault_injection import children
from raw_peers import scheduler_of
from waits import SAFETY

from scaler_notebook import NotebookExecutor
from scaler_notebook.client.task_state.cancel_policy import OnInterrupt

GRACE = 0.3  # seconds
ON_INTERRUPT: OnInterrupt = "ask"
HEAVY = re.compile("site-packages/(pandas|matplotlib|IPython)/")  # each new process would import them again
OURS = "scaler_notebook"  # in the command line of the scheduler, its fork server and all task processes


class SharedExecutor:
    """Has a running executor whenever a test begins.

    A test may do with the executor what it likes. One that ends the executor, or leaves the executor's engine in a
    state that is not that of the start, costs the next test the start of another.

    Parameters
    ----------
    workers
        How many it has.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._executor: NotebookExecutor | None = None
        self._scheduler = self._fork_server = 0  # process ids

    def processes(self) -> set[int]:
        """The ids of the engine's own processes; not of what tasks have left running below them."""
        found = set()
        if self._executor is not None and self._executor.is_running:
            scheduler = psutil.Process(scheduler_of(self._executor).pid)
            for process in (scheduler, *scheduler.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    if OURS in " ".join(process.cmdline()):
                        found.add(process.pid)
        return found

    def running(self) -> NotebookExecutor:
        """The executor, started if need be."""
        if self._executor is None:
            self._executor = NotebookExecutor(n_workers=self._workers, grace=GRACE)
            self._executor.submit(abs, -1).result(SAFETY)  # its agent has opened all of its sockets by then
            self._scheduler = scheduler_of(self._executor).pid
            self._fork_server = children(self._scheduler)[0]  # the oldest
        return self._executor

    @contextlib.contextmanager
    def lent(self) -> Iterator[NotebookExecutor]:
        """The executor, put back after the block."""
        yield self.running()
        self._put_back()

    def _put_back(self) -> None:
        """Cancel what the test has left, and end the executor if it is not as it was."""
        executor = self._executor
        if executor is None:
            return
        executor.cancel_all()
        executor.resume()
        if not self._is_as_at_the_start(executor):
            self.end()
            return
        executor.grace = GRACE
        executor.on_interrupt = ON_INTERRUPT

    def end(self) -> None:
        """End the executor; the next test that asks for one gets a new one."""
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(cancel_futures=True)

    def _is_as_at_the_start(self, executor: NotebookExecutor) -> bool:
        """Is the engine idle, with its own processes and nothing heavy in them, within :data:`SAFETY` seconds?"""
        deadline = time.monotonic() + SAFETY
        while executor.is_running and not executor.is_shut_down:
            status = executor.engine_status()
            if status is None or scheduler_of(executor).pid != self._scheduler:
                return False
            if not status.queued and not any(status.tasks) and not executor.unfinished():
                return self._fork_server in children(self._scheduler) and not self._is_heavy()
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        return False

    def _is_heavy(self) -> bool:
        for pid in self.processes():
            with contextlib.suppress(OSError):
                if HEAVY.search(Path(f"/proc/{pid}/maps").read_text()):
                    return True
        return False
