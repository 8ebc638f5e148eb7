"""Everything that the scheduler's core knows."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from scaler_notebook.engines.scheduling.dependencies import DependencyTracker, PayloadStore
from scaler_notebook.engines.scheduling.timers import Timers
from scaler_notebook.protocol.messages import ClientContext

from .ready_queue import ReadyQueue
from .records import TaskRecord
from .resources import Resources
from .workers import Workers

TimerKey: TypeAlias = tuple[str, int | str]  # what comes, and the process or the task that it is about


class SchedulerState:
    """The tasks, the processes and the clients of one scheduler, and what is to happen later.

    Parameters
    ----------
    slots
        How many tasks run at the same time; more processes than that are spares.
    capabilities
        How much there is of each in all, for the tasks that need some.
    memory
        Bytes, for the tasks that say how much they take.
    max_runs
        How many runs a process is given before another takes its place; None: as many as come.
    store
        Where the values that tasks depend on are retained.
    """

    def __init__(
        self, slots: int, capabilities: Mapping[str, int], memory: int, max_runs: int | None, store: PayloadStore
    ) -> None:
        self.slots = slots
        self.records: dict[str, TaskRecord] = {}  # by id, the tasks that are not over
        self.contexts: dict[bytes, ClientContext] = {}  # of each client; of the one that has moved last, last
        self.resources = Resources(capabilities, memory)
        self.queue = ReadyQueue(self.resources)
        self.workers = Workers(max_runs)
        self.lent: set[int] = set()  # processes whose tasks wait for tasks of their own, and need no slot meanwhile
        self.dependencies: DependencyTracker[TaskRecord] = DependencyTracker(store)
        self.timers: Timers[TimerKey, Callable[[], None]] = Timers()
