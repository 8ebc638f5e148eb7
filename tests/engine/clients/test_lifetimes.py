"""What arguments, results and objects hold is free again after every path that a task can take."""

from __future__ import annotations

import gc
import os
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from open_files import open_files
from waits import SAFETY, until_running

from scaler_notebook import NotebookExecutor, ScalerFuture, TaskSerializationError
from scaler_notebook.client.task_graph import GraphFutures
from scaler_notebook.engines.local.client import segments

SIZE = 200_000  # floats: more than travels through sockets


def take(array: Any) -> float:
    return float(array[0])


def give(array: Any) -> Any:
    return array + 1


def fail(array: Any) -> None:
    raise ValueError(array)  # the array travels back


def die(array: Any) -> None:
    os._exit(1)


def nap(array: Any) -> None:
    time.sleep(60)


def give_what_cannot_be_pickled(array: Any) -> Any:
    return lambda: (yield array)


def nested(array: Any) -> float:
    executor = NotebookExecutor()
    reference = executor.send_object(array)
    futures: list[Any] = [executor.submit(give, array), executor.submit(take, reference)]
    both: ScalerFuture[Any] = executor.submit(lambda a, b: float(a.sum() + b), *futures)  # type: ignore[misc]
    value: float = both.result()
    executor.clear()
    return value


Path_ = Callable[[NotebookExecutor, Any], Any]


def finished(executor: NotebookExecutor, array: Any) -> Any:
    future = executor.submit(give, array)
    assert future.result(SAFETY)[0] == array[0] + 1
    return future


def nobody_looks(executor: NotebookExecutor, array: Any) -> Any:
    future = executor.submit(give, array)
    assert future.exception(SAFETY) is None
    return future


def failed(executor: NotebookExecutor, array: Any) -> Any:
    future = executor.submit(fail, array)
    with suppress(ValueError):
        future.result(SAFETY)
    return future


def died(executor: NotebookExecutor, array: Any) -> Any:
    future = executor.submit(die, array)
    assert future.exception(SAFETY) is not None
    return future


def cancelled(executor: NotebookExecutor, array: Any) -> Any:
    future = executor.submit(nap, array)
    until_running(future)
    assert future.cancel(SAFETY)
    return future


def never_started(executor: NotebookExecutor, array: Any) -> Any:
    busy = [executor.submit(nap, array) for _ in range(4)]
    for future in reversed(busy):
        assert future.cancel(SAFETY)
    return busy


def discarded(executor: NotebookExecutor, array: Any) -> Any:
    future = executor.submit(give, array)
    future.exception(SAFETY)
    assert future.cancel(SAFETY)
    return future


def timed_out(executor: NotebookExecutor, array: Any) -> Any:
    future = executor.submit_verbose(nap, (array,), timeout=0.1)
    assert future.cancelled() or future.wait_for_answer(SAFETY) is None
    with suppress(Exception):
        future.result(SAFETY)
    return future


def tried_again(executor: NotebookExecutor, array: Any) -> Any:
    future = executor.submit_verbose(fail, (array,), retries=1)
    assert future.exception(SAFETY) is not None
    return [future, future.retry()]


def not_sent(executor: NotebookExecutor, array: Any) -> Any:
    with pytest.raises(TaskSerializationError):
        executor.submit(take, [array, threading.Lock()])


def not_received(executor: NotebookExecutor, array: Any) -> Any:
    future = executor.submit(give_what_cannot_be_pickled, array)
    with suppress(Exception):
        future.result(SAFETY)
    return future


def sent_once(executor: NotebookExecutor, array: Any) -> Any:
    reference = executor.send_object(array)
    futures = [executor.submit(take, reference), executor.submit(give, [reference][0])]
    for future in futures:
        future.exception(SAFETY)
    executor.clear(SAFETY)
    return futures


def cleared_while_it_was_needed(executor: NotebookExecutor, array: Any) -> Any:
    reference = executor.send_object(array)
    futures = [executor.submit(nap, reference) for _ in range(3)]
    executor.clear(SAFETY)
    return futures


def followed(executor: NotebookExecutor, array: Any) -> Any:
    first = executor.submit(give, array)
    futures = [first.then(give), first.then(give).then(take), first.then(fail).then(take)]
    for future in futures:
        future.exception(SAFETY)
    return [*futures, first.then(take)]


def sent_along_several_times(executor: NotebookExecutor, array: Any) -> Any:
    first = executor.submit(give, array)
    first.exception(SAFETY)
    futures = [first.then(take) for _ in range(100)]
    for future in futures:
        future.exception(SAFETY)
    return [first, *futures]


def graph(executor: NotebookExecutor, array: Any) -> Any:
    nodes = {
        "x": array,
        "a": (give, "x"),
        "b": (give, "a"),
        "t": (take, "b"),
        "bad": (fail, "a"),
        "next": (take, "bad"),
    }
    futures = executor.get(nodes, ["t", "b", "next"], block=False)
    assert isinstance(futures, GraphFutures)
    assert futures.group.wait(SAFETY)
    return futures


def graph_cancelled(executor: NotebookExecutor, array: Any) -> Any:
    nodes = {"x": array, "a": (give, "x"), "slow": (nap, "a"), "next": (take, "slow"), "b": (give, "a")}
    futures = executor.get(nodes, ["next", "b"], block=False)
    assert isinstance(futures, GraphFutures)
    futures["b"].exception(SAFETY)
    assert futures.cancel(SAFETY)
    return futures


def in_a_task(executor: NotebookExecutor, array: Any) -> Any:
    future = executor.submit(nested, array)
    assert future.exception(60) is None
    return future


def mapped(executor: NotebookExecutor, array: Any) -> Any:
    for _ in executor.map(give, [array] * 3):
        break


PATHS: list[Path_] = [
    finished,
    nobody_looks,
    failed,
    died,
    cancelled,
    never_started,
    discarded,
    timed_out,
    tried_again,
    not_sent,
    not_received,
    sent_once,
    cleared_while_it_was_needed,
    followed,
    sent_along_several_times,
    graph,
    graph_cancelled,
    in_a_task,
    mapped,
]


def held_by(pid: int) -> int:
    """Files in memory, for large buffers, that a process has open."""
    return sum("memfd:segment" in file for file in open_files(pid))


# Each is held and let go of in the same place as one of the others.
IN_THE_MATRIX = (nobody_looks, discarded, timed_out, not_received, followed, sent_along_several_times, mapped)


@pytest.mark.usefixtures("no_shared_executor")  # memory files of this process are counted
@pytest.mark.parametrize(
    "path", [pytest.param(path, marks=pytest.mark.matrix if path in IN_THE_MATRIX else ()) for path in PATHS]
)
def test_nothing_is_held_after_every_path(path: Path_, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "MAX_IDLE", 0)  # nothing in case it comes again
    with NotebookExecutor(n_workers=2, grace=0.2) as executor:
        assert executor.submit(abs, -1).result(SAFETY) == 1
        scheduler = executor._session.engine.scheduler.pid  # type: ignore[union-attr]
        array = np.ones(SIZE)
        what: Any = path(executor, array)
        kept: list[ScalerFuture[Any]] = (
            list(getattr(what, "group", what)) if isinstance(what, list | GraphFutures) else []
        )
        if isinstance(what, ScalerFuture):
            kept = [what]
        for future in kept:
            future.exception(SAFETY) if not future.cancelled() else None
        references: list[Any] = [weakref.ref(array), *map(weakref.ref, kept)]
        del array, what, kept
        future = executor.submit(abs, -1)
        deadline = time.monotonic() + SAFETY
        while True:
            future.result(SAFETY)
            gc.collect()
            alive = [reference() is not None for reference in references]
            status = executor.engine_status()
            held = held_by(os.getpid()), held_by(scheduler)
            if not any(alive) and held == (0, 0) and status is not None and not any(status.tasks):
                break
            assert time.monotonic() < deadline, (alive, held, status)
            del future
            future = executor.submit(abs, -1)  # a task process lets go of what it lent when its next run begins
