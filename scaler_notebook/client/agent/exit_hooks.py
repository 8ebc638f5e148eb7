"""What is done when the interpreter ends, and when: as the standard pools do it, before any handler of ``atexit``.

So handlers of the user's find the tasks done, and what they remove (a temporary directory, say) is there until then.
"""

import atexit
import contextlib
import threading
from collections.abc import Callable


class Exit:
    """Has the main thread of this process ended?"""

    begun = False


def before_exit(call: Callable[[], object]) -> None:
    """Have ``call()`` called once the main thread has ended; of several the one registered last comes first."""
    register = getattr(threading, "_register_atexit", None)  # what concurrent.futures uses, too
    if register is None:
        atexit.register(call)
    else:
        with contextlib.suppress(RuntimeError):  # it ends already
            register(call)
