"""Whether a scheduler of a cluster answers, before anything is sent to it."""

import asyncio
import socket
import threading
import time

from scaler_notebook.protocol.errors import EngineStartError

from .cluster_connection import LEAVE_TIMEOUT, ClusterConnection

REFUSED_AGAIN = 0.05  # seconds


def probe(connection: ClusterConnection, timeout: float) -> None:
    """See whether a cluster answers; on a thread of its own, for this one may have a loop that runs.

    Raises
    ------
    EngineStartError
        Nothing that is a Scaler scheduler does, within so many seconds.
    """
    no_answer = EngineStartError(
        f"nobody answers at {connection.name} within {timeout:.0f} s: is an OpenGRIS Scaler scheduler running there "
        "(scaler_scheduler, SchedulerClusterCombo), reached from this machine, and is the port its own?"
    )
    deadline = time.monotonic() + timeout
    while True:  # a scheduler that has just been started is not there yet
        try:
            socket.create_connection(connection.endpoint, max(0.1, deadline - time.monotonic())).close()
            break
        except OSError as error:
            if time.monotonic() > deadline:
                raise no_answer from error
        time.sleep(REFUSED_AGAIN)
    answered: list[bool] = []

    async def ask() -> None:
        serving = asyncio.ensure_future(connection.serve(lambda message: None))
        waiting = asyncio.ensure_future(connection.ready(timeout))
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if waiting.done() and waiting.result():
            answered.append(True)
            await connection.leave()
        for task in (serving, waiting):
            task.cancel()
        await asyncio.gather(serving, waiting, return_exceptions=True)

    thread = threading.Thread(target=lambda: asyncio.run(ask()), name="scaler_notebook probe", daemon=True)
    thread.start()
    thread.join(timeout + LEAVE_TIMEOUT + 1.0)
    if not answered:
        raise no_answer
