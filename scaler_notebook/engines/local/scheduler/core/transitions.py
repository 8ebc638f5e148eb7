"""Where an event meets a task: the table's decisions carried out, and the state that they change.

:data:`.states.TABLE` says what an event does to a task; :meth:`Transitions.handle` does it, and decides nothing.
:class:`~.core.Core` says what has happened.
"""

import logging
from dataclasses import replace
from functools import partial

from scaler_notebook.engines.local.ipc.messages import Input
from scaler_notebook.engines.scheduling.retry import backoff
from scaler_notebook.engines.scheduling.timers import Clock
from scaler_notebook.protocol import failures
from scaler_notebook.protocol.messages import (
    LogStream,
    Payload,
    TaskCancelConfirm,
    TaskCancelConfirmType,
    TaskLog,
    TaskResult,
    TaskResultType,
    TaskStarted,
)

from . import events
from .effects import Effects
from .events import Event
from .records import TaskRecord
from .state import SchedulerState, TimerKey
from .states import TABLE, Action, Stage

ANNOUNCE_AFTER = 0.003  # seconds; TaskStarted for a task that ends sooner would only be noise on the wire
LONGEST_GRACE = 7 * 24 * 3600.0  # seconds; a timer beyond that is more than the system can wait for

log = logging.getLogger(__name__)


def start_due(process: int) -> TimerKey:
    """Give the timer that announces the task of a process."""
    return "start", process


def _grace(process: int) -> TimerKey:
    return "grace", process


def _back_off(task_id: str) -> TimerKey:
    return "back-off", task_id


class Transitions:
    """What each event does to the tasks of one scheduler.

    Parameters
    ----------
    state
        What the core knows; changed here.
    effects
        What performs the side effects.
    clock
        By which timers are set.
    """

    def __init__(self, state: SchedulerState, effects: Effects, clock: Clock) -> None:
        self._state = state
        self._effects = effects
        self._clock = clock

    def handle(self, record: TaskRecord, event: Event) -> None:
        """Do what the table says about an event of a task."""
        before = record.stage
        action = TABLE[before, type(event)]
        if action.to:
            (record.stage,) = action.to
        match action, event:  # the usual ones first
            case Action.RUN, events.Dispatched():
                self._run(record, event.process)
            case Action.DELIVER, events.RunEnded() | events.RunFailed():
                self._deliver(record, before, event.result)
                self._replace_if_spent(record.process)
            case Action.DELIVER_LAST, events.RunEnded() | events.RunFailed():
                self._deliver(record, before, event.result)
            case Action.IGNORE, _:
                pass
            case Action.ANNOUNCE, _:
                task_id, processor = record.task.task_id, str(record.process)
                self._effects.send(record.owner, TaskStarted(task_id, processor, record.started, record.failed + 1))
            case Action.QUEUE, _:
                self._state.queue.add(record)
            case Action.PUT_BACK, _:
                self._leave_process(record)
                self._state.queue.add(record)
            case Action.BACK_OFF, events.RunFailed():
                self._effects.free(event.result.payload)
                self._begin_backoff(record)
                self._replace_if_spent(record.process)
            case Action.OUTLIVE, events.ProcessDiedTrying():
                self._effects.send(record.owner, TaskLog(record.task.task_id, LogStream.STDERR, f"{event.how}\n"))
                self._begin_backoff(record)
            case Action.FAIL, events.ProcessDied():
                self._finish(record, event.result)
                self.fail_dependants(record, event.result)
            case Action.TAKE_BACK, _:
                self._unqueue(record)
                self._answer(record, TaskCancelConfirmType.CANCELED)
                self._cancel_dependants(record)
            case Action.FORGET, _:
                self._unqueue(record)
            case Action.PASS_ON, events.InputFailed() | events.NestedTooDeeply():
                self._unqueue(record)
                payload = self._effects.retain(event.result.payload)
                self._effects.send(record.owner, replace(event.result, task_id=record.task.task_id, payload=payload))
            case Action.WITHDRAW, events.InputCancelled():
                self._unqueue(record)
                canceled = TaskCancelConfirmType.CANCELED
                told = TaskCancelConfirm(record.task.task_id, canceled, record.force, event.origin)
                self._effects.send(record.owner, told)
            case ((Action.ASK | Action.WARN), (events.CancelAsked() | events.CancelForced())):
                self._begin_grace(record, event.grace)
            case Action.ASK_AGAIN, events.HalfGrace():
                self._interrupt(record)
                self._state.timers.set(
                    _grace(record.process), event.end, partial(self.handle, record, events.GraceOver())
                )
            case Action.REFUSE, _:
                self._answer(record, TaskCancelConfirmType.CANCEL_FAILED)
            case Action.KILL, _:
                self._state.timers.cancel(_grace(record.process))
                self._effects.kill(record.process, *self.abandon_children(record))
            case Action.CONFIRM, _:
                canceled = TaskCancelConfirmType.CANCELED
                self._finish(record, TaskCancelConfirm(record.task.task_id, canceled, record.force))
                self._cancel_dependants(record)
            case Action.NOT_FOUND, _:
                self._answer(record, TaskCancelConfirmType.CANCEL_NOT_FOUND)
            case _:
                log.error("%s: %s is not permitted: it is %s", record.task.task_id, event.words, before.value)

    # ------------------------------------------------------------------ runs and requests

    def _run(self, record: TaskRecord, process: int) -> None:
        state, task = self._state, record.task
        record.process, record.started = process, self._clock.time()
        record.handed += 1
        state.queue.remove(record)
        if record.needs:
            state.resources.take(record.needs)
        seq = state.workers.begin(process, record)
        announce = partial(self.handle, record, events.StartDue())
        state.timers.set(start_due(process), self._clock.monotonic() + ANNOUNCE_AFTER, announce)
        inputs: tuple[Input, ...] = ()
        if task.inputs:
            inputs = tuple(Input(name, value) for name, value in state.dependencies.values_of(record).items())
        self._effects.run_task(process, seq, task, record.context, not record.tries_left, inputs)

    def _interrupt(self, record: TaskRecord) -> None:
        self._effects.interrupt(record.process, self._state.workers.seq(record.process))

    def _begin_grace(self, record: TaskRecord, grace: float) -> None:
        self._interrupt(record)
        half = min(max(0.0, grace), LONGEST_GRACE) / 2
        now = self._clock.monotonic()
        half_over = partial(self.handle, record, events.HalfGrace(now + 2 * half))
        self._state.timers.set(_grace(record.process), now + half, half_over)

    def _answer(self, record: TaskRecord, answer: TaskCancelConfirmType) -> None:
        self._effects.send(record.owner, TaskCancelConfirm(record.task.task_id, answer, record.force))

    def _begin_backoff(self, record: TaskRecord) -> None:
        self._leave_process(record)
        record.failed, record.handed = record.failed + 1, 0
        over = partial(self.handle, record, events.BackoffOver())
        self._state.timers.set(_back_off(record.task.task_id), self._clock.monotonic() + backoff(record.failed), over)

    # ------------------------------------------------------------------ the end of a task

    def _deliver(self, record: TaskRecord, before: Stage, result: TaskResult) -> None:
        """Send the result of a run that ended by itself; a client that asked for its end has it as cancelled."""
        for child in record.children.values():  # the task has not waited for these, and leaves them to run on
            child.parent = None
        record.children.clear()
        failure: TaskResult | None = None  # what dependants are told, after the task's own client
        wanted = self._state.dependencies.wanted(record.task.task_id)
        if wanted and before is Stage.RUNNING:
            if result.outcome is TaskResultType.SUCCESS:
                failure = self._hand_on(record, result.payload)
            else:
                failure = replace(result, payload=self._effects.retain(result.payload))
        if record.task.stays and result.outcome is TaskResultType.SUCCESS:
            self._effects.free(result.payload)
            result = replace(result, payload=Payload(b""))
        self._finish(record, result)
        if failure is not None:
            self.fail_dependants(record, failure)
            self._effects.free(failure.payload)
        elif wanted and before is not Stage.RUNNING:
            self._cancel_dependants(record)

    def _hand_on(self, record: TaskRecord, value: Payload) -> TaskResult | None:
        """Give a task's value to its dependants; gives the failure to tell them if the value could not be retained."""
        task_id = record.task.task_id
        try:
            ready = self._state.dependencies.arrive(task_id, value)
        except OSError as error:
            problem = MemoryError(f"the value of {record.task.options.name} could not be kept for other tasks: {error}")
            return failures.our_fault(task_id, problem)
        for dependant in ready:
            self.handle(dependant, events.InputsThere())
        return None

    def _finish(self, record: TaskRecord, last: TaskResult | TaskCancelConfirm) -> None:
        """Free the slot and the process of a task, and send its last message."""
        self._leave_process(record)
        self._forget(record)
        self._effects.send(record.owner, last)

    def _unqueue(self, record: TaskRecord) -> None:
        if record in self._state.queue:
            self._state.queue.remove(record)
        else:
            self._state.timers.cancel(_back_off(record.task.task_id))
        self._forget(record)

    def _forget(self, record: TaskRecord) -> None:
        del self._state.records[record.task.task_id]
        if record.task.inputs:
            self._state.dependencies.release(record)
        if record.parent is not None:
            del record.parent.children[record.task.task_id]
            record.parent = None

    def _leave_process(self, record: TaskRecord) -> None:
        """Free a task's slot, its share of the resources and its process; end what it has submitted, and waited for."""
        state, process = self._state, record.process
        if record.children:
            self.abandon_children(record)
        if process in state.lent:
            state.lent.discard(process)
        elif record.needs:
            state.resources.give_back(record.needs)
        del state.workers.held[process]
        self.cancel_timers(process)

    def _replace_if_spent(self, process: int) -> None:
        if not self._state.workers.release(process):
            self._effects.kill(process)  # another takes its place

    def cancel_timers(self, process: int) -> None:
        """Drop what was to happen to the task that a process holds."""
        self._state.timers.cancel(start_due(process))
        self._state.timers.cancel(_grace(process))

    # ------------------------------------------------------------------ what ends with a task

    def abandon_children(self, record: TaskRecord) -> tuple[tuple[int, ...], ...]:
        """End what a task has submitted; gives the processes that run some of that, to be killed with it."""
        children = list(record.children.values())
        held = self._state.workers.held
        processes = tuple(child.process for child in children if held.get(child.process) is child)
        for child in children:
            if child.stage is not Stage.OVER:
                self.handle(child, events.ClientGone())
        return (processes,) if processes else ()

    def fail_dependants(self, record: TaskRecord, result: TaskResult) -> None:
        """Fail the tasks that depend on ``record``, and those that depend on them, with its failure."""
        task_id = record.task.task_id
        if self._state.dependencies.wanted(task_id):
            failed = events.InputFailed(
                TaskResult("", result.outcome, result.payload, origin=result.origin or task_id, death=result.death)
            )
            for dependant in self._state.dependencies.fail(task_id):
                self.handle(dependant, failed)

    def _cancel_dependants(self, record: TaskRecord) -> None:
        cancelled = events.InputCancelled(record.task.task_id)
        for dependant in self._state.dependencies.fail(record.task.task_id):
            self.handle(dependant, cancelled)
