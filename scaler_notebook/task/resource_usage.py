"""The resources that a run uses in its process: time, CPU, and the peak of memory."""

import os
import resource
import sys
import time

from scaler_notebook.protocol.messages import TaskFigures
from scaler_notebook.protocol.twins import maker

RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes per unit of getrusage's ru_maxrss
RESET_PEAK = "/proc/self/clear_refs", b"5"  # Linux: resets the peak of memory, for getrusage too
_new_figures = maker(TaskFigures)


class PeakReset:
    """The file that resets the peak of memory, kept open: opening takes several times as long as writing.

    A task could close the descriptor and reuse its number, so each write is preceded by a look at what the descriptor
    is. For one process and one thread: the file stands for the process that has opened it.
    """

    def __init__(self) -> None:
        self._descriptor = -1
        self._file = 0, 0  # device and inode
        self._pid = 0

    def reset(self) -> None:
        """Begin to count the peak anew; where the system does not offer that, do nothing."""
        try:
            if not self._is_open():
                self._open()
            os.write(self._descriptor, RESET_PEAK[1])
        except OSError:
            pass

    def _is_open(self) -> bool:
        if self._pid != os.getpid():
            return False
        try:
            found = os.fstat(self._descriptor)
        except OSError:
            return False
        return self._file == (found.st_dev, found.st_ino)

    def _open(self) -> None:
        self._descriptor = os.open(RESET_PEAK[0], os.O_WRONLY | os.O_CLOEXEC)
        found = os.fstat(self._descriptor)
        self._file, self._pid = (found.st_dev, found.st_ino), os.getpid()

    def close(self) -> None:
        """Close the file, if it is open; the next reset opens it again."""
        if self._is_open():
            os.close(self._descriptor)


class Measurement:
    """A measurement of this process's resources, from the constructor to :meth:`figures`.

    Parameters
    ----------
    peak
        The file that resets the peak of memory; None for one that is open for this moment alone.
    processor
        As in the figures; None for the id of this process.
    held
        Bytes of this process's memory that are not counted.
    """

    def __init__(self, peak: PeakReset | None = None, processor: str | None = None, held: int = 0) -> None:
        self._held = held
        self._processor = str(os.getpid()) if processor is None else processor
        if peak is not None:
            peak.reset()
        else:
            once = PeakReset()
            once.reset()
            once.close()
        self._cpu = time.process_time() + _cpu_of_children()  # by the clock, which takes a third of what getrusage does
        self._started = time.time()

    def figures(self) -> TaskFigures:
        """Return what was used from the beginning of the measurement to now."""
        own, ended = resource.getrusage(resource.RUSAGE_SELF), time.time()
        # The two ways to read the same clock differ in what they leave out of a microsecond.
        cpu = max(0.0, own.ru_utime + own.ru_stime + _cpu_of_children() - self._cpu)
        peak = max(0, own.ru_maxrss * RSS_UNIT - self._held)
        return _new_figures(self._started, ended, cpu, peak, self._processor, ())


def _cpu_of_children() -> float:
    """Return the CPU time, in seconds, of children that have ended and were waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime
