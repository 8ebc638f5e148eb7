"""Packing of payloads into single byte strings, because an object of Scaler's storage holds one.

A header travels in front, for what the worker has to know about a task. Layout: a magic word, the number of parts, the
size of each part in bytes (unsigned, 8 bytes, little-endian), then the parts: header, pickle, buffers. The whole is
wrapped as the pickle of a ``bytes``, because Scaler's workers unpickle what they fetch.
"""

import pickle
import struct

from scaler_notebook.protocol.errors import ProtocolError
from scaler_notebook.protocol.messages import Buffer, Payload, SegmentRef

MAGIC = b"SNB1"
BYTES, STOP = struct.Struct("<2s1sQ"), pickle.STOP  # protocol, BINBYTES8 and its length; protocol 4
COUNT, SIZE = struct.Struct("<4sI"), struct.Struct("<Q")


def pack(payload: Payload, header: bytes = b"") -> bytes:
    """Pack a payload whose buffers are all in this process into a pickled ``bytes``.

    Parameters
    ----------
    payload
        The payload.
    header
        The header that travels in front.
    """
    parts: list[Buffer] = [header, payload.data]
    for buffer in payload.buffers:
        assert not isinstance(buffer, SegmentRef)
        parts.append(memoryview(buffer).cast("B"))
    head = COUNT.pack(MAGIC, len(parts)) + b"".join(SIZE.pack(len(part)) for part in parts)
    length = len(head) + sum(map(len, parts))
    return b"".join((BYTES.pack(pickle.PROTO + b"\x04", pickle.BINBYTES8, length), head, *parts, STOP))


def content(blob: Buffer) -> memoryview:
    """Return packed content without the pickle around it: the same as unpickling, without the copy."""
    return memoryview(blob).cast("B")[BYTES.size : -len(STOP)]


def unpack(blob: Buffer) -> tuple[bytes, Payload]:
    """Return header and payload of packed content. Buffers are copies, which may be written to.

    Raises
    ------
    ProtocolError
        The content was not made by :func:`pack`.
    """
    view = memoryview(blob).cast("B")
    try:
        magic, count = COUNT.unpack_from(view)
        sizes = [SIZE.unpack_from(view, COUNT.size + i * SIZE.size)[0] for i in range(count)]
    except struct.error:
        magic = b""
    start = COUNT.size + (count * SIZE.size if magic == MAGIC else 0)
    if magic != MAGIC or count < 2 or start + sum(sizes) != len(view):
        raise ProtocolError("an object of the cluster that no client of ours has packed")
    parts = []
    for size in sizes:
        parts.append(view[start : start + size])
        start += size
    header, data, *buffers = parts
    return bytes(header), Payload(bytes(data), tuple(map(bytearray, buffers)))
