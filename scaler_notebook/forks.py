"""What a forked child does with what is its parent's: it forgets it, before any other code of the child runs.

The child of an ``os.fork``, of a forking pool, or of a subprocess with ``preexec_fn`` has copies of its parent's
objects, and none of its threads: a lock that another thread held stays locked, a wait for what another thread brings
never ends, and sockets lead to the parent's peers. So each module that has such things registers what sets them right.
"""

import os
from collections.abc import Callable

_callbacks: list[Callable[[], None]] = []


def after_fork_in_child(call: Callable[[], None]) -> Callable[[], None]:
    """Have ``call()`` called in each forked child, in the order of registration; a decorator.

    It may come at any moment of the parent's other threads, so it takes no lock, blocks never, and is quick: a
    subprocess with ``preexec_fn`` waits for it, too.
    """
    _callbacks.append(call)
    return call


def _run_callbacks() -> None:
    for call in _callbacks:
        call()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_run_callbacks)
