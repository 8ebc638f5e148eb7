"""The scheduler's decisions, without its sockets: which task runs when and where, and what follows from each event.

:mod:`.transitions` has what an event does to a task, :mod:`.slot_lending` what is special about tasks within tasks.
"""

import itertools
import time
from collections.abc import Mapping

from scaler_notebook.engines.local.ipc.messages import Ended
from scaler_notebook.engines.scheduling.timers import Clock
from scaler_notebook.protocol import failures
from scaler_notebook.protocol.messages import (
    NO_DEATH,
    ClientContext,
    Death,
    EngineStatus,
    Payload,
    PreviewKind,
    Task,
    TaskCancel,
    TaskFigures,
    TaskPreview,
    TaskResult,
    TaskResultType,
)
from scaler_notebook.task.task_end import TaskEnd

from . import events
from .effects import Effects
from .records import TaskRecord
from .resources import UNBOUNDED
from .slot_lending import MOST_LENT, SlotLending
from .state import SchedulerState
from .states import Stage
from .transitions import Transitions, start_due

MOST_HANDED = 3  # processes that die before they begin a task, and then the task itself may be what kills them
RESULTS = {
    TaskEnd.SUCCESS: TaskResultType.SUCCESS,
    TaskEnd.FAILED: TaskResultType.FAILED,
    TaskEnd.FAILED_FOR_GOOD: TaskResultType.FAILED,
    TaskEnd.UNPREPARED: TaskResultType.FAILED_INITIALIZER,
}
NOT_STARTED = Stage.WAITING, Stage.QUEUED, Stage.BACKING_OFF


class Core:
    """The tasks and processes of one scheduler: what its clients, its processes and its clock tell it.

    Parameters
    ----------
    slots
        How many tasks run at the same time; more processes than that are spares.
    effects
        What performs the side effects that the core decides on.
    capabilities
        How much there is of each in all, for the tasks that need some.
    memory
        Bytes, for the tasks that say how much they take.
    max_runs
        How many runs a process is given before another takes its place; None: as many as come.
    clock
        What tells the time.
    """

    def __init__(
        self,
        slots: int,
        effects: Effects,
        capabilities: Mapping[str, int],
        memory: int = UNBOUNDED,
        max_runs: int | None = None,
        clock: Clock = time,
    ) -> None:
        self.state = SchedulerState(slots, capabilities, memory, max_runs, effects)
        self.transitions = Transitions(self.state, effects, clock)
        self._effects = effects
        self._clock = clock
        self._lending = SlotLending(self.state, effects, clock, self._break_standstill)
        self._numbers = itertools.count()
        self._previewing: dict[int, tuple[int, bytes, str]] = {}  # by process: its run, whose task that was, and which

    # ------------------------------------------------------------------ clients

    def submit(self, owner: bytes, task: Task, process: int = 0) -> None:
        """Run a task of a client: at once if a slot is free. A task whose id is in use is ignored.

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
        record.number, record.priority = next(self._numbers), options.priority
        if task.inputs and (lost := state.dependencies.add(record, self._unfinished(owner, task.inputs))):
            text = Payload("\n".join(lost).encode())
            self._effects.send(owner, TaskResult(task_id, TaskResultType.MISSING_OBJECTS, text))
            return
        if task.keep:
            state.dependencies.expect(owner, task_id)
        if task.parent:
            self._lending.nest(record, state.workers.held.get(process))
        state.records[task_id] = record
        if record.missing:
            record.stage = Stage.WAITING
        else:
            state.queue.add(record)
        self.dispatch()

    def _unfinished(self, owner: bytes, names: tuple[str, ...]) -> list[str]:
        records = self.state.records
        return [name for name in names if (found := records.get(name)) is not None and found.owner == owner]

    def task_waits(self, process: int, task_id: str, waits: bool) -> None:
        """Lend the slot of a task that waits for tasks of its own, and its resources, to others; or end that.

        The task goes on as soon as it can, without waiting for a slot: for a while one task more may run.

        Parameters
        ----------
        process
            The number of the process that says so.
        task_id
            The task; if the process does not hold that one, nothing happens.
        waits
            Does the wait begin?
        """
        record = self.state.workers.held.get(process)
        if record is not None and record.task.task_id == task_id and (process in self.state.lent) != waits:
            if waits:
                self._lend_slot_of(record)
            else:
                self._lending.take_back(record)
        self.dispatch()

    def is_named(self, object_id: str) -> bool:
        """Is an object or a value retained, or expected, under this id?"""
        return self.state.dependencies.wanted(object_id)

    def create(self, owner: bytes, object_id: str, content: Payload) -> None:
        """Retain a client's object, for its tasks to name.

        Raises
        ------
        OSError
            Its memory cannot be had.
        """
        self.state.dependencies.create(owner, object_id, content)

    def delete(self, owner: bytes, object_ids: tuple[str, ...]) -> None:
        """Release objects that their client will not name again."""
        self.state.dependencies.delete(owner, object_ids)

    def move(self, owner: bytes, context: ClientContext) -> None:
        """Have what the client submits from now on run in ``context``."""
        self.state.contexts.pop(owner, None)
        self.state.contexts[owner] = context

    def cancel(self, owner: bytes, request: TaskCancel) -> None:
        """Cancel a task of this client. An unknown or foreign id is answered CancelNotFound."""
        record = self.state.records.get(request.task_id)
        if record is None or record.owner != owner:
            record = TaskRecord(Task(request.task_id, Payload(b""), Payload(b"")), owner, stage=Stage.OVER)
        record.force = record.force or request.force
        event = events.CancelForced(request.grace) if request.force else events.CancelAsked(request.grace)
        self.transitions.handle(record, event)
        self.dispatch()  # it may have stood before others that wait for the same capability

    def withdraw(self, owner: bytes) -> None:
        """Take back what has never started of a client's tasks."""
        for record in [each for each in self.state.records.values() if each.owner == owner and not each.failed]:
            if record.stage in (Stage.QUEUED, Stage.WAITING):
                self.transitions.handle(record, events.CancelForced(0.0))
        self.dispatch()

    def client_gone(self, owner: bytes) -> None:
        """End a client's tasks, for which nobody waits any more, and what those have submitted.

        A client within a task goes with its process. What a task has left running when it ended goes on.
        """
        self.state.contexts.pop(owner, None)
        for record in [each for each in self.state.records.values() if owner in (each.owner, each.root)]:
            left = record.root != owner and record.parent is None
            if not left and record.stage is not Stage.OVER:
                self.transitions.handle(record, events.ClientGone())
        self.state.dependencies.client_gone(owner)
        self.dispatch()

    # ------------------------------------------------------------------ processes

    def process_ready(self, process: int) -> None:
        """Give tasks to a process that is new, or was held back."""
        self.state.workers.add(process)
        self.dispatch()

    def hold_back(self, process: int) -> None:
        """Give an idle process no task until it is ready again."""
        self.state.workers.hold_back(process)

    def process_ended_run(self, process: int, ended: Ended) -> None:
        """End the run of a process; what is said of another run than the current one is ignored."""
        workers = self.state.workers
        record = workers.held.get(process)
        if record is None or workers.seq(process) != ended.seq:
            self._effects.free(ended.payload)
            return
        if ended.spent:
            workers.spend(process)
        if ended.end is TaskEnd.STOPPED:
            self.transitions.handle(record, events.RunStopped())
        else:
            self._result(process, record, ended)
        self.dispatch()

    def _result(self, process: int, record: TaskRecord, ended: Ended) -> None:
        task_id = record.task.task_id
        result = TaskResult(task_id, RESULTS[ended.end], ended.payload, ended.figures, summary=ended.summary)
        if ended.summary.preview is PreviewKind.FOLLOWS:
            self._previewing[process] = ended.seq, record.owner, task_id
        again = ended.end is TaskEnd.FAILED and record.tries_left
        if (again or record.failed) and self.state.timers.cancel(start_due(process)):
            self.transitions.handle(record, events.StartDue())  # each of several tries is heard of
        self.transitions.handle(record, events.RunFailed(result) if again else events.RunEnded(result))
        if process in self._previewing:
            self.state.workers.use_last(process)

    def process_previewed(self, process: int, seq: int, bundle: Payload) -> None:
        """Send the preview of a process's last result to the client that has the result."""
        last, owner, task_id = self._previewing.pop(process, (0, b"", ""))
        if last == seq and owner in self.state.contexts:
            self._effects.send(owner, TaskPreview(task_id, bundle))

    def process_died(self, process: int, how: str, begun: bool, death: Death = NO_DEATH, peak: int = 0) -> None:
        """Forget a process that is reaped, with all that it had started; its task ends, or is tried again.

        Parameters
        ----------
        process
            The number of the process.
        how
            It died, in words for a person.
        begun
            Did it begin its last run? If not, that task has lost nothing, and its client has not heard that it started.
        death
            How it died, in figures.
        peak
            The bytes of resident memory that it had at most.
        """
        if not self.state.workers.remove(process):
            return
        self._previewing.pop(process, None)
        record = self.state.workers.held.get(process)
        if record is not None:
            unannounced = self.state.timers.cancel(start_due(process))
            before = unannounced and not begun and record.handed < MOST_HANDED
            if unannounced and not before:
                self.transitions.handle(record, events.StartDue())
            self.transitions.handle(record, self._death(record, how, before, death, peak))
        self.dispatch()

    def _death(self, record: TaskRecord, how: str, before: bool, death: Death, peak: int) -> events.Event:
        if before:
            return events.ProcessDiedBefore()
        if record.outlives:
            return events.ProcessDiedTrying(how)
        figures = TaskFigures(record.started, self._clock.time(), peak_rss=peak, processor=str(record.process))
        payload, outcome = Payload(how.encode()), TaskResultType.FAILED_WORKER_DIED
        return events.ProcessDied(TaskResult(record.task.task_id, outcome, payload, figures, death=death))

    def give_up(self, process: int, how: str) -> None:
        """End the task of a process whose death could not be handled in full, whatever else is left undone."""
        state = self.state
        record = state.workers.held.pop(process, None)
        was_lent = process in state.lent
        state.workers.remove(process)
        state.lent.discard(process)
        self.transitions.cancel_timers(process)
        self._previewing.pop(process, None)
        if record is None or state.records.pop(record.task.task_id, None) is None:
            return
        record.stage = Stage.OVER
        died = TaskResult(record.task.task_id, TaskResultType.FAILED_WORKER_DIED, Payload(how.encode()))
        self._effects.send(record.owner, died)
        if record.needs and not was_lent:
            state.resources.give_back(record.needs)
        self.transitions.abandon_children(record)
        self.transitions.fail_dependants(record, died)
        if record.task.inputs:
            state.dependencies.release(record)

    def dispatch(self) -> None:
        """Start as many queued tasks as there are free slots and processes."""
        state, idle, held = self.state, self.state.workers.idle, self.state.workers.held
        slots = state.slots + self._lending.adjust_processes()
        while idle and len(held) < slots and (task_id := state.queue.next) is not None:
            record = state.records[task_id]
            suiting = (each for each in reversed(idle) if self._effects.suits(each, record.context))
            if (process := next(suiting, 0)) == 0:
                self._effects.kill(idle.pop())  # another takes its place
                continue
            idle.remove(process)
            self.transitions.handle(record, events.Dispatched(process))
        self._lending.watch_for_standstill()

    # ------------------------------------------------------------------ tasks within tasks

    def _lend_slot_of(self, record: TaskRecord) -> None:
        if self._lending.lend(record):
            return
        # There is no process for what it has submitted: an error that says so, where it would wait for ever.
        problem = RecursionError(
            f"{MOST_LENT} tasks wait for tasks that they have submitted, each in a process of its own, and there are "
            "no more: nest less deeply, or submit the inner calls as a graph"
        )
        for child in list(record.children.values()):
            if child.stage in NOT_STARTED:  # and has not ended as a dependant of another
                failure = failures.our_fault(child.task.task_id, problem)
                self.transitions.handle(child, events.NestedTooDeeply(failure))
                self.transitions.fail_dependants(child, failure)

    def _break_standstill(self) -> None:
        suspect = self._lending.deepest_suspect()
        if suspect is not None:
            self._lend_slot_of(suspect)

    # ------------------------------------------------------------------ time

    def tick(self) -> None:
        """Do what is due: announce tasks that run for a while, ask again, end grace periods and back-offs."""
        timers, now = self.state.timers, self._clock.monotonic()
        if (due := timers.pop_due(now)) is None:
            return
        while due is not None:
            due()
            due = timers.pop_due(now)
        self.dispatch()

    def next_deadline(self) -> float | None:
        """Give when :meth:`tick` has something to do, in monotonic seconds; None: never."""
        return self.state.timers.next

    # ------------------------------------------------------------------ queries

    def is_announced(self, process: int) -> bool:
        """Has the client been told that the task of this process runs?"""
        return start_due(process) not in self.state.timers

    @property
    def running(self) -> list[int]:
        """The processes that hold a task."""
        return list(self.state.workers.held)

    @property
    def limited(self) -> list[tuple[int, int]]:
        """The processes that hold a task with a limit of memory, each with that limit in bytes."""
        held = self.state.workers.held.items()
        return [(process, limit) for process, record in held if (limit := record.task.options.memory_limit)]

    @property
    def fresh(self) -> list[int]:
        """The processes that wait for their first task."""
        return self.state.workers.fresh

    @property
    def has_queue(self) -> bool:
        """Does a task wait for a slot or a process alone?"""
        return self.state.queue.next is not None

    @property
    def short_of(self) -> int:
        """How many processes tasks wait for that have a slot."""
        state = self.state
        free = state.slots + len(state.lent) - len(state.workers.held)
        return max(0, min(len(state.queue), free)) if self.has_queue else 0

    def status(self) -> EngineStatus:
        """Give what there is, and what it does."""
        state, held = self.state, self.state.workers.held
        processes = tuple(state.workers)
        tasks = tuple(held[process].task.task_id if process in held else "" for process in processes)
        return EngineStatus(state.slots, len(state.queue), processes, tasks)

    @property
    def contexts(self) -> dict[bytes, ClientContext]:
        """Where each client runs its tasks; the client that moved last is last."""
        return self.state.contexts

    def owner(self, task_id: str) -> bytes | None:
        """Give the client whose queued or running task has this id; None if there is no such task."""
        record = self.state.records.get(task_id)
        return record.owner if record is not None else None

    def holder(self, process: int) -> tuple[str, bytes] | None:
        """Give ``(task id, client)`` of the task that a process holds; None if it holds none."""
        record = self.state.workers.held.get(process)
        return (record.task.task_id, record.owner) if record is not None else None
