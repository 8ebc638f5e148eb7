"""The session that a client uses now: opened with the first task, and anew after the engine was lost."""

import threading
import weakref
from collections.abc import Callable

from scaler_notebook import forks
from scaler_notebook.protocol.errors import DisconnectedError

from .exit_hooks import Exit
from .session import Session

_instances: "weakref.WeakSet[CurrentSession]" = weakref.WeakSet()


@forks.after_fork_in_child
def _replace_locks() -> None:
    """In a forked child: replace the locks, which other threads of the parent may have held."""
    for current in _instances:
        current.replace_lock()


class CurrentSession:
    """The current session of a client, opened when the client needs one and has none that is alive.

    Parameters
    ----------
    new_session
        Refers to a method of the client, which calls here and is not kept alive: it makes a session that is not open
        yet.
    """

    def __init__(self, new_session: "weakref.WeakMethod[Callable[[], Session]]") -> None:
        self._new_session = new_session
        self.session: Session | None = None  # the last one, alive or not
        self.is_shut_down = False
        self._is_disconnected = False
        self.replace_lock()
        _instances.add(self)

    def replace_lock(self) -> None:
        """Make a new lock, which nobody holds."""
        self._starting, self._is_starting = threading.RLock(), False

    def running(self) -> Session:
        """Return a session that is alive; open one if there is none.

        Raises
        ------
        RuntimeError
            The client is shut down, the script has ended, or a signal handler submits while the engine starts.
        DisconnectedError
            The client is disconnected.
        InitializerError
            The initializer of the client's tasks has raised.
        """
        session = self.session
        if session is not None and session.alive and not self.is_shut_down and not Exit.begun:
            return session
        # The lock is held while the engine starts: whoever submits meanwhile needs that very engine.
        with self._starting:
            self._raise_if_closed()
            if self.session is not None:
                self.session.lifetime.raise_if_broken()
            if self._is_starting:  # on this thread, which holds the lock
                raise RuntimeError(
                    "a signal handler cannot submit while the code that it interrupts starts the engine: call start() "
                    "before"
                )
            if self.session is None or not self.session.alive:
                try:
                    self._is_starting = True
                    new_session = self._new_session()
                    assert new_session is not None
                    self.session = new_session()  # known before it is open: no interrupt leaves one that nobody knows
                    self.session.open()
                finally:
                    self._is_starting = False
            return self.session

    def shut_down(self, disconnect: bool = False) -> Session | None:
        """Open no more sessions; return the last one. Waits for a session that is being opened.

        Parameters
        ----------
        disconnect
            Whether later submits end with a ``DisconnectedError``, and not with a ``RuntimeError``.
        """
        with self._starting:
            self.is_shut_down = True
            self._is_disconnected = self._is_disconnected or disconnect
        return self.session

    def _raise_if_closed(self) -> None:
        """Raise an error if the client, or this process, takes no more tasks."""
        if self.is_shut_down and self._is_disconnected:
            raise DisconnectedError("it is disconnected and takes no more tasks; create a new one")
        if self.is_shut_down:
            raise RuntimeError("the executor is shut down and takes no more tasks; create a new one")
        if Exit.begun:
            raise RuntimeError("cannot schedule new futures after interpreter shutdown: the script has ended")
