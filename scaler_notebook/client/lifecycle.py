"""The life of a task as its future sees it: the state table carried out, and whoever watches told.

:data:`scaler_notebook.protocol.states.TABLE` decides what an event does; :meth:`TaskLifecycle.handle` does it under
the future's lock, and everything foreign (callbacks, sending, waking) after the lock is released.
"""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED, RUNNING
from functools import partial
from typing import Any, Protocol

from typing_extensions import assert_never

from ..protocol.messages import (
    LogStream,
    Payload,
    TaskCancel,
    TaskCancelConfirm,
    TaskFigures,
    TaskLog,
    TaskResult,
    TaskResultType,
    TaskStarted,
)
from ..protocol.states import TABLE, Action, CancelReason, Event, TaskState
from . import callbacks
from .outcome import Failure, Logs, failure_of, unpickle

Watcher = Callable[["TaskLifecycle"], None]

DEFAULT_GRACE = 1.0  # seconds between the interrupt and what follows it

log = logging.getLogger(__name__)


class Courier(Protocol):
    """Takes a future's requests to the engine."""

    def send_cancel(self, request: TaskCancel) -> None:
        """Send it; never blocks."""


class TaskLifecycle(Future):  # type: ignore[type-arg]  # generic for type checkers alone
    """State, events and watchers of one task; :class:`~.future.ScalerFuture` adds what users call.

    The standard library's own state (``_state``, ``_result``, ``_exception``, ``_waiters``) is kept in line, for
    ``concurrent.futures.wait``, ``as_completed`` and asyncio read it directly.
    """

    _done_callbacks: list[Callable[[Any], object]]

    def __init__(
        self, task_id: str, call: str = "", courier: Courier | None = None, grace: float = DEFAULT_GRACE
    ) -> None:
        self._value: Any = None
        self._error: BaseException | None = None
        self._payload: Payload | None = None  # of the outcome, until somebody looks at it
        super().__init__()
        self._state = RUNNING  # running() is true from submission on: the engine has the task
        self._task_state = TaskState.SUBMITTED
        self._reason: CancelReason | None = None
        self._outcome: TaskResultType | None = None
        self._courier = courier
        self._started = False
        self._asked: bool | None = None  # the strength of the strongest request that is unanswered
        self._refused = False
        self._failure: Failure | None = None
        self._watchers: tuple[Watcher, ...] = ()
        self._logs: list[tuple[LogStream, str]] = []
        self.task_id = task_id
        self.call = call
        self.grace = grace
        self.submitted_at = time.time()
        self.started_at: float | None = None
        self.ended_at: float | None = None
        self.figures = TaskFigures()

    # ------------------------------------------------------------------ queries: never block

    @property
    def state(self) -> TaskState:
        """Where the task is."""
        return self._task_state

    @property
    def cancel_reason(self) -> CancelReason | None:
        """How it ended, if it was cancelled."""
        return self._reason

    @property
    def refused(self) -> bool:
        """Was the last cancel refused, because the task went on after the grace period?"""
        return self._refused

    @property
    def failed(self) -> bool:
        """Has it finished with an exception? (False as well while it is not done, or if it was cancelled.)"""
        if self._task_state is not TaskState.FINISHED:
            return False
        return self._error is not None or self._outcome is not TaskResultType.SUCCESS

    @property
    def logs(self) -> Logs:
        """What it wrote to stdout and stderr so far, its subprocesses included."""
        parts = list(self._logs)
        out, err = ("".join(text for stream, text in parts if stream is wanted) for wanted in LogStream)
        return Logs(out, err)

    def last_output(self, size: int) -> tuple[str, bool]:
        """The last ``size`` characters of both streams as they arrived, and whether there were more."""
        parts: list[str] = []
        length = 0
        for _, text in reversed(self._logs):
            parts.append(text)
            length += len(text)
            if length > size:
                break
        return "".join(reversed(parts))[-size:], length > size

    @property
    def failure(self) -> Failure | None:
        """Its exception in words, if it has one; runs no code of the user's."""
        if not self.failed:
            return None
        if self._failure is None:
            self._failure = failure_of(self._outcome, self._payload, self._error)
        return self._failure

    @property
    def result_bytes(self) -> int:
        """Size of a result that nobody has looked at yet; 0 afterwards."""
        payload = self._payload
        return payload.nbytes if payload is not None else 0

    def done(self) -> bool:
        """Is it finished or cancelled?"""
        return self._task_state.terminal

    def running(self) -> bool:
        """Has the engine got it? True from submission on; ``state`` tells queued from running."""
        return not self._task_state.terminal

    def cancelled(self) -> bool:
        """Was it cancelled? Not while the cancel is under way."""
        return self._task_state is TaskState.CANCELLED

    def __repr__(self) -> str:
        text = self._task_state.value
        if self._reason is not None:
            text += f": {self._reason.value}"
        elif self.failed:
            text += " with an exception"
        return f"<ScalerFuture {self.task_id} {text}: {self.call or 'task'}>"

    # ------------------------------------------------------------------ what others read directly

    def _load(self) -> None:
        """Unpickle the outcome, on the thread that asked for it, under no lock. Who is first wins."""
        payload, outcome = self._payload, self._outcome
        if payload is None or outcome is None:
            return
        value, error = unpickle(outcome, payload, self.call)
        with self._condition:
            if self._payload is payload:
                self._value, self._error, self._payload = value, error, None

    @property
    def _result(self) -> Any:
        self._load()
        return self._value

    @_result.setter
    def _result(self, value: Any) -> None:
        self._value = value

    @property
    def _exception(self) -> BaseException | None:
        self._load()
        return self._error

    @_exception.setter
    def _exception(self, error: BaseException | None) -> None:
        self._error = error

    # ------------------------------------------------------------------ who is told

    def watch(self, watcher: Watcher) -> None:
        """For views and waits: ``watcher(future)`` is called after every change, on the thread that made it.

        It must not block and must not run the user's code; what it wants to know it reads from the future.
        """
        with self._condition:
            self._watchers = (*self._watchers, watcher)

    def unwatch(self, watcher: Watcher) -> None:
        """End a :meth:`watch`."""
        with self._condition:
            self._watchers = tuple(w for w in self._watchers if w is not watcher)

    # ------------------------------------------------------------------ events

    def handle(
        self,
        event: Event,
        *,
        force: bool = True,
        started: TaskStarted | None = None,
        confirm: TaskCancelConfirm | None = None,
        result: TaskResult | None = None,
        error: BaseException | None = None,
        keep_result: bool = False,
    ) -> bool:
        """Apply an event by the state table; False if it changed nothing.

        Called by the manager and by requests, never by users. With ``keep_result`` a request leaves what has
        finished as it is.
        """
        before = self._task_state
        request: TaskCancel | None = None
        with self._condition:
            was_done = self._task_state.terminal
            action = TABLE[self._task_state, event]
            if action is Action.DISCARD and keep_result:
                return False
            match action:
                case Action.START | Action.REMEMBER_START:
                    self._started = True
                    self.started_at = started.time if started is not None else time.time()
                    if action is Action.START:
                        self._task_state = TaskState.RUNNING
                case Action.REQUEST:
                    self._task_state = TaskState.CANCELLING
                    self._refused = False
                    self._asked = force
                    request = TaskCancel(self.task_id, force, self.grace)
                case Action.UPGRADE:
                    if not force or self._asked:
                        return False
                    self._asked = True
                    request = TaskCancel(self.task_id, force, self.grace)
                case Action.DISCARD:
                    self._cancelled(CancelReason.DISCARDED)
                case Action.WITHDRAW | Action.CONFIRM:
                    self._cancelled(CancelReason.STOPPED if self._started else CancelReason.NEVER_STARTED)
                case Action.NOT_FOUND:
                    self._cancelled(CancelReason.NOT_FOUND)
                case Action.REFUSE:
                    if self._asked and confirm is not None and not confirm.force:
                        return False  # weaker than the strongest request outstanding
                    self._asked = None
                    self._refused = True
                    self._task_state = TaskState.RUNNING if self._started else TaskState.SUBMITTED
                case Action.FINISH:
                    assert result is not None
                    self._take_figures(result)
                    self._finished(result.outcome, payload=result.payload)
                case Action.TOO_LATE:
                    assert result is not None
                    self._take_figures(result)
                    success = result.outcome is TaskResultType.SUCCESS
                    self._cancelled(CancelReason.FINISHED_FIRST if success else CancelReason.FAILED_FIRST)
                case Action.LOSE:
                    self._finished(None, error=error)
                case Action.DISCONNECT:
                    self._cancelled(CancelReason.DISCONNECTED)
                case Action.IGNORE | Action.FREE:
                    return False
                case Action.NOT_PERMITTED:
                    pass
                case _:
                    assert_never(action)
            if not was_done and self._task_state.terminal:
                done_callbacks = list(self._done_callbacks)
                self._done_callbacks.clear()
            else:
                done_callbacks = []
        if action is Action.NOT_PERMITTED:
            log.error("%s: %s is not permitted in state %s", self.task_id, event.value, before.value)
            return False
        if request is not None and self._courier is not None:
            self._courier.send_cancel(request)
        for callback in done_callbacks:
            callbacks.post(partial(callback, self))
        self._tell_watchers()
        return True

    def add_log(self, message: TaskLog) -> None:
        """Keep what the task wrote."""
        self._logs.append((message.stream, message.text))
        self._tell_watchers()

    def _tell_watchers(self) -> None:
        for watcher in self._watchers:
            watcher(self)

    def _take_figures(self, result: TaskResult) -> None:
        self.figures = result.figures
        self._started = True
        self.started_at = self.started_at or result.figures.started or None
        self.ended_at = result.figures.ended or time.time()

    def _finished(
        self,
        outcome: TaskResultType | None,
        payload: Payload | None = None,
        error: BaseException | None = None,
    ) -> None:
        """→ FINISHED. With the lock held, as ``wait`` and ``as_completed`` require."""
        self._task_state, self._state = TaskState.FINISHED, FINISHED
        self._outcome, self._payload, self._error = outcome, payload, error
        self.ended_at = self.ended_at or time.time()
        failed = outcome is not TaskResultType.SUCCESS
        for waiter in self._waiters:
            (waiter.add_exception if failed else waiter.add_result)(self)
        self._condition.notify_all()

    def _cancelled(self, reason: CancelReason) -> None:
        """→ CANCELLED. With the lock held. Those who were told of FINISHED are not told again."""
        told = self._task_state is TaskState.FINISHED
        self._task_state, self._state, self._reason = TaskState.CANCELLED, CANCELLED_AND_NOTIFIED, reason
        self._payload = self._value = self._error = None
        self._asked = None
        self.ended_at = self.ended_at or time.time()
        if not told:
            for waiter in self._waiters:
                waiter.add_cancelled(self)
            self._condition.notify_all()

    def set_running_or_notify_cancel(self) -> bool:
        """Not for this future: the engine alone says what runs."""
        raise InvalidStateError("a ScalerFuture is settled by its engine alone")

    def set_result(self, result: Any) -> None:
        """Not for this future: the engine alone settles it."""
        raise InvalidStateError("a ScalerFuture is settled by its engine alone")

    def set_exception(self, exception: BaseException | None) -> None:
        """Not for this future: the engine alone settles it."""
        raise InvalidStateError("a ScalerFuture is settled by its engine alone")
