"""The scheduler's decisions, without its sockets: which task runs when and where, and what follows from each event.

:data:`.stages.TABLE` says what an event does to a task; :meth:`Core._handle` does it.
"""

import itertools
import logging
from collections import deque
from collections.abc import Mapping

from typing_extensions import assert_never

from ...protocol.messages import (
    ClientContext,
    EngineStatus,
    LogStream,
    Payload,
    Task,
    TaskCancel,
    TaskCancelConfirm,
    TaskCancelConfirmType,
    TaskLog,
    TaskResult,
    TaskResultType,
    TaskStarted,
)
from .hands import Hands, Record
from .inner import End, Ended
from .line import Line
from .queue import Queue
from .stages import TABLE, Action, Event, Stage

ANNOUNCE_AFTER = 0.003  # seconds; TaskStarted for a task that ends sooner would only be noise on the wire
MOST_HANDED = 3  # processes that die before they begin a task, and then the task itself may be what kills them
FIRST_BACKOFF, LONGEST_BACKOFF = 0.1, 10.0  # seconds between two tries; each is twice the one before
LONGEST_GRACE = 7 * 24 * 3600.0  # seconds; a timer beyond that is more than the system can wait for

log = logging.getLogger(__name__)


class Core:
    """The tasks and processes of one scheduler.

    Parameters
    ----------
    slots
        How many tasks run at the same time; more processes than that are spares.
    hands
        What acts.
    capabilities
        What there is in all of each, for the tasks that need some.
    """

    def __init__(self, slots: int, hands: Hands, capabilities: Mapping[str, int]) -> None:
        self._slots = slots
        self._hands = hands
        self._records: dict[str, Record] = {}
        self._contexts: dict[bytes, ClientContext] = {}
        self._numbers = itertools.count()
        self._queue = Queue(capabilities)
        self._backoffs = Line()  # by the end of each
        self._runs: dict[int, int] = {}  # by process: how many it was given so far
        self._held: dict[int, Record] = {}  # by process: the task that it runs
        self._idle: list[int] = []  # the last one used first: its caches are warm
        self._unannounced: dict[int, float] = {}  # by process: when to announce its task; the earliest first
        self._graces: dict[int, deque[tuple[float, Event]]] = {}  # by process: what is still to come, and when

    # ------------------------------------------------------------------ clients

    def submit(self, owner: bytes, task: Task, now: float, clock: float) -> None:
        """A task of this client's is to run: at once if a slot is free.

        Parameters
        ----------
        now
            Monotonic seconds, for timers.
        clock
            Seconds since the epoch, for people.
        """
        task_id = task.task_id
        if task_id in self._records:
            return  # the task that has the id goes on untouched; who looks at :meth:`owner` first can say so
        number, needs = next(self._numbers), task.options.capabilities
        record = self._records[task_id] = Record(task, owner, self._contexts.get(owner), number, needs)
        self._queue.add(record)
        self.dispatch(now, clock)

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

    def client_gone(self, owner: bytes, now: float, clock: float) -> None:
        """Nobody waits for its tasks any more."""
        self._contexts.pop(owner, None)
        for record in [r for r in self._records.values() if r.owner == owner]:
            self._handle(record, Event.CLIENT_GONE)
        self.dispatch(now, clock)

    # ------------------------------------------------------------------ processes

    def process_ready(self, process: int, now: float, clock: float) -> None:
        """A new process, or one that was held, can take tasks."""
        self._runs.setdefault(process, 0)
        self._idle.append(process)
        self.dispatch(now, clock)

    def hold(self, process: int) -> None:
        """An idle process takes no task until it is ready again."""
        self._idle.remove(process)

    def process_ended_run(self, process: int, ended: Ended, now: float, clock: float) -> None:
        """A run is over; what another run than the current one says is ignored."""
        record = self._held.get(process)
        if record is None or self._runs[process] != ended.seq:
            return
        if ended.end is End.STOPPED:
            self._handle(record, Event.STOPPED)
        else:
            outcome = TaskResultType.SUCCESS if ended.end is End.SUCCESS else TaskResultType.FAILED
            result = TaskResult(record.task.task_id, outcome, ended.payload, ended.figures)
            again = ended.end is End.FAILED and record.tries_left
            if (again or record.failed) and self._unannounced.pop(process, None) is not None:
                self._handle(record, Event.START_DUE)  # each of several tries is heard of
            self._handle(record, Event.FAILED if again else Event.ENDED, now, result=result)
        self.dispatch(now, clock)

    def process_died(self, process: int, how: str, begun: bool, now: float, clock: float) -> None:
        """A process, and all that it had started, is gone and reaped.

        Parameters
        ----------
        how
            In words for a person.
        begun
            Did it begin its last run? If not, that task has lost nothing, and its client has not heard that it started.
        """
        if self._runs.pop(process, None) is None:
            return
        record = self._held.get(process)
        if record is not None:
            unannounced = self._unannounced.pop(process, None) is not None
            before = unannounced and not begun and record.handed < MOST_HANDED
            if unannounced and not before:
                self._handle(record, Event.START_DUE)
            died = TaskResult(record.task.task_id, TaskResultType.FAILED_WORKER_DIED, Payload(how.encode()))
            event = Event.DIED_BEFORE if before else Event.DIED_TRYING if record.tries_left else Event.DIED
            self._handle(record, event, now, result=died)
        elif process in self._idle:
            self._idle.remove(process)
        self.dispatch(now, clock)

    def dispatch(self, now: float, clock: float) -> None:
        """Start as many queued tasks as there are free slots and processes."""
        while self._idle and len(self._held) < self._slots and (task_id := self._queue.next) is not None:
            record = self._records[task_id]
            process = self._idle.pop()
            if not self._hands.suits(process, record.context):
                self._hands.kill(process)  # another takes its place
                continue
            record.process, record.started = process, clock
            self._handle(record, Event.DISPATCHED, now)

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
                while alarms and alarms[0][0] <= now:
                    self._handle(self._held[process], alarms.popleft()[1])
        rested = False
        while (first := self._backoffs.first) is not None and first[0] <= now:
            self._backoffs.remove(first[2])
            self._handle(self._records[first[2]], Event.BACKOFF_OVER)
            rested = True
        if rested:
            self.dispatch(now, clock)

    def next_deadline(self) -> float | None:
        """When :meth:`tick` has something to do, in monotonic seconds."""
        if not self._graces and not self._backoffs:
            return next(iter(self._unannounced.values()), None)
        due = [*itertools.islice(self._unannounced.values(), 1), *(alarms[0][0] for alarms in self._graces.values())]
        if (first := self._backoffs.first) is not None:
            due.append(first[0])
        return min(due, default=None)

    # ------------------------------------------------------------------ queries

    @property
    def running(self) -> list[int]:
        """The processes that hold a task."""
        return list(self._held)

    @property
    def fresh(self) -> list[int]:
        """The processes that wait for their first task."""
        return [process for process in self._idle if not self._runs[process]]

    @property
    def has_queue(self) -> bool:
        """Does a task wait for a process alone?"""
        return self._queue.next is not None

    def status(self) -> EngineStatus:
        """What there is, and what it does."""
        held = self._held
        tasks = tuple(held[process].task.task_id if process in held else "" for process in self._runs)
        return EngineStatus(self._slots, len(self._queue), tuple(self._runs), tasks)

    @property
    def latest_context(self) -> ClientContext | None:
        """Where the client that moved last runs its tasks."""
        return next(reversed(self._contexts.values()), None)

    def owner(self, task_id: str) -> bytes | None:
        """Whose the task of this id is, if it is queued or held."""
        record = self._records.get(task_id)
        return record.owner if record is not None else None

    def holder(self, process: int) -> tuple[str, bytes] | None:
        """``(task id, owner)`` of the task that a process holds."""
        record = self._held.get(process)
        return (record.task.task_id, record.owner) if record is not None else None

    # ------------------------------------------------------------------ where an event meets a task

    def _handle(
        self, record: Record, event: Event, now: float = 0.0, grace: float = 0.0, result: TaskResult | None = None
    ) -> None:
        """Do what the table says; the data are those of the event."""
        action = TABLE[record.stage, event]
        if action.to:
            (record.stage,) = action.to
        match action:  # the usual ones first
            case Action.RUN:
                process = record.process
                record.handed += 1
                self._queue.remove(record)
                if record.needs:
                    self._queue.take(record)
                self._held[process] = record
                self._unannounced[process] = now + ANNOUNCE_AFTER
                self._runs[process] = seq = self._runs[process] + 1
                self._hands.run_task(process, seq, record.task, record.context, not record.tries_left)
            case Action.DELIVER:
                self._release(record, result)
                self._idle.append(record.process)
            case Action.DELIVER_LAST | Action.FAIL:
                self._release(record, result)
            case Action.IGNORE:
                pass
            case Action.PUT_BACK:
                self._let_go(record)
                self._queue.add(record)
            case Action.BACK_OFF:
                self._back_off(record, now)
                self._idle.append(record.process)
            case Action.OUTLIVE:
                assert result is not None
                how = bytes(result.payload.data).decode()
                self._hands.tell(record.owner, TaskLog(record.task.task_id, LogStream.STDERR, f"{how}\n"))
                self._back_off(record, now)
            case Action.QUEUE_AGAIN:
                self._queue.add(record)
            case Action.ANNOUNCE:
                task_id, processor = record.task.task_id, str(record.process)
                self._hands.tell(record.owner, TaskStarted(task_id, processor, record.started, record.failed + 1))
            case Action.TAKE_BACK:
                self._unqueue(record)
                self._answer(record, TaskCancelConfirmType.CANCELED)
            case Action.FORGET:
                self._unqueue(record)
            case Action.ASK | Action.WARN:
                self._hands.interrupt(record.process, self._runs[record.process])
                half = min(max(0.0, grace), LONGEST_GRACE) / 2
                alarms = (now + half, Event.HALF_GRACE), (now + 2 * half, Event.GRACE_OVER)
                self._graces[record.process] = deque(alarms)
            case Action.ASK_AGAIN:
                self._hands.interrupt(record.process, self._runs[record.process])
            case Action.REFUSE:
                del self._graces[record.process]
                self._answer(record, TaskCancelConfirmType.CANCEL_FAILED)
            case Action.KILL:
                self._graces.pop(record.process, None)
                self._hands.kill(record.process)
            case Action.CONFIRM:
                canceled = TaskCancelConfirmType.CANCELED
                self._release(record, TaskCancelConfirm(record.task.task_id, canceled, record.force))
            case Action.NOT_FOUND:
                self._answer(record, TaskCancelConfirmType.CANCEL_NOT_FOUND)
            case Action.NOT_PERMITTED:
                log.error("%s: %s is not permitted: it is %s", record.task.task_id, event.value, record.stage.value)
            case _:
                assert_never(action)

    def _answer(self, record: Record, answer: TaskCancelConfirmType) -> None:
        self._hands.tell(record.owner, TaskCancelConfirm(record.task.task_id, answer, record.force))

    def _unqueue(self, record: Record) -> None:
        del self._records[record.task.task_id]
        if record in self._queue:
            self._queue.remove(record)
        else:
            self._backoffs.remove(record.task.task_id)

    def _back_off(self, record: Record, now: float) -> None:
        self._let_go(record)
        pause = min(FIRST_BACKOFF * 2.0 ** min(record.failed, 64), LONGEST_BACKOFF)
        self._backoffs.add(record.task.task_id, now + pause, record.number)
        record.failed, record.handed = record.failed + 1, 0

    def _release(self, record: Record, last: TaskResult | TaskCancelConfirm | None) -> None:
        """Its slot and its process are free of it, and its last message is sent."""
        assert last is not None
        del self._records[record.task.task_id]
        self._let_go(record)
        self._hands.tell(record.owner, last)

    def _let_go(self, record: Record) -> None:
        """Its slot, and what it had of capabilities, is free of it."""
        if record.needs:
            self._queue.give_back(record)
        del self._held[record.process]
        self._unannounced.pop(record.process, None)
        self._graces.pop(record.process, None)
