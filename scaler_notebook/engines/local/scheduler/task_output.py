"""The output of a task process, text and displays: two pipes and a file in memory, which the scheduler reads.

The pipes are the process's stdout and stderr (:mod:`scaler_notebook.engines.local.ipc.output_pipes`). The file has
records (:mod:`scaler_notebook.engines.local.worker.streams` writes them): displays, and the moments at which Python's
output changed from one stream to the other. Each record has a mark in both pipes, so text and displays are forwarded in
the order in which they were made. Text of C code and of subprocesses is placed by the marks around that text, or by the
order of two reads.

Displays that were replaced before the scheduler read them are never read
(:mod:`scaler_notebook.task.display.display_buffer`). The memory of what was read is freed while the task goes on, by
``fallocate``'s PUNCH_HOLE; where there is none, when the task ends.
"""

import ctypes
import fcntl
import functools
import mmap
import os
import select
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import NamedTuple

from scaler_notebook.engines.local.ipc.output_pipes import OutputPipe
from scaler_notebook.engines.local.ipc.output_records import KINDS, RECORD, RecordKind, anonymous_file
from scaler_notebook.protocol.messages import LogStream, Payload, TaskDisplay, TaskLog
from scaler_notebook.task.display.display_buffer import RATE, Body, BufferedDisplay, DisplayBuffer

MIN_HOLE = 64 * 1024  # bytes; less is not worth a system call
LONGEST_PACE, SHORTEST_PACE = 0.05, 0.0005  # seconds between two reads, as little or much is written


@functools.cache
def _puncher() -> Callable[[int, int, int], None] | None:
    """Return ``punch(fd, offset, length)``, which frees a part of a file; None where the system cannot do so."""
    libc = ctypes.CDLL(None)
    fallocate = getattr(libc, "fallocate64", None) or getattr(libc, "fallocate", None)
    if fallocate is None:
        return None
    fallocate.argtypes = ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64
    keep_size_and_punch_hole = 1 | 2  # linux/falloc.h
    return lambda fd, offset, length: fallocate(fd, keep_size_and_punch_hole, offset, length)


class GrowingFile:
    """A file that other processes append to, and whose beginning is freed once that was read."""

    def __init__(self) -> None:
        self.fd = anonymous_file("output")
        fcntl.fcntl(self.fd, fcntl.F_SETFL, os.O_APPEND)
        self.read = 0  # bytes, from the beginning
        self._freed = 0

    @property
    def size(self) -> int:
        """The bytes that were written, what was freed included."""
        return os.lseek(self.fd, 0, os.SEEK_END)  # quicker than fstat; nobody reads or writes at the file's position

    def punch_before(self, end: int) -> None:
        """Free the memory of what lies before the offset ``end``."""
        end -= end % mmap.PAGESIZE
        punch = _puncher()
        if end - self._freed >= MIN_HOLE and punch is not None:
            punch(self.fd, self._freed, end - self._freed)
            self._freed = end

    def reset(self) -> None:
        """Discard what was written; the next task writes from the beginning."""
        if self.read or self.size:
            os.ftruncate(self.fd, 0)
            self.read = self._freed = 0

    def close(self) -> None:
        """Close the descriptors; the memory is free once the task process has closed its own."""
        os.close(self.fd)


class OutputRecord(NamedTuple):
    """One record of a task process, without its contents."""

    kind: RecordKind
    at: int  # offset of the contents in the file
    lengths: list[int]  # bytes of the display id, the bundle and the metadata
    mark: int  # number of the mark in both pipes


class RecordFile(GrowingFile):
    """The records of a task process: what the process displays, and which stream Python code writes to."""

    def __init__(self) -> None:
        super().__init__()
        self._torn = False

    def read_new(self) -> list[OutputRecord]:
        """Read the records that are complete and were not read yet."""
        size = self.size
        return list(self._up_to(size)) if size > self.read else []

    def _up_to(self, size: int) -> Iterator[OutputRecord]:
        """Yield the complete records before the offset ``size``."""
        while not self._torn and self.read + RECORD.size <= size:
            index, *lengths, mark = RECORD.unpack(os.pread(self.fd, RECORD.size, self.read))
            if index >= len(KINDS):
                # A fork of the task was killed while it wrote a display, or the task wrote nonsense to this file. From
                # here on there are no records; text is forwarded in the order in which it is read.
                self._torn = True
                return
            end = self.read + RECORD.size + sum(lengths)
            if end > size:
                return
            yield OutputRecord(KINDS[index], self.read + RECORD.size, lengths, mark)
            self.read = end

    def part(self, record: OutputRecord, number: int) -> bytes:
        """Read the display id (0), the bundle (1) or the metadata (2) of a record that was not freed.

        Parameters
        ----------
        record
            The record.
        number
            Which part: 0, 1 or 2.
        """
        return os.pread(self.fd, record.lengths[number], record.at + sum(record.lengths[:number]))

    def reset(self) -> None:
        """Discard the records that were written; the next task begins."""
        super().reset()
        self._torn = False


class TaskOutput:
    """The two pipes and the records of one task process, and what is to be forwarded from them."""

    def __init__(self) -> None:
        self._pipes: dict[LogStream, OutputPipe] = {}
        try:
            self._pipes.update((stream, OutputPipe()) for stream in LogStream)
            self._records = RecordFile()
        except BaseException:
            for pipe in self._pipes.values():
                pipe.close()
            raise
        self._anything = select.poll()  # asks about both pipes by one system call
        for pipe in self._pipes.values():
            self._anything.register(pipe.read_fd, select.POLLIN)
        self._displays = DisplayBuffer()
        self._python_stream = LogStream.STDOUT  # the one that Python code writes to
        self._is_taken = True  # is nothing left that was read and not forwarded?
        self._is_fresh = True  # was nothing read since the last reset?
        self._due = 0.0  # when something may be forwarded again, in monotonic seconds
        self.pace = LONGEST_PACE  # seconds until the next read is due

    @property
    def fds(self) -> tuple[int, int, int]:
        """The descriptors that the task process inherits: to write to stdout and to stderr, and of the records."""
        out, err = self._pipes.values()
        return out.write_fd, err.write_fd, self._records.fd

    def close_write_ends(self) -> None:
        """Close the ends to write to, once the task process has inherited those."""
        for pipe in self._pipes.values():
            pipe.close_write_end()

    def new_messages(self, task_id: str, over: bool) -> Iterable[TaskLog | TaskDisplay]:
        """Return what was written and displayed since the last call, in order.

        After large displays nothing comes for a while, see
        :data:`~scaler_notebook.task.display.display_buffer.RATE`.

        Parameters
        ----------
        task_id
            The task.
        over
            Has the task ended, or its process died?
        """
        if self._is_taken and self._records.size == self._records.read and not self._anything.poll(0):  # most reads
            self.pace = _next_pace(self.pace, 0.0)
            return ()
        return self._read_messages(task_id, over)

    def _read_messages(self, task_id: str, over: bool) -> Iterator[TaskLog | TaskDisplay]:
        """Yield what was written and displayed since the last call, in order; see :meth:`new_messages`.

        Parameters
        ----------
        task_id
            The task.
        over
            Has the task ended, or its process died?
        """
        self._is_taken, self._is_fresh = False, False
        records = self._records.read_new()  # before the pipes: a record's mark is written before the record
        most = max([pipe.read() / pipe.capacity for pipe in self._pipes.values()])
        self.pace = _next_pace(self.pace, most)
        if most or records or any(pipe.has_text for pipe in self._pipes.values()):
            self._take(records, over)
        now = time.monotonic()
        if now < self._due and not over:
            return
        for piece in self._displays.take():
            if isinstance(piece, BufferedDisplay):
                self._due = max(self._due, now) + piece.size / RATE
                bundle, metadata = Payload(piece.bundle), Payload(piece.metadata)
                yield TaskDisplay(task_id, bundle, metadata, piece.kind, piece.display_id)
            else:
                yield TaskLog(task_id, *piece)
        self._is_taken = not any(pipe.has_text for pipe in self._pipes.values())

    def _take(self, records: list[OutputRecord], over: bool) -> None:
        """Move new displays and text from the records and pipes into the display buffer, in order."""
        for record in records:
            self._write(partial(OutputPipe.take_before, number=record.mark))
            if isinstance(record.kind, LogStream):
                self._python_stream = record.kind
            else:
                display_id = self._records.part(record, 0).decode(errors="replace")
                body = partial(self._body, record)
                self._displays.display(record.kind, display_id, sum(record.lengths[1:]), body)
        self._write(OutputPipe.take_rest)
        if over:
            self._write(OutputPipe.take_end)
        self._displays.read_bodies()
        self._records.punch_before(self._records.read)

    def _write(self, take: Callable[[OutputPipe], str]) -> None:
        """Move text of both streams into the display buffer, first that of the stream that Python code writes to.

        Parameters
        ----------
        take
            Takes the text from a pipe.
        """
        for stream in sorted(LogStream, key=lambda stream: stream is not self._python_stream):
            text = take(self._pipes[stream])
            if text:
                self._displays.write(stream, text)

    def _body(self, record: OutputRecord) -> Body:
        """Read the bundle and the metadata of a display."""
        return self._records.part(record, 1), self._records.part(record, 2)

    def take_stderr(self) -> str:
        """Take the stderr of a process that runs no task."""
        pipe = self._pipes[LogStream.STDERR]
        pipe.read()
        return pipe.take_end()

    def discard(self) -> None:
        """Discard what was written so far."""
        for pipe in self._pipes.values():
            pipe.reset()

    def reset(self) -> None:
        """Discard everything, between two tasks: what is written from now on is the next task's."""
        if not self._is_fresh or self._anything.poll(0):
            self.discard()
            self._displays.reset()
            self._is_fresh = self._is_taken = True
        self._records.reset()
        self._python_stream, self._due, self.pace = LogStream.STDOUT, 0.0, LONGEST_PACE

    def close(self) -> None:
        """Close the descriptors; the memory is free once the task process has closed its own."""
        for pipe in self._pipes.values():
            pipe.close()
        self._records.close()


def _next_pace(pace: float, full: float) -> float:
    """Return the seconds until the next read: fewer for a fuller pipe, because a writer to a full pipe waits.

    Parameters
    ----------
    pace
        The seconds between the last two reads.
    full
        How full the fuller pipe was found, from 0 to 1.
    """
    if full > 1 / 4:
        return max(SHORTEST_PACE, pace / 4)
    return min(LONGEST_PACE, pace * 2) if full < 1 / 16 else pace
