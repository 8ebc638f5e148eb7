"""One connection to one engine: the engine, the agent that serves it, and the futures that wait for it."""

import itertools
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from ..agent.agent import Agent
from ..engines.base import Engine
from ..protocol.errors import DisconnectedError, ProtocolError
from ..protocol.messages import (
    ClientMessage,
    ClientShutdown,
    ClientShutdownResponse,
    ClientWithdraw,
    EngineMessage,
    EngineStatus,
    EngineStatusRequest,
    Initializer,
    ObjectCreate,
    ObjectDelete,
    Payload,
    Task,
    TaskCancel,
    TaskOptions,
    TaskResult,
    TaskResultType,
    TaskWaits,
)
from . import deadline, journal, nested, roster, waiting
from .collect import wait as wait_for
from .future import ScalerFuture
from .group import FutureGroup
from .lifecycle import TaskLifecycle
from .manager import FutureManager
from .outcome import Outcome
from .pickling import PickledCall
from .references import Noted, ObjectReference
from .supplies import Supplies
from .surroundings import Surroundings

log = logging.getLogger(__name__)

END_PATIENCE = 5.0  # seconds that an engine gets to end by itself


_open: "set[Session]" = set()  # strong: tasks run on when nobody holds their executor any more


def open_sessions() -> "list[Session]":
    """The sessions of this process that have an engine."""
    return list(_open)


class Submitter(Protocol):
    """Takes calls; the part of :class:`~.engine_client.EngineClient` that futures need."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> ScalerFuture[Any]:
        """A call."""

    def resubmit(self, future: TaskLifecycle) -> ScalerFuture[Any]:
        """The call of a future again."""


class Session:
    """Started by its constructor; ends by :meth:`close`, or when the engine is lost.

    Parameters
    ----------
    engine
        Not started yet.
    submitter
        Gives what submits further calls, to this session or a later one; None once that is gone.
    initializer
        What comes before its first task in each process; when it raises, the session ends.

    Raises
    ------
    EngineStartError
        The engine cannot be had; nothing is left running.
    """

    def __init__(
        self, engine: Engine, submitter: "Callable[[], Submitter | None]", initializer: Initializer | None = None
    ) -> None:
        self._engine = engine
        self._submitter = submitter
        self._manager = FutureManager()
        self._client = secrets.token_hex(3)
        self._numbers = itertools.count(1)
        self._alive = True
        self._engine_ended = False  # by itself, or by a client: not by :meth:`close`
        self._mutex = threading.Lock()
        self._ending = threading.Lock()
        self._objects: set[str] = set()  # ids of those that references are good for
        self._status: EngineStatus | None = None
        self._asking: list[waiting.Signal] = []  # who waits for the next one
        self._shutting: list[waiting.Signal] = []  # who waits for the engine's end, or its refusal to end
        self._broken: TaskResult | None = None  # how it ended, if the initializer has ended it
        engine.start()
        try:
            self._surroundings = Surroundings(self._adopted(initializer))
            self._agent = Agent(engine, self._deliver, self._lost, self._unsendable)
            self._supplies = Supplies(self._manager, engine, self._agent)
            self._agent.start()
        except BaseException:
            engine.close()
            engine.join(END_PATIENCE)
            raise
        _open.add(self)
        nested.settle_in(self)

    @property
    def alive(self) -> bool:
        """Can it take tasks?"""
        return self._alive

    @property
    def client(self) -> str:
        """What the ids of its tasks begin with."""
        return self._client

    @property
    def slots(self) -> int:
        """How many tasks run at the same time."""
        return self._engine.slots

    @property
    def capabilities(self) -> Mapping[str, int]:
        """What tasks may need."""
        return self._engine.capabilities

    @property
    def address(self) -> str:
        """Where the engine is."""
        return self._engine.address

    def new_id(self) -> str:
        """A task id that no other client has, short enough to type."""
        return f"{self._client}-{next(self._numbers)}"

    def send(self, future: ScalerFuture[Any], call: PickledCall, options: TaskOptions, keep: bool = False) -> None:
        """:meth:`submit` a call; with ``keep`` its value stays with the engine, until :meth:`let_go`."""
        journal.follow(future)
        within = nested.parent(self.address)
        task = Task(future.task_id, "", call.function, call.arguments, options, keep=keep, parent=within)
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
            self._manager.lost(self._broken or _disconnected())

    def send_object(self, content: Payload, name: str) -> ObjectReference:
        """Send an object; the reference to it is good until :meth:`clear_objects`, or the end of this session."""
        object_id = f"{self._client}-o{next(self._numbers)}"
        reference = ObjectReference(name or object_id, content.nbytes, object_id)
        content = self._engine.adopt_object(object_id, content)
        self._objects.add(object_id)
        self._agent.post(ObjectCreate(object_id, content))
        return reference

    def has_object(self, object_id: str) -> bool:
        """Was it sent here, and not cleared?"""
        return object_id in self._objects

    def clear_objects(self) -> None:
        """No reference is good any more; tasks that were submitted with one still find its object."""
        objects, self._objects = self._objects, set()
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

    def withdraw(self) -> None:
        """Have the engine take back what has not started, and it alone knows what has; never blocks."""
        self._agent.post(ClientWithdraw())

    def unfinished(self) -> list[ScalerFuture[Any]]:
        """What has not ended, in the order of submission."""
        return self._manager.unfinished()

    def finish(self) -> None:
        """Wait for what is unfinished, then close.

        An interrupt ends the wait. In a notebook the tasks run on, and the engine ends after them; a script that is
        told to end a second time (the first time was its own wait) ends, and its tasks with it.
        """
        try:
            wait_for(self.unfinished())
        except KeyboardInterrupt:
            if waiting.host().waits_at_exit:
                self.close()
            else:
                self.finish_later()
            raise
        self.close()

    def finish_later(self) -> None:
        """:meth:`finish` on a thread of its own."""
        threading.Thread(target=self.finish, name="scaler_notebook finish", daemon=True).start()

    def disconnect(self, timeout: float | None) -> None:
        """Cancel what is unfinished, wait ``timeout`` seconds for the confirmations, and close."""
        unfinished = FutureGroup(self.unfinished())
        unfinished.request_cancel()
        if waiting.may_wait():
            try:
                unfinished.cancel(timeout)
            finally:
                self.close()
        else:
            thread = threading.Thread(target=self.disconnect, args=(timeout,), name="scaler_notebook disconnect")
            thread.start()

    def close(self) -> None:
        """End the engine with everything it runs; unfinished futures get a :class:`DisconnectedError`.

        Returns when its processes are gone. Idempotent, any thread.
        """
        self._alive = False
        self._agent.stop()
        self._manager.lost(self._broken or _disconnected())
        self._release_shutting()
        with self._ending:  # who closes too waits for the same end; who submits does not
            self._engine.join(END_PATIENCE)
        _open.discard(self)

    def status(self, timeout: float) -> EngineStatus | None:
        """What the engine does; None if it does not answer within ``timeout`` seconds."""
        answered = waiting.Signal()
        self._asking.append(answered)
        self._agent.post(EngineStatusRequest())
        waiting.host().wait(answered, timeout)
        return self._status if answered.is_set() else None

    def shutdown_engine(self, timeout: float | None) -> None:
        """End the engine for all of its clients; returns when its scheduler has ended, and everything it ran with it.

        What is unfinished, here and at other clients, ends with an :class:`EngineLostError`.

        Parameters
        ----------
        timeout
            Seconds; None: as long as it takes.

        Raises
        ------
        ValueError
            The cluster is protected, or the engine is an executor's own: it goes on.
        DisconnectedError
            This session had left the engine, or lost it, before.
        TimeoutError
            It has neither ended nor refused in time.
        """
        over = waiting.Signal()
        self._shutting.append(over)
        self._agent.post(ClientShutdown())
        if not self._alive:
            raise DisconnectedError(f"the connection to the engine at {self.address} has ended already")
        if not waiting.host().wait(over, timeout):
            raise TimeoutError(f"the engine at {self.address} does not end within {timeout} s, and does not refuse to")
        if self._alive:
            raise ValueError(
                f"the cluster at {self.address} is protected: it ends with the process that started it, or by that "
                "one's own shutdown(). Start it with protected=False, and clients may end it."
            )
        if not self._engine_ended:
            raise DisconnectedError(f"this client left the engine at {self.address}, and cannot tell whether it ended")

    def raise_if_broken(self) -> None:
        """Raise the :class:`InitializerError` that has ended it, if one has."""
        if self._broken is not None:
            Outcome(self._broken.outcome, self._broken.payload, "").value()

    def _adopted(self, initializer: Initializer | None) -> Initializer:
        """As ours, with its large arguments where the task processes find them, until the engine is closed."""
        if initializer is None:
            return Initializer()
        task, _ = self._engine.adopt(Task(f"{self._client}-0", "", initializer.function, initializer.arguments))
        return replace(initializer, client=self._client, function=task.function, arguments=task.arguments)

    def _deliver(self, messages: Sequence[EngineMessage]) -> None:
        broken: TaskResult | None = None
        for message in messages:
            if isinstance(message, TaskResult) and message.outcome is TaskResultType.FAILED_INITIALIZER:
                broken = broken or message
            elif isinstance(message, EngineStatus):
                self._status = message
                while self._asking:
                    self._asking.pop().set()
            elif isinstance(message, ClientShutdownResponse) and not message.accepted:
                self._release_shutting()
        if broken is not None and self._broken is None:
            self._broken, self._alive = broken, False  # before anybody hears of it
        missed = [m for m in messages if isinstance(m, TaskResult) and m.outcome is TaskResultType.MISSING_OBJECTS]
        if missed:  # after all others: what is missed may be among them
            self._manager.receive([message for message in messages if message not in missed])
            messages = self._supplies.answered(missed)
        self._manager.receive(messages)
        if broken is not None and self._broken is broken:
            self._lost(broken)

    def _unsendable(self, message: ClientMessage, error: Exception) -> None:
        log.error("%s could not be sent: %s", type(message).__name__, error)
        if isinstance(message, Task):
            problem = ProtocolError(f"the task could not be sent to the engine: {type(error).__name__}: {error}")
            self._manager.fail(message.task_id, problem)

    def _release_shutting(self) -> None:
        while self._shutting:
            self._shutting.pop().set()

    def _lost(self, why: BaseException | TaskResult) -> None:
        self._alive = False
        self._engine_ended = True
        self._manager.lost(why)
        self._release_shutting()
        # Its process must be waited for, and not here: the agent's thread never blocks.
        threading.Thread(target=self.close, name="scaler_notebook end").start()


def _disconnected() -> DisconnectedError:
    return DisconnectedError("the executor was shut down before the task had ended; submit it again to a new one")
