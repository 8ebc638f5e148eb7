"""A paused executor: what it has queued does not start, what runs goes on, a cancel works as ever."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from waits import SAFETY, until_running

from scaler_notebook import CancelReason, NotebookExecutor
from scaler_notebook.protocol.messages import ClientPause
from scaler_notebook.testing import memory_executor


def read(pipe: str) -> str:
    return Path(pipe).read_text()


def write(path: str) -> str:
    Path(path).write_text("ran")
    return "written"


def test_nothing_starts_and_what_runs_goes_on(executor_of_one: NotebookExecutor, tmp_path: Path) -> None:
    executor, gate, other = executor_of_one, tmp_path / "gate", tmp_path / "other"
    os.mkfifo(gate)
    runs = executor.submit(read, str(gate))
    until_running(runs)
    queued, cancelled = executor.submit(write, str(other)), executor.submit(write, str(other))
    executor.pause()
    later = executor.submit(write, str(other))
    assert executor.is_paused
    assert cancelled.cancel(SAFETY)
    assert cancelled.cancel_reason is CancelReason.NEVER_STARTED
    gate.write_text("seen")
    assert runs.result(SAFETY) == "seen"
    status = executor.engine_status(SAFETY)
    assert status is not None
    assert (status.queued, any(status.tasks)) == (2, False)
    assert not other.exists()
    executor.resume()
    assert (queued.result(SAFETY), later.result(SAFETY)) == ("written", "written")


def test_who_waits_for_the_end_of_all_tasks_resumes_them() -> None:
    with memory_executor() as executor:
        executor.pause()
        executor.pause()
        future = executor.submit(abs, -1)
        assert executor.engine.sent.next(ClientPause) == ClientPause(True)
        executor.shutdown(wait=False)
        assert executor.engine.sent.next(ClientPause) == ClientPause(False)
        executor.engine.finish(future, 1)


def test_an_engine_that_keeps_nothing_back_says_so() -> None:
    with memory_executor(auto=True) as executor:
        with pytest.raises(ValueError, match="keeps no tasks back: submit them later, or cancel what is queued"):
            executor.pause()
        executor.resume()
        assert not executor.is_paused
