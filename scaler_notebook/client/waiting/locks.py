"""Calls under a lock that no interrupt leaves locked: a locked one would block the agent's thread for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def call_locked(lock: threading.RLock, call: Callable[..., T], *args: Any) -> T:
    """Return ``call(*args)``, called with a lock held.

    The call and the release are one line, so that nothing that interrupts between two lines (a tracer, as debuggers and
    tests have them) comes between the end of the block and the release. Signal handlers come between calls, and find
    the lock released. The lock is one of C: an interrupt within ``Condition.__enter__``, which is Python code, would
    leave it locked.

    Parameters
    ----------
    lock
        The lock.
    call
        What is called.
    args
        The arguments of the call.
    """
    with lock: return call(*args)  # fmt: skip  # noqa: E701
