"""Where an event meets a task: the table's decisions carried out, and the state that they change.

:data:`.states.TABLE` says what an event does to a task; :meth:`Handling._handle` does it, and decides nothing.
:class:`~.core.Core` says what has happened.
"""

import itertools
import logging
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import replace

from typing_extensions import assert_never

from scaler_notebook.engines.local.ipc.messages import Input
from scaler_notebook.engines.scheduling.dependencies import DependencyTracker
from scaler_notebook.engines.scheduling.retry import backoff
from scaler_notebook.protocol import failures
from scaler_notebook.protocol.messages import (
    ClientContext,
    LogStream,
    Payload,
    TaskCancelConfirm,
    TaskCancelConfirmType,
    TaskLog,
    TaskResult,
    TaskResultType,
    TaskStarted,
)

from .indexed_heap import Line
from .ready_queue import UNBOUNDED, Queue
from .records import Hands, Record
from .states import TABLE, Action, Event, Stage

ANNOUNCE_AFTER = 0.003  # seconds; TaskStarted for a task that ends sooner would only be noise on the wire
LONGEST_GRACE = 7 * 24 * 3600.0  # seconds; a timer beyond that is more than the system can wait for

log = logging.getLogger(__name__)


class Handling:
    """The tasks of one scheduler, and what each event does to them.

    Parameters
    ----------
    slots
        How many tasks run at the same time; more processes than that are spares.
    hands
        What acts.
    capabilities
        What there is in all of each, for the tasks that need some.
    memory
        Bytes, for the tasks that say how much they take.
    max_runs
        How many a process is given before another takes its place; None: as many as come.
    """

    def __init__(
        self,
        slots: int,
        hands: Hands,
        capabilities: Mapping[str, int],
        memory: int = UNBOUNDED,
        max_runs: int | None = None,
    ) -> None:
        self._slots = slots
        self._max_runs = math.inf if max_runs is None else max_runs
        self._hands = hands
        self._records: dict[str, Record] = {}
        self._contexts: dict[bytes, ClientContext] = {}
        self._numbers = itertools.count()
        self._queue = Queue(capabilities, memory)
        self._dependencies: DependencyTracker[Record] = DependencyTracker(hands)
        self._backoffs = Line()  # by the end of each
        self._runs: dict[int, int] = {}  # by process: how many it was given so far
        self._spent: set[int] = set()  # processes that are to be given no other task
        self._previewing: dict[int, tuple[int, bytes, str]] = {}  # by process: its run, whose task that was, and which
        self._held: dict[int, Record] = {}  # by process: the task that it runs
        self._lent: set[int] = set()  # of those, the ones that wait for other tasks, and need no slot meanwhile
        self._more = 0  # processes beyond slots and spares, as the hands know it
        self._surplus_until: float | None = None  # processes that nobody needs any more are kept as long
        self._standstill_until: float | None = None  # by then something moves, or somebody waits and does not say so
        self._idle: list[int] = []  # the last one used first: its caches are warm
        self._unannounced: dict[int, float] = {}  # by process: when to announce its task; the earliest first
        self._graces: dict[int, deque[tuple[float, Event]]] = {}  # by process: what is still to come, and when

    def _handle(
        self, record: Record, event: Event, now: float = 0.0, grace: float = 0.0, result: TaskResult | None = None
    ) -> None:
        """Do what the table says; the data are those of the event."""
        before = record.stage
        action = TABLE[before, event]
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
                given = self._dependencies.values_of(record).items() if record.task.inputs else ()
                inputs = tuple(Input(name, value) for name, value in given)
                self._hands.run_task(process, seq, record.task, record.context, not record.tries_left, inputs)
            case Action.DELIVER:
                self._deliver(record, before, result)
                self._free(record.process)
            case Action.DELIVER_LAST:
                self._deliver(record, before, result)
            case Action.FAIL:
                self._release(record, result)
                self._fail_dependants(record, Event.INPUT_FAILED, result)
            case Action.IGNORE:
                pass
            case Action.QUEUE | Action.QUEUE_AGAIN:
                self._queue.add(record)
            case Action.PUT_BACK:
                self._let_go(record)
                self._queue.add(record)
            case Action.BACK_OFF:
                assert result is not None
                self._hands.free(result.payload)
                self._back_off(record, now)
                self._free(record.process)
            case Action.OUTLIVE:
                assert result is not None
                how = bytes(result.payload.data).decode()
                self._hands.tell(record.owner, TaskLog(record.task.task_id, LogStream.STDERR, f"{how}\n"))
                self._back_off(record, now)
            case Action.ANNOUNCE:
                task_id, processor = record.task.task_id, str(record.process)
                self._hands.tell(record.owner, TaskStarted(task_id, processor, record.started, record.failed + 1))
            case Action.TAKE_BACK:
                self._unqueue(record)
                self._answer(record, TaskCancelConfirmType.CANCELED)
                self._fail_dependants(record, Event.INPUT_CANCELLED)
            case Action.FORGET:
                self._unqueue(record)
            case Action.PASS_ON:
                assert result is not None
                self._unqueue(record)
                payload = self._hands.retain(result.payload)
                failed = TaskResult(
                    record.task.task_id, result.outcome, payload, origin=result.origin, process_exit=result.process_exit
                )
                self._hands.tell(record.owner, failed)
            case Action.WITHDRAW:
                assert result is not None
                self._unqueue(record)
                task_id, canceled = record.task.task_id, TaskCancelConfirmType.CANCELED
                self._hands.tell(record.owner, TaskCancelConfirm(task_id, canceled, record.force, result.origin))
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
                self._hands.kill(record.process, *self._abandon_children(record))
            case Action.CONFIRM:
                canceled = TaskCancelConfirmType.CANCELED
                self._release(record, TaskCancelConfirm(record.task.task_id, canceled, record.force))
                self._fail_dependants(record, Event.INPUT_CANCELLED)
            case Action.NOT_FOUND:
                self._answer(record, TaskCancelConfirmType.CANCEL_NOT_FOUND)
            case Action.NOT_PERMITTED:
                log.error("%s: %s is not permitted: it is %s", record.task.task_id, event.value, record.stage.value)
            case _:
                assert_never(action)

    def _answer(self, record: Record, answer: TaskCancelConfirmType) -> None:
        self._hands.tell(record.owner, TaskCancelConfirm(record.task.task_id, answer, record.force))

    # ------------------------------------------------------------------ the end of a task

    def _deliver(self, record: Record, before: Stage, result: TaskResult | None) -> None:
        """It has ended by itself; to its client, one that was asked to stop is cancelled all the same."""
        assert result is not None
        for child in record.children.values():  # it has not waited for them, and leaves them to run on
            child.parent = None
        record.children.clear()
        failed: tuple[Event, TaskResult] | None = None  # what its dependants are told, after its own client
        task_id = record.task.task_id
        if self._dependencies.wanted(task_id):
            if before is not Stage.RUNNING:
                failed = Event.INPUT_CANCELLED, result
            elif result.outcome is not TaskResultType.SUCCESS:
                failed = Event.INPUT_FAILED, replace(result, payload=self._hands.retain(result.payload))
            else:
                failed = self._hand_on(record, result.payload)
        if record.task.omit_value and result.outcome is TaskResultType.SUCCESS:
            self._hands.free(result.payload)
            result = replace(result, payload=Payload(b""))
        self._release(record, result)
        if failed is not None:
            event, told = failed
            self._fail_dependants(record, event, told)
            if event is Event.INPUT_FAILED:
                self._hands.free(told.payload)

    def _hand_on(self, record: Record, value: Payload) -> tuple[Event, TaskResult] | None:
        """Give a task's value to its dependants; gives what to tell them instead if it could not be retained."""
        task_id = record.task.task_id
        try:
            ready = self._dependencies.arrive(task_id, value)
        except OSError as error:
            problem = MemoryError(f"the value of {record.task.options.name} could not be kept for other tasks: {error}")
            return Event.INPUT_FAILED, failures.internal_failure(task_id, problem)
        for dependant in ready:
            self._handle(dependant, Event.INPUTS_THERE)
        return None

    def _release(self, record: Record, last: TaskResult | TaskCancelConfirm | None) -> None:
        """Its slot and its process are free of it, and its last message is sent."""
        assert last is not None
        self._let_go(record)
        self._forget(record)
        self._hands.tell(record.owner, last)

    def _unqueue(self, record: Record) -> None:
        if record in self._queue:
            self._queue.remove(record)
        elif record.task.task_id in self._backoffs:
            self._backoffs.remove(record.task.task_id)
        self._forget(record)

    def _forget(self, record: Record) -> None:
        del self._records[record.task.task_id]
        if record.task.inputs:
            self._dependencies.release(record)
        if record.parent is not None:
            del record.parent.children[record.task.task_id]
            record.parent = None

    def _free(self, process: int) -> None:
        """It has done with its run."""
        if self._runs[process] < self._max_runs and process not in self._spent:
            self._idle.append(process)
        else:
            self._hands.kill(process)  # another takes its place

    def _let_go(self, record: Record) -> None:
        """Its slot, and what it had of capabilities, is free of it; what it has submitted, and waited for, ends."""
        process = record.process
        if record.children:
            self._abandon_children(record)
        if process in self._lent:
            self._lent.discard(process)
        elif record.needs:
            self._queue.give_back(record)
        del self._held[process]
        self._unannounced.pop(process, None)
        self._graces.pop(process, None)

    def _back_off(self, record: Record, now: float) -> None:
        self._let_go(record)
        record.failed, record.handed = record.failed + 1, 0
        self._backoffs.add(record.task.task_id, now + backoff(record.failed), record.number)

    # ------------------------------------------------------------------ what falls with it

    def _abandon_children(self, record: Record) -> tuple[tuple[int, ...], ...]:
        """Cancel what it has submitted; gives, for :meth:`Hands.kill`, the processes that run some of it, if any."""
        children = list(record.children.values())
        processes = tuple(child.process for child in children if self._held.get(child.process) is child)
        for child in children:
            if child.stage is not Stage.OVER:
                self._handle(child, Event.CLIENT_GONE)
        return (processes,) if processes else ()

    def _fail_dependants(self, record: Record, event: Event, result: TaskResult | None = None) -> None:
        """Tell the tasks that depend on ``record``, and on those, that its value will not come."""
        task_id = record.task.task_id
        if not self._dependencies.wanted(task_id):
            return
        if result is None:
            result = TaskResult(task_id, TaskResultType.FAILED, Payload(b""))
        told = replace(result, origin=result.origin or task_id)
        for dependant in self._dependencies.fail(task_id):
            self._handle(dependant, event, result=told)
