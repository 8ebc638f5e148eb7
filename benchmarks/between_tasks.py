"""What it costs a task process that one task leaves nothing for the next: ``python benchmarks/between_tasks.py``.

Microseconds that are spent after each task on comparing settings, on looking for what it has left running, and on
giving the next one its streams; for a process as it starts, and for one that has imported the usual libraries. Beside
it what a task costs that does nothing. The least of many, for machines have moods.
"""

from __future__ import annotations

import gc
import importlib
import sys
import time
from collections.abc import Callable
from typing import Any

from scaler_notebook import NotebookExecutor

ROUNDS = 5_000
LIBRARIES = ("decimal", "locale", "asyncio", "tempfile", "numpy", "pandas", "matplotlib.pyplot")


def least(call: Callable[[], object]) -> float:
    """Microseconds."""
    found = float("inf")
    for _ in range(ROUNDS):
        began = time.perf_counter()
        call()
        found = min(found, time.perf_counter() - began)
    return found * 1e6


def measured(imports: tuple[str, ...]) -> dict[str, float]:
    """In a task: what this process does after each of its tasks, by itself."""
    for name in imports:
        importlib.import_module(name)
    kind: Any = sys.modules["scaler_notebook.engines.local.worker.main"]._Server
    (server,) = (each for each in gc.get_objects() if type(each) is kind)
    assert server._state.restore()
    return {
        "settings are compared": least(server._state.restore),
        "what runs is looked for": least(server._left_running.find),
        "streams are given out": least(server._streams.begin),
    }


def nothing() -> None:
    """A task that does nothing."""


def main() -> None:
    """Measure, and print a table."""
    with NotebookExecutor(n_workers=1) as ex:
        for title, names in ("as it starts", ()), ("with libraries", LIBRARIES):
            print(f"a process {title}")
            for what, cost in ex.submit(measured, names).result().items():
                print(f"  {what:28} {cost:6.1f} µs")
        print(f"a task that does nothing       {least(lambda: ex.submit(nothing).result()):6.0f} µs")


if __name__ == "__main__":
    main()
