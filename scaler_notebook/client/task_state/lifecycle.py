"""The life of a task as its future sees it: the state table carried out, and whoever watches told.

:data:`scaler_notebook.protocol.states.TABLE` decides what an event does; :meth:`TaskLifecycle.handle` does it under
the future's lock, and everything foreign (callbacks, sending, waking) after the lock is released.
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
from scaler_notebook.client.waiting.locks import holding
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
from scaler_notebook.protocol.states import TABLE, CancelReason, FutureAction, FutureEvent, TaskState

from .outcome import Outcome
from .output import Display
from .snapshot import TaskFacts
from .trace import What

Watcher = Callable[["TaskLifecycle"], None]
Message: TypeAlias = TaskStarted | TaskCancelConfirm | TaskResult

log = logging.getLogger(__name__)


class _Follows:
    """What follows from one event."""

    __slots__ = ("changed", "complaint", "request")

    def __init__(self) -> None:
        self.changed = False  # is anybody to be told?
        self.complaint = ""  # for the log
        self.request: TaskCancel | None = None  # to be sent


class TaskLifecycle(TaskFacts):
    """Events and watchers of one task.

    :class:`~scaler_notebook.client.futures.future.ScalerFuture` adds what users call.
    """

    _done_callbacks: list[Callable[[Any], object]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._watchers: dict[Watcher, None] = {}  # in their order

    # ------------------------------------------------------------------ who is told

    def watch(self, watcher: Watcher) -> None:
        """For views and waits: ``watcher(future)`` is called after every change, on the thread that made it.

        It must not block and must not run the user's code; what it wants to know it reads from the future.
        """
        # One step, as is what removes it: so there is no lock, which an interrupt could leave locked.
        self._watchers[watcher] = None

    def unwatch(self, watcher: Watcher) -> None:
        """End a :meth:`watch`."""
        self._watchers.pop(watcher, None)

    # ------------------------------------------------------------------ events

    def handle(
        self,
        event: FutureEvent,
        what: Message | BaseException | None = None,
        *,
        force: bool = True,
        grace: float | None = None,
        keep_result: bool = False,
    ) -> bool:
        """Apply an event by the state table; False if it changed nothing. For the manager and for requests.

        Parameters
        ----------
        what
            The engine's message; for ``ENGINE_LOST`` the error that says so, or the result that has ended all.
        force, grace
            Of a request; without a grace period the policy's.
        keep_result
            A request leaves what has finished as it is.
        """
        follows = _Follows()
        try:
            holding(self._lock, self._apply, follows, event, what, force, grace, keep_result)
            self._act_upon(follows)
        except BaseException:  # an interrupt: what has changed is followed by what belongs to it all the same
            follows.changed = True
            self._act_upon(follows)
            raise
        return follows.changed

    def _act_upon(self, follows: "_Follows") -> None:
        """Send, call and tell what follows from an event; without the lock."""
        if follows.complaint:
            log.error(follows.complaint)
            follows.complaint = ""
        if follows.request is not None and self._asked is not None and self._courier is not None:
            self._courier.send_cancel(follows.request)
        follows.request = None
        while self._task_state.terminal and self._done_callbacks:
            with suppress(IndexError):  # another thread was quicker
                callback_thread.post(self._done_callbacks.pop(0), self)
        if follows.changed:
            self._tell_watchers()

    def _apply(
        self,
        follows: "_Follows",
        event: FutureEvent,
        what: Message | BaseException | None,
        force: bool,
        grace: float | None,
        keep_result: bool,
    ) -> None:
        """With the lock held."""
        before = self._task_state
        action = TABLE[before, event]
        if event is FutureEvent.CANCEL_REQUESTED or event is FutureEvent.DEADLINE:
            if action is FutureAction.IGNORE or (action is FutureAction.DISCARD and keep_result):
                return
            if action is not FutureAction.DISCARD:
                if self._asked is not None and (self._asked or not force):
                    return  # it is no stronger than the request that is under way
                follows.request = TaskCancel(self.task_id, force, self.policy.grace if grace is None else grace)
        if action is FutureAction.NOT_PERMITTED:
            follows.complaint = f"{self.task_id}: {event.value} is not permitted in state {before.value}"
        follows.changed = self._carry_out(action, what, force)
        self._output.over = self._task_state.terminal
        self._moments.append((time.time(), event, follows.changed, _to_note(follows.request or what)))

    def _carry_out(self, action: FutureAction, what: Message | BaseException | None, force: bool) -> bool:
        """With the lock held; False if nothing changes."""
        match action:
            case FutureAction.START | FutureAction.START_AGAIN | FutureAction.REMEMBER_START:
                assert isinstance(what, TaskStarted)
                if what.attempt <= self.tries:
                    return False  # that has been said
                self._started, self.tries = True, what.attempt
                self.started_at, self.processor = what.time, what.processor
                if action is FutureAction.START:
                    self._task_state = TaskState.RUNNING
            case FutureAction.REQUEST | FutureAction.TIME_OUT:
                self._task_state, self._asked, self._refused = TaskState.CANCELLING, force, False
                self._timed_out = action is FutureAction.TIME_OUT
            case FutureAction.UPGRADE:
                self._asked = True
            case FutureAction.DISCARD:
                self._cancelled(CancelReason.DISCARDED)
            case FutureAction.WITHDRAW if isinstance(what, TaskCancelConfirm) and what.origin:
                self.origin = what.origin
                self._cancelled(CancelReason.PARENT_CANCELLED)
            case FutureAction.WITHDRAW | FutureAction.CONFIRM:
                self._cancelled_in_time(CancelReason.STOPPED if self._started else CancelReason.NEVER_STARTED)
            case FutureAction.NOT_FOUND:
                self._cancelled(CancelReason.NOT_FOUND)
            case FutureAction.REFUSE:
                assert isinstance(what, TaskCancelConfirm)
                if self._asked and not what.force:
                    return False  # weaker than the strongest request outstanding
                self._asked, self._refused, self._timed_out = None, True, False
                self._task_state = TaskState.RUNNING if self._started else TaskState.SUBMITTED
            case FutureAction.FINISH:
                assert isinstance(what, TaskResult)
                self._take_figures(what)
                self.origin = what.origin
                self._finished(Outcome(what.outcome, what.payload, self.call, self.origin_name, what.process_exit))
            case FutureAction.TOO_LATE:
                assert isinstance(what, TaskResult)
                self._take_figures(what)
                success = what.outcome is Result.SUCCESS
                self._cancelled_in_time(CancelReason.FINISHED_FIRST if success else CancelReason.FAILED_FIRST)
            case FutureAction.LOSE if isinstance(what, TaskResult):  # another's, which has ended all
                self._finished(Outcome(what.outcome, what.payload, self.call))
            case FutureAction.LOSE:
                assert isinstance(what, BaseException)
                self._finished(Outcome.of(what))
            case FutureAction.DISCONNECT:
                self._cancelled(CancelReason.DISCONNECTED)
            case FutureAction.IGNORE | FutureAction.RELEASE | FutureAction.NOT_PERMITTED:
                return False
            case _:
                assert_never(action)
        return True

    def add_log(self, message: TaskLog) -> None:
        """Keep what the task wrote."""
        self._output.add(message.stream, message.text)
        self._tell_watchers()

    def add_display(self, message: TaskDisplay) -> None:
        """Keep what the task displays."""
        self._output.add_display(message)
        self._tell_watchers()

    def add_preview(self, preview: Display) -> None:
        """Keep what its result looks like, unless that is discarded already."""
        if self._outcome is not None and preview.bundle:
            self.preview = preview
            self._tell_watchers()

    def add_progress(self, message: TaskProgress) -> None:
        """Keep how far the task is."""
        self._progress = message
        self._tell_watchers()

    def _tell_watchers(self) -> None:
        for watcher in list(self._watchers):
            try:
                watcher(self)
            except Exception:  # a view's trouble is neither the task's nor that of who else is told
                log.exception("what follows the task %s raised", self.task_id)

    def _take_figures(self, result: TaskResult) -> None:
        if result.origin or result.outcome is Result.MISSING_OBJECTS:
            return  # it never ran
        self.figures, self.bytes_received = result.figures, result.payload.nbytes
        self.summary = result.summary
        self._started, self.tries = True, max(1, self.tries)
        self.started_at = self.started_at or result.figures.started or None
        self.processor = self.processor or result.figures.processor
        self.ended_at = result.figures.ended or time.time()

    def _finished(self, outcome: Outcome) -> None:
        """→ FINISHED. With the lock held, as ``wait`` and ``as_completed`` require."""
        self._outcome = outcome  # first: who finds the future done looks at it, under no lock
        self._task_state, self._state = TaskState.FINISHED, FINISHED
        self.ended_at = self.ended_at or time.time()
        for waiter in self._waiters:
            (waiter.add_exception if outcome.failed else waiter.add_result)(self)
        self._condition.notify_all()

    def _cancelled_in_time(self, reason: CancelReason) -> None:
        """→ CANCELLED for this reason, unless it was the deadline that asked."""
        self._cancelled(CancelReason.TIMED_OUT if self._timed_out else reason)

    def _cancelled(self, reason: CancelReason) -> None:
        """→ CANCELLED. With the lock held. Those who were told of FINISHED are not told again."""
        told = self._task_state is TaskState.FINISHED
        self._reason = reason  # first, as above
        self._task_state, self._state = TaskState.CANCELLED, CANCELLED_AND_NOTIFIED
        self._outcome = self._asked = self.preview = None
        self.ended_at = self.ended_at or time.time()
        if not told:
            for waiter in self._waiters:
                waiter.add_cancelled(self)
            self._condition.notify_all()

    # ------------------------------------------------------------------ in a forked child

    def forget_lock(self) -> None:
        """In a forked child: a thread that is not here may have held the lock."""
        if self._lock.acquire(blocking=False):
            self._lock.release()
        else:
            self._new_lock()

    def forget(self, error: BaseException) -> None:
        """In a forked child: the task is the parent's, and its end does not come here; ``error`` says so.

        Whoever is told of it lives in the parent, but for an iteration over futures that the child goes on with.
        """
        self._new_lock()
        self._watchers, self._done_callbacks = {}, []
        if not self._task_state.terminal:
            self._outcome, self._task_state = Outcome.of(error), TaskState.FINISHED
        self._state = CANCELLED_AND_NOTIFIED if self._task_state is TaskState.CANCELLED else FINISHED
        for waiter in self._waiters:
            # What it has of locks may be in the hands of a thread that is not here.
            vars(waiter).update(lock=threading.Lock(), event=threading.Event(), signal=Signal())
            waiter.add_exception(self)

    def set_running_or_notify_cancel(self) -> bool:
        """Not for this future: the engine alone says what runs."""
        raise InvalidStateError("a ScalerFuture is settled by its engine alone")

    def set_result(self, result: Any) -> None:
        """Not for this future: the engine alone settles it."""
        raise InvalidStateError("a ScalerFuture is settled by its engine alone")

    def set_exception(self, exception: BaseException | None) -> None:
        """Not for this future: the engine alone settles it."""
        raise InvalidStateError("a ScalerFuture is settled by its engine alone")


def _to_note(what: Message | TaskCancel | BaseException | None) -> What:
    """What a trace keeps of a message: neither a result's payload nor an error's frames are its to hold."""
    match what:
        case TaskResult():
            return what.outcome
        case BaseException():
            return f"{type(what).__name__}: {what}"
    return what
