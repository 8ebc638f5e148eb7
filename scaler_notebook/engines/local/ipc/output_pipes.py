"""One stream of a task process, stdout or stderr, as the scheduler reads it: a pipe with marks in it.

A pipe, not a file: what opens ``/dev/stdout`` in a subprocess (``>``, ``tee``, ``-o``) opens the same pipe once more,
and truncates nothing. What a killed process wrote is still in it. A task that writes faster than we read waits for us,
so we look the more often, the more there is.

A mark is put into both pipes by who notes something in the records
(:mod:`scaler_notebook.engines.local.worker.streams`): by it the scheduler knows what was written before, on either
stream. A mark is written by one ``write``, shorter than ``PIPE_BUF``: it is whole, and stands where the writer was.

A flood keeps its head and its tail; what lies between is read, counted, and forgotten.
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

HEAD = 8 * 1024 * 1024  # bytes forwarded as they come, a stream and task
TAIL = 1024 * 1024  # bytes of what follows that are forwarded when the task ends
READ = 256 * 1024  # bytes per read
LONGEST_LINE = 4096  # bytes that a tail loses at most to begin with a whole line
CAPACITY = 64 * 1024  # bytes that a writer can be ahead of us, where the system does not say how many
F_GETPIPE_SZ = 1032  # linux/fcntl.h; fewer than usual where the user has very many pipes

MARK = b"\x1b_scaler mark \xff\x00"  # then its number; a program's own string of terminals begins like that
NUMBER = struct.Struct("<Q")
MARK_SIZE = len(MARK) + NUMBER.size


def mark(number: int) -> bytes:
    """As it stands in a pipe."""
    return MARK + NUMBER.pack(number)


class OutputPipe:
    """The scheduler's end of one stream, what has been read of it, and what of that is to be sent."""

    def __init__(self) -> None:
        self.fd, self.theirs = os.pipe()
        os.set_blocking(self.fd, False)
        self.capacity = CAPACITY  # in bytes
        with contextlib.suppress(OSError):
            self.capacity = fcntl.fcntl(self.theirs, F_GETPIPE_SZ)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._forget()

    def _forget(self) -> None:
        self._waiting: deque[bytes | int] = deque()  # text and marks of the head, in order
        self._marks: set[int] = set()  # those in it
        self._passed: set[int] = set()  # those that a look has stopped at
        self._torn = b""  # what may be the beginning of a mark
        self._head = 0  # bytes, of text
        self._tail: deque[bytes] = deque()
        self._kept = self._dropped = 0  # bytes, of what follows the head
        self._in_line = False
        self._decoder.reset()
        self._is_clean = True

    def hand_over(self) -> None:
        """The process has its end: here it is closed."""
        if self.theirs >= 0:
            os.close(self.theirs)
            self.theirs = -1

    def close(self) -> None:
        """Nothing more is read."""
        self.hand_over()
        os.close(self.fd)

    @property
    def waits(self) -> bool:
        """Is there something that was read and not taken?"""
        return bool(self._waiting or self._tail)

    # ------------------------------------------------------------------ reading

    def read(self) -> int:
        """Read all that is there now; gives how many bytes that was."""
        there = left = _available(self.fd)
        if not there:
            return 0
        self._is_clean = False
        while left > 0:
            try:
                data = os.read(self.fd, min(READ, left))
            except BlockingIOError:
                break
            if not data:  # nobody has the other end any more
                break
            left -= len(data)
            self._feed(data)
        if self._torn:  # a mark comes whole
            torn, self._torn = self._torn, b""
            self._add(torn)
        return there

    def _feed(self, data: bytes) -> None:
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
        end = _beginning_of_a_mark(data, start)
        self._torn = data[end:]
        self._add(data[start:end])

    def _add(self, text: bytes) -> None:
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

    def before(self, number: int) -> str:
        """What was written before this mark; if it is not there, before the next one."""
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

    def rest(self) -> str:
        """What was written before a mark that nobody has told of yet. A second look at such a mark passes it."""
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

    def end(self) -> str:
        """All that is left, when the task has ended: of a flood its tail, and how much lies before that."""
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

    def start_over(self) -> None:
        """Forget what was written; the next task begins."""
        if self.read() or not self._is_clean:
            self._forget()

    def _drop_mark(self) -> None:
        number = self._waiting.popleft()
        assert isinstance(number, int)
        self._marks.discard(number)
        self._passed.discard(number)

    def _text(self, parts: list[bytes]) -> str:
        data = b"".join(parts)
        if data:
            self._in_line = data[-1:] != b"\n"
        return self._decoder.decode(data)


_number = array("i", [0])


def _available(fd: int) -> int:
    fcntl.ioctl(fd, termios.FIONREAD, _number)
    return _number[0]


def _beginning_of_a_mark(data: bytes, start: int) -> int:
    """Where the beginning of a mark stands that the data end with; their end if there is none."""
    at = data.find(MARK[:1], max(start, len(data) - len(MARK) + 1))
    while at >= 0:
        if MARK.startswith(data[at:]):
            return at
        at = data.find(MARK[:1], at + 1)
    return len(data)
