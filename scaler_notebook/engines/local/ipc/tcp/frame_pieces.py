"""Large frames in pieces, for a socket that refuses large ones: anybody may send to it before authentication."""

import struct
from collections.abc import Sequence
from itertools import islice

from scaler_notebook.protocol.errors import ProtocolError
from scaler_notebook.protocol.messages import Buffer

PIECE = 256 * 1024  # bytes
MARK = b"\xc1pieces"  # what the list of large frames begins with; a batch does not, as MessagePack has no such byte
_LARGE = struct.Struct("<QQ")  # the number of a large frame in its batch, and its length in bytes


def split(frames: Sequence[Buffer]) -> Sequence[Buffer]:
    """Return the frames of a batch with each large one in pieces of at most :data:`PIECE` bytes.

    If there are large ones, a list of them is the first of the returned frames.
    """
    views = [memoryview(each).cast("B") for each in frames]
    large = {number: len(view) for number, view in enumerate(views) if len(view) > PIECE}
    if not large:
        return frames
    found: list[Buffer] = [MARK + b"".join(_LARGE.pack(*each) for each in large.items())]
    for view in views:
        found += [view[start : start + PIECE] for start in range(0, max(len(view), 1), PIECE)]
    return found


def join(received: Sequence[Buffer]) -> Sequence[Buffer]:
    """Return the frames that :func:`split` was given.

    Raises
    ------
    ProtocolError
        What was received is nothing that :func:`split` returns.
    """
    if not received or bytes(received[0][: len(MARK)]) != MARK:
        return received
    try:
        large = dict(_LARGE.iter_unpack(received[0][len(MARK) :]))
    except struct.error as error:
        raise ProtocolError(f"the list of its large frames is none: {error}") from error
    pieces = iter(received[1:])
    frames: list[Buffer] = []
    while (first := next(pieces, None)) is not None:
        length = large.pop(len(frames), None)
        if length is None:
            frames.append(first)
            continue
        frame = b"".join([first, *islice(pieces, min(max(length - 1, 0) // PIECE, len(received)))])
        if len(frame) != length:
            raise ProtocolError(f"its frame {len(frames)} has {len(frame)} bytes and not {length}")
        frames.append(frame)
    if large:
        raise ProtocolError("large frames are missing")
    return frames
