"""A client's session over one connection: calls, objects, cancels, and what is submitted on behalf of a future."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.session_log import event_log, live_futures
from scaler_notebook.client.submission.call_pickling import PickledCall
from scaler_notebook.client.task_state.lifecycle import TaskLifecycle
from scaler_notebook.client.task_state.references import ObjectReference, TaskInputs
from scaler_notebook.client.waiting.locks import call_locked
from scaler_notebook.engines.base import Engine
from scaler_notebook.protocol.errors import EngineLostError, MissingObjects
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

from . import deadline, nested
from .connection import EngineConnection
from .outgoing_queue import OutgoingBatch
from .preview_requests import PreviewRequests


class Submitter(Protocol):
    """A submitter of further calls: the :class:`~scaler_notebook.client.engine_client.EngineClient` of a future."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> ScalerFuture[Any]:
        """Submit ``fn(*args, **kwargs)``; return its future."""

    def resubmit(self, future: TaskLifecycle) -> ScalerFuture[Any]:
        """Submit the call of a future again; return the new future."""


class Session(EngineConnection):
    """A connection over which a client submits tasks and sends objects and requests.

    Parameters
    ----------
    engine, initializer, lost_error
        As :class:`~.connection.EngineConnection` has them.
    submitter
        Returns what submits further calls, to this session or a later one; None once that is gone.
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
        self._objects: dict[str, ObjectReference] = {}  # references that were not cleared, by id
        super().__init__(engine, initializer, lost_error)
        self._previews = PreviewRequests(self)

    def open(self) -> None:
        """Start the engine, or find it, and connect to it, as :meth:`..EngineConnection.open`."""
        live_futures.track(self._agent.outgoing)
        super().open()
        nested.install_task_host(self)

    def new_id(self, kind: str = "") -> str:
        """Return an id that no other client has, short enough to type; ``kind`` is a letter, none for a task."""
        return f"{self._client}-{kind}{next(self._numbers)}"

    def task(
        self,
        future: ScalerFuture[Any],
        call: PickledCall,
        options: TaskOptions,
        retain: bool = False,
        returns_value: bool = True,
    ) -> Task:
        """Return a call as a task, for :meth:`submit`, and note on its future what the call refers to.

        Parameters
        ----------
        future
            The future of the task.
        call
            The pickled call.
        options
            The options of the task.
        retain
            Whether the engine retains the value, for tasks that are still to be sent, until it is released.
        returns_value
            Whether the value comes to this process.
        """
        future.proxies, future.inputs = call.proxies, call.inputs
        if options.timeout:
            future.deadline = time.monotonic() + options.timeout
        within = nested.parent_task(self.address)
        named = tuple(call.inputs)
        return Task(future.task_id, call.function, call.arguments, options, named, retain, not returns_value, within)

    def submit(self, tasks: Iterable[tuple[ScalerFuture[Any], Task]], release: Sequence[str] = ()) -> None:
        """Send tasks, then release values; the tasks' futures end in every case.

        All of it is handed to the agent at once: an interrupt, or an error, either leaves it unknown to everybody, or
        comes too late to stop any of it.

        Parameters
        ----------
        tasks
            Pairs of a future and its task.
        release
            The ids of tasks whose values were retained, and can be named no more after these tasks.
        """
        batch: OutgoingBatch[ScalerFuture[Any]] = OutgoingBatch()
        try:
            for future, task in tasks:
                batch.futures.append(future)
                task, future.task = self._engine.adopt(task)
                if not task.inputs:
                    batch.messages.append(task)
                elif not self._input_values.add_task(batch.messages, future, task):
                    self._engine.disown(task.task_id)
            if release:
                batch.messages.append(ObjectDelete(tuple(release)))
            call_locked(self._mutex, self._enqueue, batch)
        except BaseException:
            if not self._agent.outgoing.has_accepted(batch):
                self._disown(batch)
            raise
        if not self._alive:  # lost or closed meanwhile, perhaps before these futures were queued
            self._end_unfinished()

    def _enqueue(self, batch: OutgoingBatch[ScalerFuture[Any]]) -> None:
        """Hand a batch to the agent, after what has changed of the context. With the mutex held.

        A change that one thread notices must be on its way before any thread's next task.
        """
        context, seen = self._context.changes()
        if context is not None:
            batch.messages.insert(0, context)
        self._agent.enqueue(batch)
        self._context.mark_sent(seen)

    def send_object(self, content: Payload, name: str, proxies: tuple[Any, ...] = ()) -> ObjectReference:
        """Send an object; the reference to it is good until :meth:`clear_objects`, or the end of this session.

        Parameters
        ----------
        content
            The pickled object.
        name
            What a person reads of the object; its id if empty.
        proxies
            The proxies of managers in the object, which its reference keeps alive.
        """
        object_id = self.new_id("o")
        reference = ObjectReference(name or object_id, content.nbytes, object_id, proxies)
        batch: OutgoingBatch[ScalerFuture[Any]] = OutgoingBatch()
        try:
            batch.messages.append(ObjectCreate(object_id, self._engine.adopt_object(object_id, content)))
            self._objects[object_id] = reference
            self._agent.enqueue(batch)
        except BaseException:
            if not self._agent.outgoing.has_accepted(batch):
                self._objects.pop(object_id, None)
                self._disown(batch)
            raise
        return reference

    def _disown(self, batch: OutgoingBatch[ScalerFuture[Any]]) -> None:
        """Free the memory that the engine has taken over for a batch which was never queued."""
        for message in batch.messages:
            if isinstance(message, ObjectCreate):
                self._engine.disown(message.object_id)
        for future in batch.futures:
            self._engine.disown(future.task_id)

    def _register(self, future: ScalerFuture[Any]) -> None:
        """Take on a future, and have views, the event log and its timeout follow it; on the agent's thread."""
        super()._register(future)
        if not future.is_listed:
            return
        event_log.log_events(future)
        live_futures.add(future)
        if future.deadline is not None:
            deadline.schedule_timeout(future, future.deadline, self._agent)

    def check_inputs(self, inputs: TaskInputs, call: str) -> None:
        """Check that a task's inputs can be had over this connection.

        Parameters
        ----------
        inputs
            The futures and references in the task's arguments, by id.
        call
            The task's call as a person reads it, for messages.

        Raises
        ------
        ValueError
            A future is another client's, or of an engine that has ended.
        MissingObjects
            The engine does not have the object of a reference.
        """
        for name, what in inputs.items():
            if isinstance(what, TaskLifecycle):
                if what.session is not self:
                    raise ValueError(
                        f"an argument of {call} is the future {name}, of another client or of an engine that has "
                        "ended: pass its result() instead"
                    )
            elif name not in self._objects:
                raise MissingObjects(
                    f"an argument of {call} refers to {what!r}, which this client's engine does not have: it was "
                    "cleared, or it is another client's, or its engine has ended. Send it again with send_object()",
                    (name,),
                )

    def clear_objects(self) -> None:
        """Make all references useless; tasks that were submitted with one still find its object."""
        objects, self._objects = self._objects, {}
        self._agent.post(ObjectDelete(tuple(objects)))

    def notify_waiting(self, task_id: str, waits: bool) -> None:
        """Tell the engine that the task which this client is within waits for other tasks, or goes on.

        Parameters
        ----------
        task_id
            The id of the task.
        waits
            Whether the task waits.
        """
        self._agent.post(TaskWaits(task_id, waits))

    def call_at(self, when: float, act: Callable[[], object]) -> None:
        """Have something called on the agent's thread, unless the session ends before. On that thread alone.

        Parameters
        ----------
        when
            The time, in monotonic seconds.
        act
            What is called.
        """
        self._agent.call_at(when, act)

    def send_cancel(self, request: TaskCancel) -> None:
        """Send a future's cancel request."""
        self._agent.post(request)

    def resubmit(self, future: TaskLifecycle) -> ScalerFuture[Any]:
        """Submit the call of a future again; return the new future."""
        return self._submitter_for(future).resubmit(future)

    def submit_with_value(
        self, future: TaskLifecycle, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> ScalerFuture[Any]:
        """Submit a call whose first argument is a future's value; return its future.

        The value goes from task to task, or is sent with the call if the engine of the future is gone.

        Parameters
        ----------
        future
            The future.
        fn
            What is called.
        args, kwargs
            The arguments after the value.
        """
        value = future if self._alive else future.result(0)
        return self._submitter_for(future).submit(fn, value, *args, **kwargs)

    def request_preview(self, future: ScalerFuture[Any]) -> None:
        """Have a task make a preview of a future's value: the value's ``repr`` runs in a task process, and not here.

        A value that was unpickled here is pickled anew for that, on the thread on which inputs are. No preview comes if
        the engine is gone, or making it fails. On any thread, and never blocks.
        """
        self._previews.request(future)

    def _submitter_for(self, future: TaskLifecycle) -> Submitter:
        """Return what submits further calls; RuntimeError if the executor of a future is gone."""
        submitter = self._submitter()
        if submitter is None:
            raise RuntimeError(
                f"the executor of {future.call or future.task_id} is gone; give the future to another one's resubmit()"
            )
        return submitter
