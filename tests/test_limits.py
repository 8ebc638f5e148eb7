"""How many files a task may open: what the user may, whatever our own processes need."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator

import numpy as np
import pytest
from waits import SAFETY

from scaler_notebook import NotebookExecutor

LIMIT = 300  # files; more than the test session itself has open


@pytest.fixture(params=["forkserver", "spawn"])
def executor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[NotebookExecutor]:
    """One whose user may open few files, and could ask for more."""
    monkeypatch.setenv("SCALER_NOTEBOOK_START_METHOD", request.param)
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, hard))
    try:
        with NotebookExecutor(n_workers=1) as executor:
            yield executor
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))


def limits() -> tuple[int, int]:
    return resource.getrlimit(resource.RLIMIT_NOFILE)


def arrays() -> list[np.ndarray]:  # each a file of its own on its way
    return [np.full(40_000, number) for number in range(LIMIT + 10)]


def test_a_task_has_the_limits_of_the_kernel(executor: NotebookExecutor) -> None:
    assert limits()[0] == LIMIT
    assert executor.submit(limits).result(SAFETY) == limits()


def test_so_it_has_when_the_fork_server_is_gone(executor: NotebookExecutor) -> None:
    parent, pid = executor.submit(lambda: (os.getppid(), os.getpid())).result(SAFETY)
    with open(f"/proc/{parent}/task/{parent}/children") as file:
        others = set(map(int, file.read().split())) - {pid}
    for other in others:  # the fork server among them
        os.kill(other, signal.SIGKILL)
    running = executor.submit(signal.pause)
    assert running.cancel()
    assert executor.submit(limits).result(SAFETY) == limits()


def test_a_result_may_hold_more_arrays_than_that(executor: NotebookExecutor) -> None:
    assert [array[0] for array in executor.submit(arrays).result(SAFETY)] == list(range(LIMIT + 10))
    assert executor.submit(limits).result(SAFETY) == limits()
