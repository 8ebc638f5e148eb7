"""What every client has of its engine: a session when it needs one, how its tasks are stopped, and its end."""

import threading
import weakref
from abc import ABC, abstractmethod
from typing import Any

from scaler_notebook import forks
from scaler_notebook.engines.base import Engine
from scaler_notebook.protocol.errors import DisconnectedError, EngineLostError
from scaler_notebook.protocol.messages import EngineStatus, Initializer
from scaler_notebook.task import top_level

from .agent.exit_hooks import Exit
from .agent.session import Session
from .futures.future import CANCEL_TIMEOUT, ScalerFuture
from .futures.group import FutureGroup
from .task_state.cancel_policy import DEFAULTS, OnInterrupt, Policy
from .task_state.lifecycle import TaskLifecycle

_clients: "weakref.WeakSet[Connected]" = weakref.WeakSet()


@forks.after_fork_in_child
def _forget() -> None:
    for client in _clients:
        client._starting, client._is_starting = threading.RLock(), False


class Connected(ABC):
    """Has an engine, which starts with the first task; when that is lost, the next task starts another.

    In a forked child it connects anew with the first task there.

    Parameters
    ----------
    grace, on_interrupt
        As :class:`~.executor.NotebookExecutor` has them; None: as ``%scaler config`` says.
    initializer
        What comes before the first of its tasks in each process.
    """

    _lost_error = EngineLostError  # what futures end with when the engine is lost

    def __init__(
        self, grace: float | None, on_interrupt: OnInterrupt | None, initializer: Initializer | None = None
    ) -> None:
        self._initializer = initializer
        self.policy = Policy(
            DEFAULTS.grace if grace is None else grace,
            DEFAULTS.on_interrupt if on_interrupt is None else on_interrupt,
        )
        self._session: Session | None = None
        self._starting = threading.RLock()
        self._is_starting = False
        self._shut_down = False
        self._left = False  # by :meth:`disconnect`
        _clients.add(self)

    @abstractmethod
    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> ScalerFuture[Any]:
        """Run ``fn(*args, **kwargs)``."""

    @abstractmethod
    def resubmit(self, future: TaskLifecycle) -> ScalerFuture[Any]:
        """Submit the call of a future again."""

    @abstractmethod
    def _new_engine(self) -> Engine:
        """The engine to use, not started yet."""

    @property
    @abstractmethod
    def capabilities(self) -> dict[str, int] | None:
        """What tasks may need, and how much of each there is in all; None if the engine does not tell."""

    @property
    def grace(self) -> float:
        """Seconds between the interrupt and what follows; may be set at any time, for tasks submitted before too."""
        return self.policy.grace

    @grace.setter
    def grace(self, seconds: float) -> None:
        self.policy.grace = seconds

    @property
    def on_interrupt(self) -> OnInterrupt:
        """What the stop button does to the tasks that somebody waits for; may be set at any time."""
        return self.policy.on_interrupt

    @on_interrupt.setter
    def on_interrupt(self, choice: OnInterrupt) -> None:
        self.policy.on_interrupt = choice

    @property
    def is_shut_down(self) -> bool:
        """Does it take no more tasks?"""
        return self._shut_down

    @property
    def is_running(self) -> bool:
        """Has it an engine?"""
        return self._session is not None and self._session.alive

    @property
    def address(self) -> str:
        """Where other processes of this user on this machine reach the engine; starts it if need be."""
        return self._running_session().address

    def start(self) -> None:
        """Start the engine now, or connect to it; otherwise the first task does. Idempotent.

        Raises
        ------
        EngineStartError
            It cannot be had.
        RuntimeError
            The executor is shut down.
        """
        self._running_session()

    def engine_status(self, timeout: float = 2.0) -> EngineStatus | None:
        """What the engine does now, for all of its clients; starts it if need be.

        Parameters
        ----------
        timeout
            Seconds; after them None: the engine does not answer.
        """
        return self._running_session().status(timeout)

    def unfinished(self) -> list[ScalerFuture[Any]]:
        """The futures of this executor that have not ended, in the order of submission."""
        return self._session.unfinished() if self._session is not None else []

    def cancel_all(
        self, timeout: float | None = CANCEL_TIMEOUT, force: bool = True, grace: float | None = None
    ) -> bool:
        """Cancel every unfinished task: all requests first, then one wait. True if all of them ended in time.

        The parameters are those of :meth:`ScalerFuture.cancel`.
        """
        return FutureGroup(self.unfinished()).cancel(timeout, force, grace)

    def disconnect(self, timeout: float | None = CANCEL_TIMEOUT) -> None:
        """Cancel what is unfinished and leave the engine; one of its own ends, one at an address stays.

        What is not confirmed within ``timeout`` seconds is cancelled all the same: *disconnected*. The executor takes
        no more tasks. Where waiting would block a loop or a widget's callback, it asks, and the rest happens later.
        """
        with self._starting:
            self._shut_down = self._left = True
        session = self._session
        if session is not None:
            session.disconnect(timeout)

    def _no_more(self) -> Exception:
        if self._left:
            return DisconnectedError("it is disconnected and takes no more tasks; create a new one")
        return RuntimeError("the executor is shut down and takes no more tasks; create a new one")

    def _running_session(self) -> Session:
        session = self._session
        if session is not None and session.alive and not self._shut_down and not Exit.begun:
            return session
        # The lock is held while the engine starts: whoever submits meanwhile needs that very engine.
        with self._starting:
            if self._shut_down:
                raise self._no_more()
            if Exit.begun:
                raise RuntimeError("cannot schedule new futures after interpreter shutdown: the script has ended")
            if self._session is not None:
                self._session.raise_if_broken()
            if self._is_starting:  # and this thread is at it
                raise RuntimeError(
                    "a signal handler cannot submit while the code that it interrupts starts the engine: call start() "
                    "before"
                )
            if self._session is None or not self._session.alive:
                self._is_starting = True
                try:
                    self._session = self._new_session()
                finally:
                    self._is_starting = False
            return self._session

    def _new_session(self) -> Session:
        top_level.refuse_at_top_level()
        session = Session(self._new_engine(), weakref.ref(self), self._initializer, self._lost_error)
        # An executor that nobody holds takes no more tasks; those that it has run on.
        weakref.finalize(self, session.finish_later).atexit = False
        session.open()
        return session
