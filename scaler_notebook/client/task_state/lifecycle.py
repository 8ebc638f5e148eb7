"""The life cycle of a task at its future: applies the state table's actions and notifies the watchers.

:data:`scaler_notebook.protocol.states.TABLE` decides what an event does. :meth:`TaskLifecycle.handle` applies the
action under the future's lock, and does the rest (callbacks, sending, waking) after the lock is released.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import InvalidStateError
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED
from contextlib import suppress
from typing import Any

from scaler_notebook.client.waiting import callback_thread
from scaler_notebook.client.waiting.locks import call_locked
from scaler_notebook.client.waiting.permission import is_agents_thread
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
from scaler_notebook.protocol.messages import (
    TaskCancel,
    TaskDisplay,
    TaskLog,
    TaskProgress,
    TaskResult,
)
from scaler_notebook.protocol.messages import TaskResultType as Result
from scaler_notebook.protocol.states import TABLE, CancelReason, FutureAction, TaskState

from .outcome import Outcome
from .output import Display
from .snapshot import TaskSnapshot
from .trace import trace_form

Watcher = Callable[["TaskLifecycle"], None]

REQUESTS = CancelRequested, DeadlineReached  # a tuple: to make a union at each event takes longer than to compare

log = logging.getLogger(__name__)


class _Effects:
    """The side effects of one event, to be performed without the lock."""

    __slots__ = ("changed", "complaint", "request")

    def __init__(self) -> None:
        self.changed = False  # whether watchers are notified
        self.complaint = ""  # a line for the log
        self.request: TaskCancel | None = None  # to be sent


class TaskLifecycle(TaskSnapshot):
    """The events and watchers of one task.

    :class:`~scaler_notebook.client.futures.future.ScalerFuture` adds what users call.
    """

    _done_callbacks: list[Callable[[Any], object]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._watchers: dict[Watcher, None] = {}  # in their order

    # ------------------------------------------------------------------ watchers

    def watch(self, watcher: Watcher) -> None:
        """Have ``watcher(future)`` called after every change, on the thread that made the change: for views and waits.

        The watcher must not block and must not run the user's code; it reads the state from the future.
        """
        # Adding and removing are one step each: no lock is needed, which an interrupt could leave locked.
        self._watchers[watcher] = None

    def unwatch(self, watcher: Watcher) -> None:
        """End a :meth:`watch`."""
        self._watchers.pop(watcher, None)

    # ------------------------------------------------------------------ events

    def handle(self, event: FutureEvent) -> bool:
        """Apply an event by the state table; return False if nothing has changed."""
        effects = _Effects()
        try:
            call_locked(self._lock, self._apply, effects, event)
            self._perform(effects)
        except BaseException:  # an interrupt: the effects belong to what has changed, all the same
            effects.changed = True
            self._perform(effects)
            raise
        return effects.changed

    def _perform(self, effects: "_Effects") -> None:
        """Send, call and notify what follows from an event; without the lock."""
        if effects.complaint:
            log.error(effects.complaint)
            effects.complaint = ""
        if effects.request is not None and self._asked is not None and self._session is not None:
            self._session.send_cancel(effects.request)
        effects.request = None
        while self._task_state.terminal and self._done_callbacks:
            with suppress(IndexError):  # another thread was quicker
                callback_thread.post(self._done_callbacks.pop(0), self)
        if effects.changed:
            self._notify_watchers()

    def _apply(self, effects: "_Effects", event: FutureEvent) -> None:
        """Apply an event and note its side effects in ``effects``, to be performed afterwards; with the lock held."""
        before = self._task_state
        action = TABLE[before, type(event)]
        if isinstance(event, REQUESTS):
            if action is FutureAction.IGNORE or (action is FutureAction.DISCARD and event.keep_result):
                return
            if action is not FutureAction.DISCARD:
                if self._asked is not None and (self._asked or not event.force):
                    return  # no stronger than the request under way
                grace = self.policy.grace if event.grace is None else event.grace
                effects.request = TaskCancel(self.task_id, event.force, grace)
        if action is FutureAction.NOT_PERMITTED:
            effects.complaint = f"{self.task_id}: {event.words} is not permitted in state {before.value}"
        effects.changed = self._carry_out(action, event)
        self._output.over = self._task_state.terminal
        self._moments.append((time.time(), type(event), effects.changed, effects.request or trace_form(event)))

    def _carry_out(self, action: FutureAction, event: FutureEvent) -> bool:
        """Carry out the table's action for an event; return False if nothing changes. With the lock held."""
        match action, event:
            case ((FutureAction.START | FutureAction.REMEMBER_START), StartAnnounced()):
                started = event.message
                if started.attempt <= self.tries:
                    return False  # a repeated or late message
                self._started, self.tries = True, started.attempt
                self.started_at, self.processor = started.time, started.processor
                if action is FutureAction.START:
                    self._task_state = TaskState.RUNNING
            case FutureAction.FINISH, ResultArrived():
                result = event.message
                self._take_figures(result)
                self.origin = result.origin
                self._finished(
                    Outcome(result.outcome, result.payload, self.call, self.origin_name, result.process_exit)
                )
            case ((FutureAction.REQUEST | FutureAction.TIME_OUT), (CancelRequested() | DeadlineReached())):
                self._task_state, self._asked, self._refused = TaskState.CANCELLING, event.force, False
                self._timed_out = action is FutureAction.TIME_OUT
            case FutureAction.UPGRADE, _:
                self._asked = True
            case FutureAction.DISCARD, _:
                self._cancelled(CancelReason.DISCARDED)
            case FutureAction.WITHDRAW, CancelGranted() if event.message.origin:
                self.origin = event.message.origin
                self._cancelled(CancelReason.PARENT_CANCELLED)
            case ((FutureAction.WITHDRAW | FutureAction.CONFIRM), _):
                self._cancelled_in_time(CancelReason.STOPPED if self._started else CancelReason.NEVER_STARTED)
            case FutureAction.NOT_FOUND, _:
                self._cancelled(CancelReason.NOT_FOUND)
            case FutureAction.REFUSE, CancelRefused():
                if self._asked and not event.message.force:
                    return False  # weaker than the strongest request outstanding
                self._asked, self._refused, self._timed_out = None, True, False
                self._task_state = TaskState.RUNNING if self._started else TaskState.SUBMITTED
            case FutureAction.TOO_LATE, ResultArrived():
                self._take_figures(event.message)
                success = event.message.outcome is Result.SUCCESS
                self._cancelled_in_time(CancelReason.FINISHED_FIRST if success else CancelReason.FAILED_FIRST)
            case FutureAction.LOSE, EngineGone(TaskResult() as result):
                self._finished(Outcome(result.outcome, result.payload, self.call))
            case FutureAction.LOSE, EngineGone(BaseException() as error):
                self._finished(Outcome.of(error))
            case FutureAction.DISCONNECT, _:
                self._cancelled(CancelReason.DISCONNECTED)
            case _:  # ignored, or not permitted
                return False
        return True

    def add_log(self, message: TaskLog) -> None:
        """Keep what the task has written."""
        self._output.add(message.stream, message.text)
        self._notify_watchers()

    def add_display(self, message: TaskDisplay) -> None:
        """Keep what the task displays."""
        self._output.add_display(message)
        self._notify_watchers()

    def add_preview(self, preview: Display) -> None:
        """Keep a preview of the result, unless the result is discarded already."""
        if self._outcome is not None and preview.bundle:
            self.preview = preview
            self._notify_watchers()

    def add_progress(self, message: TaskProgress) -> None:
        """Keep the progress that the task reports."""
        self._progress = message
        self._notify_watchers()

    def _notify_watchers(self) -> None:
        """Call the watchers; log what one raises."""
        for watcher in list(self._watchers):
            try:
                watcher(self)
            except BaseException as error:  # a view's error must not reach the task or the other watchers
                # An interrupt, or an exit, is for who has called; on the agent's thread it would end all futures.
                if not isinstance(error, Exception) and not is_agents_thread():
                    raise
                log.exception("what follows the task %s raised", self.task_id)

    def _take_figures(self, result: TaskResult) -> None:
        """Keep a result's figures and summary, if the task has run."""
        if result.origin or result.outcome is Result.MISSING_OBJECTS:
            return  # the task never ran
        self.figures, self.bytes_received = result.figures, result.payload.nbytes
        self.summary = result.summary
        self._started, self.tries = True, max(1, self.tries)
        self.started_at = self.started_at or result.figures.started or None
        self.processor = self.processor or result.figures.processor
        self.ended_at = result.figures.ended or time.time()

    def _finished(self, outcome: Outcome) -> None:
        """Change the state to FINISHED. With the lock held, as ``wait`` and ``as_completed`` require."""
        self._outcome = outcome  # set first: readers that find the future done read it without the lock
        self._task_state, self._state = TaskState.FINISHED, FINISHED
        self.ended_at = self.ended_at or time.time()
        for waiter in self._waiters:
            (waiter.add_exception if outcome.failed else waiter.add_result)(self)
        self._condition.notify_all()

    def _cancelled_in_time(self, reason: CancelReason) -> None:
        """Change the state to CANCELLED, for this reason unless the deadline has requested the cancel."""
        self._cancelled(CancelReason.TIMED_OUT if self._timed_out else reason)

    def _cancelled(self, reason: CancelReason) -> None:
        """Change the state to CANCELLED; do not notify waiters of FINISHED again. With the lock held."""
        were_notified = self._task_state is TaskState.FINISHED
        self._reason = reason  # set first, as above
        self._task_state, self._state = TaskState.CANCELLED, CANCELLED_AND_NOTIFIED
        self._outcome = self._asked = self.preview = None
        self.ended_at = self.ended_at or time.time()
        if not were_notified:
            for waiter in self._waiters:
                waiter.add_cancelled(self)
            self._condition.notify_all()

    # ------------------------------------------------------------------ in a forked child

    def forget_lock(self) -> None:
        """In a forked child: replace the lock if a thread of the parent held it."""
        if self._lock.acquire(blocking=False):
            self._lock.release()
        else:
            self._new_lock()

    def forget(self, error: BaseException) -> None:
        """In a forked child: end the future with an error, for the task is the parent's and its end does not come here.

        Watchers and callbacks live in the parent. Waiters are notified, for an iteration over futures may go on in the
        child.
        """
        self._new_lock()
        self._watchers, self._done_callbacks = {}, []
        if not self._task_state.terminal:
            self._outcome, self._task_state = Outcome.of(error), TaskState.FINISHED
        self._state = CANCELLED_AND_NOTIFIED if self._task_state is TaskState.CANCELLED else FINISHED
        for waiter in self._waiters:
            # A thread that is not here may hold the waiter's locks.
            vars(waiter).update(lock=threading.Lock(), event=threading.Event(), signal=Signal())
            waiter.add_exception(self)

    def set_running_or_notify_cancel(self) -> bool:
        """Raise an InvalidStateError: the engine alone says what runs."""
        raise InvalidStateError("a ScalerFuture is settled by its engine alone")

    def set_result(self, result: Any) -> None:
        """Raise an InvalidStateError: the engine alone settles the future."""
        raise InvalidStateError("a ScalerFuture is settled by its engine alone")

    def set_exception(self, exception: BaseException | None) -> None:
        """Raise an InvalidStateError: the engine alone settles the future."""
        raise InvalidStateError("a ScalerFuture is settled by its engine alone")
