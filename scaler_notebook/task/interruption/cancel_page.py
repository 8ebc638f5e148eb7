"""The page of memory that a scheduler and a task process share (see :mod:`.interrupts`)."""

import mmap

from .progress_slot import ProgressSlot


class CancelPage:
    """The shared page, an array of words; a store of a word is atomic.

    The scheduler writes the first word, and the task process and its forks read it. The other words go the other way:
    which run was begun last, whether its client's initializer runs, the process's own number, and how much of its
    memory is no task's.

    Parameters
    ----------
    fd
        The descriptor of a file of one page.
    """

    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, mmap.PAGESIZE)
        self._words = memoryview(self._map).cast("Q")
        self.progress = ProgressSlot(self._map)

    def request_stop(self, seq: int) -> None:
        """Ask a run to stop, with the next attempt number."""
        word = self._words[0]
        attempt = (word & 255) % 255 + 1 if word >> 8 == seq else 1
        self._words[0] = seq << 8 | attempt

    @property
    def word(self) -> int:
        """The request as ``seq << 8 | attempt``; 0 before the first request."""
        return self._words[0]

    @property
    def begun(self) -> int:
        """The last run whose task's code may have been reached; 0 before the first."""
        return self._words[1]

    @begun.setter
    def begun(self, seq: int) -> None:
        """Store the number of the run that begins."""
        self._words[1] = seq

    @property
    def preparing(self) -> bool:
        """Whether the last run is still in its client's initializer."""
        return bool(self._words[2])

    @preparing.setter
    def preparing(self, value: bool) -> None:
        """Store whether the initializer runs."""
        self._words[2] = value

    @property
    def pid(self) -> int:
        """The number of the process; 0 as long as the process has not been started."""
        return self._words[3]

    @pid.setter
    def pid(self, number: int) -> None:
        """Store the number of the process."""
        self._words[3] = number

    @property
    def held(self) -> int:
        """The bytes of the process's memory that are no task's: segments that it holds."""
        return self._words[4]

    @held.setter
    def held(self, size: int) -> None:
        """Store how many bytes are no task's."""
        self._words[4] = size

    def close(self) -> None:
        """Unmap the page."""
        self._words.release()
        self.progress.close()
        self._map.close()
