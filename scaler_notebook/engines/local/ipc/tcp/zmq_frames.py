"""Sending batches to a zmq socket, and receiving them, cheaply.

zmq's descriptor is edge-triggered: once the descriptor is readable, and after every send, everything that has arrived
must be received, or the descriptor never becomes readable again. To ask for the socket's events costs a third of a
receive that is refused. Flags and options are plain integers here: to combine two of pyzmq's enums takes longer than to
send a message.
"""

from collections.abc import Iterator, Sequence

import zmq

from scaler_notebook.protocol.messages import Buffer

NOBLOCK, SNDMORE, POLLIN = int(zmq.NOBLOCK), int(zmq.SNDMORE), int(zmq.POLLIN)
EVENTS, RCVMORE = int(zmq.EVENTS), int(zmq.RCVMORE)


def send_batch(socket: "zmq.Socket[bytes]", frames: Sequence[Buffer], owner: bytes = b"") -> None:
    """Send a multipart message, without blocking; what is large is not copied.

    Parameters
    ----------
    socket
        The socket.
    frames
        The frames: a header, which is made for this message, and buffers.
    owner
        For a ROUTER: the client.
    """
    if len(frames) > 1:
        socket.send_multipart([owner, *frames] if owner else frames, zmq.NOBLOCK, copy=False)
        return
    if owner:
        socket.send(owner, NOBLOCK | SNDMORE)
    socket.send(frames[0], NOBLOCK)


def receive_batches(socket: "zmq.Socket[bytes]", plain: int, writable: bool) -> Iterator[list[Buffer]]:
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
    """
    receive, option = socket.recv, socket.getsockopt
    while int(option(EVENTS)) & POLLIN:
        frames: list[Buffer] = [receive(NOBLOCK)]
        while option(RCVMORE):
            if len(frames) < plain:
                frames.append(receive(NOBLOCK))
            else:
                frame = receive(NOBLOCK, copy=False)
                frames.append(bytearray(frame.buffer) if writable else frame.buffer)
        yield frames
