"""``retry()``: the same call again, with its arguments as they were."""

from __future__ import annotations

import gc
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from waits import SAFETY

from scaler_notebook import EngineLostError, NotebookExecutor, ProcessorDiedError, ScalerFuture


def fails_once(mark: Path) -> str:
    if mark.exists():
        return "the second time"
    mark.touch()
    raise ValueError("the first time")


def test_what_failed_is_tried_again_under_a_new_id(executor: NotebookExecutor, tmp_path: Path) -> None:
    first = executor.submit(fails_once, tmp_path / "mark")
    with pytest.raises(ValueError, match="first"):
        first.result(SAFETY)
    second = first.retry()
    assert second.result(SAFETY) == "the second time"
    assert (second.call, second.task_id != first.task_id) == (first.call, True)
    assert first.failed


@pytest.mark.parametrize("length", [3, 2_000_000])
def test_arguments_are_those_of_the_first_submit(new_executor: NotebookExecutor, length: int) -> None:
    array = np.ones(length)
    first = new_executor.submit(np.sum, array)
    assert first.result(SAFETY) == length
    array[:] = 7
    assert new_executor.submit(np.sum, array).result(SAFETY) == 7 * length
    assert first.retry().result(SAFETY) == length
    assert first.retry().retry().result(SAFETY) == length


def test_after_a_cancel_and_after_the_engine_was_lost(new_executor: NotebookExecutor) -> None:
    stopped = new_executor.submit(abs, -1)
    stopped.cancel(SAFETY)
    assert stopped.retry().result(SAFETY) == 1
    killed = new_executor.submit(os.kill, new_executor._session.engine.scheduler.pid, signal.SIGKILL)  # type: ignore
    with pytest.raises((EngineLostError, ProcessorDiedError)):
        killed.result(SAFETY)
    assert stopped.retry().result(SAFETY) == 1


def test_without_its_executor_there_is_nobody_to_ask() -> None:
    with NotebookExecutor(n_workers=1) as executor:
        future = executor.submit(abs, -1)
    with pytest.raises(RuntimeError, match="shut down"):
        future.retry()
    del executor
    gc.collect()
    with pytest.raises(RuntimeError, match=r"abs\(-1\).*is gone"):
        future.retry()
    with pytest.raises(RuntimeError, match="no executor"):
        ScalerFuture("t").retry()
