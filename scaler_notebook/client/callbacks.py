"""The thread on which done-callbacks run: one for the process, never the agent's, started at first use."""

import logging
import queue
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

_calls: "queue.SimpleQueue[Callable[[], object]]" = queue.SimpleQueue()
_start = threading.Lock()
_thread: threading.Thread | None = None


def post(call: Callable[[], object]) -> None:
    """Run ``call`` on the callback thread, after those posted before."""
    global _thread
    if _thread is None or not _thread.is_alive():
        with _start:
            if _thread is None or not _thread.is_alive():  # after a fork it is not
                _thread = threading.Thread(target=_run, name="scaler_notebook callbacks", daemon=True)
                _thread.start()
    _calls.put(call)


def _run() -> None:
    while True:
        call = _calls.get()
        try:
            call()
        except BaseException:  # SystemExit too: it would end this thread, and every later callback with it
            log.exception("a callback raised; the future is not affected")
        del call  # it holds a future, which may hold much
