"""A client's session over one connection to an engine: its parts, and what tasks and their futures ask of it."""

import itertools
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from scaler_notebook import forks
from scaler_notebook.client.agent.client_agent import Agent
from scaler_notebook.client.agent.future_manager import FutureManager
from scaler_notebook.client.agent.input_values import InputValues
from scaler_notebook.client.agent.output_printer import OutputPrinter
from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.session_log import event_log, live_futures
from scaler_notebook.client.task_state.observed_task import ObservedTask
from scaler_notebook.client.task_state.references import TaskInput
from scaler_notebook.engines.base import Engine
from scaler_notebook.protocol.errors import EngineLostError, ProtocolError
from scaler_notebook.protocol.messages import (
    ClientMessage,
    ClientWithdraw,
    EngineMessage,
    Initializer,
    ItemsTaken,
    Task,
    TaskCancel,
    TaskResult,
    TaskResultType,
    TaskWaits,
)

from . import deadline, nested
from .engine_requests import EngineRequests
from .lifetime import Lifetime
from .pause import Pause
from .preview_requests import PreviewRequests
from .rerun import local_call
from .sent_objects import SentObjects
from .task_sender import TaskSender

log = logging.getLogger(__name__)

_open: "set[Session]" = set()  # strong: tasks run on when nobody holds their executor any more


def open_sessions() -> "list[Session]":
    """Return the sessions of this process that have an engine."""
    return list(_open)


_inherited: "list[Session]" = []  # held: their finalizers would end the parent's


@forks.after_fork_in_child
def _forget() -> None:
    """In a forked child: leave the parent's sessions to the parent."""
    inherited = list(_open)
    _open.clear()
    _inherited.extend(inherited)
    for session in inherited:
        session.lifetime.forget()


class Submitter(Protocol):
    """A submitter of further calls: the :class:`~scaler_notebook.client.engine_client.EngineClient` of a future."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> ScalerFuture[Any]:
        """Submit ``fn(*args, **kwargs)``; return its future."""

    def resubmit(self, future: ObservedTask) -> ScalerFuture[Any]:
        """Submit the call of a future again; return the new future."""


class Session:
    """A session over one connection to an engine, from :meth:`open` until :meth:`close`, or until the engine is lost.

    Parameters
    ----------
    engine
        The engine, not started yet.
    submitter
        Returns what submits further calls, to this session or a later one; None once that is gone.
    initializer
        What comes before the session's first task in each process; when it raises, the session ends.
    lost_error
        The class of the error that unfinished futures end with when the engine is lost, with the engine's own words.
    printer
        Prints what tasks write; None: nothing is printed.
    """

    def __init__(
        self,
        engine: Engine,
        submitter: "Callable[[], Submitter | None]",
        initializer: Initializer | None = None,
        lost_error: type[EngineLostError] = EngineLostError,
        printer: OutputPrinter | None = None,
    ) -> None:
        self.engine = engine
        self.client = secrets.token_hex(3)  # the name that the ids of the tasks begin with
        self._submitter = submitter
        self._initializer = initializer
        self._numbers = itertools.count(1)
        self._agent = agent = Agent(engine, self._register, self._receive, self._lose, self._fail_unsendable)
        self._manager = FutureManager(agent.outgoing, printer)
        self._input_values = InputValues(self._manager, engine, agent)
        self.pause = Pause(agent)
        self.lifetime = Lifetime(engine, agent, self._manager, lost_error, self.pause, partial(_open.discard, self))
        self.tasks = TaskSender(engine, agent, self._input_values, self.lifetime)
        self.objects = SentObjects(engine, agent, partial(self.new_id, "o"))
        self.requests = EngineRequests(engine, agent, self.lifetime)
        self._previews = PreviewRequests(self)

    def open(self) -> None:
        """Start the engine, or find it, and connect to it, as :meth:`.Lifetime.begin`. Called once."""
        live_futures.track(self._agent.outgoing)
        self.lifetime.begin(self._prepare)
        nested.install_task_host(self)

    def _prepare(self) -> None:
        """Note the session as open; its engine is started, and not connected yet."""
        self.tasks.set_initializer(self._initializer, self.client)
        _open.add(self)

    def close(self) -> None:
        """End the engine with everything it runs, as :meth:`.Lifetime.close`. Idempotent, any thread."""
        self.lifetime.close()

    @property
    def alive(self) -> bool:
        """Whether the session can take tasks."""
        return self.lifetime.alive

    @property
    def address(self) -> str:
        """The address of the engine."""
        return self.engine.address

    @property
    def capabilities(self) -> dict[str, int] | None:
        """The amounts of what tasks may need, by name; None if the engine does not tell."""
        there = self.engine.capabilities
        return dict(there) if there is not None else None

    def new_id(self, kind: str = "") -> str:
        """Return an id that no other client has, short enough to type; ``kind`` is a letter, none for a task."""
        return f"{self.client}-{kind}{next(self._numbers)}"

    def check_inputs(self, inputs: Mapping[str, TaskInput], call: str) -> None:
        """Check that a task's inputs can be had over this session, and that none waits for a reader.

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
            if not isinstance(what, ObservedTask):
                self.objects.check(what, call)
            elif what.session is not self:
                raise ValueError(
                    f"an argument of {call} is the future {name}, of another client or of an engine that has "
                    "ended: pass its result() instead"
                )
            else:
                what.run_to_end()

    def find(self, task_id: str) -> ScalerFuture[Any] | None:
        """Return the future of a task that was sent and has not ended; None if there is none."""
        return self._manager.find(task_id)

    # ------------------------------------------------------------------ on the agent's thread

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

    def _register(self, future: ScalerFuture[Any]) -> None:
        """Take on a future whose task is about to be sent; have views, the event log and its timeout follow it."""
        if not future.done():
            self._manager.add(future)
        self.lifetime.end_late()
        if not future.is_listed:
            return
        event_log.log_events(future)
        live_futures.add(future)
        if future.deadline is not None:
            deadline.schedule_timeout(future, future.deadline, self._agent)
        if future.run_timeout:
            deadline.RunLimit(future.run_timeout, self._agent).watch(future)

    def _receive(self, messages: Sequence[EngineMessage]) -> None:
        """Handle a batch of the engine's messages."""
        failure: TaskResult | None = None
        for message in messages:
            if isinstance(message, TaskResult) and message.outcome is TaskResultType.FAILED_INITIALIZER:
                failure = failure or message
            elif isinstance(message, EngineRequests.ANSWERS):
                self.requests.receive(message)
        breaks = failure is not None and self.lifetime.set_broken(failure)
        missed = [m for m in messages if isinstance(m, TaskResult) and m.outcome is TaskResultType.MISSING_OBJECTS]
        if missed:  # after all others, which may have what is missing
            self._manager.receive([message for message in messages if message not in missed])
            messages = self._input_values.resend_missing(missed)
        self._manager.receive(messages)
        if failure is not None and breaks:
            self.lifetime.lose(failure)

    def _lose(self, why: BaseException) -> None:
        """End the session, for the engine is gone."""
        self.lifetime.lose(why)

    def _fail_unsendable(self, message: ClientMessage, error: Exception) -> None:
        """End the future of a task that could not be sent to the engine.

        Parameters
        ----------
        message
            The message that could not be sent.
        error
            Why.
        """
        log.error("%s could not be sent: %s", type(message).__name__, error)
        if isinstance(message, Task):
            problem = ProtocolError(f"the task could not be sent to the engine: {type(error).__name__}: {error}")
            self._manager.fail(message.task_id, problem)

    # ------------------------------------------------------------------ on behalf of tasks

    def withdraw(self) -> None:
        """Ask the engine to take back the tasks that have not started, which it alone knows; never blocks."""
        self._agent.post(ClientWithdraw())

    def send_cancel(self, request: TaskCancel) -> None:
        """Send a future's cancel request."""
        self._agent.post(request)

    def send_items_taken(self, task_id: str, count: int) -> None:
        """Tell a task how many of its items were read.

        Parameters
        ----------
        task_id
            The task.
        count
            How many items were read, in all.
        """
        self._agent.post(ItemsTaken(task_id, count))

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

    def resubmit(self, future: ObservedTask) -> ScalerFuture[Any]:
        """Submit the call of a future again; return the new future."""
        return self._submitter_for(future).resubmit(future)

    def submit_with_value(
        self, future: ObservedTask, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
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
        value = future if self.alive else future.result(0)
        return self._submitter_for(future).submit(fn, value, *args, **kwargs)

    def local_call(self, future: ScalerFuture[Any]) -> Callable[[], Any]:
        """Return what makes the call of a future in this process; the objects that the call refers to are fetched."""
        __tracebackhide__ = True
        return local_call(future, lambda reference: self._submitter_for(future).submit(_itself, reference))

    def process_of(self, future: ScalerFuture[Any]) -> int:
        """Return the process of this machine that runs a future's task.

        Raises
        ------
        RuntimeError
            The task does not run, or not here.
        """
        if future.done():
            raise RuntimeError(f"{future.call} has ended: there is nothing to look at; its trace() says how it went")
        if not future.running_try:
            raise RuntimeError(f"{future.call} does not run yet")
        if not self.engine.runs_here:
            raise RuntimeError(
                f"{future.call} runs at {self.address}: only a task of an engine on this machine can be looked at"
            )
        return int(future.processor)

    def request_preview(self, future: ScalerFuture[Any]) -> None:
        """Have a task make a preview of a future's value: the value's ``repr`` runs in a task process, and not here.

        A value that was unpickled here is pickled anew for that, on the thread on which inputs are. No preview comes if
        the engine is gone, or making it fails. On any thread, and never blocks.
        """
        self._previews.request(future)

    def _submitter_for(self, future: ObservedTask) -> Submitter:
        """Return what submits further calls; RuntimeError if the executor of a future is gone."""
        submitter = self._submitter()
        if submitter is None:
            raise RuntimeError(
                f"the executor of {future.call or future.task_id} is gone; give the future to another one's resubmit()"
            )
        return submitter


def _itself(value: Any) -> Any:
    """Return a value: what a task does that fetches one."""
    return value
