"""One stream of a task process, stdout or stderr, as the scheduler reads it: a pipe with marks in it.

A pipe, not a file: a subprocess that opens ``/dev/stdout`` (``>``, ``tee``, ``-o``) opens the same pipe once more, and
truncates nothing. What a killed process has written is still in the pipe. A task that writes faster than the scheduler
reads has to wait; therefore the scheduler reads the more often, the more there is.

The task process puts a mark into both pipes for each record that it writes
(:mod:`scaler_notebook.engines.local.worker.streams`); a mark separates what was written before the record, on either
stream, from what was written after. A mark is written by one ``write`` and is shorter than ``PIPE_BUF``, so no other
writer's text is within a mark.

Of a flood the head and the tail are kept; what lies between is read, counted, and dropped.
"""

import codecs
import contextlib
import fcntl
import os
import struct
import termios
from array import array
from collections import deque

from scaler_notebook.quantities import format_bytes

HEAD = 8 * 1024 * 1024  # bytes of a task's stream that are forwarded as they come
TAIL = 1024 * 1024  # bytes, the last of those behind the head, that are forwarded when the task ends
READ = 256 * 1024  # bytes per read
LONGEST_LINE = 4096  # bytes that a tail is cut by at most, so as to begin with a whole line
CAPACITY = 64 * 1024  # bytes that a pipe holds, where the system does not tell
F_GETPIPE_SZ = 1032  # linux/fcntl.h

MARK = b"\x1b_scaler mark \xff\x00"  # followed by the number; terminals take it for a private string
NUMBER = struct.Struct("<Q")
MARK_SIZE = len(MARK) + NUMBER.size


def encode_mark(number: int) -> bytes:
    """Return the bytes of a mark in a pipe."""
    return MARK + NUMBER.pack(number)


class OutputPipe:
    """The scheduler's end of one stream, and what was read from the stream and is not forwarded yet."""

    def __init__(self) -> None:
        self.read_fd, self.write_fd = os.pipe()
        os.set_blocking(self.read_fd, False)
        self.capacity = CAPACITY  # bytes
        with contextlib.suppress(OSError):
            self.capacity = fcntl.fcntl(self.write_fd, F_GETPIPE_SZ)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._clear()

    def _clear(self) -> None:
        """Set the state of a new task."""
        self._waiting: deque[bytes | int] = deque()  # text and marks of the head, in order
        self._marks: set[int] = set()  # the marks in ``_waiting``
        self._passed: set[int] = set()  # marks at which :meth:`take_rest` has stopped once
        self._torn = b""  # the end of what was read, if that may be the beginning of a mark
        self._head = 0  # bytes of text
        self._tail: deque[bytes] = deque()
        self._kept = self._dropped = 0  # bytes behind the head
        self._in_line = False
        self._decoder.reset()
        self._is_clean = True

    def close_write_end(self) -> None:
        """Close the end to write to, once the task process has inherited that end."""
        if self.write_fd >= 0:
            os.close(self.write_fd)
            self.write_fd = -1

    def close(self) -> None:
        """Close both ends."""
        self.close_write_end()
        os.close(self.read_fd)

    @property
    def has_text(self) -> bool:
        """Whether something was read that is not taken yet."""
        return bool(self._waiting or self._tail)

    # ------------------------------------------------------------------ reading

    def read(self) -> int:
        """Read all that is in the pipe now, and return how many bytes that was."""
        there = left = _available(self.read_fd)
        if not there:
            return 0
        self._is_clean = False
        while left > 0:
            try:
                data = os.read(self.read_fd, min(READ, left))
            except BlockingIOError:
                break
            if not data:  # no process has the other end open
                break
            left -= len(data)
            self._feed(data)
        if self._torn:  # a mark is written as a whole, so this is text
            torn, self._torn = self._torn, b""
            self._add(torn)
        return there

    def _feed(self, data: bytes) -> None:
        """Split what was read into text and marks."""
        data, self._torn, start = self._torn + data, b"", 0
        while (at := data.find(MARK, start)) >= 0:
            self._add(data[start:at])
            start = at + MARK_SIZE
            if start > len(data):
                self._torn = data[at:]
                return
            (number,) = NUMBER.unpack_from(data, at + len(MARK))
            self._waiting.append(number)
            self._marks.add(number)
        end = _find_partial_mark(data, start)
        self._torn = data[end:]
        self._add(data[start:end])

    def _add(self, text: bytes) -> None:
        """Add text to the head or, once that is full, to the tail."""
        head = text[: HEAD - self._head]
        if head:
            self._head += len(head)
            self._waiting.append(head)
        if len(head) < len(text):
            rest = text[len(head) :]
            self._tail.append(rest)
            self._kept += len(rest)
            while self._kept - len(self._tail[0]) >= TAIL + LONGEST_LINE:
                self._kept -= len(first := self._tail.popleft())
                self._dropped += len(first)

    # ------------------------------------------------------------------ taking

    def take_before(self, number: int) -> str:
        """Take what was written before a mark or, if that mark is not there, before the next one."""
        is_there, parts = number in self._marks, []
        while self._waiting:
            piece = self._waiting[0]
            if isinstance(piece, int):
                if not is_there:
                    break
                self._drop_mark()
                if piece == number:
                    break
            else:
                parts.append(piece)
                self._waiting.popleft()
        return self._text(parts)

    def take_rest(self) -> str:
        """Take what was written before the next mark; the second call passes a mark whose record has not come."""
        parts = []
        while self._waiting:
            piece = self._waiting[0]
            if isinstance(piece, bytes):
                parts.append(piece)
                self._waiting.popleft()
            elif piece in self._passed:
                self._drop_mark()
            else:
                break
        self._passed = set(self._marks)
        return self._text(parts)

    def take_end(self) -> str:
        """Take all that is left, when the task has ended: of a flood the tail, and how much was dropped before."""
        parts = [piece for piece in self._waiting if isinstance(piece, bytes)]
        self._waiting.clear()
        self._marks.clear()
        text = self._text(parts)
        tail = b"".join(self._tail)
        if self._dropped + len(tail) > TAIL:
            start = len(tail) - TAIL
            line = tail.find(b"\n", start, start + LONGEST_LINE)
            if line >= 0:
                start = line + 1
            else:
                start += next((i for i, byte in enumerate(tail[start : start + 4]) if byte & 0xC0 != 0x80), 0)
            newline = "\n" if self._in_line else ""
            text += f"{newline}[… {format_bytes(self._dropped + start)} of output dropped …]\n"
            self._decoder.reset()
            tail = tail[start:]
        self._tail.clear()
        self._kept = self._dropped = 0
        return text + self._text([tail])

    def reset(self) -> None:
        """Discard what was written; the next task begins."""
        if self.read() or not self._is_clean:
            self._clear()

    def _drop_mark(self) -> None:
        """Take a mark off the front of what was read."""
        number = self._waiting.popleft()
        assert isinstance(number, int)
        self._marks.discard(number)
        self._passed.discard(number)

    def _text(self, parts: list[bytes]) -> str:
        """Decode text that is taken."""
        data = b"".join(parts)
        if data:
            self._in_line = data[-1:] != b"\n"
        return self._decoder.decode(data)


_count = array("i", [0])


def _available(fd: int) -> int:
    """Return how many bytes there are to read."""
    fcntl.ioctl(fd, termios.FIONREAD, _count)
    return _count[0]


def _find_partial_mark(data: bytes, start: int) -> int:
    """Find the beginning of a mark that is cut off by the end of the data.

    Parameters
    ----------
    data
        What was read.
    start
        Where to begin; everything before was handled.

    Returns
    -------
    int
        Where the beginning of the mark stands; the length of the data if there is none.
    """
    at = data.find(MARK[:1], max(start, len(data) - len(MARK) + 1))
    while at >= 0:
        if MARK.startswith(data[at:]):
            return at
        at = data.find(MARK[:1], at + 1)
    return len(data)
