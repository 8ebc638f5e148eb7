"""The sending end of a stream socket: batches of frames, and the descriptors that travel with them."""

import array
import errno
import os
import socket
import time
from collections import deque
from collections.abc import Sequence
from itertools import islice

from scaler_notebook.protocol.messages import Buffer

from .framing import encode_batch

IOV = 512  # buffers per ``sendmsg``; the kernel's limit is 1,024
PAUSE = 0.001  # seconds until a blocking send tries again
# A script that has set SIGPIPE to its default, as those for a pipeline do, would be killed when the peer is gone.
NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)
# What passes: no room in the socket, or in the system's memory; or as many descriptors as the user may have are on
# their way already, and their receivers take them.
LATER = {errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS, errno.ENOMEM, errno.ETOOMANYREFS}


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
        self._queued = self._sent = 0  # bytes since the beginning
        self._attached: deque[tuple[int, Sequence[int]]] = deque()  # where a batch begins, and its descriptors

    @property
    def waiting(self) -> int:
        """How many bytes the socket has not taken yet."""
        return self._queued - self._sent

    def put(self, frames: Sequence[Buffer], descriptors: Sequence[int] = ()) -> None:
        """Queue one batch.

        Parameters
        ----------
        frames
            The frames.
        descriptors
            At most :data:`~.framing.MAX_DESCRIPTORS` descriptors, which the outbox closes.
        """
        parts = encode_batch(frames, len(descriptors))
        if descriptors:
            self._attached.append((self._queued, descriptors))
        self._waiting.extend(parts)
        self._queued += sum(part.nbytes for part in parts)

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
            parts, descriptors = self._next_write()
            try:
                if descriptors:
                    rights = socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors)
                    sent = self._sock.sendmsg(parts, [rights], NO_SIGNAL)
                else:
                    sent = self._sock.sendmsg(parts, (), NO_SIGNAL)
            except OSError as error:
                if error.errno not in LATER:
                    raise
                return False
            if descriptors:
                self._attached.popleft()
                _close(descriptors)
            self._sent += sent
            while sent:
                first = self._waiting[0]
                if sent < first.nbytes:
                    self._waiting[0] = first[sent:]
                    break
                sent -= first.nbytes
                self._waiting.popleft()
        return True

    def _next_write(self) -> tuple[list[memoryview], Sequence[int]]:
        """Return what is written next: parts up to a batch with descriptors, or its first part and these."""
        if not self._attached:
            return [*islice(self._waiting, IOV)], ()
        begin, descriptors = self._attached[0]
        if begin == self._sent:
            return [self._waiting[0]], descriptors
        parts: list[memoryview] = []
        left = begin - self._sent
        for part in self._waiting:
            if not left or len(parts) == IOV:
                break
            parts.append(part)
            left -= part.nbytes
        return parts, ()

    def close(self) -> None:
        """Close the descriptors that were not sent."""
        while self._attached:
            _close(self._attached.popleft()[1])


def send_blocking(sock: socket.socket, frames: Sequence[Buffer], descriptors: Sequence[int] = ()) -> None:
    """Send one batch on a blocking socket.

    Parameters
    ----------
    sock
        A blocking stream socket.
    frames
        The frames of the batch.
    descriptors
        Descriptors that travel with the batch, and are closed here.
    """
    if not descriptors:
        parts = encode_batch(frames)
        if len(parts) == 1:
            sock.sendall(parts[0])
            return
    outbox = Outbox(sock)
    outbox.put(frames, descriptors)
    try:
        while not outbox.flush():
            time.sleep(PAUSE)
    finally:
        outbox.close()


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
