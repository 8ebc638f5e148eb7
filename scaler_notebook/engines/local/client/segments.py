"""The client's segments: large arguments of tasks, each written to shared memory once.

A later submit of the same array compares the array with what was written, which takes a fraction of the time of
writing, and writes again only if they differ. What no task uses any more is written over with other arrays.
"""

import os
import secrets
import threading
import weakref
from collections import deque
from dataclasses import replace
from typing import TypeAlias

from scaler_notebook.engines.local.ipc import fd_limits
from scaler_notebook.engines.local.ipc.memory import mmap
from scaler_notebook.engines.local.ipc.memory.reuse import ReusableSegment
from scaler_notebook.engines.local.ipc.memory.shared_memory import NAME, SMALLEST, available, named_segments
from scaler_notebook.protocol.messages import Buffer, Payload, SegmentRef, Task

MAX_IDLE = 128 * 1024 * 1024  # bytes of segments that no task uses, retained for these arrays or for others
MAX_TRIED = 8  # idle segments that are looked at for one array
CLOSE_PATIENCE = 1.0  # seconds that :meth:`ClientSegments.close` waits for a submit on another thread

Source: TypeAlias = tuple[int, int]  # address and size, in bytes, of the memory that a segment was written from


class _Segment(ReusableSegment):
    """One segment, open for as long as tasks need it.

    Parameters
    ----------
    buffer
        The contents.
    source
        Where the contents come from.
    name
        The name of the memory file.
    owned
        Receives this object before there is a descriptor: what the object has open, the object closes.
    """

    def __init__(self, buffer: Buffer, source: Source, name: str, owned: "weakref.WeakSet[_Segment]") -> None:
        self.source = source
        self.users: set[str] = set()  # ids of unfinished tasks
        self.fd = -1
        owned.add(self)
        super().__init__(buffer, name)
        written = self.fd
        self.fd = fd_limits.duplicate_above_soft_limit(written)
        if self.fd != written:
            os.close(written)

    def ref(self) -> SegmentRef:
        """Return the reference by which other processes open the segment."""
        return SegmentRef(os.getpid(), self.fd, self.source[1])


class ClientSegments:
    """All segments of one client, shared by the tasks that are given the same array."""

    def __init__(self) -> None:
        self._mutex = threading.RLock()  # reentrant: a signal handler of the user's may submit within a submit
        self._current: dict[Source, _Segment] = {}  # the last one written for each source
        self._idle: dict[_Segment, None] = {}  # those that no task uses, oldest first
        self._used: dict[str, list[_Segment]] = {}  # by task id
        self._over: deque[str] = deque()  # ids of tasks that are over, and whose segments are not released yet
        self._name = f"{NAME}-{secrets.token_hex(4)}"
        self._owned: weakref.WeakSet[_Segment] = weakref.WeakSet()
        self._depth = 0  # of adoptions within adoptions, by a signal handler of the user's

    def adopt(self, task: Task) -> Task:
        """Return a task with its large buffers in segments and its small ones copied.

        The segments are retained until :meth:`release`. Any thread may call this.

        Raises
        ------
        MemoryError
            There is no room for a buffer.
        """
        if not task.function.buffers and not task.arguments.buffers:
            return task
        with self._mutex:  # held while memory is copied: another submit would only compete for the same bandwidth
            outer = self._depth
            try:
                self._depth = outer + 1
                self._release_all_over()
                function = self._adopt_payload(task.function, task.task_id)
                return replace(task, function=function, arguments=self._adopt_payload(task.arguments, task.task_id))
            except BaseException:
                self._over.append(task.task_id)
                if not outer:
                    self._close_strays()
                raise
            finally:
                self._depth = outer

    def _close_strays(self) -> None:
        """Close the descriptors that no segment has: an interrupt came before the one that was made could be noted."""
        owned = {segment.fd for segment in self._owned}
        for descriptor in named_segments(self._name):
            if descriptor not in owned:
                os.close(descriptor)

    def _adopt_payload(self, payload: Payload, user: str) -> Payload:
        return replace(payload, buffers=tuple(self._adopt_buffer(buffer, user) for buffer in payload.buffers))

    def _adopt_buffer(self, buffer: Buffer | SegmentRef, user: str) -> Buffer | SegmentRef:
        """Return a reference to a segment with the contents of a large buffer, or a copy of a small one."""
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
            segment.users.add(user)  # before the comparison: a segment with a user is not closed meanwhile
            self._idle.pop(segment, None)
            if segment.matches(buffer):
                return segment.ref()
            segment.users.discard(user)
            used.remove(segment)
            self._replace(segment)
            if not segment.users:
                self._retain(segment)
        try:
            new = self._rewritten(buffer, source) or _Segment(buffer, source, self._name, self._owned)
        except OSError:  # no descriptors left: the buffer travels through the socket, which is slower
            return bytearray(buffer)
        used.append(new)
        new.users.add(user)
        self._current[source] = new
        return new.ref()

    def _rewritten(self, buffer: Buffer, source: Source) -> _Segment | None:
        """Return an idle segment with the contents of a buffer; None if there is none of about that size to be had.

        Parameters
        ----------
        buffer
            The buffer.
        source
            Where it is.
        """
        fitting = [each for each in tuple(self._idle) if each.fits(source[1])]
        for segment in fitting[:MAX_TRIED]:
            if self._idle.pop(segment, segment) is segment:  # taken meanwhile, by a signal handler's submit
                continue
            self._replace(segment)
            if segment.users:  # given to a task meanwhile, by a signal handler's submit of the same array
                continue
            # From here on nobody else has it. So an interrupt, which may leave it half written, closes it.
            if segment.is_free() or (segment is fitting[-1] and segment.becomes_free()):
                segment.write(buffer)
                segment.source = source
                return segment
            self._retain(segment)
        return None

    def _replace(self, segment: _Segment) -> None:
        """Give a segment to no other task."""
        if self._current.get(segment.source) is segment:
            del self._current[segment.source]

    def release(self, user: str) -> None:
        """Release the segments of a task that is over. Any thread may call this; never blocks."""
        if user in self._used:
            self._over.append(user)
            if self._mutex.acquire(blocking=False):  # otherwise the thread that has the lock, or the next one, does it
                try:
                    self._release_all_over()
                finally:
                    self._mutex.release()

    def _release_all_over(self) -> None:
        """Release the segments of the tasks that are over. The lock must be held."""
        while True:
            try:
                user = self._over.popleft()
            except IndexError:  # the last one may be taken by a signal handler's submit
                return
            try:
                for segment in self._used.get(user, ()):
                    segment.users.discard(user)
                    if not segment.users:
                        self._retain(segment)
                self._used.pop(user, None)
            except BaseException:  # an interrupt: what is left is released by the next call
                self._over.appendleft(user)
                raise

    def _retain(self, segment: _Segment) -> None:
        """Retain a segment that no task uses, as the youngest; close the oldest ones beyond :data:`MAX_IDLE`."""
        if segment.fd < 0:
            return
        self._idle[segment] = None
        idle = tuple(self._idle)
        size = sum(each.capacity for each in idle)
        for oldest in idle:
            if size <= MAX_IDLE:
                break
            size -= oldest.capacity
            if self._idle.pop(oldest, oldest) is None:
                self._replace(oldest)
                if not oldest.users:  # else it was given to a task meanwhile, as in :meth:`_rewritten`
                    oldest.close()

    def close(self) -> None:
        """Close every segment; processes that have mapped one keep their mapping."""
        acquired = self._mutex.acquire(timeout=CLOSE_PATIENCE)
        try:
            used = (segment for segments in self._used.values() for segment in segments)
            for segment in {*self._current.values(), *self._idle, *used}:
                segment.close()
            self._current.clear()
            self._idle.clear()
            self._used.clear()
            if acquired and available():
                self._close_strays()
        finally:
            if acquired:
                self._mutex.release()
