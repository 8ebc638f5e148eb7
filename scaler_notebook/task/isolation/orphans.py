"""Processes that lose their parent while a task runs: on Linux they become children of the task's process.

So it is known to which task a daemon belongs (``setsid … &``, a double fork): the daemon is found among the descendants
of the process that runs the task, as long as that process lives.
"""

import ctypes
import gc
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing import process
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36


def prctl(option: int, value: int) -> None:
    """Call Linux's ``prctl``.

    Parameters
    ----------
    option
        The number of the option.
    value
        The second argument.

    Raises
    ------
    OSError
        The call fails, or does not exist on this platform.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    call = getattr(libc, "prctl", None)
    if call is None:
        raise OSError("no prctl on this platform")
    if call(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def become_subreaper() -> None:
    """Let orphans among this process's descendants become its children (``prctl(2)``, "subreaper").

    Raises
    ------
    OSError
        The system does not offer that.
    """
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def reap_orphans() -> None:
    """Wait for children that have ended and for which nobody else waits, as nobody does for an orphan."""
    dead = [pid for pid in children() if has_ended(pid)]
    if not dead:
        return
    waited_for = set(_waited_for())
    for pid in dead:
        if pid not in waited_for:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def _waited_for() -> Iterator[int]:
    """Yield the processes of which some code holds a handle, and may still ask how they ended."""
    for handle in gc.get_objects():
        if issubclass(type(handle), subprocess.Popen) and handle.returncode is None:
            yield handle.pid
    for child in list(getattr(process, "_children", ())):
        yield child.pid or 0


def children(pid: int | None = None) -> list[int]:
    """Return the children of a process, by default of this one; none where that cannot be known."""
    # The kernel keeps the list per thread; psutil would read every process of the machine, which takes 10 ms.
    found: list[int] = []
    threads = f"/proc/{pid or 'self'}/task"
    with suppress(OSError):
        for thread in os.listdir(threads):
            with suppress(OSError), open(f"{threads}/{thread}/children") as file:
                found += map(int, file.read().split())
    return found


def has_ended(pid: int) -> bool:
    """Return whether a process has ended, waited for or not."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[0] in "ZX"
    return True
