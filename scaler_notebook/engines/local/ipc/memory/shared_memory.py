"""Large buffers in shared memory: files in memory, which other processes of the user map copy-on-write.

A large buffer is written once and then mapped, not copied. What a task is given is written by the client
(:mod:`scaler_notebook.engines.local.client.segments`). What a task returns is written by the task process, and travels
to the scheduler with its message (:mod:`.travelling`), so that it outlives the task process; then the client maps it,
so that it outlives the scheduler.

A process that has mapped a segment sees the same bytes for as long as it does, and may write to the private copies of
its pages. Only the process that has written a segment can write to it again, and does so when no process has it any
more (:mod:`.reuse`).

Where the system has no files in memory (they are Linux's), buffers travel as frames of their messages.
"""

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import replace

from scaler_notebook.protocol.messages import Buffer, Payload, SegmentRef

from . import mmap
from .travelling import TRAVELS

SMALLEST = 256 * 1024  # bytes; a smaller buffer is as quick through the sockets
# Zero where the system has no seals, which is where it has no files in memory.
SIZE_SEALS = getattr(fcntl, "F_SEAL_SHRINK", 0) | getattr(fcntl, "F_SEAL_GROW", 0)
SEAL_WRITE = getattr(fcntl, "F_SEAL_WRITE", 0)
SEAL_FUTURE_WRITE = 0x10  # Linux's F_SEAL_FUTURE_WRITE: nobody can write but by the mappings that there are
MAX_DESCRIPTOR = 2**31 - 1  # an int of C
NAME = "segment"  # of a memory file, in /proc
VARIABLE = "SCALER_NOTEBOOK_SEGMENTS"  # "0" turns segments off, for tests


def available() -> bool:
    """Return whether there are files in memory, and other processes can open them."""
    return hasattr(os, "memfd_create") and os.path.exists("/proc/self/fd") and os.environ.get(VARIABLE) != "0"


class BadSegment(OSError):
    """A reference of another process that names no segment: no file in memory, too short, or one that could shrink."""


def write_segment(buffer: Buffer, name: str = NAME) -> int:
    """Write a buffer to a new segment, and return its descriptor.

    Parameters
    ----------
    buffer
        The buffer.
    name
        The name of the file, by which :func:`named_segments` finds it.

    Raises
    ------
    MemoryError
        There is no room for the buffer.
    OSError
        There is no descriptor left.
    """
    fd = write_unsealed(buffer, name)
    try:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SIZE_SEALS | SEAL_WRITE)
    except BaseException:
        os.close(fd)
        raise
    return fd


def write_unsealed(buffer: Buffer, name: str) -> int:
    """Write a buffer to a file that is a segment when it is sealed, and return its descriptor.

    Parameters
    ----------
    buffer, name
        As for :func:`write_segment`, which raises the same.
    """
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view, done = memoryview(buffer).cast("B"), 0
    try:
        while done < view.nbytes:
            done += os.pwrite(fd, view[done:], done)
    except OSError as error:
        os.close(fd)
        raise MemoryError(f"no memory for a buffer of {view.nbytes} bytes: {error}") from error
    except BaseException:  # an interrupt: writing takes its time
        os.close(fd)
        raise
    return fd


def named_segments(name: str) -> list[int]:
    """Return the descriptors of this process's segments of a name."""
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the one by which the directory is read
            if os.readlink(f"/proc/self/fd/{descriptor}") == f"/memfd:{name} (deleted)":
                found.append(int(descriptor))
    return found


def open_segment(ref: SegmentRef) -> int:
    """Open a segment of another process, and return a descriptor of this process.

    A page beyond the end of a mapped file is a SIGBUS, which ends a process: therefore the file must have the size
    that the reference claims, and be sealed against shrinking.

    Raises
    ------
    BadSegment
        The reference names something else than a segment of that size.
    OSError
        The other process is gone, or there is no descriptor left.
    """
    if ref.pid == TRAVELS:
        raise BadSegment(errno.EMFILE, f"{ref} did not come with its message: this process has no descriptor left")
    # The other process may be hostile, and the path may name a FIFO or a terminal: opening must neither block nor
    # change anything.
    fd = os.open(f"/proc/{ref.pid}/fd/{ref.descriptor}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        _check(fd, ref)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _check(fd: int, ref: SegmentRef) -> None:
    """Raise a :class:`BadSegment` if a file is no segment, or not of the size that a reference claims.

    Parameters
    ----------
    fd
        A descriptor of the file.
    ref
        The reference.
    """
    if not 0 <= fd <= MAX_DESCRIPTOR:
        raise BadSegment(errno.EBADF, f"{ref} is no descriptor")
    about = os.fstat(fd)
    if not stat.S_ISREG(about.st_mode) or not 0 <= ref.size <= about.st_size:
        raise BadSegment(errno.EINVAL, f"{ref} is no file of that size")
    try:
        sealed = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    except OSError as error:
        raise BadSegment(errno.EINVAL, f"{ref} is no file in memory") from error
    if sealed & SIZE_SEALS != SIZE_SEALS or not sealed & (SEAL_WRITE | SEAL_FUTURE_WRITE):
        raise BadSegment(errno.EINVAL, f"{ref} could be changed")


def check_segments(payload: Payload) -> None:
    """Check the segments of a payload, all of which are to be this process's own.

    Raises
    ------
    BadSegment
        A reference names no segment of that size, or one that did not come with its message.
    """
    for buffer in payload.buffers:
        if isinstance(buffer, SegmentRef):
            if buffer.pid != os.getpid():
                raise BadSegment(errno.EMFILE, f"{buffer} did not come with its message")
            _check(buffer.descriptor, buffer)


def map_segments(payload: Payload, anew: bool = False) -> Payload:
    """Map every segment of a payload, and return the payload with the mappings as its buffers.

    The mappings are private and writable, and independent of the process that wrote the segments.

    Parameters
    ----------
    payload
        The payload.
    anew
        Are this process's own segments opened once more, so that they count as mapped for whoever wrote them?

    Raises
    ------
    BadSegment
        A reference names no segment.
    OSError
        The process that has a segment open is gone, or there is no room for the mapping.
    """
    if not any(isinstance(buffer, SegmentRef) for buffer in payload.buffers):
        return payload
    buffers = (_map(each, anew) if isinstance(each, SegmentRef) else each for each in payload.buffers)
    return replace(payload, buffers=tuple(buffers))


def _map(ref: SegmentRef, anew: bool) -> Buffer:
    """Map one segment.

    Parameters
    ----------
    ref
        The reference.
    anew
        As for :func:`map_segments`.
    """
    if ref.pid == os.getpid() and not anew:
        _check(ref.descriptor, ref)
        return memoryview(mmap.map_privately(ref.descriptor, ref.size)).cast("B")
    fd = open_segment(ref)
    try:
        return memoryview(mmap.map_privately(fd, ref.size)).cast("B")
    finally:
        os.close(fd)


def duplicate_segments(payload: Payload) -> Payload:
    """Return a payload with descriptors of its own for segments that this process, or another one, has open.

    :func:`close_segments` closes the descriptors.

    Raises
    ------
    BadSegment, OSError
        As :func:`open_segment`; then no descriptor is left open.
    """

    def duplicate(ref: SegmentRef) -> SegmentRef:
        ours = ref.pid == os.getpid()
        return SegmentRef(os.getpid(), os.dup(ref.descriptor) if ours else open_segment(ref), ref.size)

    return _replace_refs(payload, duplicate)


def _replace_refs(payload: Payload, change: Callable[[SegmentRef], SegmentRef]) -> Payload:
    """Return a payload with changed references; if a change fails, the segments opened so far are closed."""
    if not any(isinstance(buffer, SegmentRef) for buffer in payload.buffers):
        return payload
    buffers: list[Buffer | SegmentRef] = []
    try:
        for buffer in payload.buffers:
            buffers.append(change(buffer) if isinstance(buffer, SegmentRef) else buffer)
    except BaseException:
        close_segments(replace(payload, buffers=tuple(buffers)))
        raise
    return replace(payload, buffers=tuple(buffers))


def close_segments(payload: Payload) -> None:
    """Close the descriptors of those of a payload's segments that this process has open."""
    segments = [buffer for buffer in payload.buffers if isinstance(buffer, SegmentRef)]
    close_descriptors(each.descriptor for each in segments if each.pid == os.getpid())


def write_buffers(
    payload: Payload, most: int, reopen: Callable[[Buffer], int | None] = lambda _: None
) -> tuple[Payload, list[int]]:
    """Write the large buffers of a payload to new segments.

    Parameters
    ----------
    payload
        The payload.
    most
        How many segments there may be; further buffers stay as they are.
    reopen
        Returns a descriptor of a segment that has the bytes of a buffer already, if there is one.

    Returns
    -------
    tuple of Payload and list of int
        The payload with references to the segments, and the segments' descriptors, which the caller closes.

    Raises
    ------
    MemoryError, OSError
        As :func:`write_segment`; then no descriptor is left open.
    """
    if not available():
        return payload, []
    descriptors: list[int] = []
    buffers: list[Buffer | SegmentRef] = []
    try:
        for buffer in payload.buffers:
            if isinstance(buffer, SegmentRef) or memoryview(buffer).nbytes < SMALLEST or len(descriptors) == most:
                buffers.append(buffer)
            else:
                found = reopen(buffer)
                descriptors.append(write_segment(buffer) if found is None else found)
                buffers.append(SegmentRef(os.getpid(), descriptors[-1], memoryview(buffer).nbytes))
    except BaseException:
        close_descriptors(descriptors)
        raise
    return replace(payload, buffers=tuple(buffers)), descriptors


def close_descriptors(descriptors: Iterable[int]) -> None:
    """Close descriptors of segments."""
    for descriptor in descriptors:
        os.close(descriptor)
