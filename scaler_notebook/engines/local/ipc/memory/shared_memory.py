"""Large buffers stay in one place: files in memory, which other processes of the user map copy-on-write.

What a task is given is written once, however many tasks get it: a later submit of the same array compares it with
what was written, which takes a fraction of the time, and writes again only if it differs. What a task returns is
written by its process, then opened by the scheduler, so that it outlives that process, then mapped by the client, so
that it outlives the scheduler. A file is never written to twice: whoever has mapped it sees what it was, for ever, and
may write to the private copies of its pages.

Without such files (they are Linux's) buffers travel as frames of their messages.
"""

import errno
import fcntl
import os
import stat
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import replace

from scaler_notebook.engines.local.ipc import fd_limits
from scaler_notebook.protocol.messages import Buffer, Payload, SegmentRef, Task

from . import mmap

SMALLEST = 256 * 1024  # bytes; less is as quick through the sockets
KEPT = 128 * 1024 * 1024  # bytes of buffers that no task uses any more, kept in case they are submitted again
CLOSE_PATIENCE = 1.0  # seconds for somebody who takes buffers over
# Linux's, as these files are.
SEALS = getattr(fcntl, "F_SEAL_SHRINK", 0) | getattr(fcntl, "F_SEAL_GROW", 0) | getattr(fcntl, "F_SEAL_WRITE", 0)
VARIABLE = "SCALER_NOTEBOOK_SEGMENTS"  # "0" does without, for tests


def available() -> bool:
    """Are there files in memory, and can other processes open them?"""
    return hasattr(os, "memfd_create") and os.path.exists("/proc/self/fd") and os.environ.get(VARIABLE) != "0"


class BadSegment(OSError):
    """What another process says is a segment is none: no file in memory, shorter than it says, or it could shrink."""


def write(buffer: Buffer) -> int:
    """A descriptor of a new file in memory with these contents, for ever; MemoryError if there is no room."""
    fd = os.memfd_create("segment", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        view, done = memoryview(buffer).cast("B"), 0
        while done < view.nbytes:
            done += os.pwrite(fd, view[done:], done)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
    except OSError as error:
        os.close(fd)
        raise MemoryError(f"no memory for a buffer of {view.nbytes} bytes: {error}") from error
    return fd


def reopen(ref: SegmentRef) -> int:
    """A descriptor of our own for another process's file; OSError if that process is gone.

    A page beyond the end of a mapped file is a SIGBUS, which ends a process: so the file has the size that is said, and
    can never be made smaller. Nor is it a pipe, whose opening would wait for somebody who writes.
    """
    # The other process may be hostile: of what it names nothing but its kind is looked at before that is known.
    fd = os.open(f"/proc/{ref.pid}/fd/{ref.descriptor}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode) or not 0 <= ref.size <= about.st_size:
            raise BadSegment(errno.EINVAL, f"{ref} is no file of that size")
        try:
            sealed = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
        except OSError as error:
            raise BadSegment(errno.EINVAL, f"{ref} is no file in memory") from error
        if sealed & SEALS != SEALS:
            raise BadSegment(errno.EINVAL, f"{ref} could be changed")
    except BaseException:
        os.close(fd)
        raise
    return fd


def mapped(payload: Payload) -> Payload:
    """The payload with every segment mapped: private, writable, and independent of whoever wrote it.

    Raises
    ------
    OSError
        The process that has it is gone.
    """
    if not any(isinstance(buffer, SegmentRef) for buffer in payload.buffers):
        return payload
    return replace(payload, buffers=tuple(_map(b) if isinstance(b, SegmentRef) else b for b in payload.buffers))


def _map(ref: SegmentRef) -> Buffer:
    fd = reopen(ref)
    try:
        return memoryview(mmap.mapping(fd, ref.size)).cast("B")
    finally:
        os.close(fd)


def reopened(payload: Payload) -> Payload:
    """The payload with a descriptor of our own for each segment, to be closed with :func:`free`; OSError as above."""
    return _each(payload, lambda ref: SegmentRef(os.getpid(), reopen(ref), ref.size))


def duplicated(payload: Payload) -> Payload:
    """A payload whose segments are ours or another process's, with descriptors of our own, as :func:`reopened`."""

    def open_again(ref: SegmentRef) -> SegmentRef:
        ours = ref.pid == os.getpid()
        return SegmentRef(os.getpid(), os.dup(ref.descriptor) if ours else reopen(ref), ref.size)

    return _each(payload, open_again)


def _each(payload: Payload, change: Callable[[SegmentRef], SegmentRef]) -> Payload:
    if not any(isinstance(buffer, SegmentRef) for buffer in payload.buffers):
        return payload
    buffers: list[Buffer | SegmentRef] = []
    try:
        for buffer in payload.buffers:
            buffers.append(change(buffer) if isinstance(buffer, SegmentRef) else buffer)
    except BaseException:
        free(replace(payload, buffers=tuple(buffers)))
        raise
    return replace(payload, buffers=tuple(buffers))


def free(payload: Payload) -> None:
    """Close the descriptors of a payload whose segments are ours."""
    close_all(buffer.descriptor for buffer in payload.buffers if isinstance(buffer, SegmentRef))


def written(payload: Payload) -> tuple[Payload, list[int]]:
    """The payload with its large buffers in new files, and their descriptors, which are the caller's to close."""
    if not available():
        return payload, []
    descriptors: list[int] = []
    buffers: list[Buffer | SegmentRef] = []
    try:
        for buffer in payload.buffers:
            if isinstance(buffer, SegmentRef) or memoryview(buffer).nbytes < SMALLEST:
                buffers.append(buffer)
            else:
                descriptors.append(write(buffer))
                buffers.append(SegmentRef(os.getpid(), descriptors[-1], memoryview(buffer).nbytes))
    except BaseException:
        close_all(descriptors)
        raise
    return replace(payload, buffers=tuple(buffers)), descriptors


Source = tuple[int, int]  # address and size of the memory that a buffer is


class _Segment:
    """One file of the client's."""

    def __init__(self, buffer: Buffer, source: Source) -> None:
        self.source = source
        self.size = source[1]
        self.users: set[str] = set()  # unfinished tasks
        self.fd = fd_limits.move_above_soft_limit(write(buffer))

    def ref(self) -> SegmentRef:
        return SegmentRef(os.getpid(), self.fd, self.size)

    def holds(self, address: int) -> bool:
        """Are these still the bytes at ``address``?"""
        if self.fd < 0:
            return False
        written = mmap.mapping(self.fd, self.size)  # named: it must outlive the comparison
        return mmap.equal(address, mmap.address(written), self.size)

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        if hasattr(self, "fd"):  # else it could not be written
            self.close()


class Segments:
    """The client's files: shared by the tasks that are given the same array, freed when no task uses them."""

    def __init__(self) -> None:
        self._mutex = threading.RLock()  # a signal handler of the user's may submit within a submit
        self._current: dict[Source, _Segment] = {}  # what was written last for a source
        self._idle: OrderedDict[Source, _Segment] = OrderedDict()  # those of them that no task uses, oldest first
        self._used: dict[str, list[_Segment]] = {}  # by task
        self._over: deque[str] = deque()  # tasks that have ended

    def adopt(self, task: Task) -> Task:
        """The task with its large buffers in files and its small ones copied."""
        if not task.function.buffers and not task.arguments.buffers:
            return task
        with self._mutex:  # held while memory is copied: who else submits would only copy too
            try:
                self._release()
                function = self._payload(task.function, task.task_id)
                return replace(task, function=function, arguments=self._payload(task.arguments, task.task_id))
            except BaseException:
                self._over.append(task.task_id)
                raise

    def _payload(self, payload: Payload, user: str) -> Payload:
        return replace(payload, buffers=tuple(self._buffer(buffer, user) for buffer in payload.buffers))

    def _buffer(self, buffer: Buffer | SegmentRef, user: str) -> Buffer | SegmentRef:
        if isinstance(buffer, SegmentRef):
            return buffer
        size = memoryview(buffer).nbytes
        if size < SMALLEST or not available():
            return bytearray(buffer)
        source = (mmap.address(buffer), size)
        used = self._used.setdefault(user, [])
        segment = self._current.get(source)
        if segment is not None:
            used.append(segment)
            segment.users.add(user)  # first: nobody frees it from here on
            self._idle.pop(source, None)
            if segment.holds(source[0]):
                return segment.ref()
            segment.users.discard(user)
        try:
            new = _Segment(buffer, source)
        except OSError:  # no descriptors left: slower, through the sockets
            if segment is not None and not segment.users:
                self._no_longer_used(segment)
            return bytearray(buffer)
        if segment is not None:
            self._retire(segment)
        used.append(new)
        new.users.add(user)
        self._current[source] = new
        return new.ref()

    def task_over(self, task_id: str) -> None:
        """A task needs its buffers no more; any thread, never blocks."""
        if task_id in self._used:
            self._over.append(task_id)
            if self._mutex.acquire(blocking=False):  # else whoever holds it, or the next, sees to it
                try:
                    self._release()
                finally:
                    self._mutex.release()

    def _release(self) -> None:
        while self._over:
            user = self._over.popleft()
            try:
                for segment in self._used.get(user, ()):
                    segment.users.discard(user)
                    if not segment.users:
                        self._no_longer_used(segment)
                self._used.pop(user, None)
            except BaseException:  # an interrupt
                self._over.appendleft(user)
                raise

    def _no_longer_used(self, segment: _Segment) -> None:
        if self._current.get(segment.source) is not segment:
            segment.close()
            return
        self._idle[segment.source] = segment
        while sum(each.size for each in self._idle.values()) > KEPT:
            self._retire(next(iter(self._idle.values())))

    def _retire(self, segment: _Segment) -> None:
        """Its source has other contents now, or memory is short."""
        self._idle.pop(segment.source, None)
        if not segment.users:
            segment.close()
        if self._current.get(segment.source) is segment:
            del self._current[segment.source]

    def close(self) -> None:
        """Free everything; processes that have mapped it keep it."""
        ours = self._mutex.acquire(timeout=CLOSE_PATIENCE)
        try:
            for segment in {*self._current.values(), *(s for used in self._used.values() for s in used)}:
                segment.close()
            self._current.clear()
            self._idle.clear()
            self._used.clear()
        finally:
            if ours:
                self._mutex.release()


def close_all(descriptors: Iterable[int]) -> None:
    """Close descriptors of files in memory."""
    for descriptor in descriptors:
        os.close(descriptor)
