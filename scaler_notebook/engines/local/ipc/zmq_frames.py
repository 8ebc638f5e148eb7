"""Receiving batches from a zmq socket, cheaply.

zmq's descriptor is edge-triggered: once the descriptor is readable, and after every send, everything that has arrived
must be received, or the descriptor never becomes readable again. To ask for the socket's events costs a third of a
receive that is refused.
"""

from collections.abc import Iterator

import zmq

from scaler_notebook.protocol.messages import Buffer


def receive_batches(
    socket: "zmq.Socket[bytes]", plain: int, writable: bool, peers: "dict[bytes, int] | None" = None
) -> Iterator[list[Buffer]]:
    """Yield every multipart message that has arrived.

    Parameters
    ----------
    socket
        The socket.
    plain
        How many leading frames are small. They are received as ``bytes``, which is quicker for them than zero-copy.
    writable
        Is each other frame received into memory of its own, for arrays that will be unpickled from it? Otherwise the
        memory is zmq's.
    peers
        For a ROUTER: the process id of each client as the system reports it, 0 if unknown. Clients that are missing
        are added.
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
    """Return the id of the process that sent a frame over a Unix socket, by ``SO_PEERCRED``; 0 if unknown."""
    try:
        words = str(frame.get("Peer-Address")).split(":")  # localhost:UID:GID:PID
        return int(words[3]) if len(words) == 4 else 0
    except (zmq.ZMQError, ValueError):
        return 0
