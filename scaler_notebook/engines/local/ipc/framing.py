"""Batches of frames over a stream socket: ``u32 count, count × u64 size, the frames``.

A large frame is received into a buffer of its own. The array that is unpickled from the frame uses that buffer as its
memory, so nothing is copied, and the array is writable. Everything else is received into one buffer that an assembler
keeps, and copied from there once.
"""

import socket
import struct
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from scaler_notebook.protocol.errors import ProtocolError
from scaler_notebook.protocol.messages import Buffer

COUNT = struct.Struct("<I")
HEAD_OF_ONE = struct.Struct("<IQ")  # of a batch of one frame, which most are
MAX_FRAMES = 1_000_000
MAX_BATCH = 1 << 40  # bytes; a length beyond this is a broken stream, not a request for memory
CHUNK = 256 * 1024  # bytes per read
SMALL_BATCH = 32 * 1024  # bytes; up to this size one joined write is quicker than a gathered one
IOV = 512  # buffers per ``sendmsg``; the kernel's limit is 1,024


def encode_batch(frames: Sequence[Buffer]) -> list[memoryview]:
    """Return the bytes of one batch, in parts; a batch above :data:`SMALL_BATCH` is not copied."""
    if len(frames) == 1 and type(frames[0]) is bytes and len(frames[0]) < SMALL_BATCH - HEAD_OF_ONE.size:
        return [memoryview(HEAD_OF_ONE.pack(1, len(frames[0])) + frames[0])]
    views = [memoryview(frame).cast("B") for frame in frames]
    sizes = struct.pack(f"<I{len(views)}Q", len(views), *(view.nbytes for view in views))
    parts = [memoryview(sizes), *(view for view in views if view.nbytes)]
    return parts if sum(part.nbytes for part in parts) > SMALL_BATCH else [memoryview(b"".join(parts))]


@dataclass(slots=True)
class _LargeFrame:
    """A frame that is received in place.

    Parameters
    ----------
    size
        Bytes that the frame has when it is complete.
    filled
        Bytes that have been received.
    """

    size: int
    filled: int


class Assembler:
    """Turns what is read from a stream socket into batches of frames."""

    def __init__(self) -> None:
        # Of this, only the pages that the largest read has touched are memory.
        self._buffer = memoryview(bytearray(CHUNK))
        self._pending = bytearray()  # bytes that belong to no frame yet
        self._sizes: deque[int] = deque()  # bytes of each frame that the current batch lacks
        self._frames: list[Buffer] = []
        self.drained = False  # has the last read emptied the socket?
        self._large: _LargeFrame | None = None  # the last of ``_frames``, while that is received in place

    def read(self, sock: socket.socket) -> bool:
        """Read once from a socket.

        Returns
        -------
        bool
            False at the end of the stream.

        Raises
        ------
        BlockingIOError
            A non-blocking socket has nothing to read.
        """
        if self._large is not None:
            return self._read_large(sock, self._large)
        count = sock.recv_into(self._buffer)
        self.drained = 0 < count < CHUNK
        self._pending += self._buffer[:count]
        return count > 0

    def _read_large(self, sock: socket.socket, large: _LargeFrame) -> bool:
        """Read once into the large frame."""
        self.drained = False
        frame = self._frames[-1]
        assert isinstance(frame, bytearray)
        if large.filled == len(frame):
            # The buffer doubles as bytes come: a large size is a claim of the peer, and no reason to allocate it.
            frame += bytes(min(len(frame), large.size - len(frame)))
        with memoryview(frame) as view:
            count = sock.recv_into(view[large.filled :])
        large.filled += count
        if large.filled == large.size:
            self._large = None
        return count > 0

    def batches(self) -> Iterator[list[Buffer]]:
        """Yield the batches that are complete.

        Raises
        ------
        ProtocolError
            The stream is not what :func:`encode_batch` makes.
        """
        while (frame := self._cut_only_frame()) is not None:
            yield [frame]
        while self._large is None:
            if not self._sizes and not self._frames and not self._read_header():
                return
            self._cut_frames()
            if self._large is None and not self._sizes:
                frames, self._frames = self._frames, []
                yield frames
            elif self._large is None:
                return

    def _cut_only_frame(self) -> bytearray | None:
        """Cut a batch of one frame off the pending bytes; None if what is next is another, or not there yet.

        Most batches are of this kind. :meth:`_read_header` and :meth:`_cut_frames` do the same for any.
        """
        pending = self._pending
        if self._sizes or self._frames or len(pending) < HEAD_OF_ONE.size:
            return None
        count, size = HEAD_OF_ONE.unpack_from(pending)
        end = HEAD_OF_ONE.size + size
        if count != 1 or len(pending) < end:
            return None
        frame = pending[HEAD_OF_ONE.size : end]
        del pending[:end]
        return frame

    def _read_header(self) -> bool:
        """Cut the sizes of the next batch off the pending bytes; False if they are not there yet."""
        if len(self._pending) < COUNT.size:
            return False
        (count,) = COUNT.unpack_from(self._pending)
        if not 0 < count <= MAX_FRAMES:
            raise ProtocolError(f"a batch of {count} frames")
        end = COUNT.size + 8 * count
        if len(self._pending) < end:
            return False
        sizes = struct.unpack_from(f"<{count}Q", self._pending, COUNT.size)
        if sum(sizes) > MAX_BATCH:
            raise ProtocolError(f"a batch of {sum(sizes)} bytes")
        del self._pending[:end]
        self._sizes.extend(sizes)
        return True

    def _cut_frames(self) -> None:
        """Cut frames off the pending bytes, and begin to receive a large one in place."""
        while self._sizes:
            size = self._sizes[0]
            if len(self._pending) >= size:
                self._frames.append(self._pending[:size])
                del self._pending[:size]
                self._sizes.popleft()
            elif size > CHUNK:
                have = len(self._pending)
                self._frames.append(self._pending + bytes(min(size, CHUNK) - have))
                self._pending = bytearray()
                self._sizes.popleft()
                self._large = _LargeFrame(size, have)
                return
            else:
                return


class Outbox:
    """The batches that a socket has not taken yet.

    Parameters
    ----------
    sock
        The socket, usually a non-blocking one.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._waiting: deque[memoryview] = deque()

    def put(self, frames: Sequence[Buffer]) -> None:
        """Queue one batch."""
        self._waiting.extend(encode_batch(frames))

    def flush(self) -> bool:
        """Send as much as the socket takes now.

        Returns
        -------
        bool
            Is everything sent?

        Raises
        ------
        OSError
            The peer is gone.
        """
        while self._waiting:
            try:
                if len(self._waiting) == 1:
                    sent = self._sock.send(self._waiting[0])
                else:
                    sent = self._sock.sendmsg(list(islice(self._waiting, IOV)))
            except BlockingIOError:
                return False
            while sent:
                first = self._waiting[0]
                if sent < first.nbytes:
                    self._waiting[0] = first[sent:]
                    break
                sent -= first.nbytes
                self._waiting.popleft()
        return True


def send_blocking(sock: socket.socket, frames: Sequence[Buffer]) -> None:
    """Send one batch on a blocking socket.

    Parameters
    ----------
    sock
        A blocking stream socket.
    frames
        The frames of the batch.
    """
    parts = encode_batch(frames)
    if len(parts) == 1:
        sock.sendall(parts[0])
        return
    outbox = Outbox(sock)
    outbox.put(frames)
    outbox.flush()
