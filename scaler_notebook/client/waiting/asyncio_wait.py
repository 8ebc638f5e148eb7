"""A blocking wait on the thread of a running asyncio loop: re-entrant if the user has made the loop so, else plain.

``nest_asyncio2.apply()`` is the user's own decision, for it changes asyncio for the whole process.

Asyncio takes as long to load as all of our own modules, and an executor without an engine needs none of it. So nothing
in ``client`` imports it at its head, but for the agent's loop; it is loaded while the engine starts.
"""

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .signal import Signal

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop


def running_loop() -> "AbstractEventLoop | None":
    """Return the asyncio loop that runs on this thread; None if there is none."""
    # Another thread may be importing it: then no loop can run yet.
    running: Any = getattr(sys.modules.get("asyncio"), "_get_running_loop", None)
    loop: AbstractEventLoop | None = running() if running is not None else None
    return loop


def wait(condition: Signal, timeout: float | None) -> bool:
    """Wait until a signal is set; return False if it is not, within the time.

    Parameters
    ----------
    condition
        The signal.
    timeout
        Seconds; None waits for ever.
    """
    loop = running_loop()
    if loop is None:
        return condition.block(timeout)
    with _ctrl_c_ends_it():
        if hasattr(loop, "_nest_asyncio2"):
            return _wait_in(loop, condition, timeout)
        return condition.block(timeout)


def _wait_in(loop: "AbstractEventLoop", condition: Signal, timeout: float | None) -> bool:
    """Wait as :func:`wait` does, while a re-entrant loop goes on.

    Parameters
    ----------
    loop
        The loop of this thread, which is running.
    condition
        The signal.
    timeout
        Seconds; None waits for ever.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    woken = loop.create_future()

    def settle() -> None:
        if not woken.done():
            woken.set_result(None)

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed: an interrupt had ended the wait
            loop.call_soon_threadsafe(settle)

    condition.wake_by(wake)
    if condition.is_set():
        return True
    timer = None if timeout is None else loop.call_later(timeout, settle)
    try:
        loop.run_until_complete(woken)
    except RuntimeError:
        if woken.done():
            raise
        # The loop was stopped: what was to run in it is over, but the wait is not.
        return condition.block(None if deadline is None else max(0.0, deadline - time.monotonic()))
    finally:
        if timer is not None:
            timer.cancel()
    return condition.is_set()


@contextlib.contextmanager
def _ctrl_c_ends_it() -> Iterator[None]:
    """Have Ctrl-C raise a KeyboardInterrupt within the ``with`` block, also under ``asyncio.run``.

    ``asyncio.run`` answers the first Ctrl-C by cancelling its main task, which is in our wait and does not notice.
    """
    import asyncio  # a loop runs: it is loaded

    handler = signal.getsignal(signal.SIGINT)
    runner = getattr(getattr(handler, "func", None), "__self__", None)
    if (
        threading.current_thread() is not threading.main_thread()
        or not hasattr(asyncio, "Runner")  # Python 3.10 raises KeyboardInterrupt
        or not isinstance(runner, asyncio.Runner)
    ):
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
