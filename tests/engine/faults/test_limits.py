"""How many files a task may open: what the user may, whatever our own processes need."""

from __future__ import annotations

import contextlib
import os
import pickle
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from waits import SAFETY, until_running

from scaler_notebook import EngineStartError, LocalCluster, NotebookExecutor
from scaler_notebook.engines.local.ipc.memory.shared_memory import SMALLEST

MORE = 64  # files than the test session has open


@pytest.fixture(params=["forkserver", "spawn"])
def executor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[NotebookExecutor]:
    """One whose user may open few files, and could ask for more."""
    monkeypatch.setenv("SCALER_NOTEBOOK_START_METHOD", request.param)
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = max(map(int, os.listdir("/proc/self/fd"))) + MORE
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
    try:
        with NotebookExecutor(n_workers=1) as executor:
            yield executor
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))


def limits() -> tuple[int, int]:
    return resource.getrlimit(resource.RLIMIT_NOFILE)


def limits_of_a_task(executor: NotebookExecutor) -> tuple[int, int]:
    return executor.submit(resource.getrlimit, resource.RLIMIT_NOFILE).result(SAFETY)


def test_a_task_has_the_limits_of_the_kernel(executor: NotebookExecutor) -> None:
    assert limits()[0] < limits()[1]
    assert limits_of_a_task(executor) == limits()


@pytest.mark.parametrize("executor", ["forkserver"], indirect=True)
def test_so_it_has_when_the_fork_server_is_gone(executor: NotebookExecutor) -> None:
    scheduler = executor.submit(os.getppid).result(SAFETY)
    # The fork server is the first child: it was there before any task process.
    fork_server = Path(f"/proc/{scheduler}/task/{scheduler}/children").read_text().split()[0]
    os.kill(int(fork_server), signal.SIGKILL)
    for _ in range(3):  # the processes that it had started, and one more
        running = executor.submit(time.sleep, 60)
        until_running(running)
        assert running.cancel()
    assert limits_of_a_task(executor) == limits()


def test_a_result_may_hold_more_arrays_than_that(executor: NotebookExecutor) -> None:
    def buffers() -> list[Any]:  # each a file of its own on its way
        return [pickle.PickleBuffer(bytes([number % 256]) * (SMALLEST + 1)) for number in range(many)]

    many = limits()[0] + 10
    assert [buffer[0] for buffer in executor.submit(buffers).result(SAFETY)] == [n % 256 for n in range(many)]
    assert limits_of_a_task(executor) == limits()


@pytest.mark.parametrize("free", [0, 1, 2, 4, 6, 8, 10])
def test_without_descriptors_an_engine_is_neither_started_nor_attached_to_and_the_error_says_why(free: int) -> None:
    with LocalCluster(n_workers=1) as cluster:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 12, hard))
        files: list[int] = []
        try:
            with contextlib.suppress(OSError):
                while True:
                    files.append(os.open(os.devnull, os.O_RDONLY))
            for _ in range(free):
                os.close(files.pop())
            for address in (None, cluster.address):
                with pytest.raises(EngineStartError, match="more files"):
                    NotebookExecutor(address).submit(abs, -1).result(SAFETY)
        finally:
            for each in files:
                os.close(each)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        with NotebookExecutor(cluster.address) as attached:
            assert attached.submit(abs, -1).result(SAFETY) == 1
