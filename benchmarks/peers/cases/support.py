"""What several cases need: a peer that is warm, and tasks that hold every slot."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .. import tasks
from ..peer import WORKERS, Peer

now = time.monotonic
START = 90.0  # seconds until both workers must run tasks
RUN_ON = 60.0  # seconds that a blocking task would take
SETTLE = 0.5  # seconds after which a task that has begun is known to run, to whoever is told


def quantile(values: Sequence[float], part: float) -> float:
    """Give the value below which this part of the values lies.

    Parameters
    ----------
    values
        In any order.
    part
        From 0 to 1.
    """
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


def warm_up(peer: Peer, calls: int = 50) -> None:
    """Start a peer, and wait until every worker runs tasks.

    Parameters
    ----------
    peer
        Not started.
    calls
        How many no-ops are run once every worker is there.
    """
    peer.start()
    wait_for_workers(peer, 0.2, now() + START)
    for n in range(calls):
        peer.result(peer.submit(tasks.nothing, n), 60)


def wait_for_workers(peer: Peer, nap: float, end: float) -> None:
    """Submit naps until each worker has one; TimeoutError if that takes too long.

    Parameters
    ----------
    peer
        Started.
    nap
        Seconds of a nap: long enough for another worker to take the next one.
    end
        When it is given up, in seconds of the monotonic clock.
    """
    while True:
        naps = [peer.submit(tasks.nap, nap) for _ in range(WORKERS)]
        if len({peer.result(each, 60) for each in naps}) == WORKERS:
            return
        if now() > end:
            raise TimeoutError("not every worker runs tasks")


class Running(NamedTuple):
    """A task that holds a slot, and the process that runs it."""

    future: Any
    process: int


def block_workers(peer: Peer, function: Callable[[str, float], object], directory: str) -> list[Running]:
    """Have every worker run a task that would take long.

    Parameters
    ----------
    peer
        Warm.
    function
        Called with the path of a file, to which it writes its process id, and with seconds.
    directory
        Where these files are.
    """
    paths = [Path(directory) / f"{n}-{time.monotonic_ns()}" for n in range(WORKERS)]
    futures = [peer.submit(function, os.fspath(path), RUN_ON) for path in paths]
    end = now() + START
    while not all(path.exists() for path in paths):
        if now() > end:
            raise TimeoutError("not every worker runs its task")
        time.sleep(0.005)
    time.sleep(SETTLE)
    return [Running(future, int(path.read_text())) for future, path in zip(futures, paths, strict=True)]
