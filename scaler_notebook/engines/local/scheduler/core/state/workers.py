"""The task processes as the core sees them: which are idle, and which task each of the others holds."""

import math
from collections.abc import Iterator

from .records import TaskRecord


class Workers:
    """The task processes of one scheduler, by number.

    Parameters
    ----------
    max_runs
        How many tasks a process runs before another process takes its place; None for any number.
    """

    def __init__(self, max_runs: int | None) -> None:
        self._max_runs = math.inf if max_runs is None else max_runs
        self._runs: dict[int, int] = {}  # by process: how many it has been given
        self._spent: set[int] = set()  # processes that must be given no other task
        self._idle: list[int] = []  # the last one is used first: its caches are warm
        self.held: dict[int, TaskRecord] = {}  # by process

    def __contains__(self, process: int) -> bool:
        return process in self._runs

    def __iter__(self) -> Iterator[int]:
        return iter(self._runs)

    def __repr__(self) -> str:
        return f"<Workers {self._runs} idle {self._idle} spent {self._spent} held {sorted(self.held)}>"

    @property
    def idle(self) -> list[int]:
        """The processes that wait for a task; the last one is used next."""
        return self._idle

    @property
    def fresh(self) -> list[int]:
        """The processes that wait for their first task."""
        return [process for process in self._idle if not self._runs[process]]

    def seq(self, process: int) -> int:
        """Return the number of a process's last run."""
        return self._runs[process]

    def add(self, process: int) -> None:
        """Add a process that is new, or was reserved, to the idle ones; as its caches are cold, it is used last."""
        self._runs.setdefault(process, 0)
        self._idle.insert(0, process)

    def reserve(self, process: int) -> None:
        """Take a process off the idle ones, until :meth:`add`."""
        self._idle.remove(process)

    def begin(self, process: int, record: TaskRecord) -> int:
        """Let a process, which the caller has taken off the idle ones, hold a task; returns the number of the run.

        Parameters
        ----------
        process
            The number of the process.
        record
            The task.
        """
        self.held[process] = record
        self._runs[process] = seq = self._runs[process] + 1
        return seq

    def release(self, process: int) -> bool:
        """Add a process that holds no task any more to the idle ones; False if it must run no other task."""
        if self._runs[process] < self._max_runs and process not in self._spent:
            self._idle.append(process)
            return True
        return False

    def use_last(self, process: int) -> None:
        """Let all other idle processes be used before this one, which still makes a preview."""
        if process in self._idle:
            self._idle.remove(process)
            self._idle.insert(0, process)

    def spend(self, process: int) -> None:
        """Mark a process that must run no other task than the one that it holds."""
        self._spent.add(process)

    def remove(self, process: int) -> bool:
        """Forget a process that has died, but not the task that it holds; False if there is no such process."""
        if self._runs.pop(process, None) is None:
            return False
        self._spent.discard(process)
        if process in self._idle:
            self._idle.remove(process)
        return True
