"""The threads on which the user's code runs beside the caller's: daemons, never the agent's, started at first use."""

import logging
import queue
import threading
from collections.abc import Callable
from contextlib import suppress

from scaler_notebook import forks

log = logging.getLogger(__name__)


class CallThread:
    """A thread that makes calls one after the other.

    Parameters
    ----------
    name
        The name of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._reset()
        forks.after_fork_in_child(self._reset)  # posted calls are the parent's to make

    def _reset(self) -> None:
        """Begin with no call and no thread: also in a forked child."""
        self._calls: queue.SimpleQueue[tuple[Callable[..., object], tuple[object, ...]]] = queue.SimpleQueue()
        self._starting = threading.RLock()  # a signal handler of the user's may post, too
        self._thread: threading.Thread | None = None
        self._is_idle = True  # has every posted call been made?

    def post(self, call: Callable[..., object], *args: object) -> None:
        """Run ``call(*args)`` on the thread, after the calls posted before."""
        self.start()
        self._calls.put((call, args))
        self._is_idle = False  # behind the put: the thread looks at the queue once more after it has set this

    def start(self) -> None:
        """Start the thread unless it runs: at the interpreter's end some versions of Python start none any more."""
        if self._thread is None or not self._thread.is_alive():
            with self._starting:
                if self._thread is None or not self._thread.is_alive():
                    self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                    self._thread.start()

    def drain(self, timeout: float | None = None) -> None:
        """Wait for the calls that were posted, at most ``timeout`` seconds."""
        thread = self._thread
        if not self._is_idle and thread is not None and thread.is_alive() and thread is not threading.current_thread():
            over: queue.SimpleQueue[None] = queue.SimpleQueue()
            self._calls.put((over.put, (None,)))
            with suppress(queue.Empty):
                over.get(timeout=timeout)

    def _run(self) -> None:
        """Make the posted calls, and log what they raise."""
        while True:
            if self._calls.empty():
                self._is_idle = True
                if not self._calls.empty():  # posted in between
                    self._is_idle = False
            call, args = self._calls.get()
            try:
                call(*args)
            except BaseException:  # SystemExit too: it would end this thread, and every later callback with it
                _log(call, args)
            del call, args  # a future among them may hold much memory


_done_callbacks = CallThread("scaler_notebook callbacks")
post, start, drain = _done_callbacks.post, _done_callbacks.start, _done_callbacks.drain

# A second thread: a done-callback may wait for a task whose inputs have to be sent again.
inputs = CallThread("scaler_notebook inputs")
# A third one prints what tasks write: a slow callback, or one that waits, holds up no output.
output = CallThread("scaler_notebook output")


def call_logged(call: Callable[..., object], *args: object) -> None:
    """Run ``call(*args)`` here and now, and log an exception; an exit and an interrupt are raised."""
    try:
        call(*args)
    except Exception:
        _log(call, args)


def _log(call: Callable[..., object], args: tuple[object, ...]) -> None:
    """Log the exception of a call."""
    log.exception("exception calling callback for %r; the future is not affected", *(args or (call,)))
