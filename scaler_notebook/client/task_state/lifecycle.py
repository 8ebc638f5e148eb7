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
from typing import Any, TypeAlias

from typing_extensions import assert_never

from scaler_notebook.client.waiting import callback_thread
from scaler_notebook.client.waiting.locks import call_locked
from scaler_notebook.client.waiting.signal import Signal
from scaler_notebook.protocol.messages import (
    TaskCancel,
    TaskCancelConfirm,
    TaskDisplay,
    TaskLog,
    TaskProgress,
    TaskResult,
    TaskStarted,
)
from scaler_notebook.protocol.messages import TaskResultType as Result
from scaler_notebook.protocol.states import TABLE, Action, CancelReason, Event, TaskState

from .outcome import Outcome
from .output import Display
from .snapshot import TaskSnapshot
from .trace import What

Watcher = Callable[["TaskLifecycle"], None]
Message: TypeAlias = TaskStarted | TaskCancelConfirm | TaskResult

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

    def handle(
        self,
        event: Event,
        what: Message | BaseException | None = None,
        *,
        force: bool = True,
        grace: float | None = None,
        keep_result: bool = False,
    ) -> bool:
        """Apply an event by the state table; return False if nothing has changed.

        Parameters
        ----------
        event
            The event.
        what
            The engine's message; for ``ENGINE_LOST`` the error that says so, or the result that has ended all.
        force
            Of a request: whether the task's process is killed after the grace period.
        grace
            Of a request: the grace period in seconds; None: the policy's.
        keep_result
            Of a request: whether a task that has finished is left as it is.
        """
        effects = _Effects()
        try:
            call_locked(self._lock, self._apply, effects, event, what, force, grace, keep_result)
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

    def _apply(
        self,
        effects: "_Effects",
        event: Event,
        what: Message | BaseException | None,
        force: bool,
        grace: float | None,
        keep_result: bool,
    ) -> None:
        """Apply an event and note its side effects in ``effects``; with the lock held.

        Parameters
        ----------
        effects
            What is performed afterwards.
        event, what, force, grace, keep_result
            As for :meth:`handle`.
        """
        before = self._task_state
        action = TABLE[before, event]
        if event is Event.CANCEL_REQUESTED or event is Event.DEADLINE:
            if action is Action.IGNORE or (action is Action.DISCARD and keep_result):
                return
            if action is not Action.DISCARD:
                if self._asked is not None and (self._asked or not force):
                    return  # no stronger than the request under way
                effects.request = TaskCancel(self.task_id, force, self.policy.grace if grace is None else grace)
        if action is Action.NOT_PERMITTED:
            effects.complaint = f"{self.task_id}: {event.value} is not permitted in state {before.value}"
        effects.changed = self._carry_out(action, what, force)
        self._output.over = self._task_state.terminal
        self._moments.append((time.time(), event, effects.changed, _trace_form(effects.request or what)))

    def _carry_out(self, action: Action, what: Message | BaseException | None, force: bool) -> bool:
        """Carry out an action; return False if nothing changes. With the lock held.

        Parameters
        ----------
        action
            The state table's action.
        what
            The engine's message, or an error.
        force
            Of a request: whether the task's process is killed after the grace period.
        """
        match action:
            case Action.START | Action.REMEMBER_START:
                assert isinstance(what, TaskStarted)
                if what.attempt <= self.tries:
                    return False  # a repeated or late message
                self._started, self.tries = True, what.attempt
                self.started_at, self.processor = what.time, what.processor
                if action is Action.START:
                    self._task_state = TaskState.RUNNING
            case Action.REQUEST | Action.TIME_OUT:
                self._task_state, self._asked, self._refused = TaskState.CANCELLING, force, False
                self._timed_out = action is Action.TIME_OUT
            case Action.UPGRADE:
                self._asked = True
            case Action.DISCARD:
                self._cancelled(CancelReason.DISCARDED)
            case Action.WITHDRAW if isinstance(what, TaskCancelConfirm) and what.origin:
                self.origin = what.origin
                self._cancelled(CancelReason.PARENT_CANCELLED)
            case Action.WITHDRAW | Action.CONFIRM:
                self._cancelled_in_time(CancelReason.STOPPED if self._started else CancelReason.NEVER_STARTED)
            case Action.NOT_FOUND:
                self._cancelled(CancelReason.NOT_FOUND)
            case Action.REFUSE:
                assert isinstance(what, TaskCancelConfirm)
                if self._asked and not what.force:
                    return False  # weaker than the strongest request outstanding
                self._asked, self._refused, self._timed_out = None, True, False
                self._task_state = TaskState.RUNNING if self._started else TaskState.SUBMITTED
            case Action.FINISH:
                assert isinstance(what, TaskResult)
                self._take_figures(what)
                self.origin = what.origin
                self._finished(Outcome(what.outcome, what.payload, self.call, self.origin_name, what.death))
            case Action.TOO_LATE:
                assert isinstance(what, TaskResult)
                self._take_figures(what)
                success = what.outcome is Result.SUCCESS
                self._cancelled_in_time(CancelReason.FINISHED_FIRST if success else CancelReason.FAILED_FIRST)
            case Action.LOSE if isinstance(what, TaskResult):  # another task's result, which has ended all
                self._finished(Outcome(what.outcome, what.payload, self.call))
            case Action.LOSE:
                assert isinstance(what, BaseException)
                self._finished(Outcome.of(what))
            case Action.DISCONNECT:
                self._cancelled(CancelReason.DISCONNECTED)
            case Action.IGNORE | Action.NOT_PERMITTED:
                return False
            case _:
                assert_never(action)
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
            except Exception:  # a view's error must not reach the task or the other watchers
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


def _trace_form(what: Message | TaskCancel | BaseException | None) -> What:
    """Return what a trace keeps of a message or an error, without a result's payload and an error's frames."""
    match what:
        case TaskResult():
            return what.outcome
        case BaseException():
            return f"{type(what).__name__}: {what}"
    return what
