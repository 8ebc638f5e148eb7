"""The scheduler's decisions, without its sockets: what happens to a task on each event.

Stages of a task::

    QUEUED ──► RUNNING ──► (result sent, forgotten)
      │          │  ▲
      │          ▼  │ refused after the grace period
      │        ASKED
      │          ▼
      └──────► ENDING ──► (process reaped: confirmed, forgotten)

A queued task is confirmed at once: it is in nobody's hands but ours. A task that had started is confirmed only when
the process that ran it is reaped, also when the interrupt sufficed.
"""

import heapq
import itertools
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from typing_extensions import assert_never

from ...protocol.messages import (
    ClientContext,
    EngineMessage,
    Payload,
    Task,
    TaskCancel,
    TaskCancelConfirm,
    TaskCancelConfirmType,
    TaskResult,
    TaskResultType,
    TaskStarted,
)
from .inner import End, Ended

ANNOUNCE_AFTER = 0.003  # seconds; TaskStarted for a task that ends sooner would only be noise on the wire


LONGEST_GRACE = 7 * 24 * 3600.0  # seconds; a timer beyond that is more than the system can wait for


class Hands(Protocol):
    """What the core may ask the world to do. Nothing here blocks or calls back into the core."""

    def tell(self, owner: bytes, message: EngineMessage) -> None:
        """Send a message to a client."""

    def suits(self, process: int, context: ClientContext | None) -> bool:
        """May a task that was submitted in ``context`` run there? Not if it imported modules that were edited since."""

    def run_task(self, process: int, seq: int, task: Task, context: ClientContext | None) -> None:
        """Hand a task to an idle process."""

    def interrupt(self, process: int, seq: int) -> None:
        """Ask a run to stop."""

    def kill(self, process: int) -> None:
        """Kill a process and all that it started."""


class Stage(Enum):
    """Where a task is in the scheduler's hands."""

    QUEUED = "queued"
    RUNNING = "running"
    ASKED = "asked"  # interrupted; the grace period runs
    ENDING = "ending"  # its process is being killed
    OVER = "over"  # its last message is sent; a timer may still hold the record


@dataclass(slots=True)
class Record:
    """One task, from its arrival to its last message."""

    task: Task
    owner: bytes
    context: ClientContext | None = None
    stage: Stage = Stage.QUEUED
    process: int = 0
    seq: int = 0
    started: float = 0.0  # seconds since the epoch
    announced: bool = False
    force: bool = False  # of the strongest request outstanding
    request: int = 0  # tells a timer of an earlier request from one of this


@dataclass(slots=True)
class Process:
    """One task process as the core sees it."""

    seq: int = 0
    record: Record | None = None


@dataclass(order=True, slots=True)
class Timer:
    """Something to look at later. It never cancels: it finds that its request is over, and does nothing."""

    when: float  # on the monotonic clock
    order: int
    record: Record = field(compare=False)
    request: int = field(compare=False)
    last: bool = field(compare=False)  # the end of the grace period, rather than its half


class Core:
    """The tasks and processes of one scheduler.

    Parameters
    ----------
    slots
        How many tasks run at the same time; more processes than that are spares.
    hands
        What acts.
    """

    def __init__(self, slots: int, hands: Hands) -> None:
        self._slots = slots
        self._hands = hands
        self._records: dict[str, Record] = {}
        self._contexts: dict[bytes, ClientContext] = {}
        self._queue: OrderedDict[str, Record] = OrderedDict()
        self._processes: dict[int, Process] = {}
        self._idle: list[int] = []  # the last one used first: its caches are warm
        self._busy = 0
        self._unannounced: deque[tuple[float, Record]] = deque()
        self._timers: list[Timer] = []
        self._order = itertools.count()

    # ------------------------------------------------------------------ clients

    def submit(self, owner: bytes, task: Task, now: float, clock: float) -> None:
        """→ QUEUED, and on to RUNNING if a slot is free.

        Parameters
        ----------
        now
            Monotonic seconds, for timers.
        clock
            Seconds since the epoch, for people.
        """
        if task.task_id in self._records:
            return  # the task that has the id goes on untouched; who looks at :meth:`owner` first can say so
        record = Record(task, owner, self._contexts.get(owner))
        self._records[task.task_id] = record
        self._queue[task.task_id] = record
        self.dispatch(now, clock)

    def move(self, owner: bytes, context: ClientContext) -> None:
        """What the client submits from now on runs in ``context``."""
        self._contexts.pop(owner, None)
        self._contexts[owner] = context

    def cancel(self, owner: bytes, request: TaskCancel, now: float) -> None:
        """QUEUED → confirmed; RUNNING → ASKED; ASKED: upgraded if stronger; ENDING: answered at its end."""
        record = self._records.get(request.task_id)
        if record is None or record.owner != owner:
            answer = TaskCancelConfirmType.CANCEL_NOT_FOUND
            self._hands.tell(owner, TaskCancelConfirm(request.task_id, answer, request.force))
            return
        match record.stage:
            case Stage.QUEUED:
                record.force = request.force
                del self._queue[request.task_id]
                self._confirm(record, TaskCancelConfirmType.CANCELED)
            case Stage.RUNNING:
                self._ask(record, request, now)
            case Stage.ASKED:
                if request.force and not record.force:
                    self._ask(record, request, now)
            case Stage.ENDING:
                record.force = record.force or request.force
            case Stage.OVER:
                pass  # not in the table
            case _:
                assert_never(record.stage)

    def client_gone(self, owner: bytes) -> None:
        """Nobody waits for these any more: queued ones are forgotten, running ones killed."""
        self._contexts.pop(owner, None)
        for record in [r for r in self._records.values() if r.owner == owner]:
            if record.stage is Stage.QUEUED:
                del self._queue[record.task.task_id]
                self._forget(record)
            elif record.stage is not Stage.ENDING:
                self._end(record)

    # ------------------------------------------------------------------ processes

    def process_ready(self, process: int, now: float, clock: float) -> None:
        """A new process, or one that was held, can take tasks."""
        self._processes.setdefault(process, Process())
        self._idle.append(process)
        self.dispatch(now, clock)

    def hold(self, process: int) -> None:
        """An idle process takes no task until it is ready again."""
        self._idle.remove(process)

    def process_ended_run(self, process: int, ended: Ended, now: float, clock: float) -> None:
        """SUCCESS, FAILED: the result is sent, whatever was asked. STOPPED → ENDING: confirmed once reaped."""
        state = self._processes.get(process)
        record = state.record if state is not None else None
        if state is None or record is None or record.seq != ended.seq:
            return
        if ended.end is End.STOPPED:
            if record.stage is not Stage.ENDING:
                self._end(record)
            return
        success = ended.end is End.SUCCESS
        outcome = TaskResultType.SUCCESS if success else TaskResultType.FAILED
        self._hands.tell(record.owner, TaskResult(record.task.task_id, outcome, ended.payload, ended.figures))
        dying = record.stage is Stage.ENDING
        self._forget(record)
        if not dying:
            self._idle.append(process)
        self.dispatch(now, clock)

    def process_died(self, process: int, how: str, now: float, clock: float) -> None:
        """The process is reaped. RUNNING → FailedWorkerDied; ASKED, ENDING → confirmed ``Canceled``."""
        state = self._processes.pop(process, None)
        if state is None:
            return
        record = state.record
        if record is None:
            if process in self._idle:
                self._idle.remove(process)
        elif record.stage is Stage.RUNNING:
            self._announce(record)
            died = TaskResultType.FAILED_WORKER_DIED
            self._hands.tell(record.owner, TaskResult(record.task.task_id, died, Payload(how.encode())))
            self._forget(record)
        else:
            self._confirm(record, TaskCancelConfirmType.CANCELED)
        self.dispatch(now, clock)

    def dispatch(self, now: float, clock: float) -> None:
        """QUEUED → RUNNING, for as many as there are free slots and processes."""
        while self._queue and self._idle and self._busy < self._slots:
            record = next(iter(self._queue.values()))
            process = self._idle.pop()
            if not self._hands.suits(process, record.context):
                self._hands.kill(process)  # another takes its place
                continue
            self._queue.popitem(last=False)
            state = self._processes[process]
            state.seq += 1
            state.record = record
            record.stage, record.process, record.seq, record.started = (
                Stage.RUNNING,
                process,
                state.seq,
                clock,
            )
            self._busy += 1
            self._unannounced.append((now + ANNOUNCE_AFTER, record))
            self._hands.run_task(process, state.seq, record.task, record.context)

    # ------------------------------------------------------------------ time

    def tick(self, now: float) -> None:
        """Do what is due: announce tasks that run for a while, ask again, end the grace period."""
        while self._unannounced and self._unannounced[0][0] <= now:
            _, record = self._unannounced.popleft()
            if record.stage is not Stage.OVER:
                self._announce(record)
        while self._timers and self._timers[0].when <= now:
            timer = heapq.heappop(self._timers)
            record = timer.record
            if record.stage is not Stage.ASKED or record.request != timer.request:
                continue
            if not timer.last:
                self._hands.interrupt(record.process, record.seq)
            elif record.force:
                self._end(record)
            else:
                record.stage = Stage.RUNNING
                answer = TaskCancelConfirmType.CANCEL_FAILED
                self._hands.tell(record.owner, TaskCancelConfirm(record.task.task_id, answer, record.force))

    def next_deadline(self) -> float | None:
        """When :meth:`tick` has something to do, in monotonic seconds."""
        due = [self._unannounced[0][0]] if self._unannounced else []
        if self._timers:
            due.append(self._timers[0].when)
        return min(due, default=None)

    # ------------------------------------------------------------------ queries

    @property
    def running(self) -> list[int]:
        """The processes that hold a task."""
        return [process for process, state in self._processes.items() if state.record is not None]

    @property
    def fresh(self) -> list[int]:
        """The processes that wait for their first task."""
        return [process for process in self._idle if not self._processes[process].seq]

    @property
    def has_queue(self) -> bool:
        """Does a task wait for a process?"""
        return bool(self._queue)

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
        state = self._processes.get(process)
        if state is None or state.record is None:
            return None
        return state.record.task.task_id, state.record.owner

    # ------------------------------------------------------------------ steps

    def _ask(self, record: Record, request: TaskCancel, now: float) -> None:
        record.stage, record.force = Stage.ASKED, request.force
        record.request += 1
        self._hands.interrupt(record.process, record.seq)
        grace = min(max(0.0, request.grace), LONGEST_GRACE)
        for share, last in ((0.5, False), (1.0, True)):
            timer = Timer(now + share * grace, next(self._order), record, record.request, last)
            heapq.heappush(self._timers, timer)

    def _end(self, record: Record) -> None:
        record.stage = Stage.ENDING
        self._hands.kill(record.process)

    def _announce(self, record: Record) -> None:
        if not record.announced:
            record.announced = True
            processor = str(record.process)
            self._hands.tell(record.owner, TaskStarted(record.task.task_id, processor, record.started))

    def _confirm(self, record: Record, answer: TaskCancelConfirmType) -> None:
        if record.stage is not Stage.QUEUED:
            self._announce(record)  # it decides between "stopped" and "never started"
        self._forget(record)
        self._hands.tell(record.owner, TaskCancelConfirm(record.task.task_id, answer, record.force))

    def _forget(self, record: Record) -> None:
        del self._records[record.task.task_id]
        if record.stage is not Stage.QUEUED:
            self._busy -= 1
            state = self._processes.get(record.process)
            if state is not None:
                state.record = None
        record.stage = Stage.OVER
