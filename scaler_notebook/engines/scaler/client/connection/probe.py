"""A check whether a cluster's scheduler answers, before anything is sent to it."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from typing import Literal

from scaler_notebook.protocol.errors import EngineStartError

from .cluster_connection import LEAVE_TIMEOUT, ClusterConnection

AGAIN = 0.05  # seconds between two attempts to connect
Outcome = Literal["answered", "closed", "silent"]


def probe(new_connection: Callable[[], ClusterConnection], listen_timeout: float, answer_timeout: float) -> None:
    """Check that a cluster answers. Runs an event loop on a thread of its own, because the calling thread may have one.

    Parameters
    ----------
    new_connection
        Makes a connection that is not used for anything else.
    listen_timeout
        Seconds within which a program has to take the connection and keep it: a scheduler that was just started may
        not listen yet, and a tunnel in front of one takes connections and closes them until then.
    answer_timeout
        Seconds within which the program that keeps the connection has to answer as a Scaler scheduler does.

    Raises
    ------
    EngineStartError
        No Scaler scheduler answers in time.
    """
    connection = new_connection()
    start = time.monotonic()
    closed = f"nobody answers at {connection.name} within {listen_timeout:.0f} s"
    while True:
        try:
            socket.create_connection(connection.endpoint, max(0.1, start + listen_timeout - time.monotonic())).close()
            break
        except OSError as error:
            if time.monotonic() > start + listen_timeout:
                raise _no_answer(closed) from error
        time.sleep(AGAIN)
    outcome: list[Outcome] = []
    thread = threading.Thread(
        target=lambda: outcome.append(asyncio.run(_ask(new_connection, start + listen_timeout, answer_timeout))),
        name="scaler_notebook probe",
        daemon=True,
    )
    thread.start()
    thread.join(listen_timeout + answer_timeout + LEAVE_TIMEOUT + 1.0)
    if outcome == ["answered"]:
        return
    silent = f"nobody answers at {connection.name} within {answer_timeout:.0f} s, though a program listens there"
    raise _no_answer(closed if outcome == ["closed"] else silent)


def _no_answer(what: str) -> EngineStartError:
    return EngineStartError(
        f"{what}: is an OpenGRIS Scaler scheduler running there (scaler_scheduler, SchedulerClusterCombo), reached "
        "from this machine, and is the port its own?"
    )


async def _ask(new_connection: Callable[[], ClusterConnection], deadline: float, answer_timeout: float) -> Outcome:
    """Connect until a program keeps the connection, and wait for its answer.

    Parameters
    ----------
    new_connection
        Makes a connection.
    deadline
        When a connection that is closed is not made again, on the monotonic clock.
    answer_timeout
        Seconds to wait for an answer on one connection.

    Returns
    -------
    Outcome
        ``"answered"``; ``"closed"`` if each connection was closed without an answer; ``"silent"`` if the last one was
        kept without an answer.
    """
    while True:
        connection = new_connection()
        serving = asyncio.ensure_future(connection.serve(lambda message: None))
        waiting = asyncio.ensure_future(connection.ready(answer_timeout))
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        kept = not serving.done()
        answers = waiting.done() and waiting.result()
        if answers:
            await connection.leave()
        for task in (serving, waiting):
            task.cancel()
        await asyncio.gather(serving, waiting, return_exceptions=True)
        if answers:
            return "answered"
        if kept:
            return "silent"
        if time.monotonic() > deadline:
            return "closed"
        await asyncio.sleep(AGAIN)
