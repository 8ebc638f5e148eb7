"""Connecting Scaler's connectors without blocking the loop."""

import asyncio
import contextlib
from typing import Any

# YMQ connects anew after a reset, as of a scheduler that is killed while it is sent something, and says nothing of it:
# by its own defaults for 50 s. These are 1.4 s, for a network that fails for a moment.
RECONNECTS = 3
FIRST_DELAY = 100  # milliseconds, doubled before each of them


async def connect(connector: Any, client: bytes, address: Any, *more: Any) -> None:
    """Connect one of Scaler's connectors without blocking the loop.

    The ``connect`` of connectors on YMQ (2.9) blocks its thread until the other side has introduced itself: for ever,
    if a dying scheduler accepts the connection and sends nothing.

    Parameters
    ----------
    connector
        The connector.
    client
        Scaler's name of the client.
    address
        The address.
    *more
        Further arguments of the connector's own ``connect``.
    """
    context = getattr(connector, "_ymq_context", None)
    if context is None:  # on ZeroMQ, which connects in the background
        await connector.connect(address, *more)
        return
    from scaler.io.ymq import ConnectorSocket, _ymq

    loop = asyncio.get_running_loop()
    answer: list[asyncio.Future[None]] = [loop.create_future()]  # a list, to be emptied: YMQ may hold ``notify``

    def notify(problem: BaseException | None) -> None:
        with contextlib.suppress(IndexError, RuntimeError):  # nobody waits any more, or the loop is over
            loop.call_soon_threadsafe(_resolve, answer[0], problem)

    connecting = _ymq.ConnectorSocket.connect(notify, context, client.decode(), repr(address), RECONNECTS, FIRST_DELAY)
    try:
        await answer[0]
    except BaseException:
        connecting.shutdown()  # otherwise the socket goes on trying to connect
        del connecting, context  # the error's traceback holds this frame, and would hold threads and pipes
        raise
    finally:
        answer.clear()
    connector._address = address
    connector._socket = ConnectorSocket(connecting)
    if isinstance(connected := getattr(connector, "_connected_event", None), asyncio.Event):  # the storage's
        connected.set()


def _resolve(future: "asyncio.Future[None]", problem: BaseException | None) -> None:
    if future.done():
        return
    if isinstance(problem, BaseException):
        future.set_exception(problem)
    else:
        future.set_result(None)
