"""The life of a task as its future sees it: the state table carried out, and whoever watches told.

:data:`scaler_notebook.protocol.states.TABLE` decides what an event does; :meth:`TaskLifecycle.handle` does it under
the future's lock, and everything foreign (callbacks, sending, waking) after the lock is released.
"""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED, RUNNING
from typing import Any, Protocol, TypeAlias

from typing_extensions import assert_never

from ..protocol.messages import (
    Task,
    TaskCancel,
    TaskCancelConfirm,
    TaskDisplay,
    TaskFigures,
    TaskLog,
    TaskProgress,
    TaskResult,
    TaskStarted,
)
from ..protocol.messages import TaskResultType as Result
from ..protocol.states import TABLE, Action, CancelReason, Event, TaskState
from . import callbacks
from .outcome import Failure, Outcome
from .output import Display, Logs, Output, Piece, Text
from .policy import Policy
from .references import stand_in
from .trace import Moment, Trace, What

Watcher = Callable[["TaskLifecycle"], None]
Message: TypeAlias = TaskStarted | TaskCancelConfirm | TaskResult

log = logging.getLogger(__name__)


class Courier(Protocol):
    """Takes a future's requests to the engine."""

    def send_cancel(self, request: TaskCancel) -> None:
        """Send it; never blocks."""

    def resubmit(self, future: "TaskLifecycle") -> Any:
        """Submit the same call again; gives its future."""

    def follow(
        self, future: "TaskLifecycle", fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Submit a call that gets the future's value before ``args``; gives its future."""


class TaskLifecycle(Future):  # type: ignore[type-arg]  # generic for type checkers alone
    """State, events and watchers of one task; :class:`~.future.ScalerFuture` adds what users call.

    The standard library's own state (``_state``, ``_result``, ``_exception``, ``_waiters``) is kept in line, for
    ``concurrent.futures.wait``, ``as_completed`` and asyncio read it directly.
    """

    _done_callbacks: list[Callable[[Any], object]]

    def __init__(
        self, task_id: str, call: str = "", courier: Courier | None = None, policy: Policy | None = None
    ) -> None:
        super().__init__()
        self._state = RUNNING  # running() is true from submission on: the engine has the task
        self._task_state = TaskState.SUBMITTED
        self._reason: CancelReason | None = None
        self._outcome: Outcome | None = None
        self._courier = courier
        self._started = False
        self._asked: bool | None = None  # the strength of the strongest request that is unanswered
        self._refused = False
        self._timed_out = False  # was it the deadline that asked first?
        self._watchers: tuple[Watcher, ...] = ()
        self._output = Output()
        self._progress: TaskProgress | None = None
        self._moments: list[Moment] = []
        self.task_id = task_id
        self.task: Task | None = None  # what was submitted, for another try
        self.call = call
        self.policy = policy if policy is not None else Policy()
        self.submitted_at = time.time()
        self.started_at: float | None = None
        self.ended_at: float | None = None
        self.tries = 0  # how often it was started, as far as known
        self.shows_result = True  # do views show its result? A cell's is what it displays
        self.processor = ""  # where it runs or ran, as far as known
        self.inputs: dict[str, Any] = {}  # references and futures in its arguments, by id
        self.origin = ""  # the input whose failure, or cancel, was its end
        self.figures = TaskFigures()
        self.bytes_received = 0  # of its pickled value or exception

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
    def courier(self) -> Courier | None:
        """What takes its requests to the engine: the connection that it belongs to."""
        return self._courier

    @property
    def refused(self) -> bool:
        """Was the last cancel refused, because the task went on after the grace period?"""
        return self._refused

    @property
    def failed(self) -> bool:
        """Has it finished with an exception? (False as well while it is not done, or if it was cancelled.)"""
        outcome = self._outcome
        return outcome is not None and outcome.failed

    @property
    def failure(self) -> Failure | None:
        """Its exception in words, if it has one; runs no code of the user's."""
        outcome = self._outcome
        return outcome.failure if outcome is not None and outcome.failed else None

    @property
    def result_bytes(self) -> int:
        """Size of a result that nobody has looked at yet; 0 afterwards."""
        outcome = self._outcome
        return outcome.nbytes if outcome is not None else 0

    @property
    def logs(self) -> Logs:
        """What it wrote to stdout and stderr so far, its subprocesses included."""
        return self._output.logs()

    def texts(self, start: int) -> list[Text]:
        """What it wrote, in order, as ``(stream, text)``, but for the first ``start`` pieces."""
        return self._output.texts(start)

    @property
    def displays(self) -> tuple[Display, ...]:
        """What it displays, in order: ``display(obj)``, figures, plots."""
        return self._output.displays()

    @property
    def displayed(self) -> int:
        """How many displays it has made, those that it cleared included."""
        return self._output.displayed

    def outputs(self) -> tuple[Piece, ...]:
        """Text as ``(stream, text)`` and :class:`~.output.Display`, in the order in which it wrote and displayed them.

        What it has cleared (``clear_output``) is not among them.
        """
        return self._output.pieces()

    def last_output(self, size: int) -> tuple[str, bool]:
        """The last ``size`` characters of text in :meth:`outputs`, and whether there were more."""
        return self._output.tail(size)

    @property
    def progress(self) -> TaskProgress | None:
        """How far it says it is, if it says so; the last word stays when it has ended."""
        return self._progress

    def trace(self) -> Trace:
        """Its messages so far, with their times: a sequence that prints as a small time line."""
        return Trace(f"{self.task_id}  {self.call}".rstrip(), self.submitted_at, tuple(self._moments))

    def done(self) -> bool:
        """Is it finished or cancelled?"""
        return self._task_state.terminal

    def running(self) -> bool:
        """Has the engine got it? True from submission on; ``state`` tells queued from running."""
        return not self._task_state.terminal

    def cancelled(self) -> bool:
        """Was it cancelled? Not while the cancel is under way."""
        return self._task_state is TaskState.CANCELLED

    @property
    def origin_name(self) -> str:
        """What a person reads of the task whose failure, or cancel, was the end of this one; empty for none."""
        if not self.origin:
            return ""
        for needed in self.inputs.values():
            if isinstance(needed, TaskLifecycle):
                if needed.task_id == self.origin and needed.call:
                    return f"{needed.call} ({self.origin})"
                if needed.origin == self.origin:
                    return needed.origin_name
        return self.origin

    @property
    def input_id(self) -> str:
        """Its id among the inputs of a task."""
        return self.task_id

    def __reduce__(self) -> Any:
        return stand_in(self, f"the future of {self.call or self.task_id}")

    def __repr__(self) -> str:
        text = self._task_state.value
        if self._reason is not None:
            text += f": {self._reason.value}"
        elif self.failed:
            text += " with an exception"
        return f"<ScalerFuture {self.task_id} {text}: {self.call or 'task'}>"

    # ------------------------------------------------------------------ what others read directly

    @property
    def _result(self) -> Any:
        outcome = self._outcome
        return outcome.load()[0] if outcome is not None else None

    @_result.setter
    def _result(self, value: Any) -> None:
        """The standard library's constructor sets it; what counts is the outcome."""

    @property
    def _exception(self) -> BaseException | None:
        outcome = self._outcome
        return outcome.load()[1] if outcome is not None else None

    @_exception.setter
    def _exception(self, error: BaseException | None) -> None:
        """As above."""

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
            self._watchers = tuple(w for w in self._watchers if w != watcher)

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
        request: TaskCancel | None = None
        with self._condition:
            before = self._task_state
            action = TABLE[before, event]
            if event is Event.CANCEL_REQUESTED or event is Event.DEADLINE:
                if action is Action.IGNORE or (action is Action.DISCARD and keep_result):
                    return False
                if action is not Action.DISCARD:
                    if self._asked is not None and (self._asked or not force):
                        return False  # it is no stronger than the request that is under way
                    request = TaskCancel(self.task_id, force, self.policy.grace if grace is None else grace)
            changed = self._carry_out(action, what, force)
            self._moments.append((time.time(), event, changed, _to_note(request or what)))
            done_callbacks: list[Callable[[Any], object]] = []
            if self._task_state.terminal and not before.terminal:
                done_callbacks, self._done_callbacks = self._done_callbacks, []
        if action is Action.NOT_PERMITTED:
            log.error("%s: %s is not permitted in state %s", self.task_id, event.value, before.value)
        if request is not None and self._courier is not None:
            self._courier.send_cancel(request)
        for callback in done_callbacks:
            callbacks.post(callback, self)
        if changed:
            self._tell_watchers()
        return changed

    def _carry_out(self, action: Action, what: Message | BaseException | None, force: bool) -> bool:
        """With the lock held; False if nothing changes."""
        match action:
            case Action.START | Action.START_AGAIN | Action.REMEMBER_START:
                assert isinstance(what, TaskStarted)
                if what.attempt <= self.tries:
                    return False  # that has been said
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
            case Action.LOSE if isinstance(what, TaskResult):  # another's, which has ended all
                self._finished(Outcome(what.outcome, what.payload, self.call))
            case Action.LOSE:
                assert isinstance(what, BaseException)
                self._finished(Outcome.of(what))
            case Action.DISCONNECT:
                self._cancelled(CancelReason.DISCONNECTED)
            case Action.IGNORE | Action.FREE | Action.NOT_PERMITTED:
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

    def add_progress(self, message: TaskProgress) -> None:
        """Keep how far the task is."""
        self._progress = message
        self._tell_watchers()

    def _tell_watchers(self) -> None:
        for watcher in self._watchers:
            watcher(self)

    def _take_figures(self, result: TaskResult) -> None:
        if result.origin or result.outcome is Result.MISSING_OBJECTS:
            return  # it never ran
        self.figures, self.bytes_received = result.figures, result.payload.nbytes
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
        self._outcome = self._asked = None
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


def _to_note(what: Message | TaskCancel | BaseException | None) -> What:
    """What a trace keeps of a message: neither a result's payload nor an error's frames are its to hold."""
    match what:
        case TaskResult():
            return what.outcome
        case BaseException():
            return f"{type(what).__name__}: {what}"
    return what
