"""The scheduler's decisions, without its sockets: which task runs when and where, and what follows from each event.

What an event does to a task is in :mod:`.transitions`, how queued tasks get to processes in :mod:`.dispatch`.
"""

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace

from scaler_notebook.engines.local.ipc.messages import RunFinished
from scaler_notebook.engines.scheduling.timers import Clock
from scaler_notebook.protocol.messages import (
    NO_PROCESS_EXIT,
    ClientContext,
    EngineStatus,
    Payload,
    PreviewKind,
    ProcessExit,
    Task,
    TaskCancel,
    TaskPreview,
    TaskResult,
    TaskResultType,
)
from scaler_notebook.protocol.twins import maker
from scaler_notebook.task.task_end import TaskEnd

from . import events
from .dispatch.dispatcher import Dispatcher
from .dispatch.prefetching import Prefetching
from .dispatch.scaling import Scaling
from .dispatch.slot_lending import SlotLending
from .effects import Effects
from .item_flow import ItemFlow
from .nested_reports import NestedReports
from .overview import Overview
from .previews import ExpectedPreviews
from .process_deaths import ProcessDeaths
from .state.records import TaskRecord
from .state.resources import UNBOUNDED
from .state.scheduler_state import SchedulerState
from .state.turns import Turns
from .states import TaskStage
from .transitions import Transitions, start_due

_new_result = maker(TaskResult)
_new_end = maker(events.RunEnded)

RESULTS = {
    TaskEnd.SUCCESS: TaskResultType.SUCCESS,
    TaskEnd.FAILED: TaskResultType.FAILED,
    TaskEnd.FAILED_FOR_GOOD: TaskResultType.FAILED,
    TaskEnd.UNPREPARED: TaskResultType.FAILED_INITIALIZER,
}


class Core:
    """The tasks and processes of one scheduler, with a method for each event.

    Parameters
    ----------
    slots
        How many tasks run at the same time; more processes than that are spares.
    effects
        Performs the side effects that the core decides on.
    capabilities
        How much there is of each capability in all, to be shared by the tasks that run.
    memory
        Bytes, to be shared by the tasks that say how much memory they take.
    max_runs
        How many tasks a process runs before another process takes its place; None for any number.
    clock
        The source of the time.
    devices
        The names of the devices that tasks may be given.
    spares
        How many more processes than slots there are.
    idle_timeout
        Seconds after which an idle process goes; 0 for never.
    """

    def __init__(
        self,
        slots: int,
        effects: Effects,
        capabilities: Mapping[str, int],
        memory: int = UNBOUNDED,
        max_runs: int | None = None,
        clock: Clock = time,
        devices: tuple[str, ...] = (),
        spares: int = 1,
        idle_timeout: float = 0.0,
    ) -> None:
        self.state = SchedulerState(slots, capabilities, memory, max_runs, effects, devices)
        self._nested = NestedReports(self.state, effects, clock)
        self.transitions = Transitions(self.state, effects, clock, self._nested)
        self._effects = effects
        self._clock = clock
        self.overview = Overview(self.state)
        self.scaling = Scaling(self.state, self.overview, effects, clock, spares, idle_timeout)
        self._lending = SlotLending(self.state, effects, clock, self.transitions)
        self._turns = Turns()
        self._prefetching = Prefetching(self.state, effects, self.transitions, self._turns)
        self._dispatcher = Dispatcher(
            self.state, effects, self.transitions, self._turns, self._prefetching, self._lending, self.scaling
        )
        self._previews = ExpectedPreviews()
        self._items = ItemFlow(self.state, effects, self.transitions, self._lending)
        self._deaths = ProcessDeaths(self.state, effects, clock, self.transitions)

    def batch(self) -> AbstractContextManager[None]:
        """Return a context for events that come together: what follows from all of them is done once, at its end.

        What a client submits begins at once if it can.
        """
        return self._dispatcher.batch()

    # ------------------------------------------------------------------ clients

    def submit(self, owner: bytes, task: Task, process: int = 0) -> None:
        """Queue a task of a client, and start it if a slot is free. A task whose id is in use is ignored.

        Parameters
        ----------
        owner
            The client.
        task
            The task.
        process
            The number of the task process that the client is in; 0 if it is in none.
        """
        state, task_id, options = self.state, task.task_id, task.options
        if task_id in state.records:
            return
        record = TaskRecord(task, owner, state.contexts.get(owner), state.resources.needs(options), root=owner)
        record.priority, record.submitted = options.priority, self._clock.time()
        if task.inputs and (lost := state.dependencies.add(record, self._unfinished(owner, task.inputs))):
            text = Payload("\n".join(lost).encode())
            self._effects.send(owner, TaskResult(task_id, TaskResultType.MISSING_OBJECTS, text))
            return
        if task.retain:
            state.dependencies.expect(owner, task_id)
        if task.parent:
            self._lending.nest(record, state.workers.held.get(process))
            self._nested.join(record)
        record.number += self._turns.take(record.root)
        state.records[task_id] = record
        if record.missing:
            record.stage = TaskStage.WAITING
        else:
            state.queue.add(record)
            self._prefetching.make_way(record.priority)
        self.dispatch()

    def _unfinished(self, owner: bytes, names: tuple[str, ...]) -> list[str]:
        """Return which of these names are unfinished tasks of the client."""
        records = self.state.records
        return [name for name in names if (found := records.get(name)) is not None and found.owner == owner]

    def task_waits(self, process: int, task_id: str, waits: bool) -> None:
        """Lend the slot and the resources of a task that waits for tasks of its own to other tasks, or end that.

        When its wait is over, the task goes on at once: for a while one task more than there are slots may run.

        Parameters
        ----------
        process
            The number of the process that the task runs in.
        task_id
            The task; if the process does not hold that task, nothing happens.
        waits
            Does the wait begin? Otherwise it is over.
        """
        record = self.state.workers.held.get(process)
        if record is not None and record.task.task_id == task_id and (process in self.state.lent) != waits:
            if waits:
                self._lending.lend_to_children(record)
            else:
                self._lending.take_back(record)
        self.dispatch()

    def items_taken(self, owner: bytes, task_id: str, count: int) -> None:
        """Tell a task how many of its items a client has taken. See :meth:`.ItemFlow.taken`."""
        self._items.taken(owner, task_id, count)
        self.dispatch()

    def is_named(self, owner: bytes, object_id: str) -> bool:
        """Return whether an object or a value of a client is retained, or expected, under this id.

        Parameters
        ----------
        owner
            The client.
        object_id
            The id.
        """
        return self.state.dependencies.wanted(owner, object_id)

    def create(self, owner: bytes, object_id: str, content: Payload) -> None:
        """Retain a client's object, for the client's tasks to name.

        Parameters
        ----------
        owner
            The client.
        object_id
            The id by which tasks name the object.
        content
            The object, pickled.

        Raises
        ------
        OSError
            The memory of the object is not available.
        """
        self.state.dependencies.create(owner, object_id, content)

    def delete(self, owner: bytes, object_ids: tuple[str, ...]) -> None:
        """Release objects that the client will not name again.

        Parameters
        ----------
        owner
            The client.
        object_ids
            The ids of the objects; an id that is not of this client is ignored.
        """
        self.state.dependencies.delete(owner, object_ids)

    def set_context(self, owner: bytes, context: ClientContext) -> None:
        """Let what the client submits from now on run in this context.

        Parameters
        ----------
        owner
            The client.
        context
            The client's settings and modules.
        """
        self.state.contexts.pop(owner, None)
        self.state.contexts[owner] = context

    def cancel(self, owner: bytes, request: TaskCancel) -> None:
        """Cancel a task of this client. An unknown or foreign id is answered CancelNotFound.

        Parameters
        ----------
        owner
            The client.
        request
            The request.
        """
        record = self.state.records.get(request.task_id)
        if record is None or record.owner != owner:
            record = TaskRecord(Task(request.task_id, Payload(b""), Payload(b"")), owner, stage=TaskStage.OVER)
        self._prefetching.settle(record)
        record.force = record.force or request.force
        event = events.CancelForced(request.grace) if request.force else events.CancelAsked(request.grace)
        self.transitions.handle(record, event)
        self.dispatch()  # other tasks may have waited behind this one for the same capability

    def withdraw(self, owner: bytes) -> None:
        """Cancel the tasks of a client that have never started."""
        self._prefetching.recall_all()
        for record in [each for each in self.state.records.values() if each.owner == owner and not each.failed]:
            if record.stage in (TaskStage.QUEUED, TaskStage.WAITING):
                self.transitions.handle(record, events.CancelForced(0.0))
        self.dispatch()

    def scale(self, slots: int) -> None:
        """Set how many tasks run at the same time. See :meth:`.Scaling.scale`."""
        self._prefetching.recall_all()
        self.scaling.scale(slots)
        self.dispatch()

    def status(self) -> EngineStatus:
        """Return what the engine does now."""
        return replace(self.overview.status(), idle_timeout=self.scaling.idle_timeout, gone=self.scaling.gone)

    def pause(self, owner: bytes, paused: bool) -> None:
        """Start none of the client's tasks, or start them again; what runs goes on.

        Parameters
        ----------
        owner
            The client.
        paused
            Whether the pause begins; else it ends.
        """
        if paused:
            self._prefetching.recall_all()
            self.state.queue.pause(owner, self.state.records.values())
        else:
            self.state.queue.resume(owner)
        self.dispatch()

    def client_gone(self, owner: bytes) -> None:
        """End the tasks of a client that is gone, and the tasks that these have submitted.

        Tasks which a finished task had submitted, and did not wait for, go on.
        """
        self.state.contexts.pop(owner, None)
        for record in [each for each in self.state.records.values() if owner in (each.owner, each.root)]:
            left = record.root != owner and record.parent is None
            if not left and record.stage is not TaskStage.OVER and not self._prefetching.is_over(record):
                self.transitions.handle(record, events.ClientGone())
        self.state.dependencies.client_gone(owner)
        self._turns.client_gone(owner)
        self.state.queue.resume(owner)
        self.dispatch()

    # ------------------------------------------------------------------ processes

    def process_ready(self, process: int) -> None:
        """Give tasks to a process that is new, or was reserved."""
        if self.state.devices and process not in self.state.workers:
            self._effects.assign_devices(process, ())
        self.state.workers.add(process)
        self.dispatch()

    def reserve(self, process: int) -> None:
        """Give an idle process no task until :meth:`process_ready`."""
        self.state.workers.reserve(process)

    def process_ended_run(self, process: int, ended: RunFinished) -> None:
        """End the run of a process; a message about another run than the current one is ignored.

        Parameters
        ----------
        process
            The number of the process.
        ended
            How the run ended.
        """
        workers = self.state.workers
        record = workers.held.get(process)
        if record is None or record.seq != ended.seq:
            self._effects.release_payload(ended.payload)
            return
        if ended.spent:
            workers.spend(process)
        if ended.is_last or ended.summary.preview is PreviewKind.FOLLOWS:
            self._prefetching.recall(process)
        is_quiet = not ended.waits and ended.summary.preview is not PreviewKind.FOLLOWS
        self._prefetching.run_ended(record, ended.figures.ended - ended.figures.started, is_quiet)
        if ended.end is TaskEnd.STOPPED:
            self.transitions.handle(record, events.RunStopped())
        else:
            self._result(process, record, ended)
        self._dispatcher.dispatch(soon=True)

    def _result(self, process: int, record: TaskRecord, ended: RunFinished) -> None:
        """Handle a run that ended with a value or a failure."""
        task_id = record.task.task_id
        figures = ended.figures
        if record.devices:
            figures = replace(figures, devices=self.state.devices.named(record.devices))
        result = _new_result(task_id, RESULTS[ended.end], ended.payload, figures, ended.summary)
        if ended.summary.preview is PreviewKind.FOLLOWS:
            self._previews.expect(process, ended.seq, record.owner, task_id)
        again = ended.end is TaskEnd.FAILED and record.tries_left
        if (again or record.failed) and self.state.timers.cancel(start_due(process)):
            self.transitions.handle(record, events.StartDue())  # a client gets TaskStarted for each of several tries
        self.transitions.handle(record, events.RunFailed(result) if again else _new_end(result))
        if process in self._previews:
            self.state.workers.use_last(process)

    def process_previewed(self, process: int, seq: int, bundle: Payload) -> None:
        """Send the preview of a process's last result to the client that has the result.

        Parameters
        ----------
        process
            The number of the process.
        seq
            The number of the run, among the runs of the process.
        bundle
            The preview, a MIME bundle as JSON.
        """
        owner, task_id = self._previews.take(process, seq)
        if owner in self.state.contexts:
            self._effects.send(owner, TaskPreview(task_id, bundle))

    def process_gave_item(self, process: int, seq: int, value: Payload) -> None:
        """Send an item of a run to the task's client. See :meth:`.ItemFlow.gave`."""
        self._items.gave(process, seq, value)

    def process_paused(self, process: int, seq: int, taken: int) -> None:
        """Lend the slot of a run that waits for the reader of its items. See :meth:`.ItemFlow.paused`."""
        self._items.paused(process, seq, taken)
        self.dispatch()

    def process_died(
        self, process: int, how: str, begun: bool, process_exit: ProcessExit = NO_PROCESS_EXIT, peak: int = 0
    ) -> None:
        """Forget a process that is reaped; its task ends, or is tried again. See :meth:`.ProcessDeaths.died`."""
        if process in self.state.workers:
            self._prefetching.recall(process)
            self._prefetching.forget(process)
            self.state.workers.remove(process)
            self._previews.forget(process)
            self._deaths.died(process, how, begun, process_exit, peak)
            self.dispatch()

    def give_up(self, process: int, how: str) -> None:
        """End the task of a process whose death could not be handled. See :meth:`.ProcessDeaths.give_up`."""
        self._previews.forget(process)
        self._prefetching.forget(process)
        self._deaths.give_up(process, how)

    def dispatch(self) -> None:
        """Start as many queued tasks as there are free slots and processes."""
        self._dispatcher.dispatch()

    # ------------------------------------------------------------------ time

    @property
    def slack(self) -> float:
        """Seconds for which no process waits for the scheduler, as far as is known. See :attr:`.Prefetching.slack`."""
        return self._prefetching.slack

    def tick(self) -> None:
        """Handle the timers that are due: announcements, repeated interrupts, ends of grace periods and back-offs."""
        timers, now = self.state.timers, self._clock.monotonic()
        if (due := timers.pop_due(now)) is None:
            return
        while due is not None:
            due()
            due = timers.pop_due(now)
        self.dispatch()

    def next_deadline(self) -> float | None:
        """Return when :meth:`tick` has something to do, in monotonic seconds; None: never."""
        return self.state.timers.next
