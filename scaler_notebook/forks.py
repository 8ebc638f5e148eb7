"""Callbacks that set a forked child right before any other code of the child runs.

The child of an ``os.fork``, of a forking pool, or of a subprocess with ``preexec_fn`` has copies of its parent's
objects, and none of its threads: a lock that another thread held stays locked, a wait for another thread never ends,
and sockets lead to the parent's peers. So each module with such objects registers a callback that resets them.
"""

import os
from collections.abc import Callable

_callbacks: list[Callable[[], None]] = []


def after_fork_in_child(call: Callable[[], None]) -> Callable[[], None]:
    """Have ``call()`` called in each forked child, in the order of registration. Usable as a decorator.

    The fork may come at any moment of the parent's other threads. So ``call`` takes no lock, never blocks, and is
    quick: a subprocess with ``preexec_fn`` waits for it, too.
    """
    _callbacks.append(call)
    return call


def _run_callbacks() -> None:
    for call in _callbacks:
        call()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_run_callbacks)
