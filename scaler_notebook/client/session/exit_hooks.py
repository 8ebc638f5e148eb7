"""Hooks for the end of the interpreter, called as the standard pools' are: before any handler of ``atexit``.

So handlers of the user's find the tasks done, and what they remove (a temporary directory, say) is there until then.
"""

import atexit
import contextlib
import threading
from collections.abc import Callable


class Exit:
    """The state of this process's end: ``begun`` is true once its main thread has ended."""

    begun = False


def before_exit(call: Callable[[], object]) -> None:
    """Register a hook that is called once the main thread has ended; the hook registered last is called first."""
    register = getattr(threading, "_register_atexit", None)  # concurrent.futures uses the same
    if register is None:
        atexit.register(call)
    else:
        with contextlib.suppress(RuntimeError):  # the interpreter ends already
            register(call)
