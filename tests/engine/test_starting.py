"""Task processes started as new interpreters, where there is no fork server."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator

import pytest
import stubborn_tasks
from fault_injection import freeze, process_of, thaw
from raw_peers import scheduler_of
from waits import SAFETY, until_running

from scaler_notebook import NotebookExecutor, ProcessorDiedError


@pytest.fixture
def spawning(monkeypatch: pytest.MonkeyPatch) -> Iterator[NotebookExecutor]:
    monkeypatch.setenv("SCALER_NOTEBOOK_START_METHOD", "spawn")
    with NotebookExecutor(n_workers=2) as executor:
        yield executor
        executor.cancel_all()


def test_tasks_run_are_cancelled_and_die_alone(spawning: NotebookExecutor) -> None:
    assert spawning.submit(lambda x: x + 1, 1).result(SAFETY) == 2
    running = spawning.submit(time.sleep, 60)
    until_running(running)
    assert running.cancel()
    with pytest.raises(ProcessorDiedError):
        spawning.submit(os._exit, 1).result(SAFETY)
    assert spawning.submit(abs, -1).result(SAFETY) == 1


def test_processes_are_nobodys_copies(spawning: NotebookExecutor) -> None:
    def draw() -> tuple[int, int, float]:
        time.sleep(0.2)
        return os.getpid(), os.getsid(0), random.random()

    draws = [future.result(SAFETY) for future in [spawning.submit(draw) for _ in range(6)]]
    assert len({number for _, _, number in draws}) == 6
    assert all(pid == session for pid, session, _ in draws)


def test_processes_that_die_together_fail_both_of_their_tasks(spawning: NotebookExecutor) -> None:
    """The start of what takes the place of the first must not wait for the second in its scheduler's stead."""
    futures = [spawning.submit(stubborn_tasks.obeys) for _ in range(2)]
    pids = [process_of(future) for future in futures]
    scheduler = scheduler_of(spawning).pid
    freeze(scheduler)
    try:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
    finally:
        thaw(scheduler)
    for future in futures:
        assert isinstance(future.exception(SAFETY), ProcessorDiedError)
    assert spawning.submit(abs, -1).result(SAFETY) == 1
