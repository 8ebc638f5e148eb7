"""Memory that many tasks at once took of a process, given back to the system when they are over.

Python keeps what it has freed: in lists of its own, for objects like those, and in arenas of which some part is in use.
After ten thousand tasks that is as much as the process had before them.
"""

import ctypes
import gc
import time

BURST = 1000  # tasks at once, from which on it is worth the milliseconds
QUIET = 0.5  # seconds without tasks before memory is given back, for the next ones would take it again


class BurstMemory:
    """The memory of a process whose loop calls :meth:`look`."""

    def __init__(self) -> None:
        self._most = 0  # tasks at once, since memory was given back
        self._quiet_at: float | None = None  # in monotonic seconds
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # the C library's own; only GNU's has it

    @property
    def deadline(self) -> float | None:
        """When :meth:`look` is to be called, in monotonic seconds; None if it need not be."""
        return self._quiet_at

    def look(self, unfinished: int) -> None:
        """Give memory back if there were many tasks, and have been none for a while.

        Parameters
        ----------
        unfinished
            How many tasks there are now.
        """
        if unfinished:
            self._most, self._quiet_at = max(self._most, unfinished), None
        elif self._most < BURST:
            self._most = 0
        elif self._quiet_at is None:
            self._quiet_at = time.monotonic() + QUIET
        elif time.monotonic() >= self._quiet_at:
            self._most, self._quiet_at = 0, None
            gc.collect()
            if self._trim is not None:
                self._trim(0)
