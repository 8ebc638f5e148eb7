"""Requests about the engine itself, and what it answers."""

from scaler_notebook.client.agent.client_agent import Agent
from scaler_notebook.client.waiting.host import current_host
from scaler_notebook.client.waiting.signal import Waiters
from scaler_notebook.engines.base import Engine
from scaler_notebook.protocol.errors import DisconnectedError
from scaler_notebook.protocol.messages import (
    ClientShutdown,
    ClientShutdownResponse,
    EngineScale,
    EngineStatus,
    EngineStatusRequest,
)

from .lifetime import Lifetime


class EngineRequests:
    """The requests of one session that are about the engine, and not about a task.

    Parameters
    ----------
    engine
        The engine.
    agent
        Sends the requests.
    lifetime
        Ends when the engine does.

    Attributes
    ----------
    last_status
        The last answer about what the engine does; None before the first one.
    """

    ANSWERS = EngineStatus, ClientShutdownResponse

    def __init__(self, engine: Engine, agent: Agent, lifetime: Lifetime) -> None:
        self._engine = engine
        self._agent = agent
        self._lifetime = lifetime
        self.last_status: EngineStatus | None = None
        self._status_waiters = Waiters()
        self._slots: int | None = None  # as last asked for, or told

    def status(self, timeout: float) -> EngineStatus | None:
        """Return what the engine does now; None if it does not answer.

        Parameters
        ----------
        timeout
            Seconds to wait for the answer.
        """
        answered = self._status_waiters.add()
        self.ask()
        current_host().wait(answered, timeout)
        return self.last_status if answered.is_set() else None

    def ask(self) -> None:
        """Ask what the engine does now: :attr:`last_status` has the answer soon. Never blocks."""
        self._agent.post(EngineStatusRequest())

    @property
    def slots(self) -> int:
        """How many tasks run at the same time; 0 if the engine does not tell."""
        return self._engine.slots if self._slots is None else self._slots

    def scale(self, slots: int) -> None:
        """Change how many tasks run at the same time, before what is sent later; never blocks.

        Raises
        ------
        ValueError
            The engine has as many workers as it has.
        """
        if not self._engine.scales:
            raise ValueError(
                f"the engine at {self._engine.address} has the workers that it has: a cluster of OpenGRIS Scaler is "
                "scaled where its workers are started, and threads are as many as n_workers said"
            )
        self._slots = slots
        self._agent.post(EngineScale(slots))

    def shutdown(self, timeout: float | None) -> None:
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
        address, lifetime = self._engine.address, self._lifetime
        over = lifetime.waiters.add()
        if not lifetime.alive:  # checked before the request, after which the engine may end at once
            raise DisconnectedError(f"the connection to the engine at {address} has ended already")
        self._agent.post(ClientShutdown())
        if not current_host().wait(over, timeout):
            raise TimeoutError(f"the engine at {address} does not end within {timeout} s, and does not refuse to")
        if lifetime.alive:
            raise ValueError(
                f"the cluster at {address} is protected: it ends with the process that started it, or by that "
                "one's own shutdown(). Start it with protected=False, and clients may end it."
            )
        if not lifetime.engine_ended:
            raise DisconnectedError(f"this client left the engine at {address}, and cannot tell whether it ended")

    def receive(self, answer: EngineStatus | ClientShutdownResponse) -> None:
        """Take an answer of the engine, one of :attr:`ANSWERS`; on the agent's thread."""
        if isinstance(answer, EngineStatus):
            self.last_status, self._slots = answer, answer.slots
            self._status_waiters.wake()
        elif not answer.accepted:
            self._lifetime.waiters.wake()
