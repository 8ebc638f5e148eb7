"""The progress of a task, in memory that the task process shares with the scheduler.

A report needs no message and no system call. So a task may report as often as it likes, from any of its threads and
forks, and may be killed while it does. The scheduler looks a few times a second, which limits the rate.
"""

import mmap
import struct

OFFSET = 64  # bytes; the words of CancelPage come before
LAYOUT = struct.Struct("=Qdddqq")  # run, done, total, rate, lengths of note and unit in bytes
MAX_NOTE = 1000  # bytes
MAX_UNIT = 40  # bytes
LARGEST = 2**64 - 1

Report = tuple[int, float, float, str, float, str]  # run, done, total, note, rate (negative: unknown), unit


class ProgressSlot:
    """A report in shared memory, for one writer at a time and one reader.

    A version that is odd, or changes while it is read, means that the report cannot be read this time.

    Parameters
    ----------
    page
        The page that both sides share; zeroes at first.
    """

    def __init__(self, page: mmap.mmap) -> None:
        self._page = page
        self._version = memoryview(page)[OFFSET : OFFSET + 8].cast("Q")
        self._body = OFFSET + 8
        self._last = 0

    def write(self, run: int, done: float, total: float, note: str, rate: float = -1.0, unit: str = "") -> None:
        """Write a report. For the task process.

        Parameters
        ----------
        run
            The number of the run.
        done
            How many steps are done.
        total
            How many steps there are; negative if unknown.
        note
            A few words for a person; cut after 1,000 bytes.
        rate
            How many steps are done in a second; negative if unknown.
        unit
            What a step is; cut after 40 bytes.
        """
        texts = note.encode(errors="replace")[:MAX_NOTE], unit.encode(errors="replace")[:MAX_UNIT]
        version = self._version[0] | 1
        self._version[0] = version
        LAYOUT.pack_into(self._page, self._body, run, done, total, rate, *map(len, texts))
        start = self._body + LAYOUT.size
        self._page[start : start + sum(map(len, texts))] = b"".join(texts)
        self._version[0] = (version + 1) & LARGEST

    @property
    def writer(self) -> int:
        """The run that has written the report; 0 if none has."""
        return int(LAYOUT.unpack_from(self._page, self._body)[0])

    def read_new(self) -> Report | None:
        """Return the last report if it was not returned before; else None. For the scheduler."""
        version = self._version[0]
        if version & 1 or version == self._last:
            return None
        run, done, total, rate, *lengths = LAYOUT.unpack_from(self._page, self._body)
        start = self._body + LAYOUT.size
        middle = start + min(max(lengths[0], 0), MAX_NOTE)
        note, unit = self._page[start:middle], self._page[middle : middle + min(max(lengths[1], 0), MAX_UNIT)]
        if self._version[0] != version:
            return None
        self._last = version
        return run, done, total, note.decode(errors="replace"), rate, unit.decode(errors="replace")

    def close(self) -> None:
        """Release the memory. Call before the page is closed."""
        self._version.release()
