"""What a future costs in memory while it is held: a notebook may hold ten thousand results."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from concurrent.futures import Future

from waits import SAFETY

from scaler_notebook.client.futures.completion import as_completed, wait
from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.task_state.cancel_policy import CancelPolicy
from scaler_notebook.client.task_state.observed_task import ObservedTask
from scaler_notebook.engines.testing import task_messages
from scaler_notebook.protocol.future_events import ResultArrived, StartAnnounced
from scaler_notebook.testing import detached_future

NUMBER = 500
POLICY = CancelPolicy()
MAX_BYTES = 100  # bytes, beyond the standard library's future


def bytes_each(new: Callable[[int], object]) -> float:
    new(0)  # what is made once is not counted
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        held = [new(number) for number in range(NUMBER)]
        return (tracemalloc.get_traced_memory()[0] - before) / len(held)
    finally:
        tracemalloc.stop()


def standard(number: int) -> object:
    future: Future[int] = Future()
    future.set_result(number)
    return future


def ours(number: int) -> object:
    future: ScalerFuture[int] = ScalerFuture(f"client-{number}", "fit(model)", None, POLICY)
    future.handle(StartAnnounced(task_messages.started(future.task_id)))
    future.handle(ResultArrived(task_messages.succeeded(future.task_id, number)))
    return future


def test_a_result_that_is_held_costs_no_more_than_the_standard_librarys() -> None:
    """In a process of its own: objects share the names of their attributes, until they have had too many of them."""
    path = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, __file__], env=path, capture_output=True, text=True, timeout=SAFETY)
    assert float(done.stdout) <= MAX_BYTES, done.stderr


def test_futures_share_no_state_that_changes() -> None:
    """What stands in the class is the same for all of them, so it must not be one that changes in place."""
    first, second = detached_future("first"), detached_future("second")
    first.start()
    first.log("said")
    first.finish(1)
    assert str(second.logs) == ""
    assert (second.tries, second.started_at, second.ended_at, second.processor) == (0, None, None, "")
    assert not second.done()
    for name, value in vars(ObservedTask).items():
        assert name.startswith("__") or not isinstance(value, list | dict | set), name
    second.start()
    second.finish(2)
    assert (first.result(0), second.result(0)) == (1, 2)


def test_a_wait_for_many_makes_no_condition_for_each() -> None:
    futures = [detached_future(name) for name in ("first", "second")]
    for future in futures:
        future.start()
        future.finish(1)
    assert wait(futures).done == set(as_completed(futures)) == set(futures)
    assert not any(future._made_condition or future._made_waiters for future in futures)


if __name__ == "__main__":
    print(bytes_each(ours) - bytes_each(standard))
