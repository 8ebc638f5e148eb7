"""Previews on request: a task makes one, so that the ``repr`` of a value runs in a task process and not in this one."""

import time
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.submission.call_pickling import pickle_call
from scaler_notebook.client.task_state import lifecycle
from scaler_notebook.client.task_state.cancel_policy import CancelPolicy
from scaler_notebook.client.task_state.future_session import FutureSession
from scaler_notebook.client.task_state.observed_task import ObservedTask
from scaler_notebook.client.waiting import callback_thread
from scaler_notebook.protocol.future_events import CancelRequested
from scaler_notebook.protocol.messages import TaskOptions
from scaler_notebook.protocol.states import TaskState

from .task_sender import TaskSender

SECONDS = 5.0  # for a task that makes a preview, the value's unpickling included; then it is killed
GRACE = 0.2  # its grace period in seconds
MAX_BYTES = 64 * 1024 * 1024  # no preview is requested of a larger value
PRIORITY = 2**31  # the highest that tasks have: a person is waiting for it


class PreviewSession(FutureSession, Protocol):
    """The session whose tasks make the previews."""

    @property
    def alive(self) -> bool:
        """Whether the session can take tasks."""

    @property
    def tasks(self) -> TaskSender:
        """The sender of the session's tasks."""

    def new_id(self, kind: str = "") -> str:
        """Return a new id."""

    def call_at(self, when: float, act: Callable[[], object]) -> object:
        """Have something called on the agent's thread, as :meth:`..Session.call_at`.

        Parameters
        ----------
        when
            The time, in monotonic seconds.
        act
            What is called.
        """


class PreviewRequests:
    """The previews that one session has made by tasks.

    Parameters
    ----------
    session
        The session.
    """

    def __init__(self, session: PreviewSession) -> None:
        self._session = session

    def request(self, future: ScalerFuture[Any]) -> None:
        """Have a preview of a future's value made and added to the future.

        A value that was unpickled here is pickled anew for that, on the thread on which inputs are.
        """
        if self._session.alive and future.bytes_received <= MAX_BYTES:
            callback_thread.inputs.post(self._submit, future)

    def _submit(self, future: ScalerFuture[Any]) -> None:
        """Submit a task that makes a preview, unless one was made meanwhile; on the thread that pickles inputs."""
        session = self._session
        if not session.alive or not future.lacks_preview:
            return
        from scaler_notebook.task.display import preview  # here, so that no first task waits for it

        options = TaskOptions(f"a preview of {future.task_id}", priority=PRIORITY, is_named=True)
        asked: ScalerFuture[None] = ScalerFuture(session.new_id("p"), options.name, session, CancelPolicy(GRACE))
        asked.is_listed = False
        asked.watch(_PreviewWatcher(future, session.call_at))
        task = session.tasks.new_task(asked, pickle_call(preview.show, (future,), {}), options)
        session.tasks.submit([(asked, task)])


class _PreviewWatcher:
    """A watcher of a task that makes a preview: hands the preview to its future, and bounds the task's time.

    Parameters
    ----------
    future
        The future whose value is previewed; not held.
    call_at
        Has something called at a time in monotonic seconds.
    """

    def __init__(self, future: ScalerFuture[Any], call_at: Callable[[float, Callable[[], object]], object]) -> None:
        self._future = weakref.ref(future)
        self._call_at = call_at
        self._is_timed = False

    def __call__(self, asked: ObservedTask) -> None:
        """Hand over the preview, if the task has ended, or start its time, if it runs; called after each change."""
        future = self._future()
        if asked.done():
            if future is not None and asked.displayed:
                future.add_preview(asked.displays[-1])  # the value's own displays come before it
        elif asked.state is TaskState.RUNNING and not self._is_timed:  # the message came on the agent's thread
            self._is_timed = True
            stop = partial(lifecycle.handle, asked, CancelRequested(keep_result=True))
            self._call_at(time.monotonic() + SECONDS, stop)
