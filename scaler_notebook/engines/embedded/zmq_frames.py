"""Receiving batches from a zmq socket, cheaply.

zmq's descriptor is edge-triggered: after it became readable, and after every send, everything that has arrived must be
taken, or nothing ever wakes us again. Asking for the socket's events is a third of the cost of a refused receive.
"""

from collections.abc import Iterator

import zmq

from ...protocol.messages import Buffer


def received(socket: "zmq.Socket[bytes]", plain: int, writable: bool) -> Iterator[list[Buffer]]:
    """Every multipart message that has arrived.

    Parameters
    ----------
    plain
        How many leading frames are small: they are received as ``bytes``, which is quicker than without a copy.
    writable
        Have each frame behind those in memory of its own, for arrays that will be unpickled over it; otherwise it
        stays in zmq's.
    """
    while int(socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
        frames: list[Buffer] = [socket.recv(zmq.NOBLOCK)]
        while socket.getsockopt(zmq.RCVMORE):
            if len(frames) < plain:
                frames.append(socket.recv(zmq.NOBLOCK))
            else:
                frame = socket.recv(zmq.NOBLOCK, copy=False)
                frames.append(bytearray(frame.buffer) if writable else frame.buffer)
        yield frames
