"""What a task process writes and displays: three files in memory, which the scheduler reads as they grow.

Files, not pipes: what a killed process wrote is still there, a task that prints faster than we read is never
blocked by us, and nothing is mixed up when a subprocess of the task writes too (``O_APPEND``).

Two of them are its stdout and stderr. The third has records (:mod:`.writing` makes them): displays, and where Python's
output turned from one stream to the other. Each says how long the two streams were at that moment; so text and displays
are forwarded in the order in which they were made. Text of C code and of subprocesses stands where the records around
it, or two looks of the scheduler, say that it was written.

A flood keeps its head and its tail. What lies between is never read, nor are displays that were replaced before we
looked (:mod:`...task.display_buffer`), and what is not needed any more is given back to the system while the task goes
on (``fallocate``'s PUNCH_HOLE; where there is none, when the task ends).
"""

import codecs
import ctypes
import fcntl
import functools
import mmap
import os
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple, TypeAlias

from ...protocol.messages import DisplayKind, LogStream, Payload, TaskDisplay, TaskLog
from ...task.display_buffer import RATE, Body, Display, Screen, words_of

HEAD = 8 * 1024 * 1024  # bytes forwarded as they come, a stream and task
TAIL = 1024 * 1024  # bytes of what follows that are forwarded when the task ends
READ = 256 * 1024  # bytes per read
FREE = 64 * 1024  # bytes; less is not worth a system call
LONGEST_LINE = 4096  # bytes that a tail loses at most to begin with a whole line

# Index of its kind; lengths of display id, bundle and metadata, which follow it; lengths of stdout and stderr by then.
RECORD = struct.Struct("=IIIIQQ")
RecordKind: TypeAlias = LogStream | DisplayKind
KINDS: tuple[RecordKind, ...] = (*LogStream, *DisplayKind)  # a stream: Python's output turns to it


def anonymous_file(name: str) -> int:
    """A descriptor of a file without a name: in memory where there is ``memfd_create``, else on disk."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name, os.MFD_CLOEXEC)
    fd, path = tempfile.mkstemp(prefix=name)
    os.unlink(path)
    return fd


@functools.cache
def _puncher() -> Callable[[int, int, int], None] | None:
    """``punch(fd, offset, length)``, where there is such a thing."""
    libc = ctypes.CDLL(None)
    fallocate = getattr(libc, "fallocate64", None) or getattr(libc, "fallocate", None)
    if fallocate is None:
        return None
    fallocate.argtypes = ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64
    keep_size_and_punch_hole = 1 | 2  # linux/falloc.h
    return lambda fd, offset, length: fallocate(fd, keep_size_and_punch_hole, offset, length)


class GrowingFile:
    """A file that others append to, and that is freed from its beginning."""

    def __init__(self) -> None:
        self.fd = anonymous_file("output")
        fcntl.fcntl(self.fd, fcntl.F_SETFL, os.O_APPEND)
        self.read = 0  # bytes, from the beginning
        self._freed = 0

    @property
    def size(self) -> int:
        """In bytes; what was freed counts."""
        return os.fstat(self.fd).st_size

    def free(self, end: int) -> None:
        """Nobody reads what lies before ``end`` any more."""
        end -= end % mmap.PAGESIZE
        punch = _puncher()
        if end - self._freed >= FREE and punch is not None:
            punch(self.fd, self._freed, end - self._freed)
            self._freed = end

    def start_over(self) -> None:
        """Forget what was written; the next task begins at zero."""
        if self.read or self.size:
            os.ftruncate(self.fd, 0)
            self.read = self._freed = 0

    def close(self) -> None:
        """Free the memory, once the process has closed its side too."""
        os.close(self.fd)


class TextFile(GrowingFile):
    """One stream of one task process."""

    def __init__(self) -> None:
        super().__init__()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._in_line = False

    def text(self, end: int) -> str:
        """What was written up to ``end`` and not read yet, as far as the head goes."""
        text = self._up_to(min(end, HEAD))
        # Beyond the head only what may become the tail is kept.
        self.free(max(self.read, end - TAIL) if self.read >= HEAD else self.read)
        return text

    def rest(self, end: int) -> str:
        """When the task has ended: the tail of what was written up to ``end``, and how much lies before it."""
        if end - self.read <= TAIL:
            return self._up_to(end)
        start = end - TAIL
        beginning = os.pread(self.fd, LONGEST_LINE, start)
        newline = beginning.find(b"\n")
        if newline >= 0:
            start += newline + 1
        else:
            start += next((i for i, byte in enumerate(beginning[:4]) if byte & 0xC0 != 0x80), 0)  # a whole character
        newline_first = "\n" if self._in_line else ""
        said = f"{newline_first}[… {words_of(start - self.read)} of output dropped …]\n"
        self._decoder.reset()
        self.read = start
        return said + self._up_to(end)

    def _up_to(self, end: int) -> str:
        parts = []
        while self.read < end:
            data = os.pread(self.fd, min(READ, end - self.read), self.read)
            if not data:
                break
            self.read += len(data)
            parts.append(self._decoder.decode(data))
            self._in_line = data[-1:] != b"\n"
        return "".join(parts)

    def start_over(self) -> None:
        super().start_over()
        self._decoder.reset()
        self._in_line = False


class Record(NamedTuple):
    """One of the third file's."""

    kind: RecordKind
    at: int  # where its parts are
    lengths: list[int]  # of display id, bundle and metadata
    ends: tuple[int, int]  # of stdout and stderr, when it was written


class RecordFile(GrowingFile):
    """Where a task process notes what it displays, and which stream it writes to."""

    def __init__(self) -> None:
        super().__init__()
        self._torn = False

    def records(self) -> Iterator[Record]:
        """Those that are complete and not read yet."""
        size = self.size
        while not self._torn and self.read + RECORD.size <= size:
            index, *lengths, out, err = RECORD.unpack(os.pread(self.fd, RECORD.size, self.read))
            if index >= len(KINDS):
                # A fork of the task was killed while it wrote a display, or code of the task wrote nonsense to a file
                # that is not its own. The text is not affected; its order is as the looks see it, from here on.
                self._torn = True
                return
            end = self.read + RECORD.size + sum(lengths)
            if end > size:
                return
            yield Record(KINDS[index], self.read + RECORD.size, lengths, (out, err))
            self.read = end

    def part(self, record: Record, number: int) -> bytes:
        """Of a record that was not freed: its display id, its bundle, or its metadata."""
        return os.pread(self.fd, record.lengths[number], record.at + sum(record.lengths[:number]))

    def start_over(self) -> None:
        super().start_over()
        self._torn = False


class TaskOutput:
    """The three files of one task process, and what is to be sent of them."""

    def __init__(self) -> None:
        self._texts = {stream: TextFile() for stream in LogStream}
        self._records = RecordFile()
        self._screen = Screen()
        self._turned_to = LogStream.STDOUT
        self._due = 0.0  # when something may be sent again

    @property
    def fds(self) -> tuple[int, int, int]:
        """Of stdout, stderr and the records."""
        out, err = self._texts.values()
        return out.fd, err.fd, self._records.fd

    def news(self, task_id: str, over: bool) -> Iterator[TaskLog | TaskDisplay]:
        """What was written and displayed since the last call, in order. ``over``: the task has ended, or is dead.

        After much that was displayed nothing comes for a while: see :data:`~...task.display_buffer.RATE`.
        """
        # Before the records: a turn is noted before what is written after it, so that no turn between these is missed.
        ends = [file.size for file in self._texts.values()]
        if not self._records.size and not any(ends):
            return  # as most tasks, at most looks
        self._look(ends, over)
        now = time.monotonic()
        if now < self._due and not over:
            return
        for piece in self._screen.take():
            if isinstance(piece, Display):
                self._due = max(self._due, now) + piece.size / RATE
                bundle, metadata = Payload(piece.bundle), Payload(piece.metadata)
                yield TaskDisplay(task_id, bundle, metadata, piece.kind, piece.display_id)
            else:
                yield TaskLog(task_id, *piece)

    def _look(self, ends: list[int], over: bool) -> None:
        for record in self._records.records():
            self._read(record.ends)
            if isinstance(record.kind, LogStream):
                self._turned_to = record.kind
            else:
                display_id = self._records.part(record, 0).decode(errors="replace")
                body = partial(self._body, record)
                self._screen.display(record.kind, display_id, sum(record.lengths[1:]), body)
        self._read(ends)
        if over:
            self._read(ends, rest=True)
        self._screen.settle()
        self._records.free(self._records.read)

    def _read(self, ends: "tuple[int, int] | list[int]", rest: bool = False) -> None:
        """Python writes to the stream that it has turned to; what has come on the other since is not Python's."""
        limits = dict(zip(LogStream, ends, strict=True))
        for stream in sorted(LogStream, key=lambda stream: stream is not self._turned_to):
            file = self._texts[stream]
            text = file.rest(limits[stream]) if rest else file.text(limits[stream])
            if text:
                self._screen.write(stream, text)

    def _body(self, record: Record) -> Body:
        return self._records.part(record, 1), self._records.part(record, 2)

    def last_words(self) -> str:
        """Of a process that runs no task: its stderr."""
        file = self._texts[LogStream.STDERR]
        return file.text(file.size)

    def start_over(self) -> None:
        """Between two tasks: what comes now belongs to the next."""
        for file in (*self._texts.values(), self._records):
            file.start_over()
        self._screen.start_over()
        self._turned_to, self._due = LogStream.STDOUT, 0.0

    def close(self) -> None:
        """Free the memory, once the process has closed its side too."""
        for file in (*self._texts.values(), self._records):
            file.close()
