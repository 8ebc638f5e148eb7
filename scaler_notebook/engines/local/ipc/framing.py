"""Batches of frames over a stream socket: ``u16 descriptors, u32 count, count × u64 size, the frames``.

A large frame is received into a buffer of its own. The array that is unpickled from the frame uses that buffer as its
memory, so nothing is copied, and the array is writable. Everything else is received into one buffer that an assembler
keeps, and copied from there once.

File descriptors travel with their batch (``SCM_RIGHTS``, see unix(7)): they are attached to its first byte, so that one
read receives the descriptors of one batch at most.
"""

import array
import mmap
import os
import socket
import struct
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from scaler_notebook.protocol.errors import ProtocolError
from scaler_notebook.protocol.messages import Buffer

HEAD = struct.Struct("<HI")
HEAD_OF_ONE = struct.Struct("<HIQ")  # of a batch of one frame, which most are
MAX_DESCRIPTORS = 64  # of a batch; Linux takes 253 with one write
MAX_FRAMES = 1_000_000
MAX_BATCH = 1 << 40  # bytes; a length beyond this is a broken stream, not a request for memory
CHUNK = 256 * 1024  # bytes per read
SMALL_BATCH = 32 * 1024  # bytes; up to this size one joined write is quicker than a gathered one
MAX_UNCLAIMED = 8  # sets of descriptors that have come before their batches are complete
ANCILLARY = socket.CMSG_SPACE(MAX_DESCRIPTORS * array.array("i").itemsize)
# Plain integers: each operation on an enum's member makes another member.
RECEIVE_FLAGS = int(getattr(socket, "MSG_CMSG_CLOEXEC", 0))
MSG_CTRUNC, MSG_PEEK = int(socket.MSG_CTRUNC), int(socket.MSG_PEEK)


def encode_batch(frames: Sequence[Buffer], descriptors: int = 0) -> list[memoryview]:
    """Return the bytes of one batch, in parts; a batch above :data:`SMALL_BATCH` is not copied.

    Parameters
    ----------
    frames
        The frames.
    descriptors
        How many descriptors travel with the batch.
    """
    if len(frames) == 1 and type(frames[0]) is bytes and len(frames[0]) < SMALL_BATCH - HEAD_OF_ONE.size:
        return [memoryview(HEAD_OF_ONE.pack(descriptors, 1, len(frames[0])) + frames[0])]
    views = [memoryview(frame).cast("B") for frame in frames]
    sizes = struct.pack(f"<HI{len(views)}Q", descriptors, len(views), *(view.nbytes for view in views))
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


def _descriptors_in(ancillary: "list[tuple[int, int, bytes]]") -> list[int]:
    """Return the descriptors that a read has given this process."""
    numbers = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
    return list(numbers)


class Assembler:
    """Turns what is read from a stream socket into batches of frames.

    Parameters
    ----------
    takes_descriptors
        May descriptors come with the batches? Otherwise the system closes those that come.
    """

    def __init__(self, takes_descriptors: bool = True) -> None:
        self._ancillary = ANCILLARY if takes_descriptors else 0
        # Of this, only the pages that the largest read has touched are memory. A bytearray would touch all of them.
        self._buffer = memoryview(mmap.mmap(-1, CHUNK, access=mmap.ACCESS_COPY))
        self._pending = bytearray()  # bytes that belong to no frame yet
        self._sizes: deque[int] = deque()  # bytes of each frame that the current batch lacks
        self._frames: list[Buffer] = []
        self.drained = False  # has the last read emptied the socket?
        self._large: _LargeFrame | None = None  # the last of ``_frames``, while that is received in place
        self._received: deque[list[int]] = deque()  # descriptors, by the batch that is not complete yet
        self._expected = 0  # descriptors of the current batch
        self._descriptors: list[int] = []  # those of the batch that was yielded last

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
        count, ancillary, flags, _ = sock.recvmsg_into([self._buffer], self._ancillary, RECEIVE_FLAGS)
        if ancillary or flags & MSG_CTRUNC:
            self._receive_descriptors(ancillary)
        self.drained = 0 < count < CHUNK and not ancillary
        self._pending += self._buffer[:count]
        return count > 0

    def count_descriptors(self, sock: socket.socket) -> tuple[int, bool]:
        """Count the descriptors that the next read would receive; nothing is read.

        Returns
        -------
        int, bool
            How many this process has room for, and whether these are all.

        Raises
        ------
        BlockingIOError
            A non-blocking socket has nothing to read.
        """
        if self._large is not None:
            return 0, True
        _, ancillary, flags, _ = sock.recvmsg_into([self._buffer], ANCILLARY, RECEIVE_FLAGS | MSG_PEEK)
        copies = _descriptors_in(ancillary)
        for descriptor in copies:
            os.close(descriptor)
        return len(copies), not flags & MSG_CTRUNC

    def _receive_descriptors(self, ancillary: "list[tuple[int, int, bytes]]") -> None:
        """Note the descriptors that a read has given: fewer than were sent where this process has no room for more.

        Raises
        ------
        ProtocolError
            They belong to no batch.
        """
        self._received.append(_descriptors_in(ancillary))
        if len(self._received) > MAX_UNCLAIMED:
            raise ProtocolError("descriptors that belong to no batch")

    def take_descriptors(self) -> list[int]:
        """Return the descriptors of the batch that was yielded last, for the caller to close.

        Those that nobody has taken before the next batch are closed.
        """
        taken, self._descriptors = self._descriptors, []
        return taken

    def _close_untaken(self) -> None:
        """Close the descriptors of the batch that was yielded last."""
        for descriptor in self.take_descriptors():
            os.close(descriptor)

    def close(self) -> None:
        """Close the descriptors that nobody has taken."""
        self._close_untaken()
        while self._received:
            self._descriptors = self._received.popleft()
            self._close_untaken()

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
            if self._descriptors:
                self._close_untaken()
            yield [frame]
        while self._large is None:
            if not self._sizes and not self._frames and not self._read_header():
                return
            self._cut_frames()
            if self._large is None and not self._sizes:
                frames, self._frames = self._frames, []
                self._close_untaken()
                self._descriptors = self._received.popleft() if self._expected and self._received else []
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
        descriptors, count, size = HEAD_OF_ONE.unpack_from(pending)
        end = HEAD_OF_ONE.size + size
        if descriptors or count != 1 or len(pending) < end:
            return None
        frame = pending[HEAD_OF_ONE.size : end]
        del pending[:end]
        return frame

    def _read_header(self) -> bool:
        """Cut the sizes of the next batch off the pending bytes; False if they are not there yet."""
        if len(self._pending) < HEAD.size:
            return False
        descriptors, count = HEAD.unpack_from(self._pending)
        if not 0 < count <= MAX_FRAMES or descriptors > MAX_DESCRIPTORS:
            raise ProtocolError(f"a batch of {count} frames and {descriptors} descriptors")
        end = HEAD.size + 8 * count
        if len(self._pending) < end:
            return False
        sizes = struct.unpack_from(f"<{count}Q", self._pending, HEAD.size)
        if sum(sizes) > MAX_BATCH:
            raise ProtocolError(f"a batch of {sum(sizes)} bytes")
        del self._pending[:end]
        self._expected = descriptors
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
