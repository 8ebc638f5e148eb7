"""Arrays as arguments and results."""

from __future__ import annotations

import os
import statistics

import numpy as np

from .. import tasks
from ..outcome import Cannot, Outcome
from ..peer import WORKERS, Peer
from ..sizes import Sizes
from .support import now, warm_up

MB = 1_000_000


def new_arrays(megabytes: int, count: int) -> list[tasks.Array]:
    """Make arrays that all differ: nothing can be answered from a cache.

    Parameters
    ----------
    megabytes
        Of 1e6 bytes, of each.
    count
        How many.
    """
    random = np.random.default_rng(os.getpid())
    return [random.random(megabytes * MB // 8) for _ in range(count)]


def measure_arrays(peer: Peer, sizes: Sizes) -> Outcome:
    """Measure calls with a small and a large array: as argument, as result, and as both."""
    warm_up(peer, 10)
    small = _calls(peer, sizes.small_mb, sizes.small_repeats)
    large = _calls(peer, sizes.large_mb, sizes.large_repeats)
    named = (("small", small), ("large", large))
    return Outcome({f"{size}_{way}": seconds for size, found in named for way, seconds in found.items()})


def _calls(peer: Peer, megabytes: int, repeats: int) -> dict[str, float]:
    """Median seconds of a call, by the array's way. The first call of each is not counted."""
    found: dict[str, list[float]] = {"in": [], "out": [], "echo": []}
    numbers = megabytes * MB // 8
    for array in new_arrays(megabytes, repeats + 1):
        began = now()
        assert peer.result(peer.submit(tasks.take, array)) == array.nbytes
        found["in"].append(now() - began)
    for _ in range(2 * WORKERS):  # every worker has made its array
        peer.result(peer.submit(tasks.give, numbers))
    for _ in range(repeats + 1):
        began = now()
        given = peer.result(peer.submit(tasks.give, numbers))
        found["out"].append(now() - began)
        assert given.size == numbers
        del given
    for array in new_arrays(megabytes, repeats + 1):
        began = now()
        back = peer.result(peer.submit(tasks.echo, array))
        found["echo"].append(now() - began)
        assert back[-1] == array[-1]
        del back
    return {way: statistics.median(seconds[1:]) for way, seconds in found.items()}


def measure_shared_argument(peer: Peer, sizes: Sizes) -> Outcome:
    """Measure many tasks with the same large array: as a plain argument, and sent ahead by the peer's own means."""
    warm_up(peer, 10)
    outcome = Outcome()
    (array,) = new_arrays(sizes.large_mb, 1)
    began = now()
    taken = peer.gather([peer.submit(tasks.take, array) for _ in range(sizes.sharers)])
    outcome.figures["shared_argument"] = now() - began
    assert set(taken) == {array.nbytes}
    (array,) = new_arrays(sizes.large_mb, 1)
    began = now()
    try:
        reference = peer.put(array)
    except Cannot as why:
        outcome.cannot["shared_argument_put"] = str(why)
        return outcome
    taken = peer.gather([peer.submit(tasks.take, reference) for _ in range(sizes.sharers)])
    outcome.figures["shared_argument_put"] = now() - began
    assert set(taken) == {array.nbytes}
    return outcome
