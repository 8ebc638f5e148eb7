"""One question to an engine, without being a client of it: a message there, and the answer to it back."""

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
    """The engine's answer.

    Parameters
    ----------
    kind
        The message that is one.
    timeout
        Seconds; after them None: it does not answer.
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
