"""A forked child has copies of its parent's executors and futures: it leaves them alone, and connects anew."""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from waits import SAFETY, until_running

from scaler_notebook import Client, DisconnectedError, LocalCluster, NotebookExecutor, ScalerFuture, as_completed, wait

SCRIPT = """
import concurrent.futures, multiprocessing, os, subprocess, sys, time
from pathlib import Path
from scaler_notebook import NotebookExecutor

fork = multiprocessing.get_context("fork")
executor = NotebookExecutor(n_workers=1)
directory = Path(executor.address.removeprefix("ipc://")).parent

def until_released():
    while not Path("released").exists():
        time.sleep(0.01)
    return "the parent's"

running = executor.submit(until_released)

def forked():
    pid = os.fork()
    if pid:
        assert os.waitpid(pid, 0)[1] == 0
    return not pid

def works():
    return executor.submit(os.getpid).done()

HOW
assert directory.exists() == executor.address.startswith("ipc:")
Path("released").touch()
assert running.result() == "the parent's"
assert executor.submit(abs, -1).result() == 1
print("over")
"""
HOW = {
    "os._exit": "if forked(): os._exit(0)",
    "sys.exit": "if forked(): sys.exit(0)",
    "an exit in with": """
if forked():
    with executor:
        sys.exit(0)""",
    "a shutdown": """
if forked():
    executor.shutdown()
    sys.exit(0)""",
    "a disconnect": """
if forked():
    executor.disconnect()
    sys.exit(0)""",
    "a grandchild's sys.exit": """
if forked():
    if forked():
        sys.exit(0)
    sys.exit(0)""",
    "Process": "process = fork.Process(target=abs, args=(1,)); process.start(); process.join()",
    "Pool": "with fork.Pool(2) as pool: assert pool.map(abs, [-1, -2]) == [1, 2]",
    "ProcessPoolExecutor": """
with concurrent.futures.ProcessPoolExecutor(2, fork) as pool:
    assert list(pool.map(abs, [-1, -2])) == [1, 2]""",
    "Manager": "with fork.Manager() as manager: assert manager.list([1])[0] == 1",
    "preexec_fn": "assert subprocess.run(['true'], preexec_fn=os.getpid).returncode == 0",
}


OFTEN = ("sys.exit", "an exit in with", "Process")


@pytest.mark.parametrize("how", [pytest.param(how, marks=[] if how in OFTEN else pytest.mark.matrix) for how in HOW])
def test_a_child_ends_beside_a_running_task(how: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace("HOW", HOW[how]))
    command: list[str | Path] = [
        sys.executable,
        "-W",
        "ignore::DeprecationWarning",
        script,
    ]  # Python 3.12 warns of forks
    done = subprocess.run(command, cwd=tmp_path, timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "over\n", "")


@contextlib.contextmanager
def child(call: Callable[[], Any]) -> Iterator[tuple[int, Callable[[], Any]]]:
    """A forked child that calls something: its process id, and what waits for the value, or the words of the error."""
    ear, mouth = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            try:
                said = pickle.dumps((True, call()))
            except BaseException:
                said = pickle.dumps((False, traceback.format_exc()))
            os.write(mouth, said)
        finally:
            os._exit(0)
    os.close(mouth)

    def value() -> Any:
        assert select.select([ear], [], [], SAFETY)[0], "the child says nothing"
        well, what = pickle.loads(os.read(ear, 65536))
        assert well, what
        return what

    try:
        yield pid, value
    finally:
        os.close(ear)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def in_child(call: Callable[[], Any]) -> Any:
    with child(call) as (_, value):
        return value()


@pytest.mark.parametrize(
    "ask",
    [
        lambda future: future.result(),
        lambda future: future.result(5),
        lambda future: next(as_completed([future])).result(),
        lambda future: wait([future]).done.pop().result(),
        lambda future: concurrent.futures.wait([future]).done.pop().result(),
        lambda future: next(concurrent.futures.as_completed([future])).result(),
        lambda future: future.then(str).result(),
    ],
    ids=["result", "result(5)", "as_completed", "wait", "the standard's wait", "the standard's as_completed", "then"],
)
def test_what_has_not_ended_is_the_parents(ask: Callable[[Any], Any], executor: NotebookExecutor) -> None:
    future = executor.submit(time.sleep, 60)
    until_running(future)
    begun = time.monotonic()

    def words() -> str:
        with pytest.raises(DisconnectedError) as raised:
            ask(future)
        return str(raised.value)

    assert f"submitted by process {os.getpid()}" in in_child(words)
    assert time.monotonic() - begun < 5
    assert not future.done()
    assert future.cancel(SAFETY)


def test_what_has_ended_is_there(executor: NotebookExecutor) -> None:
    value, error = executor.submit(abs, -1), executor.submit(int, "x")
    value.result(SAFETY), error.exception(SAFETY)
    assert in_child(lambda: (value.result(), type(error.exception()), value.done())) == (1, ValueError, True)


def test_a_cancel_of_the_parents_task_is_not_the_childs(executor: NotebookExecutor) -> None:
    future = executor.submit(time.sleep, 60)
    until_running(future)
    in_child(future.cancel)
    in_child(executor.cancel_all)
    assert executor.submit(abs, -1).result(SAFETY) == 1
    assert not future.done()
    assert future.cancel(SAFETY)


def test_callbacks_are_the_parents(executor: NotebookExecutor) -> None:
    future, told = executor.submit(time.sleep, 60), [os.getpid()]
    future.add_done_callback(lambda _: told.append(os.getpid()))

    def tell() -> list[int]:
        executor.submit(abs, -1).result(SAFETY)
        called = threading.Event()
        future.add_done_callback(lambda _: called.set())
        assert called.wait(SAFETY)
        return told

    assert in_child(tell) == [os.getpid()]
    assert future.cancel(SAFETY)


def test_an_iteration_over_futures_goes_on_in_a_child(executor: NotebookExecutor) -> None:
    futures: list[ScalerFuture[Any]] = [executor.submit(abs, -1), executor.submit(time.sleep, 60)]
    kinds: list[Any] = [as_completed, concurrent.futures.as_completed]
    for kind in kinds:
        ended = kind(futures)
        assert next(ended).result() == 1
        with pytest.raises(DisconnectedError):
            raise in_child(lambda: next(ended).exception())  # noqa: B023
    assert futures[1].cancel(SAFETY)


def test_a_child_submits_to_its_parents_engine(executor: NotebookExecutor) -> None:
    parent = executor.submit(os.getppid).result(SAFETY)
    assert in_child(lambda: executor.submit(os.getppid).result(SAFETY)) == parent
    assert in_child(lambda: list(executor.map(abs, [-1, -2]))) == [1, 2]
    assert in_child(lambda: in_child(lambda: executor.submit(os.getppid).result(SAFETY))) == parent
    assert in_child(lambda: executor.submit(lambda: executor.submit(abs, -1).result(SAFETY)).result(SAFETY)) == 1
    assert executor.submit(abs, -1).result(SAFETY) == 1


def test_a_child_runs_a_parents_call_again(executor: NotebookExecutor) -> None:
    future = executor.submit(sum, [1, 2])
    assert future.result(SAFETY) == 3
    assert in_child(lambda: future.retry().result(SAFETY)) == 3
    assert in_child(lambda: future.then(str).result(SAFETY)) == "3"


def test_a_child_uses_executors_and_clients_of_every_kind() -> None:
    with LocalCluster(n_workers=1) as cluster, Client(cluster.address) as client:
        scheduler = cluster.scheduler_pid
        with NotebookExecutor(cluster.address) as attached:
            for each in (client, attached):
                assert each.submit(abs, -1).result(SAFETY) == 1
                assert in_child(lambda: each.submit(os.getppid).result(SAFETY)) == scheduler  # noqa: B023
                assert each.submit(abs, -1).result(SAFETY) == 1
        assert in_child(lambda: cluster.is_running)
        in_child(cluster.shutdown)
        assert cluster.is_running


def test_a_child_starts_an_engine_where_its_parent_has_none_any_more(new_executor: NotebookExecutor) -> None:
    unused = NotebookExecutor(n_workers=1)

    def use() -> tuple[int, int]:
        with unused, new_executor:
            return unused.submit(abs, -1).result(SAFETY), new_executor.submit(abs, -2).result(SAFETY)

    assert in_child(use) == (1, 2)
    assert not unused.is_running
    new_executor.start()
    assert in_child(lambda: unused.submit(abs, -1).result(SAFETY)) == 1


def test_an_engine_ends_at_once_while_a_child_lives() -> None:
    with NotebookExecutor(n_workers=1) as executor:
        executor.start()
        begun = time.monotonic()
        with child(lambda: time.sleep(60)):
            executor.shutdown()
            assert time.monotonic() - begun < 4, "it had to be killed"


def test_forks_while_other_threads_submit(new_executor: NotebookExecutor) -> None:
    over = threading.Event()

    def submit() -> None:
        while not over.is_set():
            assert new_executor.submit(abs, -1).result(SAFETY) == 1

    threads = [threading.Thread(target=submit) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            assert in_child(lambda: new_executor.submit(abs, -2).result(SAFETY)) == 2
    finally:
        over.set()
        for thread in threads:
            thread.join(SAFETY)
    assert new_executor.submit(abs, -1).result(SAFETY) == 1


def _nested(method: str) -> tuple[int, int]:
    executor = NotebookExecutor()
    before = executor.submit(abs, -1).result(10)
    fork = multiprocessing.get_context("fork")
    queue = fork.SimpleQueue()

    def submit() -> None:
        queue.put(executor.submit(abs, -2).result(10))

    if method == "Process":
        process = fork.Process(target=submit)
        process.start()
        process.join(20)
    elif method == "fork":
        pid = os.fork()
        if not pid:
            submit()
            sys.exit(0)
        os.waitpid(pid, 0)
    return before, queue.get()


@pytest.mark.parametrize("method", ["Process", "fork"])
def test_a_child_of_a_task_submits_to_its_engine(method: str, executor_of_one: NotebookExecutor) -> None:
    """And lends it the slot of the task, as the task itself does: there is no other."""
    assert executor_of_one.submit(_nested, method).result(3 * SAFETY) == (1, 2)
    assert executor_of_one.submit(abs, -1).result(SAFETY) == 1
