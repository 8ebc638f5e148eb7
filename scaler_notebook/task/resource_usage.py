"""The resources that a run uses in its process: time, CPU, and the peak of memory."""

import os
import resource
import sys
import time
from contextlib import suppress

from scaler_notebook.protocol.messages import TaskFigures

RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes per unit of getrusage's ru_maxrss
RESET_PEAK = "/proc/self/clear_refs", b"5"  # Linux: resets the peak of memory, for getrusage too; takes 5 µs


class Measurement:
    """A measurement of this process's resources, from the constructor to :meth:`figures`."""

    def __init__(self) -> None:
        path, command = RESET_PEAK
        # Opened each time: a task could close a descriptor that stays open, and reuse the number for a file.
        with suppress(OSError):
            descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(descriptor, command)
            finally:
                os.close(descriptor)
        self._cpu = _cpu_seconds()
        self._started = time.time()

    def figures(self) -> TaskFigures:
        """Return what was used from the beginning of the measurement to now."""
        ended, peak = time.time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT
        return TaskFigures(self._started, ended, _cpu_seconds() - self._cpu, peak, str(os.getpid()))


def _cpu_seconds() -> float:
    """Return the CPU time of all threads, and of children that have ended and were waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
