"""Receiving batches from a zmq socket, cheaply.

zmq's descriptor is edge-triggered: after it became readable, and after every send, everything that has arrived must be
taken, or nothing ever wakes us again. Asking for the socket's events is a third of the cost of a refused receive.
"""

from collections.abc import Iterator

import zmq

from scaler_notebook.protocol.messages import Buffer


def receive_batches(
    socket: "zmq.Socket[bytes]", plain: int, writable: bool, peers: "dict[bytes, int] | None" = None
) -> Iterator[list[Buffer]]:
    """Every multipart message that has arrived.

    Parameters
    ----------
    plain
        How many leading frames are small: they are received as ``bytes``, which is quicker than without a copy.
    writable
        Have each frame behind those in memory of its own, for arrays that will be unpickled over it; otherwise it
        stays in zmq's.
    peers
        Of a ROUTER: for each client the process that it is, as the system says it (0 where it does not). A client that
        is not there yet is added.
    """
    while int(socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
        first = socket.recv(zmq.NOBLOCK)
        frames: list[Buffer] = [first]
        if peers is not None and first not in peers and socket.getsockopt(zmq.RCVMORE):
            frame = socket.recv(zmq.NOBLOCK, copy=False)
            peers[first] = _peer_pid(frame)
            frames.append(frame.bytes)
        while socket.getsockopt(zmq.RCVMORE):
            if len(frames) < plain:
                frames.append(socket.recv(zmq.NOBLOCK))
            else:
                frame = socket.recv(zmq.NOBLOCK, copy=False)
                frames.append(bytearray(frame.buffer) if writable else frame.buffer)
        yield frames


def _peer_pid(frame: zmq.Frame) -> int:
    """Who sent it, if it came over a Unix socket: zmq has that from the system (``SO_PEERCRED``)."""
    try:
        words = str(frame.get("Peer-Address")).split(":")  # localhost:UID:GID:PID
        return int(words[3]) if len(words) == 4 else 0
    except (zmq.ZMQError, ValueError):
        return 0
