"""Permission to wait: a caller must not block a thread, or a callback, that others wait for."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from .asyncio_wait import running_loop
from .host import current_host

_local = threading.local()


class AgentThread(threading.Thread):
    """The thread of an agent, on which nothing of the user's runs."""


def is_agents_thread() -> bool:
    """Return whether the caller is on the thread of an agent."""
    return isinstance(threading.current_thread(), AgentThread)


@contextmanager
def no_waiting() -> Iterator[None]:
    """Forbid waits on this thread within the ``with`` block, so that ``cancel()`` asks and returns.

    For those who call callbacks during a wait.
    """
    before = getattr(_local, "refused", False)
    _local.refused = True
    try:
        yield
    finally:
        _local.refused = before


def may_wait() -> bool:
    """Return whether the caller may block: not on the agent's thread, in a widget's callback, or in a loop's callback.

    "Is a loop running on this thread?" is the wrong question, for a cell always has one. What counts is whether
    code of a cell or a callback of the loop is nearer on the stack.
    """
    if getattr(_local, "refused", False):
        return False
    if running_loop() is None:
        return True
    import asyncio  # a loop runs: it is loaded

    run = asyncio.Handle._run.__code__
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if current_host().is_cell(frame):
            return True
        if frame.f_code is run:
            return False
        frame = frame.f_back
    return False  # a loop that is not written in Python called us
