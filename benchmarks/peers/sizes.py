"""How much of everything a case does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """Amounts of every case."""

    round_trips: int = 500  # calls, one at a time
    tasks: int = 10_000  # of a throughput, and whose results are held
    chunk: int = 100  # calls per message, where a peer can
    small_mb: int = 1  # megabytes (1e6 bytes) of an array
    small_repeats: int = 30
    large_mb: int = 100
    large_repeats: int = 3
    sharers: int = 20  # tasks with the same large argument
    queued: int = 1_000  # tasks that are cancelled together
    patience: float = 6.0  # seconds until a cancel that does nothing is a "cannot"
    small_fits: int = 200  # of a search over a small table
    large_fits: int = 20  # ... and over a large one
    rows: int = 20_000  # of the large table


FULL = Sizes()
QUICK = Sizes(30, 300, 30, 1, 3, 5, 1, 4, 50, 2.0, 20, 10, 500)


def sizes_of(quick: bool) -> Sizes:
    """Give the amounts that count, or those that only show whether everything runs."""
    return QUICK if quick else FULL
