"""The state of the scheduler's core."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from scaler_notebook.engines.scheduling.dependencies import DependencyTracker, PayloadStore
from scaler_notebook.engines.scheduling.timers import Timers
from scaler_notebook.protocol.messages import ClientContext

from .devices import Devices
from .pausable_queue import PausableQueue
from .ready_queue import ReadyQueue
from .records import TaskRecord
from .resources import Resources
from .workers import Workers

TimerKey: TypeAlias = tuple[str, int | str]  # kind of the timer, and the number of a process or the id of a task


class SchedulerState:
    """The tasks, processes, clients and timers of one scheduler.

    Parameters
    ----------
    slots
        How many tasks run at the same time; more processes than that are spares.
    capabilities
        How much there is of each capability in all, to be shared by the tasks that run.
    memory
        Bytes, to be shared by the tasks that say how much memory they take.
    max_runs
        How many tasks a process runs before another process takes its place; None for any number.
    store
        Retains the values that tasks depend on.
    devices
        The names of the devices that tasks may be given.
    """

    def __init__(
        self,
        slots: int,
        capabilities: Mapping[str, int],
        memory: int,
        max_runs: int | None,
        store: PayloadStore,
        devices: tuple[str, ...] = (),
    ) -> None:
        self.slots = slots
        self.records: dict[str, TaskRecord] = {}  # by id, the unfinished tasks
        self.contexts: dict[bytes, ClientContext] = {}  # by client; the one that was set last is last
        self.workers = Workers(max_runs)
        self.lent: set[int] = set()  # processes whose tasks have lent their slots
        self.devices = Devices(devices, self.workers, self.lent)
        self.resources = Resources(capabilities, memory, self.devices)
        self.queue = PausableQueue(ReadyQueue(self.resources))
        self.dependencies: DependencyTracker[TaskRecord] = DependencyTracker(store)
        self.timers: Timers[TimerKey, Callable[[], None]] = Timers()
