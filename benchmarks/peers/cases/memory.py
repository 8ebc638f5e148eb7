"""The memory of all processes of a peer, idle and with many results."""

from __future__ import annotations

import gc
import os
import time

from .. import tasks
from ..outcome import Outcome
from ..peer import Peer
from ..processes import proportional_memory, run_processes
from ..sizes import Sizes
from .support import warm_up

QUIET = 1.0  # seconds after which a peer has done what it does after a task


def measure_memory(peer: Peer, sizes: Sizes) -> Outcome:
    """Measure the memory of an idle peer, the caller included, and the growth while many results are held."""
    warm_up(peer)
    peer.gather([peer.submit(tasks.nothing, n) for n in range(100)])
    idle, idle_caller, processes = _memory()
    futures = [peer.submit(tasks.nothing, n) for n in range(sizes.tasks)]
    values = peer.gather(futures)
    held, held_caller, _ = _memory()
    assert len(values) == len(futures)
    return Outcome(
        {
            "idle_memory": idle,
            "processes": processes,
            "held_growth": held - idle,
            "held_growth_caller": held_caller - idle_caller,
        }
    )


def _memory() -> tuple[float, float, int]:
    """Megabytes of all processes and of this one, and how many there are."""
    gc.collect()
    time.sleep(QUIET)
    there = run_processes()
    return proportional_memory(there), proportional_memory({os.getpid()}), len(there)
