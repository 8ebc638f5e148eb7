"""Calls that do nothing: the first one, one at a time, and many."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Sequence
from typing import Any

from .. import tasks
from ..outcome import Cannot, Outcome
from ..peer import Peer
from ..sizes import Sizes
from .support import START, now, quantile, wait_for_workers, warm_up

BEGAN = "BENCHMARK_BEGAN"  # the environment variable with the moment before this interpreter was started


def measure_cold_start(peer: Peer, sizes: Sizes) -> Outcome:
    """Measure from the start of the interpreter until the first result, and until every worker has run a task."""
    began = float(os.environ[BEGAN])
    peer.start()
    peer.result(peer.submit(tasks.nothing, 1), START)
    first = now() - began
    wait_for_workers(peer, 0.05, now() + START)
    return Outcome({"cold_start": first, "cold_start_all": now() - began})


def measure_round_trip(peer: Peer, sizes: Sizes) -> Outcome:
    """Measure calls one at a time, each until its result."""
    warm_up(peer)
    seconds = []
    for n in range(sizes.round_trips):
        began = now()
        peer.result(peer.submit(tasks.nothing, n))
        seconds.append(now() - began)
    return Outcome({"round_trip": statistics.median(seconds), "round_trip_p99": quantile(seconds, 0.99)})


def measure_submit(peer: Peer, sizes: Sizes) -> Outcome:
    """Measure many submits, and the wait for all of their results."""
    warm_up(peer)
    peer.gather([peer.submit(tasks.nothing, n) for n in range(200)])
    began = now()
    futures = [peer.submit(tasks.nothing, n) for n in range(sizes.tasks)]
    submitted = now() - began
    values = peer.gather(futures)
    all_of_it = now() - began
    assert list(values) == list(range(sizes.tasks))
    return Outcome({"submit": submitted, "submit_rate": sizes.tasks / all_of_it})


def measure_map(peer: Peer, sizes: Sizes) -> Outcome:
    """Measure the peer's own map, with its defaults and in chunks."""
    warm_up(peer)
    peer.map(tasks.nothing, range(200))
    outcome = Outcome(notes={"map": peer.map_note})
    outcome.figures["map_rate"] = _rate(sizes.tasks, lambda: peer.map(tasks.nothing, range(sizes.tasks)))
    try:
        in_chunks = _rate(sizes.tasks, lambda: peer.map_in_chunks(tasks.nothing, range(sizes.tasks), sizes.chunk))
        outcome.figures["map_chunks_rate"] = in_chunks
    except Cannot as why:
        outcome.cannot["map_chunks_rate"] = str(why)
    return outcome


def _rate(calls: int, call: Callable[[], Sequence[Any]]) -> float:
    began = now()
    values = call()
    seconds = now() - began
    assert list(values) == list(range(calls))
    return calls / seconds
