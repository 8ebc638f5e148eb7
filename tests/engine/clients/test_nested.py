"""Tasks that submit tasks: never a dead-lock, and an end for all of them."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from waits import SAFETY, until, until_written

from scaler_notebook import NotebookExecutor, current_task
from scaler_notebook.client.waiting.host import PlainHost
from scaler_notebook.engines.local.scheduler.core.dispatch import slot_lending

DEEP = 50
PATIENCE = 60.0  # seconds, for what starts fifty processes


def depth(n: int) -> int:
    return 0 if n == 0 else 1 + NotebookExecutor().submit(depth, n - 1).result()


def fibonacci(executor: NotebookExecutor, n: int) -> int:
    if n < 2:
        return n
    both = [executor.submit(fibonacci, executor, n - i) for i in (1, 2)]
    return sum(future.result() for future in both)


def awaited(n: int) -> int:
    async def below() -> int:
        return await NotebookExecutor().submit(awaited, n - 1)

    return 0 if n == 0 else 1 + asyncio.run(below())


def in_threads(n: int) -> int:
    if n == 0:
        return 0
    executor, values = NotebookExecutor(), []
    threads = [
        threading.Thread(target=lambda: values.append(executor.submit(in_threads, n - 1).result())) for _ in "ab"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 1 + max(values)


@pytest.mark.timeout(90)
@pytest.mark.parametrize(
    ("nest", "n"),
    [
        (depth, 12),
        pytest.param(depth, DEEP, marks=pytest.mark.matrix),
        (awaited, 6),
        pytest.param(in_threads, 4, marks=pytest.mark.matrix),
    ],
)
def test_tasks_may_wait_for_tasks_however_few_workers_there_are(nest: Any, n: int) -> None:
    with NotebookExecutor(n_workers=2 if n == DEEP else 1) as executor:
        assert executor.submit(nest, n).result(PATIENCE) == n


def two_below(n: int) -> int:
    done, failed = (NotebookExecutor().submit(divmod, each, each) for each in (n, 0))
    assert isinstance(failed.exception(SAFETY), ZeroDivisionError)
    return done.result(SAFETY)[0]


def test_who_looks_is_told_of_the_tasks_that_a_task_has_submitted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PlainHost, "shows_results", True)
    with NotebookExecutor(n_workers=2) as executor:
        future = executor.submit(two_below, 3)
        assert future.result(SAFETY) == 1
        ended = {"done", "failed", "cancelled"}
        until(future, lambda: {brief.activity.value for brief in future.nested.values()} <= ended, "its tasks' ends")
        below = [(brief.name, brief.activity.value, brief.parent) for brief in future.nested.values()]
        assert sorted(below) == [
            ("divmod(0, 0)", "failed", future.task_id),
            ("divmod(3, 3)", "done", future.task_id),
        ]


def test_an_executor_is_the_same_engine_in_its_tasks() -> None:
    with NotebookExecutor(n_workers=1) as executor:
        assert executor.submit(fibonacci, executor, 7).result(PATIENCE) == 13
        assert executor.submit(lambda: executor.submit(os.getppid).result() == os.getppid()).result(SAFETY)


def test_a_task_lends_its_capabilities_too() -> None:
    def with_gpu(n: int) -> int:
        if n == 0:
            return 0
        return 1 + NotebookExecutor().submit_verbose(with_gpu, (n - 1,), capabilities={"gpu": 1}).result()

    with NotebookExecutor(n_workers=1, capabilities={"gpu": 1}) as executor:
        assert executor.submit_verbose(with_gpu, (3,), capabilities={"gpu": 1}).result(PATIENCE) == 3


def test_what_a_task_waits_for_runs_before_what_nobody_waits_for(tmp_path: Path) -> None:
    order = tmp_path / "order"

    def note(name: str) -> None:
        with open(order, "a") as file:
            file.write(name)

    def parent() -> None:
        ex = NotebookExecutor()
        print("up", flush=True)
        while not go.exists():
            time.sleep(0.01)
        ex.submit(note, "c").result()

    go = tmp_path / "go"
    with NotebookExecutor(n_workers=1) as executor:
        first = executor.submit(parent)
        until_written(first, "up")
        others = executor.map_async(note, "xyz")
        go.touch()
        first.result(SAFETY)
        others.results(SAFETY)
    assert order.read_text() == "cxyz"


def sleeping_child(path: str) -> None:
    with open(path, "w") as file:
        file.write(str(os.getpid()))
    time.sleep(60)


def parent_of(path: str, how: str) -> None:
    child = NotebookExecutor().submit(sleeping_child, path)
    while not os.path.exists(path) or not Path(path).read_text():
        time.sleep(0.01)
    print("up", flush=True)
    if how == "waits":
        child.result()
    elif how == "dies":
        os._exit(3)
    elif how == "computes":
        time.sleep(60)


@pytest.mark.parametrize("how", ["waits", "computes"])
def test_the_cancel_of_a_task_reaches_what_it_has_submitted(how: str, tmp_path: Path) -> None:
    path = str(tmp_path / "child")
    with NotebookExecutor(n_workers=2) as executor:
        parent = executor.submit(parent_of, path, how)
        until_written(parent, "up")
        assert parent.cancel(SAFETY)
        with pytest.raises(ProcessLookupError):  # confirmed: all of it is gone
            os.kill(int(Path(path).read_text()), 0)
        assert executor.submit(abs, -1).result(SAFETY) == 1


def test_the_death_of_a_task_takes_along_what_it_has_submitted(tmp_path: Path) -> None:
    path = str(tmp_path / "child")
    with NotebookExecutor(n_workers=2) as executor:
        assert executor.submit(parent_of, path, "dies").exception(SAFETY) is not None
        status = executor.engine_status()
        deadline = time.monotonic() + SAFETY
        while status is not None and any(status.tasks):
            assert time.monotonic() < deadline
            status = executor.engine_status()


def test_what_a_task_leaves_behind_runs_on_and_ends_with_the_client(tmp_path: Path) -> None:
    path = str(tmp_path / "child")
    with NotebookExecutor(n_workers=2) as owner:
        guest = NotebookExecutor(owner.address)
        guest.submit(parent_of, path, "leaves").result(SAFETY)
        child = int(Path(path).read_text())
        assert guest.submit(abs, -1).result(SAFETY) == 1
        os.kill(child, 0)
        guest.disconnect()
        deadline = time.monotonic() + SAFETY
        status = owner.engine_status()
        while status is not None and any(status.tasks):
            assert time.monotonic() < deadline
            status = owner.engine_status()


@pytest.mark.matrix
def test_processes_that_nested_tasks_needed_end_when_nobody_needs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    with NotebookExecutor(n_workers=1) as executor:
        assert executor.submit(depth, 5).result(PATIENCE) == 5
        deadline = time.monotonic() + slot_lending.SURPLUS_RETAINED + SAFETY
        status = executor.engine_status()
        while status is None or len(status.processes) > 2:
            assert time.monotonic() < deadline
            status = executor.engine_status()
        assert executor.submit(abs, -1).result(SAFETY) == 1


def test_a_task_is_told_where_it_runs() -> None:
    with NotebookExecutor(n_workers=1) as executor:
        assert executor.submit(lambda: current_task().engine).result(SAFETY) == executor.address
    assert current_task().engine == ""


def waits_as_the_standard_does(n: int) -> int:
    if n == 0:
        return 0
    child = NotebookExecutor().submit(waits_as_the_standard_does, n - 1)
    concurrent.futures.wait([child])
    return 1 + child.result(0)


def waits_for_a_callback(n: int) -> int:
    if n == 0:
        return 0
    over = threading.Event()
    child = NotebookExecutor().submit(waits_for_a_callback, n - 1)
    child.add_done_callback(lambda _: over.set())
    over.wait()
    return 1 + child.result(0)


@pytest.mark.parametrize("nest", [waits_as_the_standard_does, waits_for_a_callback])
def test_a_task_that_waits_and_does_not_say_so_is_no_dead_lock(nest: Any) -> None:
    with NotebookExecutor(n_workers=1) as executor:
        assert executor.submit(nest, 2).result(PATIENCE) == 2


@pytest.mark.matrix
def test_a_task_with_very_many_children() -> None:
    def parent() -> int:
        return sum(NotebookExecutor().map_async(abs, range(3000)).results())

    with NotebookExecutor(n_workers=2) as executor:
        assert executor.submit(parent).result(PATIENCE) == sum(range(3000))
