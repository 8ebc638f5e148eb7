"""The transitions of tasks: the actions of the table, performed on the state.

:class:`~.core.Core` finds out what has happened, :data:`.states.TABLE` says what an event does to a task, and
:meth:`Transitions.handle` does that, without a decision of its own.
"""

import logging
from dataclasses import replace
from functools import partial

from scaler_notebook.engines.local.ipc.messages import Input
from scaler_notebook.engines.scheduling import task_events
from scaler_notebook.engines.scheduling.retry import backoff
from scaler_notebook.engines.scheduling.timers import Clock
from scaler_notebook.protocol.exceptions import failures
from scaler_notebook.protocol.messages import (
    LogStream,
    Payload,
    TaskAttemptFailed,
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
from .nested_reports import NestedReports
from .state.records import TaskRecord
from .state.scheduler_state import SchedulerState, TimerKey
from .states import TABLE, TaskAction, TaskStage

ANNOUNCE_AFTER = 0.003  # seconds; a TaskStarted for a task that ends sooner would be a wasted message
START_DUE = events.StartDue()
BEGUN = events.Begun()
LONGEST_GRACE = 7 * 24 * 3600.0  # seconds; a timer beyond that is more than the system can wait for

log = logging.getLogger(__name__)


def start_due(process: int) -> TimerKey:
    """Return the key of the timer that announces the task of a process."""
    return "start", process


def _grace(record: TaskRecord) -> TimerKey:
    """Return the key of the timer of a task's grace period."""
    return "grace", record.task.task_id


def _back_off(task_id: str) -> TimerKey:
    """Return the key of the timer of a task's back-off."""
    return "back-off", task_id


class Transitions:
    """Handles the events of the tasks of one scheduler.

    Parameters
    ----------
    state
        The core's state; changed here.
    effects
        Performs the side effects.
    clock
        The source of the time.
    nested
        Reports what becomes of nested tasks.
    """

    def __init__(self, state: SchedulerState, effects: Effects, clock: Clock, nested: NestedReports) -> None:
        self._state = state
        self._effects = effects
        self._clock = clock
        self._nested = nested

    def handle(self, record: TaskRecord, event: Event) -> None:
        """Perform what the table says about an event of a task.

        Parameters
        ----------
        record
            The task.
        event
            What has happened to the task.
        """
        before = record.stage
        action = TABLE[before, type(event)]
        if action.to:
            (record.stage,) = action.to
        match action, event:  # the most frequent actions first
            case TaskAction.DELIVER, events.RunEnded() | events.RunFailed():
                self._deliver(record, before, event.result)
                self._go_on(record.process)
            case TaskAction.BEGIN, _:
                record.started = self._clock.time()
                record.dispatches += 1
            case TaskAction.PREFETCH, events.Prefetched():
                self._state.queue.remove(record)
                self._state.workers.put_behind(event.process, record)
            case TaskAction.RUN, events.Dispatched():
                self._run(record, event.process)
            case TaskAction.IGNORE, _:
                pass
            case TaskAction.ANNOUNCE, _:
                self._effects.send(record.owner, self._started(record))
            case TaskAction.DELIVER_LAST, events.RunEnded() | events.RunFailed():
                self._deliver(record, before, event.result)
            case TaskAction.QUEUE | TaskAction.RECALL, _:
                record.was_ahead = action is TaskAction.RECALL
                self._state.queue.add(record)
            case TaskAction.PUT_BACK, _:
                self._leave_process(record)
                self._state.queue.add(record)
            case TaskAction.BACK_OFF, events.RunFailed():
                self._effects.release_payload(event.result.payload)
                self._begin_backoff(record)
                self._go_on(record.process)
            case TaskAction.OUTLIVE, events.ProcessDiedTrying():
                self._effects.send(record.owner, TaskLog(record.task.task_id, LogStream.STDERR, f"{event.how}\n"))
                self._begin_backoff(record)
            case TaskAction.FAIL, events.ProcessDied():
                self._finish(record, event.result)
                self.fail_dependants(record, event.result)
            case TaskAction.TAKE_BACK, _:
                self._unqueue(record)
                self._answer(record, TaskCancelConfirmType.CANCELED)
                self._cancel_dependants(record)
            case TaskAction.FORGET, _:
                self._unqueue(record)
            case TaskAction.PASS_ON, task_events.InputFailed() | events.NestedTooDeeply():
                self._unqueue(record)
                payload = self._effects.retain_payload(event.result.payload)
                self._effects.send(record.owner, replace(event.result, task_id=record.task.task_id, payload=payload))
            case TaskAction.WITHDRAW, task_events.InputCancelled():
                self._unqueue(record)
                canceled = TaskCancelConfirmType.CANCELED
                told = TaskCancelConfirm(record.task.task_id, canceled, record.force, event.origin)
                self._effects.send(record.owner, told)
            case ((TaskAction.ASK | TaskAction.WARN), (events.CancelAsked() | events.CancelForced())):
                self._begin_grace(record, event.grace)
            case TaskAction.ASK_AGAIN, events.HalfGrace():
                self._interrupt(record)
                self._state.timers.set(_grace(record), event.end, partial(self.handle, record, task_events.GraceOver()))
            case TaskAction.REFUSE, _:
                self._answer(record, TaskCancelConfirmType.CANCEL_FAILED)
            case TaskAction.KILL, _:
                self._state.timers.cancel(_grace(record))
                record.killed = isinstance(event, task_events.GraceOver)
                self._effects.kill(record.process, *self.abandon_children(record))
            case TaskAction.CONFIRM, _:
                canceled = TaskCancelConfirmType.CANCELED
                told = TaskCancelConfirm(record.task.task_id, canceled, record.force, killed=record.killed)
                self._finish(record, told)
                self._cancel_dependants(record)
            case TaskAction.NOT_FOUND, _:
                self._answer(record, TaskCancelConfirmType.CANCEL_NOT_FOUND)
            case _:
                log.error("%s: %s is not permitted: it is %s", record.task.task_id, event.words, before.value)
        if record.nested is not None:
            self._nested.changed(record, before, event)

    # ------------------------------------------------------------------ runs and requests

    def _run(self, record: TaskRecord, process: int) -> None:
        """Start a queued task in a process."""
        state, task = self._state, record.task
        record.started = self._clock.time()
        record.dispatches += 1
        state.queue.remove(record)
        if record.needs:
            state.resources.take(record)
        state.workers.begin(process, record)
        self._announce_later(record)
        inputs: tuple[Input, ...] = ()
        if task.inputs:
            inputs = tuple(Input(name, value) for name, value in state.dependencies.values_of(record).items())
        self._effects.run_task(process, record.seq, task, record.context, not record.tries_left, inputs)

    def _announce_later(self, record: TaskRecord) -> None:
        """Set the timer that announces the task that a process holds."""
        announce = partial(self.handle, record, START_DUE)
        self._state.timers.set(start_due(record.process), self._clock.monotonic() + ANNOUNCE_AFTER, announce)

    def _started(self, record: TaskRecord) -> TaskStarted:
        """Return the message that a try of a task has started."""
        devices = self._state.devices.named(record.devices)
        return TaskStarted(record.task.task_id, str(record.process), record.started, record.failed + 1, devices)

    def _interrupt(self, record: TaskRecord) -> None:
        """Interrupt the run of a task."""
        self._effects.interrupt(record.process, record.seq)

    def _begin_grace(self, record: TaskRecord, grace: float) -> None:
        """Interrupt the run of a task, and set the timer for a grace period of ``grace`` seconds."""
        self._interrupt(record)
        half = min(max(0.0, grace), LONGEST_GRACE) / 2
        now = self._clock.monotonic()
        half_over = partial(self.handle, record, events.HalfGrace(now + 2 * half))
        self._state.timers.set(_grace(record), now + half, half_over)

    def _answer(self, record: TaskRecord, answer: TaskCancelConfirmType) -> None:
        """Answer a cancel request."""
        self._effects.send(record.owner, TaskCancelConfirm(record.task.task_id, answer, record.force))

    def _begin_backoff(self, record: TaskRecord) -> None:
        """Free the process of a task, tell its client, and set the timer for the next try."""
        self._leave_process(record)
        record.failed, record.dispatches = record.failed + 1, 0
        self._effects.send(record.owner, TaskAttemptFailed(record.task.task_id, record.failed))
        over = partial(self.handle, record, task_events.BackoffOver())
        self._state.timers.set(_back_off(record.task.task_id), self._clock.monotonic() + backoff(record.failed), over)

    # ------------------------------------------------------------------ the end of a task

    def _deliver(self, record: TaskRecord, before: TaskStage, result: TaskResult) -> None:
        """Send the result of a run that ended by itself.

        Parameters
        ----------
        record
            The task.
        before
            The stage in which the run ended: after a cancel request, dependants are cancelled.
        result
            The result.
        """
        for child in record.children.values():  # not waited for: these go on without a parent
            child.parent = None
        record.children.clear()
        failure: TaskResult | None = None  # for dependants; sent after the task's own result
        wanted = self._state.dependencies.wanted(record.owner, record.task.task_id)
        if wanted and before is TaskStage.RUNNING:
            if result.outcome is TaskResultType.SUCCESS:
                failure = self._hand_on(record, result.payload)
            else:
                failure = replace(result, payload=self._effects.retain_payload(result.payload))
        if record.task.omit_value and result.outcome is TaskResultType.SUCCESS:
            self._effects.release_payload(result.payload)
            result = replace(result, payload=Payload(b""))
        self._finish(record, result, goes_on=before is not TaskStage.ENDING)
        if failure is not None:
            self.fail_dependants(record, failure)
            self._effects.release_payload(failure.payload)
        elif wanted and before is not TaskStage.RUNNING:
            self._cancel_dependants(record)

    def _hand_on(self, record: TaskRecord, value: Payload) -> TaskResult | None:
        """Give a task's value to its dependants; returns the failure for them if the value could not be retained."""
        task_id = record.task.task_id
        try:
            ready = self._state.dependencies.arrive(record.owner, task_id, value)
        except OSError as error:
            problem = MemoryError(f"the value of {record.task.options.name} could not be kept for other tasks: {error}")
            return failures.internal_failure(task_id, problem)
        for dependant in ready:
            self.handle(dependant, task_events.InputsAvailable())
        return None

    def _finish(self, record: TaskRecord, last: TaskResult | TaskCancelConfirm, goes_on: bool = False) -> None:
        """Free the slot and the process of a task, and send its last message.

        Parameters
        ----------
        record
            The task.
        last
            The message.
        goes_on
            As for :meth:`_leave_process`.
        """
        self._leave_process(record, goes_on)
        self._forget(record)
        if record.nested is not None and not record.depth:
            self._nested.tell(record.nested)
        self._effects.send(record.owner, last)

    def _unqueue(self, record: TaskRecord) -> None:
        """Forget a task that waits, is queued or backs off."""
        if record in self._state.queue:
            self._state.queue.remove(record)
        else:
            self._state.timers.cancel(_back_off(record.task.task_id))
        self._forget(record)

    def _forget(self, record: TaskRecord) -> None:
        """Remove the record of a task, and release the task's dependencies."""
        del self._state.records[record.task.task_id]
        if record.task.inputs:
            self._state.dependencies.release(record)
        if record.parent is not None:
            del record.parent.children[record.task.task_id]
            record.parent = None

    def _leave_process(self, record: TaskRecord, goes_on: bool = False) -> None:
        """Free a task's slot, its share of the resources and its process, and end what the task has submitted.

        Parameters
        ----------
        record
            The task.
        goes_on
            Does :meth:`_go_on` follow, which sets the timer that announces a task anew?
        """
        state, process = self._state, record.process
        if record.children:
            self.abandon_children(record)
        if process in state.lent:
            state.lent.discard(process)
        elif record.needs:
            state.resources.give_back(record)
        del state.workers.held[process]
        if goes_on:
            state.timers.cancel(_grace(record))
        else:
            self.cancel_timers(record)

    def _go_on(self, process: int) -> None:
        """Go on to the next task that a process has; else make it idle or, if it must run no other task, kill it."""
        workers = self._state.workers
        if (record := workers.next(process)) is not None:
            if record.stage is TaskStage.PREFETCHED:
                self.handle(record, BEGUN)
            self._announce_later(record)
            return
        self._state.timers.cancel(start_due(process))
        if not workers.release(process):
            self._effects.kill(process)

    def cancel_timers(self, record: TaskRecord) -> None:
        """Cancel the timers of a task that a process holds."""
        self._state.timers.cancel(start_due(record.process))
        self._state.timers.cancel(_grace(record))

    # ------------------------------------------------------------------ what ends with a task

    def abandon_children(self, record: TaskRecord) -> tuple[tuple[int, ...], ...]:
        """End the tasks that a task has submitted.

        Returns
        -------
        tuple of tuple of int
            The arguments by which :meth:`~.effects.Effects.kill` is told which processes are killed, too.
        """
        children = list(record.children.values())
        held = self._state.workers.held
        processes = tuple(child.process for child in children if held.get(child.process) is child)
        for child in children:
            if child.stage is not TaskStage.OVER:
                self.handle(child, events.ClientGone())
        return (processes,) if processes else ()

    def fail_dependants(self, record: TaskRecord, result: TaskResult) -> None:
        """Fail all dependants of a task, direct and indirect.

        Parameters
        ----------
        record
            The task.
        result
            The task's failure, which becomes theirs.
        """
        task_id = record.task.task_id
        if self._state.dependencies.wanted(record.owner, task_id):
            failed = task_events.InputFailed(
                TaskResult(
                    "",
                    result.outcome,
                    result.payload,
                    origin=result.origin or task_id,
                    process_exit=result.process_exit,
                )
            )
            for dependant in self._state.dependencies.fail(record.owner, task_id):
                self.handle(dependant, failed)

    def _cancel_dependants(self, record: TaskRecord) -> None:
        """Cancel all dependants of a task, direct and indirect."""
        cancelled = task_events.InputCancelled(record.task.task_id)
        for dependant in self._state.dependencies.fail(record.owner, record.task.task_id):
            self.handle(dependant, cancelled)
