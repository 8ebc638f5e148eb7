"""The progress of a task, in memory that the task process shares with the scheduler.

A report needs no message and no system call. So a task may report as often as it likes, from any of its threads and
forks, and may be killed while it does. The scheduler looks a few times a second, which limits the rate.
"""

import mmap
import struct

OFFSET = 64  # bytes; the words of CancelPage come before
LAYOUT = struct.Struct("=Qddq")  # run, done, total, length of the note in bytes
MAX_NOTE = 1000  # bytes
LARGEST = 2**64 - 1

Report = tuple[int, float, float, str]  # run, done, total (negative: unknown), note


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

    def write(self, run: int, done: float, total: float, note: str) -> None:
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
        """
        text = note.encode(errors="replace")[:MAX_NOTE]
        version = self._version[0] | 1
        self._version[0] = version
        LAYOUT.pack_into(self._page, self._body, run, done, total, len(text))
        start = self._body + LAYOUT.size
        self._page[start : start + len(text)] = text
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
        run, done, total, length = LAYOUT.unpack_from(self._page, self._body)
        start = self._body + LAYOUT.size
        text = self._page[start : start + min(max(length, 0), MAX_NOTE)]
        if self._version[0] != version:
            return None
        self._last = version
        return run, done, total, text.decode(errors="replace")

    def close(self) -> None:
        """Release the memory. Call before the page is closed."""
        self._version.release()
