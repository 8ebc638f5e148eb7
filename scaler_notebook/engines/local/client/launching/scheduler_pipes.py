"""The two pipes between a client and the scheduler that it starts."""

import contextlib
import fcntl
import os
import time
import weakref
from io import FileIO

from scaler_notebook import forks
from scaler_notebook.engines.local.client.readiness import wait_until_ready

STDERR = 2  # the highest descriptor of a standard stream

_open: "weakref.WeakSet[SchedulerPipes]" = weakref.WeakSet()


@forks.after_fork_in_child
def _close_inherited() -> None:
    """Close a forked child's copies of the pipes: with a copy of a lifeline open, the parent could not cut it."""
    for pipes in _open:
        pipes.close()


class SchedulerPipes:
    """The lifeline, which leads to the scheduler, and the hello pipe, which leads back.

    Through the lifeline the scheduler is given its configuration. The end of the lifeline tells the scheduler that the
    client is gone. Through the hello pipe the scheduler sends one line, and the end of that pipe tells the client that
    the scheduler is gone.
    """

    def __init__(self) -> None:
        lifeline, self._lifeline = _pipe()
        try:
            self._hello, hello = _pipe()
        except BaseException:
            lifeline.close()
            self._lifeline.close()
            raise
        self._theirs = lifeline, hello
        _open.add(self)

    @property
    def scheduler_ends(self) -> tuple[int, int]:
        """The descriptors that the scheduler inherits: the end of the lifeline to read, that of the hello to write."""
        lifeline, hello = self._theirs
        return lifeline.fileno(), hello.fileno()

    def close_scheduler_ends(self) -> None:
        """Close the scheduler's ends in this process, once the scheduler has inherited them."""
        for pipe in self._theirs:
            pipe.close()

    def write(self, data: bytes) -> None:
        """Write to the lifeline, all of it unless the scheduler has ended."""
        with contextlib.suppress(BrokenPipeError):
            while data:
                data = data[self._lifeline.write(data) :]

    def read_hello(self, timeout: float) -> bytes:
        """Read the line that the scheduler sends.

        Parameters
        ----------
        timeout
            Seconds to wait for the line.

        Raises
        ------
        EOFError
            The scheduler has ended.
        TimeoutError
            There is no whole line in time.
        """
        line = b""
        deadline = time.monotonic() + timeout
        while not line.endswith(b"\n"):
            if not wait_until_ready(self._hello, deadline - time.monotonic()):
                raise TimeoutError
            data = os.read(self._hello.fileno(), 65536)
            if not data:
                raise EOFError
            line += data
        return line

    def end_descriptor(self) -> int:
        """Return a descriptor that becomes readable, at the end of its stream, when the scheduler ends."""
        return self._hello.fileno()

    def cut_lifeline(self) -> None:
        """Close the lifeline: the scheduler ends. Returns at once; any thread, any number of times."""
        with contextlib.suppress(OSError):
            self._lifeline.close()

    def close_hello(self) -> None:
        """Close the hello pipe, once the scheduler has ended."""
        self._hello.close()

    def close(self) -> None:
        """Close both pipes."""
        for pipe in (self._lifeline, self._hello):
            with contextlib.suppress(OSError):
                pipe.close()


def _pipe() -> tuple[FileIO, FileIO]:
    """Return the end to read from, and the end to write to."""
    reader, writer = map(_above_standard, os.pipe())
    return FileIO(reader), FileIO(writer, "wb")


def _above_standard(descriptor: int) -> int:
    """Return a descriptor of the same file that is none of a standard stream's: a child uses those otherwise.

    A process that runs without its standard streams, as a daemon does, is given their numbers for what it opens.
    """
    if descriptor > STDERR:
        return descriptor
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, STDERR + 1)
    finally:
        os.close(descriptor)
