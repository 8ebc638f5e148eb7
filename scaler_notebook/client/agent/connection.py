"""A connection to an engine: the engine, the agent that serves it, what it says, and the end."""

import itertools
import logging
import os
import secrets
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from scaler_notebook import forks
from scaler_notebook.client.context.context_tracker import Surroundings
from scaler_notebook.client.futures.completion import wait as wait_for
from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.futures.group import FutureGroup
from scaler_notebook.client.task_state.outcome import Outcome
from scaler_notebook.client.waiting.host import current_host
from scaler_notebook.client.waiting.locks import holding
from scaler_notebook.client.waiting.permission import may_wait
from scaler_notebook.client.waiting.signal import Signal
from scaler_notebook.engines.base import Engine
from scaler_notebook.protocol.errors import DisconnectedError, EngineLostError, ProtocolError
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
from scaler_notebook.protocol.states import FutureEvent

from .client_agent import Agent
from .future_manager import FutureManager
from .input_values import Supplies

log = logging.getLogger(__name__)

PREVIEW_PATIENCE = 0.5  # seconds that an engine is kept for the previews which are being made
END_PATIENCE = 5.0  # seconds that an engine gets to end by itself

_open: "set[Connection]" = set()  # strong: tasks run on when nobody holds their executor any more


def open_connections() -> "list[Connection]":
    """Those of this process that have an engine."""
    return list(_open)


_inherited: "list[Connection]" = []  # in a forked child: kept, for their end would be heard by the parent's peers


@forks.after_fork_in_child
def _forget() -> None:
    inherited = list(_open)
    _open.clear()
    _inherited.extend(inherited)
    for connection in inherited:
        connection.forget()


class Connection:
    """Begins with :meth:`open`; ends by :meth:`close`, or when the engine is lost.

    Parameters
    ----------
    engine
        Not started yet.
    initializer
        What comes before its first task in each process; when it raises, the connection ends.
    lost_error
        What unfinished futures end with when the engine is lost, with the engine's own words.
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
        self._asking: list[Signal] = []  # who waits for the next one
        self._shutting: list[Signal] = []  # who waits for the engine's end, or its refusal to end
        self._broken: TaskResult | None = None  # how it ended, if the initializer has ended it
        self._end: BaseException | TaskResult | None = None  # what its unfinished futures end with, once it has ended
        self._initializer = initializer
        self._agent = Agent(engine, self._register, self._deliver, self._lost, self._unsendable)
        self._supplies = Supplies(self._manager, engine, self._agent)

    def open(self) -> None:
        """Start the engine, or find it, and connect to it. Called once.

        Raises
        ------
        EngineStartError
            The engine cannot be had; nothing is left running.
        """
        try:
            self._engine.start()
            self._surroundings = Surroundings(self._adopted(self._initializer))
            _open.add(self)
            self._alive = True  # before it is connected: then it may be lost at once
            self._agent.start()
        except BaseException:
            self.close()
            raise

    @property
    def alive(self) -> bool:
        """Can it take tasks?"""
        return self._alive

    @property
    def is_inherited(self) -> bool:
        """Is it the parent's, and this process a forked child? Then it takes no tasks, and ends with neither."""
        return self._owner != os.getpid()

    @property
    def client(self) -> str:
        """What the ids of its tasks begin with."""
        return self._client

    @property
    def slots(self) -> int:
        """How many tasks run at the same time."""
        return self._engine.slots

    @property
    def capabilities(self) -> dict[str, int] | None:
        """What tasks may need; None if the engine does not tell."""
        there = self._engine.capabilities
        return dict(there) if there is not None else None

    @property
    def limits_memory(self) -> bool:
        """Does the engine enforce a task's ``memory_limit``?"""
        return self._engine.limits_memory

    @property
    def address(self) -> str:
        """Where the engine is."""
        return self._engine.address

    def withdraw(self) -> None:
        """Have the engine take back what has not started, and it alone knows what has; never blocks."""
        self._agent.post(ClientWithdraw())

    def unfinished(self) -> list[ScalerFuture[Any]]:
        """What has not ended, in the order of submission."""
        self._agent.ring()  # whom a second interrupt of a submit may have kept from it
        on_their_way = self._agent.mailbox.futures()  # first: from there they go to the manager
        known = {each.task_id: each for each in (*self._manager.unfinished(), *on_their_way)}
        return [each for each in known.values() if not each.done() and each.is_listed]

    def finish(self) -> None:
        """Wait for what is unfinished, then close.

        An interrupt ends the wait. In a notebook the tasks run on, and the engine ends after them; a script that is
        told to end a second time (the first time was its own wait) ends, and its tasks with it.
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
        """:meth:`finish` on a thread of its own."""
        if self.is_inherited:
            return
        threading.Thread(target=self.finish, name="scaler_notebook finish", daemon=True).start()

    def disconnect(self, timeout: float | None) -> None:
        """Cancel what is unfinished, wait ``timeout`` seconds for the confirmations, and close."""
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

        Returns when its processes are gone. Idempotent, any thread; what is the parent's, a forked child leaves alone.
        """
        if self.is_inherited:
            return
        self._end = self._end or disconnected()
        self._alive = False
        self._agent.stop()
        self._settle_the_rest()
        self._release_shutting()
        # Who closes too waits for the same end; who submits does not.
        holding(self._ending, self._engine.join, END_PATIENCE)
        _open.discard(self)

    def _register(self, future: ScalerFuture[Any]) -> None:
        """A future is handed over, and its task about to be sent; on the agent's thread."""
        if not future.done():
            self._manager.add(future)
        if self._end is not None:
            self._settle_the_rest()

    def _settle_the_rest(self) -> None:
        """No answer comes any more: end what is unfinished, and what the agent has not come to take."""
        end = self._end or disconnected()
        self._manager.lost(end)
        for future in self._agent.mailbox.futures():
            future.handle(FutureEvent.ENGINE_LOST, end)

    def forget(self) -> None:
        """In a forked child: leave it to the parent."""
        self._alive = False
        self._agent.forget()
        error = DisconnectedError(
            f"the task was submitted by process {self._owner}, of which this process, {os.getpid()}, is a fork: its "
            "result comes there alone. Hand it over from there, or submit the task here"
        )
        self._manager.forget(error)
        for future in self._agent.mailbox.futures():
            future.forget(error)

    def status(self, timeout: float) -> EngineStatus | None:
        """What the engine does; None if it does not answer within ``timeout`` seconds."""
        answered = Signal()
        self._asking.append(answered)
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
            It has neither ended nor refused in time.
        """
        over = Signal()
        self._shutting.append(over)
        if not self._alive:  # before it is asked: then it may have ended by the time that we look
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
            self._broken = self._end = broken  # before anybody hears of it
            self._alive = False
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
        self._engine_ended = isinstance(why, BaseException)  # a broken initializer ends its own client alone
        if isinstance(why, EngineLostError) and not isinstance(why, self._lost_error):
            why = self._lost_error(*why.args)
        self._end = self._end or why
        self._alive = False
        self._settle_the_rest()
        self._release_shutting()
        # Its process must be waited for, and not here: the agent's thread never blocks.
        threading.Thread(target=self.close, name="scaler_notebook end").start()


def disconnected() -> DisconnectedError:
    """What the futures of a connection that was closed end with."""
    return DisconnectedError("the executor was shut down before the task had ended; submit it again to a new one")
