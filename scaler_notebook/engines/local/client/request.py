"""One request to an engine, and the answer, without the life of a client."""

import contextlib
import time
from typing import TypeVar

from scaler_notebook.protocol.encoding.wire import CLIENT_CODEC, ENGINE_CODEC
from scaler_notebook.protocol.errors import ProtocolError
from scaler_notebook.protocol.messages import ClientMessage, EngineMessage

from .channels.channel import open_channel
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
        The answer; None if the engine has not answered in time, or does not listen.
    """
    deadline = time.monotonic() + timeout
    try:
        channel = open_channel(connection.endpoint, connection.keys)
    except OSError:
        return None
    try:
        channel.send(CLIENT_CODEC.encode([question]))
        while channel.wait(deadline - time.monotonic()):
            with contextlib.suppress(ProtocolError):
                for frames in channel.receive():
                    for message in ENGINE_CODEC.decode(frames):
                        if isinstance(message, kind):
                            return message
        return None
    finally:
        channel.close(linger=0.0)
