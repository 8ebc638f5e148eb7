"""The segments of results, which this process writes again when nobody has them any more.

Copying to new memory takes five times as long as copying to memory that the process has. So segments are held while
large results follow each other; of a single one nothing is held.
"""

import time

from scaler_notebook.engines.local.ipc.memory.reuse import ReusableSegment
from scaler_notebook.protocol.messages import Buffer

MAX_IDLE = 128 * 1024 * 1024  # bytes of held segments that nobody has
MAX_HELD = 8  # segments, those that somebody has included; each takes a descriptor
QUIET = 1.0  # seconds without a large result, after which nothing is held


class ResultSegments:
    """The segments of one task process's results."""

    def __init__(self) -> None:
        self._held: list[ReusableSegment] = []  # oldest first
        self._last = 0.0  # when the last result with large buffers was written, in monotonic seconds
        self._follows = False  # is the result that is written now one of several?

    @property
    def holds_any(self) -> bool:
        """Whether segments are held."""
        return bool(self._held)

    @property
    def resident(self) -> int:
        """The bytes that held segments add to the memory of this process."""
        return sum(segment.resident for segment in self._held) if self._held else 0

    def begin_result(self) -> None:
        """Note that a result is next; the buffers that are written from now on are this one's."""
        now = time.monotonic()
        self._follows, self._last = now - self._last < QUIET, now

    def write(self, buffer: Buffer) -> int | None:
        """Write a large buffer to a segment that is held, or will be.

        Parameters
        ----------
        buffer
            The buffer.

        Returns
        -------
        int or None
            A descriptor of the segment, which the caller closes; None where a segment is to be written that nobody
            holds, because no large result came shortly before.

        Raises
        ------
        MemoryError, OSError
            As :class:`ReusableSegment`.
        """
        size = memoryview(buffer).nbytes
        if not self._follows or size > MAX_IDLE:
            return None
        segment = self._take_free(size)
        if segment is None:
            segment = ReusableSegment(buffer)
        else:
            segment.write(buffer)
        descriptor = segment.open()
        if segment.is_reusable:
            self._held.append(segment)
            self._trim()
        return descriptor

    def _take_free(self, size: int) -> ReusableSegment | None:
        """Take a segment that has room for ``size`` bytes, and not much more, and that nobody has; None for none."""
        fitting = [each for each in self._held if each.fits(size)]
        for segment in fitting:
            if segment.is_free() or (segment is fitting[-1] and segment.becomes_free()):
                self._held.remove(segment)  # first: an interrupt may leave the segment half written
                return segment
        return None

    def _trim(self) -> None:
        """Forget the oldest segments beyond :data:`MAX_HELD`, and those that nobody has beyond :data:`MAX_IDLE`."""
        idle, kept = 0, list[ReusableSegment]()
        for segment in reversed(self._held[-MAX_HELD:]):
            idle += segment.capacity if segment.is_free() else 0
            if idle <= MAX_IDLE:
                kept.append(segment)
        self._held = kept[::-1]

    def forget_if_quiet(self) -> None:
        """Forget all segments if no large result has been written for a while; whoever has one keeps it."""
        if time.monotonic() - self._last >= QUIET:
            self._held = []
