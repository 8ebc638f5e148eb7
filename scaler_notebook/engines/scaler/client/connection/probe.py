"""A check whether a cluster's scheduler answers, before anything is sent to it."""

import asyncio
import socket
import threading
import time

from scaler_notebook.protocol.errors import EngineStartError

from .cluster_connection import LEAVE_TIMEOUT, ClusterConnection

REFUSED_AGAIN = 0.05  # seconds between two attempts to connect


def probe(connection: ClusterConnection, timeout: float) -> None:
    """Check that a cluster answers. Runs an event loop on a thread of its own, because the calling thread may have one.

    Parameters
    ----------
    connection
        A connection that is not used for anything else.
    timeout
        Seconds within which the cluster has to answer.

    Raises
    ------
    EngineStartError
        No Scaler scheduler answers in time.
    """
    no_answer = EngineStartError(
        f"nobody answers at {connection.name} within {timeout:.0f} s: is an OpenGRIS Scaler scheduler running there "
        "(scaler_scheduler, SchedulerClusterCombo), reached from this machine, and is the port its own?"
    )
    deadline = time.monotonic() + timeout
    while True:  # a scheduler that was just started may not listen yet
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
