"""Segments that travel with their message, between the scheduler and a task process (``SCM_RIGHTS``, see unix(7)).

The message refers to each by its place among the descriptors that came with the message. So no process opens another
one's descriptors by number, and what was sent is there whatever becomes of the sender.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace

from scaler_notebook.protocol.messages import Buffer, Payload, SegmentRef

TRAVELS = 0  # in place of a process id


def depart(payload: Payload, descriptors: list[int], most: int, give: Callable[[int], int]) -> Payload:
    """Return a payload whose segments of this process travel with the message.

    A segment for which there is no place, or of which there can be no duplicate, is referred to as before.

    Parameters
    ----------
    payload
        The payload.
    descriptors
        The message's descriptors, to which those of the segments are appended.
    most
        How many descriptors the message may have.
    give
        Returns the descriptor that the message takes along: ``os.dup``, or ``int`` where it takes the segment's own.
    """

    def departed(buffer: Buffer | SegmentRef) -> Buffer | SegmentRef:
        if not isinstance(buffer, SegmentRef) or buffer.pid != os.getpid() or len(descriptors) >= most:
            return buffer
        try:
            descriptors.append(give(buffer.descriptor))
        except OSError:  # the system, or this process, has no descriptor left
            return buffer
        return SegmentRef(TRAVELS, len(descriptors) - 1, buffer.size)

    return replace(payload, buffers=tuple(map(departed, payload.buffers))) if payload.buffers else payload


def arrive(payload: Payload, descriptors: Sequence[int], foreign: bool) -> tuple[Payload, list[int]]:
    """Return a payload with the segments that came with its message as this process's own, unchecked.

    A segment that did not come, because this process had no room for its descriptor, or that the message names twice,
    still refers to :data:`TRAVELS` then.

    Parameters
    ----------
    payload
        The payload.
    descriptors
        The descriptors that came.
    foreign
        Whether the payload may refer to segments of other processes; otherwise such a reference is treated as one to a
        segment that did not come.

    Returns
    -------
    tuple of Payload and list of int
        The payload, and those of the descriptors that it refers to.
    """
    taken: list[int] = []

    def arrived(buffer: Buffer | SegmentRef) -> Buffer | SegmentRef:
        if not isinstance(buffer, SegmentRef) or (foreign and buffer.pid != TRAVELS):
            return buffer
        place = buffer.descriptor
        if buffer.pid == TRAVELS and place < len(descriptors) and descriptors[place] not in taken:
            taken.append(descriptors[place])
            return SegmentRef(os.getpid(), descriptors[place], buffer.size)
        return SegmentRef(TRAVELS, place, buffer.size)

    if not payload.buffers:
        return payload, taken
    return replace(payload, buffers=tuple(map(arrived, payload.buffers))), taken
