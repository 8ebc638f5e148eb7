"""The task processes as the core sees them: which are idle, and which task each of the others holds."""

import math
from collections import deque
from collections.abc import Collection, Iterator

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
        self._reserved: set[int] = set()  # processes that were reserved once: they may have imported modules
        self.held: dict[int, TaskRecord] = {}  # by process
        self._ahead: dict[int, deque[TaskRecord]] = {}  # by process: what it runs next, and has already
        self.devices: dict[int, tuple[int, ...]] = {}  # of each process that has begun with some: their numbers

    def __contains__(self, process: int) -> bool:
        return process in self._runs

    def __iter__(self) -> Iterator[int]:
        return iter(self._runs)

    def __repr__(self) -> str:
        return (
            f"<Workers {self._runs} idle {self._idle} spent {self._spent} held {sorted(self.held)} ahead {self._ahead}>"
        )

    @property
    def idle(self) -> list[int]:
        """The processes that wait for a task; the last one is used next."""
        return self._idle

    @property
    def fresh(self) -> list[int]:
        """The processes that wait for their first task."""
        return [process for process in self._idle if not self._runs[process]]

    @property
    def untouched(self) -> list[int]:
        """The processes that wait for their first task, and have imported nothing ahead of it."""
        return [process for process in self.fresh if process not in self._reserved]

    @property
    def are_counted(self) -> bool:
        """Whether a process is replaced after so many runs."""
        return self._max_runs != math.inf

    def runs(self, process: int) -> int:
        """Return how many runs a process has been given."""
        return self._runs[process]

    def add(self, process: int) -> None:
        """Add a process that is new, or was reserved, to the idle ones; as its caches are cold, it is used last."""
        self._runs.setdefault(process, 0)
        self._idle.insert(0, process)

    def reserve(self, process: int) -> None:
        """Take a process off the idle ones, until :meth:`add`."""
        self._idle.remove(process)
        self._reserved.add(process)

    def begin(self, process: int, record: TaskRecord) -> None:
        """Let a process, which the caller has taken off the idle ones, hold a task.

        Parameters
        ----------
        process
            The number of the process.
        record
            The task.
        """
        self.held[process] = record
        self._number(process, record)

    def _number(self, process: int, record: TaskRecord) -> None:
        self._runs[process] = record.seq = self._runs[process] + 1
        record.process = process

    # ------------------------------------------------------------------ prefetched tasks

    def ahead(self, process: int) -> Collection[TaskRecord]:
        """Return the tasks that a process has behind the one that it holds, in order."""
        return self._ahead.get(process, ())

    @property
    def have_ahead(self) -> list[int]:
        """The processes that have tasks behind the ones that they hold."""
        return list(self._ahead)

    @property
    def has_ahead(self) -> bool:
        """Whether any process has tasks behind the one that it holds."""
        return bool(self._ahead)

    @property
    def count_ahead(self) -> int:
        """How many tasks processes have behind the ones that they hold."""
        return sum(map(len, self._ahead.values()))

    def put_behind(self, process: int, record: TaskRecord) -> None:
        """Let a process have one more task behind the one that it holds.

        Parameters
        ----------
        process
            The number of the process.
        record
            The task.
        """
        self._number(process, record)
        self._ahead.setdefault(process, deque()).append(record)

    def take_back(self, process: int, seqs: Collection[int]) -> list[TaskRecord]:
        """Remove tasks from those that a process has behind the one that it holds, and return them.

        Parameters
        ----------
        process
            The number of the process.
        seqs
            The numbers of their runs.
        """
        records = self._ahead.pop(process, ())
        if stay := deque(record for record in records if record.seq not in seqs):
            self._ahead[process] = stay
        return [record for record in records if record.seq in seqs]

    def forget_ahead(self, process: int) -> Collection[TaskRecord]:
        """Remove all tasks that a process has behind the one that it holds, and return them."""
        return self._ahead.pop(process, ())

    def next(self, process: int) -> TaskRecord | None:
        """Let a process hold the next of the tasks that it has, and return the task; None if it has no other."""
        records = self._ahead.get(process)
        if records is None:
            return None
        self.held[process] = record = records.popleft()
        if not records:
            del self._ahead[process]
        return record

    # ------------------------------------------------------------------ the end of a run

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
        self._reserved.discard(process)
        self.devices.pop(process, None)
        if process in self._idle:
            self._idle.remove(process)
        return True
