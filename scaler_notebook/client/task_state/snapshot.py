"""The state of a task as its future knows it. Nothing here changes the state, blocks, or runs the user's code."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures._base import RUNNING
from typing import Any, Protocol

from scaler_notebook.protocol.messages import PreviewKind, ResultSummary, Task, TaskCancel, TaskFigures, TaskProgress
from scaler_notebook.protocol.states import CancelReason, TaskState

from .cancel_policy import CancelPolicy
from .outcome import Failure, Outcome
from .output import Display, Logs, Output, Piece, Text
from .references import reduce_as_input
from .trace import Moment, Trace


class FutureSession(Protocol):
    """The session that a future belongs to, which sends the future's requests to the engine."""

    def send_cancel(self, request: TaskCancel) -> None:
        """Send a cancel request; never blocks."""

    def resubmit(self, future: Any) -> Any:
        """Submit the call of a future again; return the new future."""

    def submit_with_value(
        self, future: Any, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Submit a call whose first argument is a future's value; return its future.

        Parameters
        ----------
        future
            The future.
        fn
            What is called.
        args, kwargs
            The arguments after the value.
        """

    def request_preview(self, future: Any) -> None:
        """Have a preview of a future's value made and added to the future, if one can be had; never blocks."""


class TaskSnapshot(Future):  # type: ignore[type-arg]  # generic for type checkers alone
    """The state, output, progress and figures of one task; :class:`~.lifecycle.TaskLifecycle` changes them.

    The standard library's own state (``_state``, ``_result``, ``_exception``, ``_waiters``) is kept in line, for
    ``concurrent.futures.wait``, ``as_completed`` and asyncio read it directly.

    Parameters
    ----------
    task_id, call, session, policy
        As :class:`~scaler_notebook.client.futures.future.ScalerFuture` has them.
    """

    def __init__(
        self, task_id: str, call: str = "", session: FutureSession | None = None, policy: CancelPolicy | None = None
    ) -> None:
        super().__init__()
        self._new_lock()
        self._state = RUNNING  # running() is true from submission on: the engine has the task
        self._task_state = TaskState.SUBMITTED
        self._reason: CancelReason | None = None
        self._outcome: Outcome | None = None
        self._session = session
        self._started = False
        self._asked: bool | None = None  # the force of the strongest unanswered request
        self._refused = False
        self._timed_out = False  # whether the deadline has requested the cancel
        self._output = Output()
        self._progress: TaskProgress | None = None
        self._moments: list[Moment] = []
        self.task_id = task_id
        self.task: Task | None = None  # what was submitted, for another try
        self.call = call
        self.policy = policy if policy is not None else CancelPolicy()
        self.submitted_at = time.time()
        self.started_at: float | None = None
        self.ended_at: float | None = None
        self.tries = 0  # how often the task was started, as far as known
        self.shows_result = True  # whether views show the result; a cell's is what it displays
        self.is_listed = True  # whether views, lists and the event log show the task; previews' tasks are not shown
        self.summary = ResultSummary()  # of the result, in a line
        self.preview: Display | None = None  # of the result, if one was made
        self.preview_requested = False
        self.processor = ""  # the process that runs or ran the task, as far as known
        self.inputs: dict[str, Any] = {}  # references and futures in the task's arguments, by id
        self.proxies: tuple[Any, ...] = ()  # of managers, in the call: they keep the managers' objects alive
        self.deadline: float | None = None  # of the task's timeout, in monotonic seconds
        self.origin = ""  # the id of the input whose failure, or cancel, ended the task
        self.figures = TaskFigures()
        self.bytes_received = 0  # size of the pickled value or exception

    def _new_lock(self) -> None:
        """Make the lock of the state, and the standard library's condition with that lock.

        ``with`` on the lock itself is safe from interrupts; on a condition, whose methods are Python code, it is not:
        an interrupt within its ``__enter__`` leaves it locked, and the agent's thread waiting for ever.
        """
        self._lock = threading.RLock()
        self._condition = threading.Condition(self._lock)

    @property
    def state(self) -> TaskState:
        """The state of the task."""
        return self._task_state

    @property
    def cancel_reason(self) -> CancelReason | None:
        """How the task ended, if it was cancelled."""
        return self._reason

    @property
    def session(self) -> FutureSession | None:
        """The session that the future belongs to; None for a future without an engine."""
        return self._session

    @property
    def refused(self) -> bool:
        """Whether the last cancel was refused, because the task went on after the grace period."""
        return self._refused

    @property
    def failed(self) -> bool:
        """Whether the task has finished with an exception. False while it is not done, and if it was cancelled."""
        outcome = self._outcome
        return outcome is not None and outcome.failed

    @property
    def failure(self) -> Failure | None:
        """The task's exception in words, if there is one; runs no code of the user's."""
        outcome = self._outcome
        return outcome.failure if outcome is not None and outcome.failed else None

    @property
    def result_bytes(self) -> int:
        """The size, in bytes, of a result that nobody has looked at yet; 0 afterwards."""
        outcome = self._outcome
        return outcome.nbytes if outcome is not None else 0

    @property
    def lacks_preview(self) -> bool:
        """Whether a preview would show more of the result than its summary says, and nobody has made one yet."""
        outcome = self._outcome
        has_value = outcome is not None and not outcome.failed and not outcome.retained_by_engine and self.shows_result
        return has_value and self.preview is None and self.summary.preview is not PreviewKind.NONE

    @property
    def logs(self) -> Logs:
        """What the task wrote to stdout and stderr so far, its subprocesses included."""
        return self._output.logs()

    def texts(self, start: int) -> list[Text]:
        """Return what the task wrote, in order, as ``(stream, text)``, without the first ``start`` pieces."""
        return self._output.texts(start)

    @property
    def displays(self) -> tuple[Display, ...]:
        """What the task displays, in order: ``display(obj)``, figures, plots."""
        return self._output.displays()

    @property
    def displayed(self) -> int:
        """How many displays the task has made, those that it cleared included."""
        return self._output.displayed

    def outputs(self) -> tuple[Piece, ...]:
        """Return text as ``(stream, text)`` and :class:`~.output.Display`, in the order in which the task made them.

        What the task has cleared (``clear_output``) is not among them.
        """
        return self._output.pieces()

    def last_output(self, size: int) -> tuple[str, bool]:
        """Return the last ``size`` characters of text in :meth:`outputs`, and whether there were more."""
        return self._output.tail(size)

    @property
    def progress(self) -> TaskProgress | None:
        """The progress that the task has reported last, None if it reports none; stays when the task has ended."""
        return self._progress

    def trace(self) -> Trace:
        """Return the task's messages so far, with their times: a sequence that prints as a small time line."""
        return Trace(f"{self.task_id}  {self.call}".rstrip(), self.submitted_at, tuple(self._moments))

    def done(self) -> bool:
        """Return whether the task is finished or cancelled."""
        return self._task_state.terminal

    def running(self) -> bool:
        """Return whether the engine has the task: True from submission on; ``state`` tells queued from running."""
        return not self._task_state.terminal

    def cancelled(self) -> bool:
        """Return whether the task was cancelled. False while the cancel is under way."""
        return self._task_state is TaskState.CANCELLED

    @property
    def origin_name(self) -> str:
        """The task whose failure, or cancel, ended this one, as a person reads it; empty for none."""
        if not self.origin:
            return ""
        for needed in self.inputs.values():
            if isinstance(needed, TaskSnapshot):
                if needed.task_id == self.origin and needed.call:
                    return f"{needed.call} ({self.origin})"
                if needed.origin == self.origin:
                    return needed.origin_name
        return self.origin

    @property
    def input_id(self) -> str:
        """The future's id among the inputs of a task."""
        return self.task_id

    def __reduce__(self) -> Any:
        return reduce_as_input(self, f"the future of {self.call or self.task_id}")

    def __repr__(self) -> str:
        text = self._task_state.value
        if self._reason is not None:
            text += f": {self._reason.value}"
        elif self.failed:
            text += " with an exception"
        return f"<ScalerFuture {self.task_id} {text}: {self.call or 'task'}>"

    @property
    def _result(self) -> Any:
        outcome = self._outcome
        return outcome.load()[0] if outcome is not None else None

    @_result.setter
    def _result(self, value: Any) -> None:
        """Return the value, for the standard library; None if there is none."""

    @property
    def _exception(self) -> BaseException | None:
        outcome = self._outcome
        return outcome.load()[1] if outcome is not None else None

    @_exception.setter
    def _exception(self, error: BaseException | None) -> None:
        """Return the exception, for the standard library; None if there is none."""
