"""A connection to an engine: the engine, the agent that serves it, the answers that come back, and the end."""

import itertools
import logging
import os
import secrets
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from scaler_notebook import forks
from scaler_notebook.client.context.context_tracker import ContextTracker
from scaler_notebook.client.futures.completion import wait as wait_for
from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.futures.group import FutureGroup
from scaler_notebook.client.task_state.outcome import Outcome
from scaler_notebook.client.waiting.host import current_host
from scaler_notebook.client.waiting.locks import call_locked
from scaler_notebook.client.waiting.permission import may_wait
from scaler_notebook.client.waiting.signal import Signal
from scaler_notebook.client.waiting.uninterrupted import UninterruptedCall
from scaler_notebook.engines.base import Engine
from scaler_notebook.protocol.errors import DisconnectedError, EngineLostError, ProtocolError
from scaler_notebook.protocol.future_events import EngineGone
from scaler_notebook.protocol.messages import (
    ClientMessage,
    ClientShutdown,
    ClientShutdownResponse,
    ClientWithdraw,
    EngineMessage,
    EngineStatus,
    EngineStatusRequest,
    Initializer,
    Task,
    TaskResult,
    TaskResultType,
)

from .client_agent import Agent
from .future_manager import FutureManager
from .input_values import InputValues

log = logging.getLogger(__name__)

PREVIEW_PATIENCE = 0.5  # seconds that an engine is kept for the previews which are being made
END_PATIENCE = 5.0  # seconds that an engine gets to end by itself

_open: "set[EngineConnection]" = set()  # strong: tasks run on when nobody holds their executor any more


def open_connections() -> "list[EngineConnection]":
    """Return the connections of this process that have an engine."""
    return list(_open)


_inherited: "list[EngineConnection]" = []  # held: their finalizers would end the parent's


@forks.after_fork_in_child
def _forget() -> None:
    """In a forked child: leave the parent's connections to the parent."""
    inherited = list(_open)
    _open.clear()
    _inherited.extend(inherited)
    for connection in inherited:
        connection.forget()


class EngineConnection:
    """A connection from :meth:`open` until :meth:`close`, or until the engine is lost.

    Parameters
    ----------
    engine
        The engine, not started yet.
    initializer
        What comes before the connection's first task in each process; when it raises, the connection ends.
    lost_error
        The class of the error that unfinished futures end with when the engine is lost, with the engine's own words.
    """

    def __init__(
        self,
        engine: Engine,
        initializer: Initializer | None = None,
        lost_error: type[EngineLostError] = EngineLostError,
    ) -> None:
        self._engine = engine
        self._lost_error = lost_error
        self._manager = FutureManager()
        self._client = secrets.token_hex(3)
        self._numbers = itertools.count(1)
        self._alive = False
        self._owner = os.getpid()
        self._engine_ended = False  # by itself, or by a client: not by :meth:`close`
        self._ending = threading.RLock()
        self._status: EngineStatus | None = None
        self._status_waiters: list[Signal] = []  # waits for the next status
        self._shutdown_waiters: list[Signal] = []  # waits for the engine's end, or its refusal to end
        self._broken: TaskResult | None = None  # the initializer's failure, if that has ended the connection
        self._end: BaseException | TaskResult | None = None  # what futures end with from now on
        self._initializer = initializer
        self._start = UninterruptedCall(engine.start, "scaler_notebook start")
        self._agent = Agent(engine, self._register, self._deliver, self._lost, self._unsendable)
        self._input_values = InputValues(self._manager, engine, self._agent)

    def open(self) -> None:
        """Start the engine, or find it, and connect to it. Called once.

        Raises
        ------
        EngineStartError
            The engine cannot be had; nothing is left running.
        KeyboardInterrupt
            Ctrl-C; an engine that has begun to start ends as soon as it has started.
        """
        try:
            self._start.wait()
            self._context = ContextTracker(self._adopt_initializer(self._initializer))
            _open.add(self)
            self._alive = True  # before the agent connects: the engine may be lost at once
            self._agent.start()
        except BaseException:
            self._start.when_over(self.close)
            raise

    @property
    def alive(self) -> bool:
        """Whether the connection can take tasks."""
        return self._alive

    @property
    def is_inherited(self) -> bool:
        """Whether the connection is the parent's, and this process a forked child, which can neither use nor end it."""
        return self._owner != os.getpid()

    @property
    def client(self) -> str:
        """The name that the ids of this connection's tasks begin with."""
        return self._client

    @property
    def slots(self) -> int:
        """How many tasks run at the same time."""
        return self._engine.slots

    @property
    def capabilities(self) -> dict[str, int] | None:
        """The amounts of what tasks may need, by name; None if the engine does not tell."""
        there = self._engine.capabilities
        return dict(there) if there is not None else None

    @property
    def limits_memory(self) -> bool:
        """Whether the engine enforces a task's ``memory_limit``."""
        return self._engine.limits_memory

    @property
    def address(self) -> str:
        """The address of the engine."""
        return self._engine.address

    def withdraw(self) -> None:
        """Ask the engine to take back the tasks that have not started, which it alone knows; never blocks."""
        self._agent.post(ClientWithdraw())

    def unfinished(self) -> list[ScalerFuture[Any]]:
        """Return the futures that have not ended, in the order of submission."""
        self._agent.wake()  # in case a second interrupt of a submit came before its own wake
        on_their_way = self._agent.outgoing.futures()  # read first: futures go from there to the manager
        known = {each.task_id: each for each in (*self._manager.unfinished(), *on_their_way)}
        return [each for each in known.values() if not each.done() and each.is_listed]

    def finish(self) -> None:
        """Wait for the unfinished tasks, then close.

        An interrupt ends the wait. In a notebook the tasks run on, and the engine ends after them; a script that is
        interrupted while it waits here ends, and its tasks with it.
        """
        if self.is_inherited:
            return
        try:
            wait_for(self.unfinished())
            if self._alive:
                self._manager.wait_for_previews(PREVIEW_PATIENCE)
        except KeyboardInterrupt:
            if current_host().waits_at_exit:
                self.close()
            else:
                self.finish_later()
            raise
        self.close()

    def finish_later(self) -> None:
        """Do as :meth:`finish` does, on a thread of its own."""
        if self.is_inherited:
            return
        threading.Thread(target=self.finish, name="scaler_notebook finish", daemon=True).start()

    def disconnect(self, timeout: float | None) -> None:
        """Cancel the unfinished tasks, wait for the confirmations, and close.

        Parameters
        ----------
        timeout
            Seconds to wait for the confirmations; None: as long as it takes.
        """
        unfinished = FutureGroup(self.unfinished())
        unfinished.request_cancel()
        if may_wait():
            try:
                unfinished.cancel(timeout)
            finally:
                self.close()
        else:
            thread = threading.Thread(target=self.disconnect, args=(timeout,), name="scaler_notebook disconnect")
            thread.start()

    def close(self) -> None:
        """End the engine with everything it runs; unfinished futures get a :class:`DisconnectedError`.

        Returns when the engine's processes are gone. Idempotent, any thread. A forked child leaves its parent's engine
        alone.
        """
        if self.is_inherited:
            return
        self._end = self._end or disconnected_error()
        self._alive = False
        self._start.join()
        self._agent.stop()
        self._end_unfinished()
        self._wake_shutdown_waiters()
        # Another caller of close waits for the same end; a submit does not.
        call_locked(self._ending, self._engine.join, END_PATIENCE)
        _open.discard(self)

    def _register(self, future: ScalerFuture[Any]) -> None:
        """Take on a future whose task is about to be sent; on the agent's thread."""
        if not future.done():
            self._manager.add(future)
        if self._end is not None:
            self._end_unfinished()

    def _end_unfinished(self) -> None:
        """End the unfinished futures, for no answer comes any more; those that are still queued included."""
        end = self._end or disconnected_error()
        self._manager.fail_all(end)
        for future in self._agent.outgoing.futures():
            future.handle(EngineGone(end))

    def forget(self) -> None:
        """In a forked child: leave the connection to the parent, and end futures with an error that says so."""
        self._alive = False
        self._agent.forget()
        error = DisconnectedError(
            f"the task was submitted by process {self._owner}, of which this process, {os.getpid()}, is a fork: its "
            "result comes there alone. Hand it over from there, or submit the task here"
        )
        self._manager.forget(error)
        for future in self._agent.outgoing.futures():
            future.forget(error)

    def status(self, timeout: float) -> EngineStatus | None:
        """Return what the engine does now; None if it does not answer.

        Parameters
        ----------
        timeout
            Seconds to wait for the answer.
        """
        answered = Signal()
        self._status_waiters.append(answered)
        self._agent.post(EngineStatusRequest())
        current_host().wait(answered, timeout)
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
            The engine has neither ended nor refused in time.
        """
        over = Signal()
        self._shutdown_waiters.append(over)
        if not self._alive:  # checked before the request, after which the engine may end at once
            raise DisconnectedError(f"the connection to the engine at {self.address} has ended already")
        self._agent.post(ClientShutdown())
        if not current_host().wait(over, timeout):
            raise TimeoutError(f"the engine at {self.address} does not end within {timeout} s, and does not refuse to")
        if self._alive:
            raise ValueError(
                f"the cluster at {self.address} is protected: it ends with the process that started it, or by that "
                "one's own shutdown(). Start it with protected=False, and clients may end it."
            )
        if not self._engine_ended:
            raise DisconnectedError(f"this client left the engine at {self.address}, and cannot tell whether it ended")

    def raise_if_broken(self) -> None:
        """Raise the :class:`InitializerError` that has ended the connection, if one has."""
        if self._broken is not None:
            Outcome(self._broken.outcome, self._broken.payload, "").value()

    def _adopt_initializer(self, initializer: Initializer | None) -> Initializer:
        """Return the initializer with this connection's name, its large arguments where task processes find them."""
        if initializer is None:
            return Initializer()
        task, _ = self._engine.adopt(Task(f"{self._client}-0", initializer.function, initializer.arguments))
        return replace(initializer, client=self._client, function=task.function, arguments=task.arguments)

    def _deliver(self, messages: Sequence[EngineMessage]) -> None:
        """Handle a batch of the engine's messages; on the agent's thread."""
        broken: TaskResult | None = None
        for message in messages:
            if isinstance(message, TaskResult) and message.outcome is TaskResultType.FAILED_INITIALIZER:
                broken = broken or message
            elif isinstance(message, EngineStatus):
                self._status = message
                while self._status_waiters:
                    self._status_waiters.pop().set()
            elif isinstance(message, ClientShutdownResponse) and not message.accepted:
                self._wake_shutdown_waiters()
        if broken is not None and self._broken is None:
            self._broken = self._end = broken  # before a future is settled: its callback may submit
            self._alive = False
        missed = [m for m in messages if isinstance(m, TaskResult) and m.outcome is TaskResultType.MISSING_OBJECTS]
        if missed:  # after all others, which may have what is missing
            self._manager.receive([message for message in messages if message not in missed])
            messages = self._input_values.resend_missing(missed)
        self._manager.receive(messages)
        if broken is not None and self._broken is broken:
            self._lost(broken)

    def _unsendable(self, message: ClientMessage, error: Exception) -> None:
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

    def _wake_shutdown_waiters(self) -> None:
        """Wake the threads that wait for the engine's end, or for its refusal to end."""
        while self._shutdown_waiters:
            self._shutdown_waiters.pop().set()

    def _lost(self, why: BaseException | TaskResult) -> None:
        """End the connection, for the engine is gone or the initializer has raised; on the agent's thread."""
        self._engine_ended = isinstance(why, BaseException)  # a broken initializer ends its own client alone
        if isinstance(why, EngineLostError) and not isinstance(why, self._lost_error):
            why = self._lost_error(*why.args)
        self._end = self._end or why
        self._alive = False
        self._end_unfinished()
        self._wake_shutdown_waiters()
        # Closing waits for the engine's process; the agent's thread never blocks.
        threading.Thread(target=self.close, name="scaler_notebook end").start()


def disconnected_error() -> DisconnectedError:
    """Return the error that the futures of a closed connection end with."""
    return DisconnectedError("the executor was shut down before the task had ended; submit it again to a new one")
