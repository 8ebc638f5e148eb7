"""How far a task says it is, in memory that its process shares with the scheduler.

No message and no system call: a task may report as often as it likes, from any of its threads and forks, and may be
killed while it does. The scheduler looks a few times a second; that is what limits the rate.
"""

import mmap
import struct

OFFSET = 64  # in the page; what asks the task to stop stands before it
LAYOUT = struct.Struct("=Qddq")  # run, done, total, length of the note
MAX_NOTE = 1000  # bytes
LARGEST = 2**64 - 1

Report = tuple[int, float, float, str]  # run, done, total (negative: unknown), note


class ProgressSlot:
    """One writer at a time, one reader. A version that is odd, or changes during a look, means: not this time.

    Parameters
    ----------
    page
        Shared by both sides; zeroes at first.
    """

    def __init__(self, page: mmap.mmap) -> None:
        self._page = page
        self._version = memoryview(page)[OFFSET : OFFSET + 8].cast("Q")
        self._body = OFFSET + 8
        self._last = 0

    def write(self, run: int, done: float, total: float, note: str) -> None:
        """By the task process."""
        text = note.encode(errors="replace")[:MAX_NOTE]
        version = self._version[0] | 1
        self._version[0] = version
        LAYOUT.pack_into(self._page, self._body, run, done, total, len(text))
        start = self._body + LAYOUT.size
        self._page[start : start + len(text)] = text
        self._version[0] = (version + 1) & LARGEST

    def read_new(self) -> Report | None:
        """By the scheduler: the last report, if it is not the one that was given last."""
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
        """Before the page is."""
        self._version.release()
