"""What a run costs its process: time, CPU, and the peak of its memory."""

import os
import resource
import sys
import time
from contextlib import suppress

from scaler_notebook.protocol.messages import TaskFigures

RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # getrusage's ru_maxrss: bytes there, kilobytes elsewhere
RESET_PEAK = "/proc/self/clear_refs", b"5"  # Linux: the peak begins anew, for getrusage too; 5 µs


class Measurement:
    """Begins with its constructor; :meth:`figures` ends it."""

    def __init__(self) -> None:
        path, command = RESET_PEAK
        # Opened each time: a descriptor that is kept may be closed by a task, and its number be a file of the user's.
        with suppress(OSError):
            descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(descriptor, command)
            finally:
                os.close(descriptor)
        self._cpu = _cpu_seconds()
        self._started = time.time()

    def figures(self) -> TaskFigures:
        """From the beginning to now, of this process."""
        ended, peak = time.time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT
        return TaskFigures(self._started, ended, _cpu_seconds() - self._cpu, peak, str(os.getpid()))


def _cpu_seconds() -> float:
    """Of all threads, and of children that have ended and were waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
