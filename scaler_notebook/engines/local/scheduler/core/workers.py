"""The task processes as the core knows them: which are idle, and which task each one holds."""

import math
from collections.abc import Iterator

from .records import TaskRecord


class Workers:
    """The task processes of one scheduler, by number.

    Parameters
    ----------
    max_runs
        How many runs a process is given before another takes its place; None: as many as come.
    """

    def __init__(self, max_runs: int | None) -> None:
        self._max_runs = math.inf if max_runs is None else max_runs
        self._runs: dict[int, int] = {}  # how many each was given so far
        self._spent: set[int] = set()  # those that are to be given no other task
        self._idle: list[int] = []  # the last one is used first: its caches are warm
        self.held: dict[int, TaskRecord] = {}  # the task of each that runs one

    def __contains__(self, process: int) -> bool:
        return process in self._runs

    def __iter__(self) -> Iterator[int]:
        return iter(self._runs)

    def __repr__(self) -> str:
        return f"<Workers {self._runs} idle {self._idle} spent {self._spent} held {sorted(self.held)}>"

    @property
    def idle(self) -> list[int]:
        """Those that wait for a task, the next one to use last."""
        return self._idle

    @property
    def fresh(self) -> list[int]:
        """Those that wait for their first task."""
        return [process for process in self._idle if not self._runs[process]]

    def seq(self, process: int) -> int:
        """Give the number of the last run of a process."""
        return self._runs[process]

    def add(self, process: int) -> None:
        """Have a process that is new, or was held back, wait for tasks; behind all others, for its caches are cold."""
        self._runs.setdefault(process, 0)
        self._idle.insert(0, process)

    def hold_back(self, process: int) -> None:
        """Give an idle process no task until :meth:`add`."""
        self._idle.remove(process)

    def begin(self, process: int, record: TaskRecord) -> int:
        """Have a process that is not idle any more hold a task; gives the number of the run."""
        self.held[process] = record
        self._runs[process] = seq = self._runs[process] + 1
        return seq

    def release(self, process: int) -> bool:
        """Have a process that holds no task any more wait for the next one; False if it is to be replaced."""
        if self._runs[process] < self._max_runs and process not in self._spent:
            self._idle.append(process)
            return True
        return False

    def use_last(self, process: int) -> None:
        """Give an idle process, which is busy with something else, its next task after all others."""
        if process in self._idle:
            self._idle.remove(process)
            self._idle.insert(0, process)

    def spend(self, process: int) -> None:
        """Give a process no task after the one that it holds."""
        self._spent.add(process)

    def remove(self, process: int) -> bool:
        """Forget a process that has died, but not the task that it holds; False if there is none of this number."""
        if self._runs.pop(process, None) is None:
            return False
        self._spent.discard(process)
        if process in self._idle:
            self._idle.remove(process)
        return True
