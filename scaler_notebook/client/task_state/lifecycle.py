"""The life cycle of a task at its future: what an event changes, and what follows from that.

:data:`scaler_notebook.protocol.states.TABLE` decides what an event does. :func:`handle` applies the action under the
future's lock, and does the rest (callbacks, sending, waking) after the lock is released. Nothing is kept here: all of
the state is the future's.
"""

import logging
import threading
import time
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED
from contextlib import suppress

from scaler_notebook.client.waiting import callback_thread
from scaler_notebook.client.waiting.locks import call_locked
from scaler_notebook.client.waiting.signal import Signal
from scaler_notebook.protocol.future_events import (
    CancelGranted,
    CancelRefused,
    CancelRequested,
    DeadlineReached,
    EngineGone,
    FutureEvent,
    ResultArrived,
    StartAnnounced,
)
from scaler_notebook.protocol.messages import NO_PROCESS_EXIT, TaskCancel, TaskResult
from scaler_notebook.protocol.messages import TaskResultType as Result
from scaler_notebook.protocol.states import TABLE, CancelReason, FutureAction, TaskState

from .observed_task import ObservedTask
from .outcome import Outcome
from .trace import trace_form

REQUESTS = CancelRequested, DeadlineReached  # a tuple: to make a union at each event takes longer than to compare

log = logging.getLogger(__name__)


class _Effects:
    """The side effects of one event, to be performed without the lock."""

    __slots__ = ("changed", "complaint", "request")

    def __init__(self) -> None:
        self.changed = False  # whether watchers are notified
        self.complaint = ""  # a line for the log
        self.request: TaskCancel | None = None  # to be sent


def handle(task: ObservedTask, event: FutureEvent) -> bool:
    """Apply an event by the state table; return False if nothing has changed.

    Parameters
    ----------
    task
        The future of the task.
    event
        What has happened to the task.
    """
    effects = _Effects()
    try:
        call_locked(task._lock, _apply, task, effects, event)
        _perform(task, effects)
    except BaseException:  # an interrupt: the effects belong to what has changed, all the same
        effects.changed = True
        _perform(task, effects)
        raise
    return effects.changed


def _perform(task: ObservedTask, effects: _Effects) -> None:
    """Send, call and notify what follows from an event; without the lock."""
    if effects.complaint:
        log.error(effects.complaint)
        effects.complaint = ""
    if effects.request is not None and task._asked is not None and task._session is not None:
        task._session.send_cancel(effects.request)
    effects.request = None
    while task._task_state.terminal and (callbacks := task._done_callbacks):
        with suppress(IndexError):  # another thread was quicker
            callback_thread.post(callbacks.pop(0), task)
    if effects.changed:
        task.notify_watchers()


def _apply(task: ObservedTask, effects: _Effects, event: FutureEvent) -> None:
    """Apply an event and note its side effects in ``effects``, to be performed afterwards; with the lock held."""
    before = task._task_state
    action = TABLE[before, type(event)]
    if isinstance(event, REQUESTS):
        if action is FutureAction.IGNORE or (action is FutureAction.DISCARD and event.keep_result):
            return
        if action is not FutureAction.DISCARD:
            if task._asked is not None and (task._asked or not event.force):
                return  # no stronger than the request under way
            grace = task.policy.grace if event.grace is None else event.grace
            effects.request = TaskCancel(task.task_id, event.force, grace)
    if action is FutureAction.NOT_PERMITTED:
        effects.complaint = f"{task.task_id}: {event.words} is not permitted in state {before.value}"
    effects.changed = _carry_out(task, action, event)
    task.note_end_of_output()
    moment = time.time(), type(event), effects.changed, effects.request or trace_form(event)
    task._moments = (*task._moments, moment)


def _carry_out(task: ObservedTask, action: FutureAction, event: FutureEvent) -> bool:
    """Carry out the table's action for an event; return False if nothing changes. With the lock held."""
    match action, event:
        case ((FutureAction.START | FutureAction.REMEMBER_START), StartAnnounced()):
            started = event.message
            if started.attempt <= task.tries:
                return False  # a repeated or late message
            task._started, task.tries = True, started.attempt
            task.started_at, task.processor = started.time, started.processor
            if action is FutureAction.START:
                task._task_state = TaskState.RUNNING
        case FutureAction.FINISH, ResultArrived():
            result = event.message
            _take_figures(task, result)
            task.origin = result.origin
            died = result.outcome is Result.FAILED_WORKER_DIED
            death = result.process_exit if died else NO_PROCESS_EXIT  # one for all the others
            _finish(task, Outcome(result.outcome, result.payload, task.call, task.origin_name, death))
        case ((FutureAction.REQUEST | FutureAction.TIME_OUT), (CancelRequested() | DeadlineReached())):
            task._task_state, task._asked, task._refused = TaskState.CANCELLING, event.force, False
            task._timed_out = event if isinstance(event, DeadlineReached) else None
        case FutureAction.UPGRADE, _:
            task._asked = True
        case FutureAction.DISCARD, _:
            _cancel(task, CancelReason.DISCARDED)
        case FutureAction.WITHDRAW, CancelGranted() if event.message.origin:
            task.origin = event.message.origin
            _cancel(task, CancelReason.PARENT_CANCELLED)
        case ((FutureAction.WITHDRAW | FutureAction.CONFIRM), CancelGranted()):
            if event.message.killed:
                task.killed = True
            _cancel_in_time(task, CancelReason.STOPPED if task._started else CancelReason.NEVER_STARTED)
        case FutureAction.NOT_FOUND, _:
            _cancel(task, CancelReason.NOT_FOUND)
        case FutureAction.REFUSE, CancelRefused():
            if task._asked and not event.message.force:
                return False  # weaker than the strongest request outstanding
            task._asked, task._refused, task._timed_out = None, True, None
            task._task_state = TaskState.RUNNING if task._started else TaskState.SUBMITTED
        case FutureAction.TOO_LATE, ResultArrived():
            _take_figures(task, event.message)
            success = event.message.outcome is Result.SUCCESS
            _cancel_in_time(task, CancelReason.FINISHED_FIRST if success else CancelReason.FAILED_FIRST)
        case FutureAction.LOSE, EngineGone(TaskResult() as result):
            _finish(task, Outcome(result.outcome, result.payload, task.call))
        case FutureAction.LOSE, EngineGone(BaseException() as error):
            _finish(task, Outcome.of(error))
        case FutureAction.DISCONNECT, _:
            _cancel(task, CancelReason.DISCONNECTED)
        case _:  # ignored, or not permitted
            return False
    return True


def _take_figures(task: ObservedTask, result: TaskResult) -> None:
    """Keep a result's figures and summary, if the task has run."""
    if result.origin or result.outcome is Result.MISSING_OBJECTS:
        return  # the task never ran
    task.figures, task.bytes_received = result.figures, result.payload.nbytes
    task.summary = result.summary
    task._started, task.tries = True, max(1, task.tries)
    task.started_at = task.started_at or result.figures.started or None
    task.processor = task.processor or result.figures.processor
    task.ended_at = result.figures.ended or time.time()


def _finish(task: ObservedTask, outcome: Outcome) -> None:
    """Change the state to FINISHED. With the lock held, as ``wait`` and ``as_completed`` require."""
    task._outcome = outcome  # set first: readers that find the future done read it without the lock
    task._task_state, task._state = TaskState.FINISHED, FINISHED
    task.ended_at = task.ended_at or time.time()
    for waiter in task.waiters:
        (waiter.add_exception if outcome.failed else waiter.add_result)(task)
    task.notify_waiters()


def _cancel_in_time(task: ObservedTask, reason: CancelReason) -> None:
    """Change the state to CANCELLED, for this reason unless the deadline has requested the cancel."""
    _cancel(task, CancelReason.TIMED_OUT if task._timed_out else reason)


def _cancel(task: ObservedTask, reason: CancelReason) -> None:
    """Change the state to CANCELLED; do not notify waiters of FINISHED again. With the lock held."""
    were_notified = task._task_state is TaskState.FINISHED
    task._reason = reason  # set first, as above
    task._task_state, task._state = TaskState.CANCELLED, CANCELLED_AND_NOTIFIED
    task._outcome = task._asked = task.preview = None
    task.ended_at = task.ended_at or time.time()
    if not were_notified:
        for waiter in task.waiters:
            waiter.add_cancelled(task)
        task.notify_waiters()


def forget(task: ObservedTask, error: BaseException) -> None:
    """In a forked child: end the future with an error, for the task is the parent's and its end does not come here.

    Watchers and callbacks live in the parent. Waiters are notified, for an iteration over futures may go on in the
    child.

    Parameters
    ----------
    task
        The future of the task.
    error
        What the future ends with.
    """
    task.renew_lock()
    task._watchers, task._done_callbacks = [], ()
    if not task._task_state.terminal:
        task._outcome, task._task_state = Outcome.of(error), TaskState.FINISHED
    task._state = CANCELLED_AND_NOTIFIED if task._task_state is TaskState.CANCELLED else FINISHED
    for waiter in task.waiters:
        # A thread that is not here may hold the waiter's locks.
        vars(waiter).update(lock=threading.Lock(), event=threading.Event(), signal=Signal())
        waiter.add_exception(task)
