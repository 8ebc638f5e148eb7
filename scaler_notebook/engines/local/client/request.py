"""One request to an engine, and the answer, without the life of a client."""

import contextlib
import time
from typing import TypeVar

import zmq

from scaler_notebook.engines.local.ipc.transport import connect
from scaler_notebook.protocol.errors import ProtocolError
from scaler_notebook.protocol.messages import ClientMessage, EngineMessage
from scaler_notebook.protocol.wire import CLIENT_CODEC, ENGINE_CODEC

from .connection_file import ConnectionInfo

M = TypeVar("M", bound=EngineMessage)


def ask(connection: ConnectionInfo, question: ClientMessage, kind: type[M], timeout: float) -> M | None:
    """Send a message to an engine, and return the answer.

    Parameters
    ----------
    connection
        How to reach the engine.
    question
        The message.
    kind
        The class of the answer; other messages of the engine are ignored.
    timeout
        Seconds to wait for the answer.

    Returns
    -------
    M or None
        The answer; None if the engine has not answered in time.
    """
    deadline = time.monotonic() + timeout
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        connect(socket, connection.endpoint, connection.keys)
        socket.send_multipart(CLIENT_CODEC.encode([question]))
        while socket.poll(int(max(0.0, deadline - time.monotonic()) * 1000)):
            with contextlib.suppress(ProtocolError):
                for message in ENGINE_CODEC.decode(socket.recv_multipart()):
                    if isinstance(message, kind):
                        return message
    return None
