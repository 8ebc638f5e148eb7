"""Questions about the scheduler's state that its loop asks: nothing here changes anything."""

from itertools import chain, islice

from scaler_notebook.protocol.messages import ClientContext, EngineStatus, EngineTasks

from .state.scheduler_state import SchedulerState
from .states import TaskStage
from .task_briefs import public_brief
from .transitions import start_due

MAX_LISTED = 1000  # tasks of one answer: a few hundred kilobytes


class Overview:
    """A look at what the tasks and processes of a scheduler do now.

    Parameters
    ----------
    state
        The core's state.
    """

    def __init__(self, state: SchedulerState) -> None:
        self._state = state

    def is_announced(self, process: int) -> bool:
        """Return whether the client has been told that the task of this process runs."""
        return start_due(process) not in self._state.timers

    @property
    def count(self) -> int:
        """How many tasks there are."""
        return len(self._state.records)

    @property
    def running(self) -> list[int]:
        """The processes that hold a task."""
        return list(self._state.workers.held)

    @property
    def limited(self) -> list[tuple[int, int]]:
        """The processes that hold a task with a limit of memory, each with that limit in bytes."""
        held = self._state.workers.held.items()
        return [(process, limit) for process, record in held if (limit := record.task.options.memory_limit)]

    @property
    def fresh(self) -> list[int]:
        """The processes that wait for their first task, and may import modules ahead of it.

        Where there are devices, one that has imported nothing is left out: a task with devices can have no other.
        """
        workers = self._state.workers
        left_out = workers.untouched[-1:] if self._state.devices else []
        return [process for process in workers.fresh if process not in left_out]

    def has_devices(self, process: int) -> bool:
        """Return whether a process has begun with devices."""
        return process in self._state.workers.devices

    @property
    def has_queue(self) -> bool:
        """Whether a task waits for a slot or a process alone."""
        return self._state.queue.next is not None or self._state.workers.has_ahead

    @property
    def short_of(self) -> int:
        """How many processes are missing for queued tasks that have a slot."""
        state = self._state
        free = state.slots + len(state.lent) - len(state.workers.held)
        return max(0, min(len(state.queue), free)) if state.queue.next is not None else 0

    def status(self) -> EngineStatus:
        """Return the slots, the length of the queue, and the processes with their tasks."""
        state, held = self._state, self._state.workers.held
        processes = tuple(state.workers)
        tasks = tuple(held[process].task.task_id if process in held else "" for process in processes)
        begun = state.workers.devices
        gpus = tuple(", ".join(state.devices.named(begun.get(process, ()))) for process in processes) if begun else ()
        queued = len(state.queue) + state.queue.kept + state.workers.count_ahead
        return EngineStatus(state.slots, queued, processes, tasks, gpus=gpus)

    def seq(self, process: int) -> int:
        """Return the number of the run of the task that a process holds; 0 if it holds none."""
        record = self._state.workers.held.get(process)
        return record.seq if record is not None else 0

    def has_more(self, process: int) -> bool:
        """Return whether a process has other tasks behind the one that it holds, and may be at one of them by now."""
        return bool(self._state.workers.ahead(process))

    def unfinished(self) -> EngineTasks:
        """Return what any client may know of the unfinished tasks of all clients."""
        records, held = self._state.records, self._state.workers.held
        running = {found.task.task_id: found for found in held.values() if found.stage is not TaskStage.OVER}
        waiting = (record for task_id, record in records.items() if task_id not in running)
        listed = list(islice(chain(running.values(), waiting), MAX_LISTED))
        return EngineTasks(tuple(map(public_brief, listed)), len(records) - len(listed))

    @property
    def contexts(self) -> dict[bytes, ClientContext]:
        """The context of each client's tasks; the client whose context was set last is last."""
        return self._state.contexts

    def owner(self, task_id: str) -> bytes | None:
        """Return the client of an unfinished task; None if there is no such task."""
        record = self._state.records.get(task_id)
        return record.owner if record is not None else None

    def holder(self, process: int) -> tuple[str, bytes] | None:
        """Return ``(task id, client)`` of the task that a process holds; None if it holds none."""
        record = self._state.workers.held.get(process)
        return (record.task.task_id, record.owner) if record is not None else None
