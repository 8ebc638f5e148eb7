"""What a client does over one connection: calls, objects, cancels, and what follows from a future."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Protocol

from ..engines.base import Engine
from ..protocol.errors import EngineLostError
from ..protocol.messages import (
    Initializer,
    ObjectCreate,
    ObjectDelete,
    Payload,
    Task,
    TaskCancel,
    TaskOptions,
    TaskWaits,
)
from . import deadline, journal, nested, roster
from .connection import Connection, disconnected
from .future import ScalerFuture
from .lifecycle import TaskLifecycle
from .pickling import PickledCall
from .references import Noted, ObjectReference


class Submitter(Protocol):
    """Takes calls; the part of :class:`~.engine_client.EngineClient` that futures need."""

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
        self._mutex = threading.Lock()
        self._objects: dict[str, ObjectReference] = {}  # those that are good for something, by id
        super().__init__(engine, initializer, lost_error)
        nested.settle_in(self)

    def new_id(self) -> str:
        """A task id that no other client has, short enough to type."""
        return f"{self._client}-{next(self._numbers)}"

    def send(
        self,
        future: ScalerFuture[Any],
        call: PickledCall,
        options: TaskOptions,
        keep: bool = False,
        stays: bool = False,
    ) -> None:
        """:meth:`submit` a call.

        Parameters
        ----------
        keep
            Its value can be named until :meth:`let_go`, by what is still to be sent.
        stays
            It does not come here.
        """
        journal.follow(future)
        future.proxies = call.proxies
        within = nested.parent(self.address)
        task = Task(future.task_id, "", call.function, call.arguments, options, (), keep, stays, within)
        self.submit(future, task, call.inputs)

    def submit(self, future: ScalerFuture[Any], task: Task, inputs: Noted | None = None) -> None:
        """Send a task, with what its arguments refer to by id; its future ends in every case."""
        submitted = time.monotonic()
        if inputs:
            future.inputs = inputs
            task = replace(task, inputs=tuple(inputs))
        task, future.task = self._engine.adopt(task)
        self._manager.add(future)
        roster.add(future)
        with self._mutex:  # what a thread finds changed must be on its way before any thread's next task
            context = self._surroundings.changed()
            if context is not None:
                self._agent.post(context)
        if inputs:
            self._supplies.send(future, task)
        else:
            self._agent.post(task)
        if task.options.timeout:
            deadline.watch_over(future, submitted + task.options.timeout, self._agent)
        if not self._alive:  # it was lost or closed meanwhile, and may not have seen this one
            self._manager.lost(self._broken or disconnected())

    def send_object(self, content: Payload, name: str, proxies: tuple[Any, ...] = ()) -> ObjectReference:
        """Send an object; the reference to it is good until :meth:`clear_objects`, or the end of this session.

        ``proxies`` are those in the object, which its reference keeps.
        """
        object_id = f"{self._client}-o{next(self._numbers)}"
        reference = ObjectReference(name or object_id, content.nbytes, object_id, proxies)
        content = self._engine.adopt_object(object_id, content)
        self._objects[object_id] = reference
        self._agent.post(ObjectCreate(object_id, content))
        return reference

    def has_object(self, object_id: str) -> bool:
        """Was it sent here, and not cleared?"""
        return object_id in self._objects

    def clear_objects(self) -> None:
        """No reference is good any more; tasks that were submitted with one still find its object."""
        objects, self._objects = self._objects, {}
        self.let_go(objects)

    def let_go(self, ids: Iterable[str]) -> None:
        """Name these objects, or kept values of tasks, no more."""
        self._agent.post(ObjectDelete(tuple(ids)))

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

    def _submitter_for(self, future: TaskLifecycle) -> Submitter:
        submitter = self._submitter()
        if submitter is None:
            raise RuntimeError(
                f"the executor of {future.call or future.task_id} is gone; give the future to another one's resubmit()"
            )
        return submitter
