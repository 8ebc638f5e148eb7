"""The modes that new files of this process do not get."""

import contextlib
import os


def read_umask() -> int:
    """Return the umask, where possible without the system call, which changes the umask for all threads meanwhile."""
    with contextlib.suppress(OSError, StopIteration), open("/proc/self/status") as status:
        return int(next(line for line in status if line.startswith("Umask:")).split()[1], 8)
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
