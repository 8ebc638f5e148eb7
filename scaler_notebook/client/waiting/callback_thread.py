"""The threads on which the user's code runs beside the caller's: daemons, never the agent's, started at first use."""

import logging
import queue
import threading
from collections.abc import Callable

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
        forks.in_child(self._reset)  # posted calls are the parent's to make

    def _reset(self) -> None:
        """Begin with no call and no thread: also in a forked child."""
        self._calls: queue.SimpleQueue[tuple[Callable[..., object], tuple[object, ...]]] = queue.SimpleQueue()
        self._starting = threading.RLock()  # a signal handler of the user's may post, too
        self._thread: threading.Thread | None = None

    def post(self, call: Callable[..., object], *args: object) -> None:
        """Run ``call(*args)`` on the thread, after the calls posted before."""
        self.start()
        self._calls.put((call, args))

    def start(self) -> None:
        """Start the thread unless it runs: at the interpreter's end some versions of Python start none any more."""
        if self._thread is None or not self._thread.is_alive():
            with self._starting:
                if self._thread is None or not self._thread.is_alive():
                    self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                    self._thread.start()

    def drain(self) -> None:
        """Wait for the calls that were posted."""
        thread = self._thread
        if thread is not None and thread.is_alive() and thread is not threading.current_thread():
            over: queue.SimpleQueue[None] = queue.SimpleQueue()
            self._calls.put((over.put, (None,)))
            over.get()

    def _run(self) -> None:
        """Make the posted calls, and log what they raise."""
        while True:
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


def call_logged(call: Callable[..., object], *args: object) -> None:
    """Run ``call(*args)`` here and now, and log an exception; an exit and an interrupt are raised."""
    try:
        call(*args)
    except Exception:
        _log(call, args)


def _log(call: Callable[..., object], args: tuple[object, ...]) -> None:
    """Log the exception of a call."""
    log.exception("exception calling callback for %r; the future is not affected", *(args or (call,)))
