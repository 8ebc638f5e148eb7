"""The scheduler's decisions, without its sockets: which task runs when and where, and what follows from each event.

:mod:`.transitions` has what an event does to a task, :mod:`.nesting` what is special about tasks within tasks.
"""

from itertools import islice

from scaler_notebook.engines.local.ipc.messages import Ended
from scaler_notebook.protocol.messages import (
    NO_PROCESS_EXIT,
    ClientContext,
    EngineStatus,
    Payload,
    PreviewKind,
    ProcessExit,
    Task,
    TaskCancel,
    TaskFigures,
    TaskPreview,
    TaskResult,
    TaskResultType,
)
from scaler_notebook.task.task_end import TaskEnd

from .nesting import Nesting
from .records import Record
from .states import Event, Stage

MOST_HANDED = 3  # processes that die before they begin a task, and then the task itself may be what kills them
RESULTS = {
    TaskEnd.SUCCESS: TaskResultType.SUCCESS,
    TaskEnd.FAILED: TaskResultType.FAILED,
    TaskEnd.FAILED_FOR_GOOD: TaskResultType.FAILED,
    TaskEnd.UNPREPARED: TaskResultType.FAILED_INITIALIZER,
}


class Core(Nesting):
    """The tasks and processes of one scheduler: what its clients, its processes and its clock tell it."""

    # ------------------------------------------------------------------ clients

    def submit(self, owner: bytes, task: Task, now: float, clock: float, process: int = 0) -> None:
        """A task of this client's is to run: at once if a slot is free.

        Parameters
        ----------
        now
            Monotonic seconds, for timers.
        clock
            Seconds since the epoch, for people.
        process
            The task process that the client is in, if it is in one.
        """
        task_id = task.task_id
        if task_id in self._records:
            return  # the task that has the id goes on untouched; who looks at :meth:`owner` first can say so
        options = task.options
        record = Record(task, owner, self._contexts.get(owner), self._queue.needs(options), root=owner)
        record.number, record.priority = next(self._numbers), options.priority
        if task.inputs and (lost := self._dependencies.add(record, self._unfinished(owner, task.inputs))):
            text = Payload("\n".join(lost).encode())
            self._hands.tell(owner, TaskResult(task_id, TaskResultType.MISSING_OBJECTS, text))
            return
        if task.retain:
            self._dependencies.expect(owner, task_id)
        if task.parent:
            self._nest(record, self._held.get(process))
        self._records[task_id] = record
        if record.missing:
            record.stage = Stage.WAITING
        else:
            self._queue.add(record)
        self.dispatch(now, clock)

    def _unfinished(self, owner: bytes, names: tuple[str, ...]) -> list[str]:
        return [name for name in names if (found := self._records.get(name)) is not None and found.owner == owner]

    def task_waits(self, process: int, task_id: str, waits: bool, now: float, clock: float) -> None:
        """A task waits for tasks of its own: others, those above all, have its slot and its capabilities meanwhile.

        It goes on as soon as it can, without waiting for a slot: for a while one task more may run.
        """
        self._note_wait(process, task_id, waits)
        self.dispatch(now, clock)

    def is_named(self, object_id: str) -> bool:
        """Is an object or a value kept, or expected, under this id?"""
        return self._dependencies.wanted(object_id)

    def create(self, owner: bytes, object_id: str, content: Payload) -> None:
        """A client's object, for its tasks to name. OSError if its memory cannot be had."""
        self._dependencies.create(owner, object_id, content)

    def delete(self, owner: bytes, object_ids: tuple[str, ...]) -> None:
        """The client names these no more."""
        self._dependencies.delete(owner, object_ids)

    def move(self, owner: bytes, context: ClientContext) -> None:
        """What the client submits from now on runs in ``context``."""
        self._contexts.pop(owner, None)
        self._contexts[owner] = context

    def cancel(self, owner: bytes, request: TaskCancel, now: float, clock: float) -> None:
        """Of a task that is not held here, or is another's, whoever asks hears that it is over."""
        record = self._records.get(request.task_id)
        if record is None or record.owner != owner:
            record = Record(Task(request.task_id, "", Payload(b""), Payload(b"")), owner, stage=Stage.OVER)
        record.force = record.force or request.force
        event = Event.CANCEL_FORCE if request.force else Event.CANCEL
        self._handle(record, event, now, request.grace)
        self.dispatch(now, clock)  # it may have stood before others that wait for the same capability

    def withdraw(self, owner: bytes, now: float, clock: float) -> None:
        """Take back what has never started of this client's tasks."""
        for record in [r for r in self._records.values() if r.owner == owner and not r.failed]:
            if record.stage in (Stage.QUEUED, Stage.WAITING):
                self._handle(record, Event.CANCEL_FORCE)
        self.dispatch(now, clock)

    def client_gone(self, owner: bytes, now: float, clock: float) -> None:
        """Nobody waits for its tasks any more, nor for what they have submitted.

        A client within a task goes with its process. What a task has left running when it ended goes on.
        """
        self._contexts.pop(owner, None)
        for record in [r for r in self._records.values() if owner in (r.owner, r.root)]:
            left = record.root != owner and record.parent is None
            if not left and record.stage is not Stage.OVER:
                self._handle(record, Event.CLIENT_GONE)
        self._dependencies.client_gone(owner)
        self.dispatch(now, clock)

    # ------------------------------------------------------------------ processes

    def process_ready(self, process: int, now: float, clock: float) -> None:
        """A new process, or one that was held, can take tasks."""
        self._runs.setdefault(process, 0)
        self._idle.insert(0, process)  # its caches are cold
        self.dispatch(now, clock)

    def hold(self, process: int) -> None:
        """An idle process takes no task until it is ready again."""
        self._idle.remove(process)

    def process_ended_run(self, process: int, ended: Ended, now: float, clock: float) -> None:
        """A run is over; what another run than the current one says is ignored."""
        record = self._held.get(process)
        if record is None or self._runs[process] != ended.seq:
            self._hands.free(ended.payload)
            return
        if ended.spent:
            self._spent.add(process)
        if ended.end is TaskEnd.STOPPED:
            self._handle(record, Event.STOPPED)
        else:
            outcome, task_id = RESULTS[ended.end], record.task.task_id
            result = TaskResult(task_id, outcome, ended.payload, ended.figures, summary=ended.summary)
            if ended.summary.preview is PreviewKind.FOLLOWS:
                self._previewing[process] = ended.seq, record.owner, task_id
            again = ended.end is TaskEnd.FAILED and record.tries_left
            if (again or record.failed) and self._unannounced.pop(process, None) is not None:
                self._handle(record, Event.START_DUE)  # each of several tries is heard of
            self._handle(record, Event.FAILED if again else Event.ENDED, now, result=result)
            if process in self._previewing and process in self._idle:  # it is busy with that: others first
                self._idle.remove(process)
                self._idle.insert(0, process)
        self.dispatch(now, clock)

    def process_previewed(self, process: int, seq: int, bundle: Payload) -> None:
        """What the result of its last run looks like is ready; who has the result is told."""
        last, owner, task_id = self._previewing.pop(process, (0, b"", ""))
        if last == seq and owner in self._contexts:
            self._hands.tell(owner, TaskPreview(task_id, bundle))

    def process_died(
        self,
        process: int,
        how: str,
        begun: bool,
        now: float,
        clock: float,
        death: ProcessExit = NO_PROCESS_EXIT,
        peak: int = 0,
    ) -> None:
        """A process, and all that it had started, is gone and reaped.

        Parameters
        ----------
        how
            In words for a person.
        begun
            Did it begin its last run? If not, that task has lost nothing, and its client has not heard that it started.
        death, peak
            How in figures, and the bytes of resident memory that it had at most.
        """
        if self._runs.pop(process, None) is None:
            return
        self._spent.discard(process)
        self._previewing.pop(process, None)
        record = self._held.get(process)
        if record is not None:
            unannounced = self._unannounced.pop(process, None) is not None
            before = unannounced and not begun and record.handed < MOST_HANDED
            if unannounced and not before:
                self._handle(record, Event.START_DUE)
            figures = TaskFigures(record.started, clock, peak_rss=peak, processor=str(process))
            payload, outcome = Payload(how.encode()), TaskResultType.FAILED_WORKER_DIED
            died = TaskResult(record.task.task_id, outcome, payload, figures, process_exit=death)
            event = Event.DIED_BEFORE if before else Event.DIED_TRYING if record.outlives else Event.DIED
            self._handle(record, event, now, result=died)
        elif process in self._idle:
            self._idle.remove(process)
        self.dispatch(now, clock)

    def give_up(self, process: int, how: str) -> None:
        """What follows from the death of a process could not be done: its task ends, whatever else is left undone."""
        self._runs.pop(process, None)
        self._spent.discard(process)
        was_lent = process in self._lent
        self._lent.discard(process)
        if process in self._idle:
            self._idle.remove(process)
        self._graces.pop(process, None)
        self._unannounced.pop(process, None)
        self._previewing.pop(process, None)
        record = self._held.pop(process, None)
        if record is None or self._records.pop(record.task.task_id, None) is None:
            return
        record.stage = Stage.OVER
        died = TaskResult(record.task.task_id, TaskResultType.FAILED_WORKER_DIED, Payload(how.encode()))
        self._hands.tell(record.owner, died)
        if record.needs and not was_lent:
            self._queue.give_back(record)
        self._abandon_children(record)
        self._fail_dependants(record, Event.INPUT_FAILED, died)
        if record.task.inputs:
            self._dependencies.release(record)

    def dispatch(self, now: float, clock: float) -> None:
        """Start as many queued tasks as there are free slots and processes."""
        slots = self._slots + self._lend(now)
        while self._idle and len(self._held) < slots and (task_id := self._queue.next) is not None:
            record = self._records[task_id]
            suiting = (each for each in reversed(self._idle) if self._hands.suits(each, record.context))
            if (process := next(suiting, 0)) == 0:
                self._hands.kill(self._idle.pop())  # another takes its place
                continue
            self._idle.remove(process)
            record.process, record.started = process, clock
            self._handle(record, Event.DISPATCHED, now)
        self._watch_for_standstill(now)

    # ------------------------------------------------------------------ time

    def tick(self, now: float, clock: float) -> None:
        """Do what is due: announce tasks that run for a while, ask again, end grace periods and back-offs."""
        while self._unannounced:
            process, due = next(iter(self._unannounced.items()))
            if due > now:
                break
            del self._unannounced[process]
            self._handle(self._held[process], Event.START_DUE)
        if self._graces:
            for process, alarms in list(self._graces.items()):
                # Of a task that was killed meanwhile, with the one that had submitted it, they are void.
                while alarms and alarms[0][0] <= now and self._graces.get(process) is alarms:
                    self._handle(self._held[process], alarms.popleft()[1])
        rested = False
        while (first := self._backoffs.first) is not None and first[0] <= now:
            self._backoffs.remove(first[2])
            self._handle(self._records[first[2]], Event.BACKOFF_OVER)
            rested = True
        if rested:
            self.dispatch(now, clock)
        if self._standstill_until is not None and self._standstill_until <= now:
            self._break_standstill(now)
            self.dispatch(now, clock)
        if self._surplus_until is not None and self._surplus_until <= now:
            self._end_surplus()

    def next_deadline(self) -> float | None:
        """When :meth:`tick` has something to do, in monotonic seconds."""
        nested = self._nested_deadline()
        if not self._graces and not self._backoffs and nested is None:
            return next(iter(self._unannounced.values()), None)
        due = [*islice(self._unannounced.values(), 1), *(alarms[0][0] for alarms in self._graces.values())]
        if (first := self._backoffs.first) is not None:
            due.append(first[0])
        if nested is not None:
            due.append(nested)
        return min(due, default=None)

    # ------------------------------------------------------------------ queries

    def is_announced(self, process: int) -> bool:
        """Has the client been told that the task of this process runs?"""
        return process not in self._unannounced

    @property
    def running(self) -> list[int]:
        """The processes that hold a task."""
        return list(self._held)

    @property
    def limited(self) -> list[tuple[int, int]]:
        """The processes that hold a task with a limit of memory, each with that limit in bytes."""
        return [(process, limit) for process, held in self._held.items() if (limit := held.task.options.memory_limit)]

    @property
    def fresh(self) -> list[int]:
        """The processes that wait for their first task."""
        return [process for process in self._idle if not self._runs[process]]

    @property
    def has_queue(self) -> bool:
        """Does a task wait for a slot or a process alone?"""
        return self._queue.next is not None

    @property
    def short_of(self) -> int:
        """How many processes tasks wait for that have a slot."""
        return max(0, min(len(self._queue), self._slots + len(self._lent) - len(self._held))) if self.has_queue else 0

    def status(self) -> EngineStatus:
        """What there is, and what it does."""
        held = self._held
        tasks = tuple(held[process].task.task_id if process in held else "" for process in self._runs)
        return EngineStatus(self._slots, len(self._queue), tuple(self._runs), tasks)

    @property
    def contexts(self) -> dict[bytes, ClientContext]:
        """Where each client runs its tasks; the client that moved last is last."""
        return self._contexts

    def owner(self, task_id: str) -> bytes | None:
        """Whose the task of this id is, if it is queued or held."""
        record = self._records.get(task_id)
        return record.owner if record is not None else None

    def holder(self, process: int) -> tuple[str, bytes] | None:
        """``(task id, owner)`` of the task that a process holds."""
        record = self._held.get(process)
        return (record.task.task_id, record.owner) if record is not None else None
