"""``ex.scale(n)``, and idle processes that go and come back."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from waits import SAFETY, until_running

from scaler_notebook import EngineLostError, LocalCluster, NotebookExecutor
from scaler_notebook.protocol.messages import EngineStatus
from scaler_notebook.testing import memory_executor


def meet(directory: Path, others: int) -> int:
    """A task that returns when so many run at the same time."""
    (directory / str(os.getpid())).touch()
    while len(list(directory.iterdir())) < others:
        time.sleep(0.001)
    return os.getpid()


def told(client: NotebookExecutor) -> EngineStatus:
    """What the engine says of itself, behind all that it has told this client before."""
    status = client.engine_status(SAFETY)
    assert status is not None
    return status


def test_any_client_scales_an_engine_for_all(tmp_path: Path) -> None:
    with LocalCluster(n_workers=1) as cluster, NotebookExecutor(cluster.address) as mine:
        others = NotebookExecutor(cluster.address)
        meeting = [others.submit(meet, tmp_path, 3) for _ in range(3)]
        mine.scale(3)
        assert mine.n_workers == 3
        assert len({future.result(SAFETY) for future in meeting}) == 3, "they ran at the same time"
        assert told(others).slots == 3
        assert others.n_workers == 3
        cluster.scale(1)
        assert told(others).slots == told(mine).slots == 1
        assert others.n_workers == mine.n_workers == cluster.n_workers == 1
        busy, waiting = others.submit(time.sleep, 60), others.submit(abs, -1)
        until_running(busy)
        assert told(others).queued == 1
        assert NotebookExecutor(cluster.address).n_workers == 1, "who comes later is told"
        busy.cancel()
        assert waiting.result(SAFETY) == 1
        others.shutdown()
    with pytest.raises(EngineLostError, match="has ended"):
        cluster.scale(2)


def test_idle_processes_go_and_come_back() -> None:
    with NotebookExecutor(n_workers=1, idle_timeout=0.1) as executor:
        first = executor.submit(os.getpid).result(SAFETY)
        end = time.monotonic() + SAFETY
        while (found := told(executor)).processes or found.gone < 2:  # the spare may come after the first has gone
            assert time.monotonic() < end
        assert (found.slots, found.gone, found.idle_timeout) == (1, 2, 0.1)
        assert executor.submit(os.getpid).result(SAFETY) != first


def test_an_executor_that_has_not_started_starts_with_what_it_was_scaled_to() -> None:
    with NotebookExecutor(n_workers=1) as executor:
        executor.scale(2)
        assert not executor.is_running
        assert executor.n_workers == 2
        assert "2 workers" in repr(executor)


@pytest.mark.parametrize(
    ("mistake", "error", "words"),
    [
        (lambda: NotebookExecutor(n_workers=1).scale(0), ValueError, "between 1 and 10000, not 0; .*idle_timeout"),
        (lambda: NotebookExecutor(n_workers=1).scale("2"), TypeError, "n_workers is an integer"),  # type: ignore[arg-type]
        (lambda: NotebookExecutor(idle_timeout=-1), ValueError, "idle_timeout is in seconds, more than 0"),
        (lambda: NotebookExecutor("tcp://127.0.0.1:1", idle_timeout=1), ValueError, "an address or idle_timeout"),
        (lambda: LocalCluster(n_workers=1, idle_timeout=0), ValueError, "idle_timeout is in seconds"),
    ],
)
def test_mistakes(mistake: Callable[[], object], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        mistake()


@pytest.mark.parametrize("auto", [False, True])
def test_threads_are_as_many_as_they_are(auto: bool) -> None:
    with memory_executor(auto=auto) as executor:
        executor.start()
        with pytest.raises(ValueError, match="the engine at memory has the workers that it has"):
            executor.scale(3)
        assert executor.n_workers == 2
