"""What a client does over one connection: calls, objects, cancels, and what follows from a future."""

import threading
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Protocol

from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.session_log import event_log, live_futures
from scaler_notebook.client.submission.call_pickling import PickledCall, pickle_call
from scaler_notebook.client.task_state.cancel_policy import Policy
from scaler_notebook.client.task_state.lifecycle import TaskLifecycle
from scaler_notebook.client.task_state.references import ObjectReference
from scaler_notebook.client.waiting import callback_thread
from scaler_notebook.client.waiting.locks import holding
from scaler_notebook.engines.base import Engine
from scaler_notebook.protocol.errors import EngineLostError
from scaler_notebook.protocol.messages import (
    Initializer,
    ObjectCreate,
    ObjectDelete,
    Payload,
    Task,
    TaskCancel,
    TaskOptions,
    TaskWaits,
)
from scaler_notebook.protocol.states import FutureEvent, TaskState
from scaler_notebook.task.display import preview

from . import deadline, nested
from .connection import Connection
from .mailbox import Letter

PREVIEW_SECONDS = 5.0  # that a task gets which makes a preview, its value's unpickling included; then it is killed
PREVIEW_GRACE = 0.2  # seconds that it gets for that
PREVIEW_BYTES = 64 * 1024 * 1024  # of a larger value there is none on request
FIRST = 2**31  # the priority of such a task: somebody looks


class Submitter(Protocol):
    """Takes calls; the part of :class:`~scaler_notebook.client.engine_client.EngineClient` that futures need."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> ScalerFuture[Any]:
        """A call."""

    def resubmit(self, future: TaskLifecycle) -> ScalerFuture[Any]:
        """The call of a future again."""


class Session(Connection):
    """What a client submits, sends and asks over one connection.

    Parameters
    ----------
    engine, initializer, lost_error
        As :class:`~.connection.Connection` has them.
    submitter
        Gives what submits further calls, to this session or a later one; None once that is gone.
    """

    def __init__(
        self,
        engine: Engine,
        submitter: "Callable[[], Submitter | None]",
        initializer: Initializer | None = None,
        lost_error: type[EngineLostError] = EngineLostError,
    ) -> None:
        self._submitter = submitter
        self._mutex = threading.RLock()  # a signal handler of the user's may submit within a submit
        self._objects: dict[str, ObjectReference] = {}  # those that are good for something, by id
        super().__init__(engine, initializer, lost_error)

    def open(self) -> None:
        live_futures.follow(self._agent.mailbox)
        super().open()
        nested.settle_in(self)

    def new_id(self) -> str:
        """A task id that no other client has, short enough to type."""
        return f"{self._client}-{next(self._numbers)}"

    def task(
        self,
        future: ScalerFuture[Any],
        call: PickledCall,
        options: TaskOptions,
        keep: bool = False,
        stays: bool = False,
    ) -> Task:
        """A call as a task, for :meth:`submit`; its future has what belongs to it from now on.

        Parameters
        ----------
        keep
            Its value can be named until it is deleted, by what is still to be sent.
        stays
            Its value does not come here.
        """
        future.proxies, future.inputs = call.proxies, call.inputs
        if options.timeout:
            future.deadline = time.monotonic() + options.timeout
        within = nested.parent(self.address)
        named = tuple(call.inputs)
        return Task(future.task_id, "", call.function, call.arguments, options, named, keep, stays, within)

    def submit(self, tasks: Iterable[tuple[ScalerFuture[Any], Task]], delete: Sequence[str] = ()) -> None:
        """Send tasks, then let go of the values that were kept of some of them; their futures end in every case.

        All of it is handed to the agent at once: an interrupt, or an error, leaves it unknown to anybody, or has come
        too late to stop any of it.
        """
        letter: Letter[ScalerFuture[Any]] = Letter()
        try:
            for future, task in tasks:
                letter.futures.append(future)
                task, future.task = self._engine.adopt(task)
                if not task.inputs:
                    letter.messages.append(task)
                elif not self._supplies.add_task(letter.messages, future, task):
                    self._engine.disown(task.task_id)
            if delete:
                letter.messages.append(ObjectDelete(tuple(delete)))
            holding(self._mutex, self._hand_over, letter)
        except BaseException:
            if not self._agent.mailbox.has_had(letter):
                self._disown(letter)
            raise
        if not self._alive:  # it was lost or closed meanwhile, and may not have seen this one
            self._settle_the_rest()

    def _hand_over(self, letter: Letter[ScalerFuture[Any]]) -> None:
        """With the mutex: what a thread finds changed must be on its way before any thread's next task."""
        context, seen = self._surroundings.changed()
        if context is not None:
            letter.messages.insert(0, context)
        self._agent.hand_over(letter)
        self._surroundings.told(seen)

    def send_object(self, content: Payload, name: str, proxies: tuple[Any, ...] = ()) -> ObjectReference:
        """Send an object; the reference to it is good until :meth:`clear_objects`, or the end of this session.

        ``proxies`` are those in the object, which its reference keeps.
        """
        object_id = f"{self._client}-o{next(self._numbers)}"
        reference = ObjectReference(name or object_id, content.nbytes, object_id, proxies)
        letter: Letter[ScalerFuture[Any]] = Letter()
        try:
            letter.messages.append(ObjectCreate(object_id, self._engine.adopt_object(object_id, content)))
            self._objects[object_id] = reference
            self._agent.hand_over(letter)
        except BaseException:
            if not self._agent.mailbox.has_had(letter):
                self._objects.pop(object_id, None)
                self._disown(letter)
            raise
        return reference

    def _disown(self, letter: Letter[ScalerFuture[Any]]) -> None:
        """Free what the engine has taken over for a letter that was never put in."""
        for message in letter.messages:
            if isinstance(message, ObjectCreate):
                self._engine.disown(message.object_id)
        for future in letter.futures:
            self._engine.disown(future.task_id)

    def _register(self, future: ScalerFuture[Any]) -> None:
        super()._register(future)
        if not future.is_listed:
            return
        event_log.follow(future)
        live_futures.add(future)
        if future.deadline is not None:
            deadline.watch_over(future, future.deadline, self._agent)

    def has_object(self, object_id: str) -> bool:
        """Was it sent here, and not cleared?"""
        return object_id in self._objects

    def clear_objects(self) -> None:
        """No reference is good any more; tasks that were submitted with one still find its object."""
        objects, self._objects = self._objects, {}
        self._agent.post(ObjectDelete(tuple(objects)))

    def tell_waits(self, task_id: str, waits: bool) -> None:
        """The task that this client is within waits for other tasks, or goes on."""
        self._agent.post(TaskWaits(task_id, waits))

    def owns(self, future: TaskLifecycle) -> bool:
        """Is it a future of this connection?"""
        return future.courier is self

    def send_cancel(self, request: TaskCancel) -> None:
        """A future's request."""
        self._agent.post(request)

    def resubmit(self, future: TaskLifecycle) -> ScalerFuture[Any]:
        """Submit the call of a future again."""
        return self._submitter_for(future).resubmit(future)

    def follow(
        self, future: TaskLifecycle, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> ScalerFuture[Any]:
        """Submit a call that gets the future's value first; the value itself, if the engine of the future is gone."""
        value = future if self._alive else future.result(0)
        return self._submitter_for(future).submit(fn, value, *args, **kwargs)

    def request_preview(self, future: ScalerFuture[Any]) -> None:
        """Have a task make a preview of a future's value, whose ``repr`` so runs in a task process and not in this one.

        A value that was unpickled here is pickled anew for that, on the thread on which inputs are. Nothing comes of it
        if the engine is gone, or the preview fails. On any thread, and never blocks.
        """
        if self._alive and future.bytes_received <= PREVIEW_BYTES:
            callback_thread.inputs.post(self._submit_preview, future)

    def _submit_preview(self, future: ScalerFuture[Any]) -> None:
        if not self._alive or not future.lacks_preview:
            return
        options = TaskOptions(f"a preview of {future.call or future.task_id}", priority=FIRST)
        asked: ScalerFuture[None] = ScalerFuture(
            f"{self._client}-p{next(self._numbers)}", options.name, self, Policy(PREVIEW_GRACE)
        )
        asked.is_listed = False
        asked.watch(_Looking(future, self._agent.call_at))
        self.submit([(asked, self.task(asked, pickle_call(preview.show, (future,), {}), options))])

    def _submitter_for(self, future: TaskLifecycle) -> Submitter:
        submitter = self._submitter()
        if submitter is None:
            raise RuntimeError(
                f"the executor of {future.call or future.task_id} is gone; give the future to another one's resubmit()"
            )
        return submitter


class _Looking:
    """Watches a task that makes a preview: gives the preview to the future that it is of, and bounds its time."""

    def __init__(self, future: ScalerFuture[Any], call_at: Callable[[float, Callable[[], object]], object]) -> None:
        self._future = weakref.ref(future)
        self._call_at = call_at
        self._is_timed = False

    def __call__(self, asked: TaskLifecycle) -> None:
        future = self._future()
        if asked.done():
            if future is not None and asked.displayed:
                future.add_preview(asked.displays[-1])  # before it, what the value itself displays
        elif asked.state is TaskState.RUNNING and not self._is_timed:  # said on the agent's thread
            self._is_timed = True
            stop = partial(asked.handle, FutureEvent.CANCEL_REQUESTED, keep_result=True)
            self._call_at(time.monotonic() + PREVIEW_SECONDS, stop)
