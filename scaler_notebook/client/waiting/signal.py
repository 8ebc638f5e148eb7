"""A one-shot event that a thread or an event loop waits for, and those who wait for the same."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

# Longest system call, in seconds, of a wait on the main thread. An interrupt in the instant before the call does not
# end it, for Python runs signal handlers between bytecodes; the next call is not begun.
SLICE = 0.5


class Signal:
    """A one-shot event that can wake a thread and call a hook."""

    def __init__(self) -> None:
        self._is_set = False
        # A bare lock: ``threading.Event`` has a condition, which an interrupt of a waiter can leave locked, with the
        # agent's thread waiting for ever to set it.
        self._gate = threading.Lock()
        self._gate.acquire()
        self._hook: Callable[[], None] | None = None

    def set(self) -> None:
        """Set the signal and wake whoever waits; any thread, never blocks."""
        self._is_set = True
        with suppress(RuntimeError):  # open already, or a waiter holds it for a moment
            self._gate.release()
        hook = self._hook
        if hook is not None:
            hook()

    def is_set(self) -> bool:
        """Return whether the signal was set."""
        return self._is_set

    def wake_by(self, hook: Callable[[], None]) -> None:
        """Have ``hook`` called by :meth:`set`. Check :meth:`is_set` afterwards: the signal may have been set before."""
        self._hook = hook

    def block(self, timeout: float | None) -> bool:
        """Block this thread until the signal is set; return whether it is set.

        Parameters
        ----------
        timeout
            Seconds; None waits for ever.

        Raises
        ------
        KeyboardInterrupt
            Ctrl-C, on the main thread.
        """
        seconds = math.inf if timeout is None else timeout
        if threading.current_thread() is threading.main_thread():
            deadline = time.monotonic() + seconds
            while seconds > SLICE and not self._is_set:
                self._acquire(SLICE)
                seconds = deadline - time.monotonic()
        if not self._is_set:
            self._acquire(min(max(0.0, seconds), threading.TIMEOUT_MAX))
        return self._is_set

    def _acquire(self, seconds: float) -> None:
        """Wait until the gate is open, at most ``seconds``, and leave it open."""
        if self._gate.acquire(timeout=seconds):
            with suppress(RuntimeError):
                self._gate.release()  # for the other waiters


class Waiters:
    """The signals of all who wait for the same thing to happen. Any thread may call everything here."""

    def __init__(self) -> None:
        self._signals: deque[Signal] = deque()

    def add(self) -> Signal:
        """Return a new signal, which the next :meth:`wake` sets."""
        signal = Signal()
        self._signals.append(signal)
        return signal

    def wake(self) -> None:
        """Set the signals, each once."""
        while self._signals:
            with suppress(IndexError):  # another thread was faster
                self._signals.pop().set()
