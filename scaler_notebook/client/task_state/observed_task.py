"""One task as its client observes it: what is known of it, and who watches it.

Nothing here changes the state, blocks, or runs the user's code: :mod:`.lifecycle` changes the state.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures._base import RUNNING
from types import MappingProxyType
from typing import Any

from scaler_notebook.client.waiting.permission import is_agents_thread
from scaler_notebook.protocol.future_events import DeadlineReached
from scaler_notebook.protocol.messages import (
    PreviewKind,
    ResultSummary,
    Task,
    TaskAttemptFailed,
    TaskBrief,
    TaskDisplay,
    TaskFigures,
    TaskItem,
    TaskLog,
    TaskNested,
    TaskProgress,
    TaskStarted,
)
from scaler_notebook.protocol.states import CancelReason, TaskState

from .cancel_policy import CancelPolicy
from .future_session import FutureSession
from .outcome import Failure, Outcome
from .output import Display, Logs, Output, Piece
from .references import reduce_as_input
from .trace import Moment, Trace

Watcher = Callable[["ObservedTask"], None]

NO_FIGURES, NO_SUMMARY = TaskFigures(), ResultSummary()
NO_OUTPUT = Output()  # of the tasks that write nothing: most; nothing is added to it
NO_INPUTS: Mapping[str, Any] = MappingProxyType({})

log = logging.getLogger(__name__)


class ObservedTask(Future):  # type: ignore[type-arg]  # generic for type checkers alone
    """The state, output, progress and figures of one task.

    :class:`~scaler_notebook.client.futures.future.ScalerFuture` adds what users call.

    The standard library's own state (``_state``, ``_result``, ``_exception``, ``_waiters``) is kept in line, for
    ``concurrent.futures.wait``, ``as_completed`` and asyncio read it directly.

    Parameters
    ----------
    task_id
        The task's id, unique among all clients.
    call
        The call as a person reads it.
    session
        What sends the future's requests to the engine; None for a future without an engine.
    policy
        How the task is cancelled; shared with the executor.
    """

    # What most futures never change stands in the class: ten thousand of them may be held.
    _made_condition: threading.Condition | None = None
    _reason: CancelReason | None = None
    _asked: bool | None = None  # the force of the strongest unanswered request
    _refused = False
    killed = False  # has the engine stopped the task by the kill of its process, in the middle of its run?
    _timed_out: DeadlineReached | None = None  # the deadline that has requested the cancel
    _progress: TaskProgress | None = None
    failed_tries = 0  # how many tries have failed with another one to follow
    shows_result = True  # whether views show the result; a cell's is what it displays
    is_listed = True  # whether views, lists and the event log show the task; previews' tasks are not shown
    preview: Display | None = None  # of the result, if one was made
    preview_requested = False
    retry_of = ""  # the id of the task whose call this one makes again
    _newest_retry: weakref.ref[ObservedTask] | None = None
    deadline: float | None = None  # of the task's timeout, in monotonic seconds
    run_timeout = 0.0  # seconds that each try may take; 0 for any time
    nested: Mapping[str, TaskBrief] = MappingProxyType({})  # tasks below this one, by id, as last heard of
    nested_omitted = 0  # how many more there are

    def __init__(
        self, task_id: str, call: str = "", session: FutureSession | None = None, policy: CancelPolicy | None = None
    ) -> None:
        # In place of the standard library's __init__, which makes a condition for each future: a third of its memory.
        # ``with`` on a lock is safe from interrupts, too. One within a condition's __enter__, which is Python code,
        # would leave the lock locked, and the agent's thread waiting for ever.
        self._lock = threading.RLock()
        self._state = RUNNING  # running() is true from submission on: the engine has the task
        self._made_waiters: list[Any] | None = None
        self._done_callbacks: list[Callable[[Any], object]] | tuple[()] = ()
        self._task_state = TaskState.SUBMITTED
        self._session = session
        self._output = NO_OUTPUT
        self._moments: tuple[Moment, ...] = ()
        self.task_id = task_id
        self.call = call
        self.policy = policy if policy is not None else CancelPolicy()
        self.submitted_at = time.time()
        self.inputs: Mapping[str, Any] = NO_INPUTS  # references and futures in the task's arguments, by id
        self._watchers: list[Watcher] = []  # no dictionary, which keeps its size when its last entry has gone
        # All that most tasks come to have: an attribute more would cost each future a dictionary of its own.
        self._outcome: Outcome | None = None
        self._started = False
        self.task: Task | None = None  # what was submitted, for another try
        self.started_at: float | None = None
        self.ended_at: float | None = None
        self.tries = 0  # how often the task was started, as far as known
        self.processor = ""  # the process that runs or ran the task, as far as known
        self.figures = NO_FIGURES
        self.summary = NO_SUMMARY  # of the result, in a line
        self.bytes_received = 0  # size of the pickled value or exception
        self.origin = ""  # the id of the input whose failure, or cancel, ended the task
        self.proxies: tuple[Any, ...] = ()  # of managers, in the call: they keep the managers' objects alive

    @property
    def gpus(self) -> tuple[str, ...]:
        """The names of the GPUs that the task's run has, or the last one had, as far as known."""
        told = (what.devices for *_, what in reversed(self._moments) if isinstance(what, TaskStarted))
        return next(told, ()) or self.figures.devices

    # ------------------------------------------------------------------ watchers

    def watch(self, watcher: Watcher) -> None:
        """Have ``watcher(future)`` called after every change, on the thread that made the change: for views and waits.

        The watcher must not block and must not run the user's code; it reads the state from the future.
        """
        # Adding and removing are one step each: no lock is needed, which an interrupt could leave locked.
        if watcher not in self._watchers:
            self._watchers.append(watcher)

    def unwatch(self, watcher: Watcher) -> None:
        """End a :meth:`watch`."""
        with contextlib.suppress(ValueError):
            self._watchers.remove(watcher)

    def notify_watchers(self) -> None:
        """Call the watchers; log what one raises."""
        for watcher in list(self._watchers):
            try:
                watcher(self)
            except BaseException as error:  # a view's error must not reach the task or the other watchers
                # An interrupt, or an exit, is for who has called; on the agent's thread it would end all futures.
                if not isinstance(error, Exception) and not is_agents_thread():
                    raise
                log.exception("what follows the task %s raised", self.task_id)

    # ------------------------------------------------------------------ what arrives beside the state's events

    def add_log(self, message: TaskLog) -> None:
        """Keep what the task has written."""
        self._made_output().add(message.stream, message.text)
        self.notify_watchers()

    def add_display(self, message: TaskDisplay) -> None:
        """Keep what the task displays."""
        self._made_output().add_display(message)
        self.notify_watchers()

    def _made_output(self) -> Output:
        """Return the output that the task has, made with its first part; on the agent's thread alone."""
        if self._output is NO_OUTPUT:
            self._output = Output()
            self.note_end_of_output()  # in this order: another thread may be ending the task
        return self._output

    def note_end_of_output(self) -> None:
        """Note in the output whether the task has ended, once the state says so."""
        if self._output is not NO_OUTPUT:
            self._output.over = self._task_state.terminal

    def add_preview(self, preview: Display) -> None:
        """Keep a preview of the result, unless the result is discarded already."""
        if self._outcome is not None and preview.bundle:
            self.preview = preview
            self.notify_watchers()

    def add_failed_try(self, message: TaskAttemptFailed) -> None:
        """Note that a try has failed, and another one follows."""
        self.failed_tries = max(self.failed_tries, message.attempt)
        self.notify_watchers()

    def add_progress(self, message: TaskProgress) -> None:
        """Keep the progress that the task reports."""
        self._progress = message
        self.notify_watchers()

    def add_nested(self, message: TaskNested) -> None:
        """Keep what the engine tells of tasks that this one has submitted."""
        self.nested = {**self.nested, **{brief.task_id: brief for brief in message.tasks}}  # read on other threads
        self.nested_omitted = message.omitted
        self.notify_watchers()

    def note_retry(self, retry: ObservedTask) -> None:
        """Note that the call was submitted again; whoever watches this task may go on with that one."""
        self._newest_retry = weakref.ref(retry)
        self.notify_watchers()

    def add_item(self, message: TaskItem) -> None:
        """Drop an item; an ``ItemStream`` keeps it for its reader."""

    def run_to_end(self) -> None:
        """Do nothing; an ``ItemStream`` has its task wait for no reader, because somebody waits for the task's end."""

    # ------------------------------------------------------------------ what is known

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
    def newest_retry(self) -> ObservedTask | None:
        """The future of the same call, submitted again last; None if there is none, or nobody holds it."""
        return self._newest_retry() if self._newest_retry is not None else None

    @property
    def running_try(self) -> int:
        """The number of the try that runs, as far as known; 0 if none does."""
        return self.tries if self.tries > self.failed_tries and not self._task_state.terminal else 0

    @property
    def failed(self) -> bool:
        """Whether the task has finished with an exception. False while it is not done, and if it was cancelled."""
        outcome = self._outcome
        return outcome is not None and outcome.failed

    @property
    def lost(self) -> bool:
        """Whether nobody knows how the task ended, for its engine is gone; it counts as failed."""
        outcome = self._outcome
        return outcome is not None and outcome.lost

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
        """The text that the task wrote to stdout and stderr so far, its subprocesses included."""
        return self._output.logs()

    @property
    def displays(self) -> tuple[Display, ...]:
        """The displays of the task, in order: ``display(obj)``, figures, plots."""
        return self._output.displays()

    @property
    def displayed(self) -> int:
        """How many displays the task has made, those that it cleared included."""
        return self._output.displayed

    @property
    def output_rewrites(self) -> int:
        """How often text among :meth:`outputs` has been cleared by the task, or cut for its length."""
        return self._output.rewrites

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
        return Trace(f"{self.task_id}  {self.call}".rstrip(), self.submitted_at, self._moments)

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
            if isinstance(needed, ObservedTask):
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

    # ------------------------------------------------------------------ for the standard library

    @property
    def _condition(self) -> threading.Condition:
        """The condition on which ``Future.result``, ``wait`` and ``as_completed`` of the standard library wait."""
        if (found := self._made_condition) is None:
            made = threading.Condition(self._lock)
            found = vars(self).setdefault("_made_condition", made)  # one step: two threads get the same
        return found

    @_condition.setter
    def _condition(self, condition: threading.Condition) -> None:
        """Replace the condition, which is an attribute in the standard library; nobody does."""
        self._made_condition = condition

    @property
    def _waiters(self) -> list[Any]:
        """Whom ``wait`` and ``as_completed`` of the standard library have told to wait; they hold the lock."""
        if self._made_waiters is None:
            self._made_waiters = []
        return self._made_waiters

    @_waiters.setter
    def _waiters(self, waiters: list[Any]) -> None:
        """Replace the waiters, which are an attribute in the standard library."""
        self._made_waiters = waiters

    @property
    def waiters(self) -> Sequence[Any]:
        """The waiters that there are. With the lock held."""
        return self._made_waiters or ()

    def notify_waiters(self) -> None:
        """Wake the threads that wait on the condition, which is there if one waits. With the lock held."""
        if self._made_condition is not None:
            self._made_condition.notify_all()

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

    # ------------------------------------------------------------------ in a forked child

    def forget_lock(self) -> None:
        """In a forked child: replace the lock if a thread of the parent held it."""
        if self._lock.acquire(blocking=False):
            self._lock.release()
        else:
            self.renew_lock()

    def renew_lock(self) -> None:
        """Make another lock of the state; the standard library's condition is made anew with that lock."""
        self._lock = threading.RLock()
        vars(self).pop("_made_condition", None)
