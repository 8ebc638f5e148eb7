"""A lock that no interrupt of the user's thread leaves locked, with the agent's thread waiting for it for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def call_locked(lock: threading.RLock, call: Callable[..., T], *args: Any) -> T:
    """``call(*args)`` with a lock.

    It is one line, so that nothing that interrupts between two lines comes between the end of the block and the
    release: a tracer, as debuggers and tests have them. Signal handlers come between calls, and find it released. The
    lock is one of C: an interrupt within ``Condition.__enter__``, which is Python code, would leave it locked.
    """
    with lock: return call(*args)  # fmt: skip  # noqa: E701
