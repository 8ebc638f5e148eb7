"""Limits that a process inherits and passes on: open files, the umask, and the score of the out-of-memory killer.

The user's code gets the limits that the user had. The scheduler, and a task process while it writes a result, may have
as many files open as the hard limit allows: a large result takes one descriptor for each of its arrays.
"""

import contextlib
import errno
import fcntl
import math
import os
import resource
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from scaler_notebook.task.isolation.umask import read_umask

USER_LIMIT = resource.getrlimit(resource.RLIMIT_NOFILE)[0]  # read before the scheduler raises its own limit
PLENTY, FRESH = 2048, 0.01  # so many free descriptors are not all taken within so many seconds
MIN_LEFT_TO_USER = 64  # descriptors
OOM_SCORE = 500  # of 1000: the process counts as if it used half of the machine's memory more than it does
USER_UMASK = read_umask()  # read before the scheduler makes its files private


def set_open_files(limit: int | None = None) -> None:
    """Set the soft limit of open files; where the system refuses, the limit stays.

    Parameters
    ----------
    limit
        Descriptors; None for the hard limit.
    """
    with contextlib.suppress(OSError, ValueError):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard if limit is None else limit, hard))


class FreeDescriptors:
    """How many more descriptors this process may open."""

    def __init__(self) -> None:
        self._limit = self._free = 0
        self._counted_at = -math.inf  # monotonic seconds

    def may_lack(self, descriptors: int) -> bool:
        """Return whether there may be no room for some more descriptors.

        Counting takes some 20 microseconds, so one count serves for a while if it has found plenty.

        Parameters
        ----------
        descriptors
            How many more.
        """
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        now = time.monotonic()
        if limit != self._limit or self._free < PLENTY or now - self._counted_at > FRESH:
            self._limit, self._counted_at, self._free = limit, now, _count_free(limit)
        return self._free < descriptors


def _count_free(limit: int) -> int:
    try:
        return limit - sum(int(number) < limit for number in os.listdir("/proc/self/fd"))
    except OSError:  # no room to list them, or no such directory
        return 0 if sys.platform == "linux" else limit


def raise_oom_score() -> None:
    """Have the out-of-memory killer prefer this process, and what it starts, to the kernel and the scheduler."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))


_limit_lock = threading.RLock()  # of two threads that raise the limit, one could restore what the other has raised


def duplicate_above_soft_limit(descriptor: int) -> int:
    """Return a duplicate of a descriptor above the soft limit, where the user's own files are never opened.

    Where the soft limit is the hard limit, this is the descriptor itself, unless the user would be left with too few.

    Raises
    ------
    OSError
        No descriptor is left.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard > soft:
        with _limit_lock, raised_limit():
            return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, soft)
    if descriptor >= soft - max(MIN_LEFT_TO_USER, soft // 4):
        raise OSError(errno.EMFILE, "the descriptors that are left are the user's")
    return descriptor


@contextlib.contextmanager
def raised_limit() -> Iterator[None]:
    """Raise the soft limit to the hard one within the ``with`` block; what is opened there stays usable afterwards."""
    before, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    set_open_files()
    try:
        yield
    finally:
        set_open_files(before)
