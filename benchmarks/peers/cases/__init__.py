"""The cases: each is given a peer that is not started, and gives its figures."""

from __future__ import annotations

from collections.abc import Callable

from ..outcome import Outcome
from ..peer import Peer
from ..sizes import Sizes
from .arrays import measure_arrays, measure_shared_argument
from .calls import measure_cold_start, measure_map, measure_round_trip, measure_submit
from .memory import measure_memory
from .searches import measure_search
from .stopping import measure_cancel_loop, measure_cancel_queued, measure_cancel_sleep, measure_crash

Case = Callable[[Peer, Sizes], Outcome]

CASES: dict[str, Case] = {
    "cold_start": measure_cold_start,
    "round_trip": measure_round_trip,
    "submit": measure_submit,
    "map": measure_map,
    "arrays": measure_arrays,
    "shared_argument": measure_shared_argument,
    "memory": measure_memory,
    "search": measure_search,
    "cancel_loop": measure_cancel_loop,
    "cancel_sleep": measure_cancel_sleep,
    "cancel_queued": measure_cancel_queued,
    "crash": measure_crash,
}
