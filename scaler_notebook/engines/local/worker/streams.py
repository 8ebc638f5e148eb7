"""The task process's side of its output: ``sys.stdout`` and ``sys.stderr``, and the records that keep them in order.

A record is one ``os.write`` to a file in memory that everybody appends to, after a mark in each of the two pipes.
Threads and forks of the task cannot mix theirs: such a write is under the file's lock, or the pipe's. A signal does not
cut it short: a file in memory heeds only the fatal ones, and what is shorter than ``PIPE_BUF`` is written to a pipe
whole or not at all; Python runs its handler, which may raise a cancel's KeyboardInterrupt, when the call has returned.
"""

import contextlib
import ctypes
import io
import itertools
import os
import sys
from collections.abc import Callable, Iterator

from scaler_notebook.engines.local.ipc.output_pipes import encode_mark
from scaler_notebook.engines.local.ipc.output_records import KINDS, RECORD, RecordKind
from scaler_notebook.protocol.messages import DisplayKind, LogStream

SETTINGS = False, "utf-8", "backslashreplace", True, False  # closed, encoding, errors, by line, unbuffered
PID_SHIFT = 40  # of a mark's number: below the process's, so many are its own
MAX_SWITCHES = 20_000  # a task; beyond it the order is as the scheduler's looks see it


class TaskStreams:
    """The two streams of Python code, and what it displays.

    Parameters
    ----------
    records
        Descriptor of the file for records; subprocesses do not inherit it, forks do.
    """

    def __init__(self, records: int) -> None:
        os.set_inheritable(records, False)
        self._records = records
        self._file = _identity(records)
        self._switches = 0
        self._broken: set[LogStream] = set()  # streams that could not be written to
        self.last: LogStream | None = None  # where Python code has written last
        self._streams = {stream: _Stream(fd, self, stream) for fd, stream in enumerate(LogStream, 1)}
        self._flush_c = _line_buffered_c()
        self._files = [os.dup(fd) for fd in range(3)]  # those that a task may close, or put others in the place of
        self._pipes = [_identity(fd) for fd in self._files]
        self._marks = itertools.count()
        self._is_silent = False

    def begin(self) -> None:
        """Before a task: the streams are ours and open, whatever the last one has done to them."""
        self._switches, self.last = 0, None
        for fd, file in enumerate(self._files):
            os.dup2(file, fd)  # always: to compare takes longer
        for fd in (1, 2):
            os.set_blocking(fd, True)  # a subprocess, too, can have set that of the pipe
        for fd, stream in enumerate(LogStream, 1):
            if stream in self._broken or not self._streams[stream].is_unmodified:
                self._streams[stream] = _Stream(fd, self, stream)
        sys.stdout, sys.stderr = self._streams.values()
        self._broken.clear()

    def flush(self) -> None:
        """Everything that was printed is in the files; C's, too."""
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # the task may have closed or replaced it
                stream.flush()
        for each, ours in self._streams.items():
            try:
                ours.flush()
            except (ValueError, OSError):  # its descriptor is closed: the text must not be found in the next output
                ours.discard()
                self._broken.add(each)
        self._flush_c()

    @contextlib.contextmanager
    def silent(self) -> Iterator[None]:
        """Between two tasks: what is written within it is nobody's."""
        streams, self._is_silent = (sys.stdout, sys.stderr), True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            for fd in (1, 2):
                os.dup2(nowhere, fd)
            sys.stdout = sys.stderr = io.StringIO()
            yield
        finally:
            sys.stdout, sys.stderr = streams
            for stream in self._streams.values():
                with contextlib.suppress(ValueError, OSError):
                    stream.flush()
            for fd in (1, 2):
                os.dup2(self._files[fd], fd)
            os.close(nowhere)
            self._is_silent = False

    def switch_to(self, stream: LogStream) -> None:
        """Python code is about to write to ``stream``, after it has written to the other."""
        other = LogStream.STDERR if stream is LogStream.STDOUT else LogStream.STDOUT
        try:  # text matters more than its order
            self._streams[other].flush()
            if self._switches < MAX_SWITCHES:
                self._switches += 1
                self._write_record(stream)
        except (ValueError, OSError):  # closed; no space
            pass
        self.last = stream

    def display(self, kind: DisplayKind, display_id: str, bundle: bytes, metadata: bytes) -> None:
        """Note a display, after all that was printed before it."""
        self.flush()
        self._write_record(kind, display_id.encode(errors="replace"), bundle, metadata)

    def _write_record(self, kind: RecordKind, *body: bytes) -> None:
        if self._is_silent or _identity(self._records) != self._file:
            return  # closed by the task's code (a fork that becomes a daemon does that); the number is another file's
        number = os.getpid() << PID_SHIFT | next(self._marks)  # forks count on by themselves
        for fd, pipe in zip(self._files[1:], self._pipes[1:], strict=True):
            if _identity(fd) == pipe:
                with contextlib.suppress(OSError):
                    os.write(fd, encode_mark(number))
        lengths = [len(part) for part in body] or [0, 0, 0]
        header = RECORD.pack(KINDS.index(kind), *lengths, number)
        os.write(self._records, b"".join([header, *body]))


class _Stream(io.TextIOWrapper):
    """Line-buffered, as on a terminal; notes when the writer turns to it."""

    def __init__(self, fd: int, streams: TaskStreams, stream: LogStream) -> None:
        self._file = io.FileIO(fd, "w", closefd=False)
        buffer = io.BufferedWriter(self._file)
        super().__init__(buffer, encoding="utf-8", errors="backslashreplace", line_buffering=True)
        self._all = streams
        self._this = stream
        self._attributes = 0
        self._attributes = len(vars(self))

    @property
    def is_unmodified(self) -> bool:
        """Is it open, with its own settings and methods?"""
        settings = self.closed, self.encoding, self.errors, self.line_buffering, self.write_through
        return settings == SETTINGS and len(vars(self)) == self._attributes

    def discard(self) -> None:
        """Write nothing any more, not even what it holds; the descriptor is left as it is."""
        with contextlib.suppress(Exception):
            self._file.close()

    def write(self, text: str) -> int:
        if self._all.last is not self._this:
            self._all.switch_to(self._this)
        return super().write(text)


def _identity(fd: int) -> tuple[int, int] | None:
    try:
        found = os.fstat(fd)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _line_buffered_c() -> Callable[[], object]:
    """C's printf is fully buffered on a file; by line, its text is there while the task runs. Gives what flushes it."""
    try:
        libc = ctypes.CDLL(None)
        stdout = ctypes.c_void_p.in_dll(libc, "stdout")
        libc.setvbuf(stdout, None, 1, 0)
    except Exception:
        return lambda: None
    # This stream alone: fflush(NULL) waits for whoever reads from a pipe in C.
    return lambda: libc.fflush(stdout)
