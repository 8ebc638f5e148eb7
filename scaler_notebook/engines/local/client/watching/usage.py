"""The CPU time and memory of a task process and all that it has started, read from outside."""

import contextlib
import time
from typing import NamedTuple

import psutil

from scaler_notebook.engines.local.scheduler.processes import process_tree


class Usage(NamedTuple):
    """A measurement of what a process tree uses.

    Parameters
    ----------
    cores
        How many cores were busy with it since the last look, on average.
    memory
        The bytes that it has resident.
    """

    cores: float
    memory: int


class UsageMeter:
    """Reads what a process tree uses, again and again.

    Parameters
    ----------
    pid
        The process at its top.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._at = time.monotonic()
        self._cpu = _cpu_seconds(pid)

    def read(self) -> Usage:
        """Return what the tree uses, since the last look."""
        now, cpu = time.monotonic(), _cpu_seconds(self.pid)
        cores = max(0.0, cpu - self._cpu) / max(now - self._at, 1e-3)
        self._at, self._cpu = now, cpu
        return Usage(cores, process_tree.resident(self.pid))


def _cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process tree, that of its ended and awaited children included."""
    total = 0.0
    for each in (pid, *process_tree.descendants(pid)):
        with contextlib.suppress(psutil.Error, OSError):
            total += sum(psutil.Process(each).cpu_times()[:4])  # its own and its children's, user and system
    return total
