"""The thread on which done-callbacks run: one for the process, never the agent's, started at first use."""

import logging
import queue
import threading
from collections.abc import Callable

from .. import forks

log = logging.getLogger(__name__)

_calls: "queue.SimpleQueue[tuple[Callable[..., object], tuple[object, ...]]]" = queue.SimpleQueue()
_start = threading.Lock()
_thread: threading.Thread | None = None


def post(call: Callable[..., object], *args: object) -> None:
    """Run ``call(*args)`` on the callback thread, after those posted before."""
    start()
    _calls.put((call, args))


def call_logged(call: Callable[..., object], *args: object) -> None:
    """Run ``call(*args)`` here and now, and log what it raises: an exit and an interrupt are the caller's."""
    try:
        call(*args)
    except Exception:
        _log(call, args)


def start() -> None:
    """Have the thread run: at the interpreter's end some versions of Python start none any more."""
    global _thread
    if _thread is None or not _thread.is_alive():
        with _start:
            if _thread is None or not _thread.is_alive():
                _thread = threading.Thread(target=_run, name="scaler_notebook callbacks", daemon=True)
                _thread.start()


def drain() -> None:
    """Wait for the calls that were posted."""
    if _thread is not None and _thread.is_alive() and _thread is not threading.current_thread():
        over: queue.SimpleQueue[None] = queue.SimpleQueue()
        _calls.put((over.put, (None,)))
        over.get()


@forks.in_child
def _forget() -> None:
    """What was posted is the parent's to call; a thread of the child's own starts when it is needed."""
    global _calls, _start, _thread
    _calls, _start, _thread = queue.SimpleQueue(), threading.Lock(), None


def _run() -> None:
    while True:
        call, args = _calls.get()
        try:
            call(*args)
        except BaseException:  # SystemExit too: it would end this thread, and every later callback with it
            _log(call, args)
        del call, args  # a future, which may hold much


def _log(call: Callable[..., object], args: tuple[object, ...]) -> None:
    log.exception("exception calling callback for %r; the future is not affected", *(args or (call,)))
