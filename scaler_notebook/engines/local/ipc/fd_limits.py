"""How many files a process may have open, and the mode of new ones: for the user's code, what the user had.

Our own code may have as many open as there are: a large result on its way takes a descriptor for each of its arrays, in
the process that made it and in the scheduler.
"""

import contextlib
import errno
import fcntl
import os
import resource
import threading
from collections.abc import Iterator
from pathlib import Path

USER_LIMIT = resource.getrlimit(resource.RLIMIT_NOFILE)[0]  # at the import: before the scheduler raises its own


def _read_umask() -> int:
    """The mode of new files; asking the system call would change it for a moment, for other threads too."""
    with contextlib.suppress(OSError, StopIteration), open("/proc/self/status") as status:
        return int(next(line for line in status if line.startswith("Umask:")).split()[1], 8)
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


MIN_LEFT_TO_USER = 64  # descriptors, at least
OOM_SCORE = 500  # of 1000; it counts as if the process took half of the machine's memory more than it does
USER_UMASK = _read_umask()  # likewise: the scheduler's files are nobody else's


def set_open_files(limit: int | None = None) -> None:
    """Set the soft limit, by default to the hard one. Where the system refuses, the limit stays."""
    with contextlib.suppress(OSError, ValueError):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard if limit is None else limit, hard))


def raise_oom_score() -> None:
    """Have the system take this process, and what it starts, before the kernel and the scheduler; the largest first."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))


_limit_lock = threading.RLock()  # of two threads that raise the limit, one would put back what the other has raised


def move_above_soft_limit(descriptor: int) -> int:
    """Move a descriptor of a client's to where those of the user's own files do not come, and close the old one.

    That is above the soft limit, where the hard one is higher. Elsewhere a part of the descriptors is left to the user.

    Raises
    ------
    OSError
        There is no such place; the descriptor is closed.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard > soft:
        try:
            with _limit_lock, raised_limit():
                return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, soft)
        finally:
            os.close(descriptor)
    if descriptor >= soft - max(MIN_LEFT_TO_USER, soft // 4):
        os.close(descriptor)
        raise OSError(errno.EMFILE, "the descriptors that are left are the user's")
    return descriptor


@contextlib.contextmanager
def raised_limit() -> Iterator[None]:
    """Within ``with``, as many as the system allows; what was opened then stays usable."""
    before, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    set_open_files()
    try:
        yield
    finally:
        set_open_files(before)
