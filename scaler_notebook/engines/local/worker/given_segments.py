"""The segments of a run's arguments. An array that a task gives back as it was given goes back in the same segment.

Whether it is as it was, is what the system says (:func:`~scaler_notebook.engines.local.ipc.memory.mmap.is_unmodified`):
whoever writes to a private mapping, and by whichever view, has its page copied.
"""

import os
import weakref
from typing import NamedTuple, cast

from scaler_notebook.engines.local.ipc.memory import mmap
from scaler_notebook.engines.local.ipc.memory.shared_memory import open_segment
from scaler_notebook.protocol.messages import Buffer, Payload, SegmentRef

LEAST_SHARE = 2  # one part in so many of a segment is given back in the segment; for less the rest would be retained


class _Given(NamedTuple):
    """A segment that is mapped.

    Parameters
    ----------
    mapping
        The mapping. While it lives, its addresses are nothing else's.
    ref
        The segment, as its owner has it for as long as the task runs.
    file
        Device and inode.
    """

    mapping: "weakref.ref[mmap.Mapping]"
    ref: SegmentRef
    file: tuple[int, int]


class GivenSegments:
    """Segments of the arguments of one run after the other."""

    def __init__(self) -> None:
        self._given: dict[int, _Given] = {}  # by the address of the mapping

    def note(self, payload: Payload, mapped: Payload) -> None:
        """Note the segments of other processes that a payload refers to.

        Parameters
        ----------
        payload
            The payload.
        mapped
            The same with its segments mapped.
        """
        for ref, buffer in zip(payload.buffers, mapped.buffers, strict=True):
            if isinstance(ref, SegmentRef) and ref.pid != os.getpid() and isinstance(buffer, memoryview):
                mapping = cast(mmap.Mapping, buffer.obj)
                try:
                    about = os.stat(f"/proc/{ref.pid}/fd/{ref.descriptor}")
                except OSError:  # its owner is gone since it was mapped: the array is copied on its way back
                    continue
                self._given[mmap.address(buffer)] = _Given(weakref.ref(mapping), ref, (about.st_dev, about.st_ino))

    def reopen(self, buffer: Buffer) -> int | None:
        """Return a new descriptor of the segment that has exactly these bytes; None if there is none."""
        if not self._given:
            return None
        address, size = mmap.address(buffer), memoryview(buffer).nbytes
        given = self._given.get(address)
        if given is None or given.mapping() is None or not size <= given.ref.size <= LEAST_SHARE * size:
            return None
        if not mmap.is_unmodified(address, size):
            return None
        try:
            descriptor = open_segment(given.ref)
        except OSError:  # its owner is gone, or there is no descriptor left
            return None
        about = os.fstat(descriptor)
        if (about.st_dev, about.st_ino) != given.file:
            os.close(descriptor)
            return None
        return descriptor

    def forget(self) -> None:
        """Forget the segments of a run that is over."""
        self._given.clear()
