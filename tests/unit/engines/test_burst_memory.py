"""Memory of many tasks goes back to the system when they are over, once, and not between two of them."""

from __future__ import annotations

import gc
import time

import pytest

from scaler_notebook.engines.local.ipc.memory.burst import BURST, QUIET, BurstMemory


def test_memory_goes_back_once_after_many_tasks_and_never_after_few(monkeypatch: pytest.MonkeyPatch) -> None:
    collections: list[float] = []
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(gc, "collect", lambda: collections.append(now))
    memory = BurstMemory()
    for unfinished in (0, BURST - 1, 0, 0):
        memory.look(unfinished)
        now += 2 * QUIET
        assert memory.deadline is None
    for unfinished in (5, BURST, 1, 0, 3, 0):  # a task more begins the quiet time anew
        memory.look(unfinished)
        assert (memory.deadline is None) == (unfinished > 0)
        now += QUIET / 2
    assert not collections
    due = memory.deadline
    assert due is not None
    now = due
    for _ in range(3):
        memory.look(0)
        now += 2 * QUIET
    assert collections == [due]
    assert memory.deadline is None
