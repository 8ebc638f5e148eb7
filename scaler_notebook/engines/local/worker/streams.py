"""The task process's side of a task's output: ``sys.stdout`` and ``sys.stderr``, and records that keep them in order.

A record is one ``os.write`` to a file in memory, opened to append, after a mark in each of the two pipes. Records of
several threads or forks of the task cannot mix: each write is atomic. A signal does not cut a write short: writes to a
file in memory are interrupted by fatal signals only, and what is shorter than ``PIPE_BUF`` is written to a pipe as a
whole or not at all. Python runs a signal handler, which may raise a cancel's KeyboardInterrupt, after the call.
"""

import array
import contextlib
import ctypes
import fcntl
import functools
import io
import itertools
import os
import sys
import termios
from collections.abc import Callable, Iterator
from operator import attrgetter

from scaler_notebook.engines.local.ipc.output_pipes import encode_mark
from scaler_notebook.engines.local.ipc.output_records import KINDS, RECORD, RecordKind
from scaler_notebook.protocol.messages import DisplayKind, LogStream

SETTINGS = False, "utf-8", "backslashreplace", True, False
_settings_of = attrgetter("closed", "encoding", "errors", "line_buffering", "write_through")
PID_SHIFT = 40  # a mark's number is the process id, shifted by so many bits, plus a count
MAX_SWITCHES = (
    20_000  # changes of the stream in a task; beyond that, text is in the order in which the scheduler reads it
)


class TaskStreams:
    """The two streams of a task's Python code, and the records of displays.

    Parameters
    ----------
    records
        Descriptor of the file for records, which forks inherit and subprocesses do not.
    """

    def __init__(self, records: int) -> None:
        os.set_inheritable(records, False)
        self._records = records
        self._file = _identity(records)
        self._switches = 0
        self._broken: set[_Stream] = set()  # streams whose descriptor a task has closed
        self.last: LogStream | None = None  # the stream that Python code has written to last
        self._stdout, self._stderr = self._new_stream(LogStream.STDOUT), self._new_stream(LogStream.STDERR)
        self._flush_c = _line_buffered_c()
        self._files = [os.dup(fd) for fd in range(3)]  # copies, in case a task closes or replaces one
        self._pipes = [_identity(fd) for fd in self._files]
        self._marks = itertools.count()
        self._unread = array.array("i", [0])  # bytes in a pipe
        self._is_silent = False

    def begin(self) -> None:
        """Restore the streams, before a task, whatever the last task has done to them."""
        self._switches, self.last = 0, None
        for fd, file in enumerate(self._files):
            os.dup2(file, fd)  # unconditionally, which is quicker than a comparison
        for fd in (1, 2):
            os.set_blocking(fd, True)  # a property of the pipe, which a subprocess may have changed, too
        if self._stdout in self._broken or not self._stdout.is_unmodified:
            self._stdout = self._new_stream(LogStream.STDOUT)
        if self._stderr in self._broken or not self._stderr.is_unmodified:
            self._stderr = self._new_stream(LogStream.STDERR)
        sys.stdout, sys.stderr = self._stdout, self._stderr
        self._broken.clear()

    def _new_stream(self, stream: LogStream) -> "_Stream":
        return _Stream(1 if stream is LogStream.STDOUT else 2, self, stream)

    def flush(self) -> None:
        """Flush the streams of Python and of C."""
        if sys.stdout is not self._stdout or sys.stderr is not self._stderr:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(Exception):  # the task may have closed it, and has replaced one
                    stream.flush()
        for ours in (self._stdout, self._stderr):
            try:
                ours.flush()
            except (
                ValueError,
                OSError,
            ):  # the descriptor is closed: the text must not appear in the next task's output
                ours.discard()
                self._broken.add(ours)
        self._flush_c()

    @property
    def hold_something(self) -> bool:
        """Whether the scheduler has not read all that was written since the pipes and the records were empty."""
        try:
            if os.lseek(self._records, 0, os.SEEK_END):
                return True
            for fd in self._files[1:]:
                fcntl.ioctl(fd, termios.FIONREAD, self._unread)
                if self._unread[0]:
                    return True
        except OSError:  # the task has closed a descriptor
            return True
        return False

    @contextlib.contextmanager
    def silent(self) -> Iterator[None]:
        """Discard what is written within the ``with`` block, between two tasks."""
        streams, self._is_silent = (sys.stdout, sys.stderr), True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            for fd in (1, 2):
                os.dup2(nowhere, fd)
            sys.stdout = sys.stderr = io.StringIO()
            yield
        finally:
            sys.stdout, sys.stderr = streams
            for stream in (self._stdout, self._stderr):
                with contextlib.suppress(ValueError, OSError):
                    stream.flush()
            for fd in (1, 2):
                os.dup2(self._files[fd], fd)
            os.close(nowhere)
            self._is_silent = False

    def switch_to(self, stream: LogStream) -> None:
        """Note that Python code is about to write to ``stream``, having written to the other one last."""
        other = self._stderr if stream is LogStream.STDOUT else self._stdout
        try:  # text matters more than its order
            other.flush()
            if self._switches < MAX_SWITCHES:
                self._switches += 1
                self._write_record(stream)
        except (ValueError, OSError):  # closed; no space
            pass
        self.last = stream

    def display(self, kind: DisplayKind, display_id: str, bundle: bytes, metadata: bytes) -> None:
        """Write a record of a display, after all that was printed before.

        Parameters
        ----------
        kind
            Is the display shown, updated or cleared?
        display_id
            The id by which the display can be updated; empty for none.
        bundle, metadata
            JSON.
        """
        self.flush()
        self._write_record(kind, display_id.encode(errors="replace"), bundle, metadata)

    def _write_record(self, kind: RecordKind, *body: bytes) -> None:
        """Write a mark to both pipes and a record to the file, unless the task has closed the file."""
        if self._is_silent or _identity(self._records) != self._file:
            return  # the task has closed the descriptor (a fork that becomes a daemon does), and may have reused it
        number = os.getpid() << PID_SHIFT | next(self._marks)  # unique: forks have other process ids
        for fd, pipe in zip(self._files[1:], self._pipes[1:], strict=True):
            if _identity(fd) == pipe:
                with contextlib.suppress(OSError):
                    os.write(fd, encode_mark(number))
        lengths = [len(part) for part in body] or [0, 0, 0]
        header = RECORD.pack(KINDS.index(kind), *lengths, number)
        os.write(self._records, b"".join([header, *body]))


class _Stream(io.TextIOWrapper):
    """A line-buffered text stream, as on a terminal, that notes when Python code changes to it.

    Parameters
    ----------
    fd
        The descriptor to write to.
    streams
        All streams of the task.
    stream
        Which of them this is.
    """

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
        """Whether the stream is open, and no task has changed its settings or methods."""
        return _settings_of(self) == SETTINGS and len(self.__dict__) == self._attributes

    def discard(self) -> None:
        """Discard what is buffered, and write nothing any more; the descriptor stays as it is."""
        with contextlib.suppress(Exception):
            self._file.close()

    def write(self, text: str) -> int:
        """Write text, after a record if the other stream was written to last."""
        if self._all.last is not self._this:
            self._all.switch_to(self._this)
        return super().write(text)


def _identity(fd: int) -> tuple[int, int] | None:
    """Return device and inode of an open file; None if the descriptor is closed."""
    try:
        found = os.fstat(fd)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _line_buffered_c() -> Callable[[], object]:
    """Make C's stdout line-buffered, as it is on a terminal alone, and return what flushes it."""
    try:
        libc = ctypes.CDLL(None)
        stdout = ctypes.c_void_p.in_dll(libc, "stdout")
        libc.setvbuf(stdout, None, 1, 0)
    except Exception:
        return lambda: None
    # This stream alone: fflush(NULL) would wait for a thread that reads from a pipe in C.
    return functools.partial(libc.fflush, stdout)
