"""Clients within a task: the engine that runs the task, and waits that release the task's slot to other tasks.

A task that waits for tasks of its own needs no slot meanwhile. So however deep tasks nest, and however few slots there
are, there is always one for the task that the innermost wait is for.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from scaler_notebook.client.waiting.host import PlainHost, current_host, install_host
from scaler_notebook.client.waiting.signal import Signal
from scaler_notebook.task.current_task import current_task


class TaskConnection(Protocol):
    """A connection to the engine that runs the current task."""

    @property
    def address(self) -> str:
        """The address of the engine."""

    @property
    def alive(self) -> bool:
        """Whether the connection can be used."""

    def notify_waiting(self, task: str, waits: bool) -> None:
        """Tell the engine that a task waits for tasks of its own, or goes on.

        Parameters
        ----------
        task
            The id of the task.
        waits
            Whether the task waits.
        """


def engine_address() -> str:
    """Return the address of the engine that runs the current task; empty outside of a task."""
    return current_task().engine


def parent_task(address: str) -> str:
    """Return the id of the current task, if it runs on the engine at ``address``; empty otherwise."""
    task = current_task()
    return task.task_id if task.engine and task.engine == address else ""


class TaskHost(PlainHost):
    """The host of a task's process: it waits as a script does, and releases the task's slot while it waits.

    Parameters
    ----------
    session
        A connection to the engine that runs the tasks of this process.
    """

    waits_at_exit = False
    prints_output = False
    shows_results = False

    def __init__(self, session: TaskConnection) -> None:
        self.session = session
        self._mutex = threading.Lock()
        self._waits: dict[str, int] = {}  # by task: how many of its threads wait

    def wait(self, signal: Signal, timeout: float | None) -> bool:
        """Wait as a script does, with the current task's slot released unless the signal is set already."""
        if signal.is_set():
            return True
        with self.release_slot():
            return super().wait(signal, timeout)

    @contextmanager
    def release_slot(self) -> Iterator[None]:
        """Release the current task's slot within the ``with`` block; several threads of a task may be within one."""
        task = parent_task(self.session.address)
        if not task:
            yield
            return
        try:
            self._count(task, 1)
            yield
        finally:
            self._count(task, -1)

    def _count(self, task: str, more: int) -> None:
        """Count the waiting threads of a task; notify the engine when the first begins and when the last ends.

        Parameters
        ----------
        task
            The id of the task.
        more
            1 for a thread that begins to wait, -1 for one that ends its wait.
        """
        with self._mutex:
            before = self._waits.get(task, 0)
            self._waits[task] = now = before + more
            if not now:
                del self._waits[task]
            if not before or not now:
                self.session.notify_waiting(task, bool(now))


def install_task_host(session: TaskConnection) -> None:
    """Have this process's waits notify a new connection, if it is the only live one to the current task's engine."""
    if not parent_task(session.address):
        return
    host = current_host()
    if not isinstance(host, TaskHost) or not host.session.alive:
        install_host(TaskHost(session))
