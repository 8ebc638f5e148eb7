"""The page of memory that a scheduler and a task process share (see :mod:`.interrupts`)."""

import mmap

from .progress_slot import ProgressSlot


class CancelPage:
    """The shared words; a store is atomic.

    The scheduler writes the first, and the task process, and what that forks, read it. The others go the other way:
    which run was begun last, and whether its client's initializer runs.
    """

    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, mmap.PAGESIZE)
        self._words = memoryview(self._map).cast("Q")
        self.progress = ProgressSlot(self._map)

    def request_stop(self, seq: int) -> None:
        """Name the run that shall stop, one attempt further."""
        word = self._words[0]
        attempt = (word & 255) % 255 + 1 if word >> 8 == seq else 1
        self._words[0] = seq << 8 | attempt

    @property
    def word(self) -> int:
        """``seq << 8 | attempt``; 0 before the first ask."""
        return self._words[0]

    @property
    def begun(self) -> int:
        """The last run whose task's code may have been reached; 0 before the first."""
        return self._words[1]

    @begun.setter
    def begun(self, seq: int) -> None:
        self._words[1] = seq

    @property
    def preparing(self) -> bool:
        """Has the last run got no further than its client's initializer?"""
        return bool(self._words[2])

    @preparing.setter
    def preparing(self, value: bool) -> None:
        self._words[2] = value

    def close(self) -> None:
        """Unmap."""
        self._words.release()
        self.progress.close()
        self._map.close()
