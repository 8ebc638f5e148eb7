"""Tasks that leave a trace: a line with their process's id for each time that they begin."""

from __future__ import annotations

import os
import time
from pathlib import Path

LONG = 20.0  # seconds; more than any wait of the tests takes
SHORT = 0.15  # seconds; more than their grace period

KINDS = ["returns", "raises", "exits", "obeys", "ignores interrupts", "ignores interrupts for a while"]
RETURNS, RAISES, EXITS, OBEYS, IGNORES, IGNORES_FOR_A_WHILE = KINDS


def work(trace: str, kind: str) -> str:
    """Begin, and end as told; what obeys, or ignores interrupts, has to be stopped."""
    end = time.monotonic() + {OBEYS: LONG, IGNORES: LONG, IGNORES_FOR_A_WHILE: SHORT}.get(kind, 0)
    before = runs(trace)
    while True:
        try:
            if runs(trace) == before:  # also if the interrupt came in between
                _leave(trace)
            time.sleep(max(0.0, end - time.monotonic()))
            break
        except KeyboardInterrupt:
            if kind not in (IGNORES, IGNORES_FOR_A_WHILE):
                raise
    if kind == RAISES:
        raise KeyError(trace)
    if kind == EXITS:
        os._exit(3)
    return trace


def _leave(trace: str) -> None:
    descriptor = os.open(trace, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    os.write(descriptor, b"%d\n" % os.getpid())
    os.close(descriptor)


def runs(trace: str) -> list[int]:
    """The processes in which it has begun."""
    path = Path(trace)
    return [int(line) for line in path.read_text().split()] if path.exists() else []
