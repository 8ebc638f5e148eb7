"""Segments that the process which has written them writes again, when nobody has them any more.

A new segment costs three times what copying its bytes costs: the system has to find pages for it, and to clear and free
them.

Who has a segment is not what messages say, for a process may be killed at any moment, and may have forked. It is what
the system says: a lease for writing (``F_SETLEASE``, see fcntl(2)) is granted only while nobody else has the file open.
A mapping is an open file until it is undone, and so is a descriptor on its way through a socket. For that, everybody
who is given such a segment opens it for himself, by its name in ``/proc``.
"""

import contextlib
import fcntl
import os
import signal
import time

from scaler_notebook.protocol.messages import Buffer

from . import mmap
from .shared_memory import NAME, SEAL_FUTURE_WRITE, SEAL_WRITE, SIZE_SEALS, write_unsealed

PAUSE = 50e-6  # seconds between two looks at whether a segment is free
# Seconds by byte that are waited for a segment that was used last: the scheduler may be about to close what came back
# in it. A twentieth of what new memory takes.
PATIENCE = 2e-11


class ReusableSegment:
    """A segment of this process, which alone can write to it.

    Parameters
    ----------
    buffer
        The contents.
    name
        The name of the memory file.

    Raises
    ------
    MemoryError, OSError
        As :func:`~.shared_memory.write_segment`; then nothing is left open.
    """

    def __init__(self, buffer: Buffer, name: str = NAME) -> None:
        self.capacity = memoryview(buffer).nbytes
        self.fd = -1
        self._memory: mmap.Mapping | None = None  # None where the system cannot tell who has the segment
        self._is_populated = False
        self._pid = os.getpid()  # the copies that a forked child has write nothing
        written = write_unsealed(buffer, name)
        try:
            if not self._keep_writable(written):
                self.close()
                fcntl.fcntl(written, fcntl.F_ADD_SEALS, SIZE_SEALS | SEAL_WRITE)
                self.fd = os.dup(written)
        except BaseException:
            self.close()
            raise
        finally:
            os.close(written)

    def _keep_writable(self, written: int) -> bool:
        """Seal the file but for a mapping of ours, and open it for reading; False where the system cannot do so.

        Parameters
        ----------
        written
            The descriptor that the file was written by.
        """
        try:
            self._memory = mmap.map_shared(written, self.capacity)
            fcntl.fcntl(written, fcntl.F_ADD_SEALS, SIZE_SEALS | SEAL_FUTURE_WRITE)
            self.fd = os.open(f"/proc/self/fd/{written}", os.O_RDONLY | os.O_CLOEXEC)
            return self._is_seen_in_use() and self.is_free()
        except OSError:
            return False

    def _is_seen_in_use(self) -> bool:
        """Return whether the segment does not count as free while it is open elsewhere, as it should."""
        other = self.open()
        try:
            return not self.is_free()
        finally:
            os.close(other)

    def is_free(self) -> bool:
        """Return whether nobody has the segment open or mapped, but for this object, which can write to it.

        Whoever calls this must not hand out the segment if it raises: an interrupt may have left the lease in place.
        """
        if self._memory is None or self.fd < 0 or self._pid != os.getpid():
            return False
        try:
            # Whoever holds a lease gets a signal if the file is opened. The default, SIGIO, would end this process.
            # The end of a lease forgets which signal it is.
            fcntl.fcntl(self.fd, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(self.fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError:
            return False
        finally:
            with contextlib.suppress(OSError):
                fcntl.fcntl(self.fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return True

    def fits(self, size: int) -> bool:
        """Return whether the segment has room for ``size`` bytes, and not much more."""
        return size <= self.capacity <= 2 * size

    def becomes_free(self) -> bool:
        """Return whether the segment is free now or very soon; others may be about to let go of it."""
        end = time.monotonic() + PATIENCE * self.capacity
        while not self.is_free():
            if time.monotonic() >= end:
                return False
            time.sleep(PAUSE)
        return True

    def write(self, buffer: Buffer) -> None:
        """Write other contents, of at most :attr:`capacity` bytes. The segment must be free."""
        memory = self._memory  # a local: another thread may close the segment meanwhile
        assert memory is not None
        if not self._is_populated:
            mmap.populate(memory)
            self._is_populated = True
        mmap.copy(buffer, memory, memoryview(buffer).nbytes)

    @property
    def is_reusable(self) -> bool:
        """Whether the segment can be written again, once it is free."""
        return self._memory is not None

    @property
    def resident(self) -> int:
        """The bytes that the segment adds to this process's memory."""
        return self.capacity if self._is_populated else 0

    def open(self) -> int:
        """Open the segment for somebody else, who counts as having it, and return the descriptor.

        Raises
        ------
        OSError
            There is no descriptor left.
        """
        return os.open(f"/proc/self/fd/{self.fd}", os.O_RDONLY | os.O_CLOEXEC)

    def matches(self, buffer: Buffer) -> bool:
        """Return whether a buffer of at most :attr:`capacity` bytes has the same bytes as the segment's beginning."""
        memory, fd = self._memory, self.fd  # another thread may close the segment meanwhile
        if fd < 0:
            return False
        if memory is None:
            memory = mmap.map_privately(fd, self.capacity)
        return mmap.equal(buffer, memory, memoryview(buffer).nbytes)

    def close(self) -> None:
        """Close the descriptor, and undo the mapping; any number of times. Others keep their mappings."""
        self._memory = None
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        if hasattr(self, "fd"):  # absent where ``__init__`` was interrupted at its beginning
            self.close()
