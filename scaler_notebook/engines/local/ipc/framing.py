"""Batches of frames over a stream socket: ``u32 count, count × u64 size, the frames``.

A large frame is received into a buffer of its own, which is then the memory of the array that is unpickled over it:
no copy, and writable.
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
MAX_FRAMES = 1_000_000
MAX_BATCH = 1 << 40  # bytes; a length beyond this is a broken stream, not a request for memory
CHUNK = 256 * 1024  # bytes a read
SMALL_BATCH = 32 * 1024  # bytes
IOV = 512  # buffers per sendmsg; the kernel's limit is 1,024


def encode_batch(frames: Sequence[Buffer]) -> list[memoryview]:
    """The bytes of one batch, without copying what is large of it."""
    views = [memoryview(frame).cast("B") for frame in frames]
    sizes = struct.pack(f"<I{len(views)}Q", len(views), *(view.nbytes for view in views))
    parts = [memoryview(sizes), *(view for view in views if view.nbytes)]
    # One small write is quicker than a gathered one.
    return parts if sum(part.nbytes for part in parts) > SMALL_BATCH else [memoryview(b"".join(parts))]


@dataclass(slots=True)
class _Large:
    size: int
    filled: int


class Assembler:
    """Turns what is read from a stream socket into batches of frames."""

    def __init__(self) -> None:
        self._pending = bytearray()  # bytes that belong to no frame yet
        self._sizes: deque[int] = deque()  # of the frames that this batch still lacks
        self._frames: list[Buffer] = []
        self.drained = False  # the last read took all there was: another one now would only be refused
        self._large: _Large | None = None  # the last frame, while it is received in place

    def read(self, sock: socket.socket) -> bool:
        """Read once. False at the end of the stream; BlockingIOError passes through."""
        if self._large is not None:
            return self._read_large(sock, self._large)
        data = sock.recv(CHUNK)
        self.drained = 0 < len(data) < CHUNK
        self._pending += data
        return bool(data)

    def _read_large(self, sock: socket.socket, large: "_Large") -> bool:
        self.drained = False
        frame = self._frames[-1]
        assert isinstance(frame, bytearray)
        if large.filled == len(frame):
            # By doubling: a length is believed only as far as bytes have come.
            frame += bytes(min(len(frame), large.size - len(frame)))
        with memoryview(frame) as view:
            count = sock.recv_into(view[large.filled :])
        large.filled += count
        if large.filled == large.size:
            self._large = None
        return count > 0

    def batches(self) -> Iterator[list[Buffer]]:
        """The batches that are complete.

        Raises
        ------
        ProtocolError
            If the stream is not what :func:`encode_batch` makes.
        """
        while self._large is None:
            if not self._sizes and not self._frames and not self._read_header():
                return
            self._cut_frames()
            if self._large is None and not self._sizes:
                frames, self._frames = self._frames, []
                yield frames
            elif self._large is None:
                return

    def _read_header(self) -> bool:
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
                self._large = _Large(size, have)
                return
            else:
                return


class Outbox:
    """What a non-blocking socket has not taken yet."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._waiting: deque[memoryview] = deque()

    def put(self, frames: Sequence[Buffer]) -> None:
        """Queue one batch."""
        self._waiting.extend(encode_batch(frames))

    def flush(self) -> bool:
        """Send what the socket takes now; True when nothing is left. OSError if the peer is gone."""
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
    """Send one batch on a blocking socket."""
    outbox = Outbox(sock)
    outbox.put(frames)
    outbox.flush()
