"""What a task process writes and displays: two pipes and a file in memory, which the scheduler reads.

The pipes are its stdout and stderr (:mod:`scaler_notebook.engines.local.ipc.output_pipes`). The file has records
(:mod:`scaler_notebook.engines.local.worker.streams` makes them): displays, and where Python's output turned from one
stream to the other. Each has put a mark into both pipes before; so text and displays are forwarded in the order in
which they were made. Text of C code and of subprocesses stands where the marks around it, or two looks of the
scheduler, say that it was written.

Displays that were replaced before we looked are never read (:mod:`scaler_notebook.task.display.display_buffer`), and
what was read is given back to the system while the task goes on (``fallocate``'s PUNCH_HOLE; where there is none, when
the task ends).
"""

import ctypes
import fcntl
import functools
import mmap
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from scaler_notebook.engines.local.ipc.output_pipes import OutputPipe
from scaler_notebook.engines.local.ipc.output_records import KINDS, RECORD, RecordKind, anonymous_file
from scaler_notebook.protocol.messages import LogStream, Payload, TaskDisplay, TaskLog
from scaler_notebook.task.display.display_buffer import RATE, Body, BufferedDisplay, DisplayBuffer

FREE = 64 * 1024  # bytes; less is not worth a system call
LONGEST_PACE, SHORTEST_PACE = 0.05, 0.0005  # seconds between two looks, as little or much is written


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


class Record(NamedTuple):
    """One of the third file's."""

    kind: RecordKind
    at: int  # where its parts are
    lengths: list[int]  # of display id, bundle and metadata
    mark: int  # in both pipes, where they were when it was written


class RecordFile(GrowingFile):
    """Where a task process notes what it displays, and which stream it writes to."""

    def __init__(self) -> None:
        super().__init__()
        self._torn = False

    def news(self) -> list[Record]:
        """The records that are complete and not read yet."""
        size = self.size
        return list(self._up_to(size)) if size > self.read else []

    def _up_to(self, size: int) -> Iterator[Record]:
        while not self._torn and self.read + RECORD.size <= size:
            index, *lengths, mark = RECORD.unpack(os.pread(self.fd, RECORD.size, self.read))
            if index >= len(KINDS):
                # A fork of the task was killed while it wrote a display, or code of the task wrote nonsense to a file
                # that is not its own. The text is not affected; its order is as the looks see it, from here on.
                self._torn = True
                return
            end = self.read + RECORD.size + sum(lengths)
            if end > size:
                return
            yield Record(KINDS[index], self.read + RECORD.size, lengths, mark)
            self.read = end

    def part(self, record: Record, number: int) -> bytes:
        """Of a record that was not freed: its display id, its bundle, or its metadata."""
        return os.pread(self.fd, record.lengths[number], record.at + sum(record.lengths[:number]))

    def start_over(self) -> None:
        super().start_over()
        self._torn = False


class TaskOutput:
    """The two pipes and the file of one task process, and what is to be sent of them."""

    def __init__(self) -> None:
        self._pipes: dict[LogStream, OutputPipe] = {}
        try:
            self._pipes.update((stream, OutputPipe()) for stream in LogStream)
            self._records = RecordFile()
        except BaseException:
            for pipe in self._pipes.values():
                pipe.close()
            raise
        self._screen = DisplayBuffer()
        self._turned_to = LogStream.STDOUT
        self._due = 0.0  # when something may be sent again
        self.pace = LONGEST_PACE  # seconds until it is to be looked at again

    @property
    def fds(self) -> tuple[int, int, int]:
        """The process's ends of stdout and stderr, and the records."""
        out, err = self._pipes.values()
        return out.theirs, err.theirs, self._records.fd

    def hand_over(self) -> None:
        """The process has its ends."""
        for pipe in self._pipes.values():
            pipe.hand_over()

    def news(self, task_id: str, over: bool) -> Iterator[TaskLog | TaskDisplay]:
        """What was written and displayed since the last call, in order. ``over``: the task has ended, or is dead.

        After much that was displayed nothing comes for a while: see
        :data:`~scaler_notebook.task.display.display_buffer.RATE`.
        """
        records = self._records.news()  # before the pipes: then the marks of all of these are there
        most = max([pipe.read() / pipe.capacity for pipe in self._pipes.values()])
        self.pace = _next_pace(self.pace, most)
        if most or records or any(pipe.waits for pipe in self._pipes.values()):  # not so: most tasks, at most looks
            self._look(records, over)
        now = time.monotonic()
        if now < self._due and not over:
            return
        for piece in self._screen.take():
            if isinstance(piece, BufferedDisplay):
                self._due = max(self._due, now) + piece.size / RATE
                bundle, metadata = Payload(piece.bundle), Payload(piece.metadata)
                yield TaskDisplay(task_id, bundle, metadata, piece.kind, piece.display_id)
            else:
                yield TaskLog(task_id, *piece)

    def _look(self, records: list[Record], over: bool) -> None:
        for record in records:
            self._write(partial(OutputPipe.before, number=record.mark))
            if isinstance(record.kind, LogStream):
                self._turned_to = record.kind
            else:
                display_id = self._records.part(record, 0).decode(errors="replace")
                body = partial(self._body, record)
                self._screen.display(record.kind, display_id, sum(record.lengths[1:]), body)
        self._write(OutputPipe.rest)
        if over:
            self._write(OutputPipe.end)
        self._screen.read_bodies()
        self._records.free(self._records.read)

    def _write(self, taken: Callable[[OutputPipe], str]) -> None:
        """Python writes to the stream that it has turned to; what has come on the other since is not Python's."""
        for stream in sorted(LogStream, key=lambda stream: stream is not self._turned_to):
            text = taken(self._pipes[stream])
            if text:
                self._screen.write(stream, text)

    def _body(self, record: Record) -> Body:
        return self._records.part(record, 1), self._records.part(record, 2)

    def last_words(self) -> str:
        """Of a process that runs no task: its stderr."""
        pipe = self._pipes[LogStream.STDERR]
        pipe.read()
        return pipe.end()

    def discard(self) -> None:
        """Nobody is to see what was written so far."""
        for pipe in self._pipes.values():
            pipe.start_over()

    def start_over(self) -> None:
        """Between two tasks: what comes now belongs to the next."""
        self.discard()
        self._records.start_over()
        self._screen.reset()
        self._turned_to, self._due, self.pace = LogStream.STDOUT, 0.0, LONGEST_PACE

    def close(self) -> None:
        """Free the memory, once the process has closed its side too."""
        for pipe in self._pipes.values():
            pipe.close()
        self._records.close()


def _next_pace(pace: float, full: float) -> float:
    """The fuller a pipe is found (1: it was full), the sooner the next look: a writer that finds it full waits."""
    if full > 1 / 4:
        return max(SHORTEST_PACE, pace / 4)
    return min(LONGEST_PACE, pace * 2) if full < 1 / 16 else pace
