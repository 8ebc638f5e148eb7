"""What the standard library documents of its executors: initializers, replaced processes, the end of a script."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import BrokenExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from initializers import broken, endless, first_alone, numbered, remember, remembered
from shared_things import gates, wait_at_gate
from waits import SAFETY, until_running, until_written

from scaler_notebook import (
    InitializerError,
    NotebookExecutor,
    ProcessorDiedError,
    TaskSerializationError,
    TaskState,
    wait,
)
from scaler_notebook.testing import memory_executor

# ---------------------------------------------------------------------- initializer


def test_the_initializer_runs_once_in_each_process_before_its_first_task() -> None:
    data = np.arange(200_000.0)
    with NotebookExecutor(n_workers=2, initializer=remember, initargs=("ready", data)) as executor:
        data[:] = 0  # what it is given was taken when the executor was made
        futures = [executor.submit(remembered) for _ in range(8)]
        results = [future.result(SAFETY) for future in futures]
        assert len({pid for pid, _ in results}) == 2
        for _, values in results:
            ((word, array),) = values
            assert word == "ready"
            assert array[-1] == 199_999.0
        assert sorted(future.logs.stdout for future in futures) == [""] * 6 + ["initialized\n"] * 2


def test_a_replaced_process_is_initialized_too() -> None:
    with NotebookExecutor(n_workers=1, initializer=remember) as executor:
        stopped = executor.submit(time.sleep, 60)
        until_running(stopped)
        assert stopped.cancel()
        assert executor.submit(remembered).result(SAFETY)[1] == [()]


def test_an_initializer_of_the_notebook_travels_by_value() -> None:
    factor = 3

    def setup(value: int) -> None:
        os.environ["SCALER_TEST_FACTOR"] = str(value * factor)

    with NotebookExecutor(n_workers=1, initializer=setup, initargs=[14]) as executor:
        assert executor.submit(os.getenv, "SCALER_TEST_FACTOR").result(SAFETY) == "42"


def test_the_output_of_an_initializer_that_raises_is_that_of_the_task_it_was_for() -> None:
    with NotebookExecutor(n_workers=1, initializer=broken, initargs=("/data",)) as executor:
        future = executor.submit(abs, 0)
        assert isinstance(future.exception(SAFETY), InitializerError)
        assert future.logs.stdout == "tries\n"


def test_an_initializer_that_raises_breaks_the_executor() -> None:
    executor = NotebookExecutor(n_workers=2, initializer=broken, initargs=("/data",))
    futures = [executor.submit(abs, 0)]
    with suppress(InitializerError):  # the first may be there already
        futures += [executor.submit(abs, n) for n in range(20)]
    assert wait(futures, SAFETY).not_done == set()
    for future in futures:
        error = future.exception()
        assert isinstance(error, InitializerError)
        assert isinstance(error, BrokenExecutor)
        assert isinstance(error.__cause__, FileNotFoundError)
        for word in ("broken('/data')", "FileNotFoundError: no data in /data", "make a new executor"):
            assert word in str(error)
        assert future.failure is not None
        assert "InitializerError" in future.failure.headline
        assert "raise FileNotFoundError" in future.failure.traceback
    for submit in (lambda: executor.submit(abs, 1), futures[0].retry, executor.start):
        with pytest.raises(InitializerError, match="no data"):
            submit()
    executor.shutdown()


def test_what_runs_and_what_is_queued_ends_with_it(tmp_path: Path) -> None:
    executor = NotebookExecutor(n_workers=2, initializer=first_alone, initargs=(str(tmp_path / "taken"),))
    try:
        runs = executor.submit(time.sleep, 600)
        until_running(runs)
        others = [executor.submit(time.sleep, 600)]
        with suppress(InitializerError):  # the second process may have failed already
            for _ in range(4):
                others.append(executor.submit(time.sleep, 600))
        assert wait([runs, *others], SAFETY).not_done == set()
        for future in (runs, *others):
            assert isinstance(future.exception(), InitializerError)
    finally:
        executor.disconnect()
    assert not executor.is_running


def test_what_was_queued_behind_it_is_known_before_the_failure_is_unpickled(tmp_path: Path) -> None:
    """The words are there without it: looking at a future runs no code of the user's."""

    class Own(Exception):
        def __reduce__(self) -> Any:
            return print, ("loaded",)

    submitted = tmp_path / "submitted"  # all of them: an executor that is broken takes no more

    def setup() -> None:
        while not submitted.exists():
            time.sleep(0.001)
        raise Own("bad")

    with NotebookExecutor(n_workers=1, initializer=setup) as executor:
        futures = [executor.submit(abs, n) for n in range(3)]
        submitted.touch()
        assert wait(futures, SAFETY).not_done == set()
        assert all("Own: bad" in future.failure.headline for future in futures if future.failure)
        assert isinstance(futures[-1].exception(), InitializerError)


def test_a_task_is_not_tried_again_when_its_process_could_not_be_initialized() -> None:
    with NotebookExecutor(n_workers=1, initializer=broken, initargs=("/data",)) as executor:
        future = executor.submit_verbose(abs, (1,), retries=5)
        assert isinstance(future.exception(SAFETY), InitializerError)
        assert future.tries == 1


def test_a_cancel_during_the_initializer_stops_both() -> None:
    with NotebookExecutor(n_workers=1, grace=0.2, initializer=endless) as executor:
        future = executor.submit(abs, 1)
        until_written(future, "begun")
        assert not future.cancel(force=False)
        assert future.refused
        assert future.cancel()
        waits = executor.submit(abs, 1)
        until_written(waits, "begun")
        assert waits.cancel(), "the executor is not broken"


def test_an_initializer_that_ends_its_process_fails_the_task_alone() -> None:
    with NotebookExecutor(n_workers=1, initializer=os._exit, initargs=(3,)) as executor:
        for _ in range(3):
            error = executor.submit(abs, 1).exception(SAFETY)
            assert isinstance(error, ProcessorDiedError)
            assert "in the initializer: it ended by itself with exit status 3" in str(error)


def test_at_an_address_each_executor_has_an_initializer_of_its_own() -> None:
    with NotebookExecutor(n_workers=1, initializer=remember, initargs=("mine",)) as owner:
        assert owner.submit(remembered).result(SAFETY)[1] == [("mine",)]
        with NotebookExecutor(owner.address, initializer=remember, initargs=("yours",)) as guest:
            assert guest.submit(remembered).result(SAFETY)[1] == [("mine",), ("yours",)]
        with NotebookExecutor(owner.address, initializer=broken, initargs=("/data",)) as unlucky:
            assert isinstance(unlucky.submit(abs, 1).exception(SAFETY), InitializerError)
        with NotebookExecutor(owner.address) as plain:
            assert plain.submit(remembered).result(SAFETY)[1] == [("mine",), ("yours",)]
        assert owner.submit(remembered).result(SAFETY)[1] == [("mine",), ("yours",)], "it is broken for the other alone"


# ---------------------------------------------------------------------- max_tasks_per_child


def test_a_process_is_replaced_after_so_many_tasks() -> None:
    with NotebookExecutor(n_workers=1, max_tasks_per_child=3) as executor:
        pids = [executor.submit(os.getpid).result(SAFETY) for _ in range(7)]
        assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 1]


def test_a_process_for_each_task_and_none_is_lost() -> None:
    with NotebookExecutor(n_workers=2, max_tasks_per_child=1, initializer=remember) as executor:
        results = list(executor.map(numbered, range(30), timeout=2 * SAFETY))
        assert [n for n, _, _ in results] == list(range(30))
        assert len({pid for _, pid, _ in results}) == 30
        assert {count for _, _, count in results} == {1}
        status = executor.engine_status()
        assert status is not None
        assert len(status.processes) <= 3


def test_large_results_and_output_survive_the_process() -> None:
    def task(n: int) -> np.ndarray[Any, Any]:
        print(n)
        return np.full(100_000, n)

    with NotebookExecutor(n_workers=2, max_tasks_per_child=1) as executor:
        futures = [executor.submit(task, n) for n in range(10)]
        for n, future in enumerate(futures):
            assert (future.result(SAFETY) == n).all()
            assert future.logs.stdout == f"{n}\n"


# ---------------------------------------------------------------------- the constructor


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"n_workers": "4"}, TypeError, "n_workers is an integer, not '4'"),
        ({"n_workers": True}, TypeError, "n_workers is an integer, not True"),
        ({"max_workers": 2.5}, TypeError, "max_workers is an integer, not 2.5"),
        ({"max_workers": 0}, ValueError, "max_workers must be greater than 0, not 0"),
        ({"n_workers": 2**31}, ValueError, "n_workers is at most"),
        ({"max_tasks_per_child": 0}, ValueError, "max_tasks_per_child must be greater than 0"),
        ({"max_tasks_per_child": "3"}, TypeError, "max_tasks_per_child is an integer"),
        ({"max_tasks_per_child": False}, TypeError, "max_tasks_per_child is an integer"),
        ({"address": 4}, TypeError, r"address is a text, not 4; .*n_workers=4"),
        (
            {"address": "ipc:///x", "max_tasks_per_child": 3},
            ValueError,
            "an address decides on its processes",
        ),
        ({"initializer": 4}, TypeError, "initializer must be a callable, not 4"),
        ({"initializer": print, "initargs": 4}, TypeError, "initargs is a tuple .*, not 4"),
        ({"initializer": print, "initargs": "ab"}, TypeError, "initargs is a tuple .*, not 'ab'"),
        ({"grace": "1"}, TypeError, "grace period is a number of seconds, not '1'"),
        ({"grace": np.True_}, TypeError, "grace period is a number of seconds, not"),
        ({"on_interrupt": "stop"}, ValueError, "on_interrupt is one of"),
        ({"n_worker": 4}, TypeError, r"NotebookExecutor\(\) has no option 'n_worker'; did you mean 'n_workers'"),
        ({"initialiser": print}, TypeError, "did you mean 'initializer'"),
        ({"colour": 4}, TypeError, "no option 'colour': there are address, n_workers, .*on_interrupt"),
    ],
)
def test_wrong_options_are_refused_in_words(options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        NotebookExecutor(**options)


def test_an_initializer_that_cannot_be_pickled_is_refused_at_once() -> None:
    with pytest.raises(TaskSerializationError, match="argument 2 of print"):
        NotebookExecutor(initializer=print, initargs=("a", threading.Lock()))
    assert issubclass(TaskSerializationError, pickle.PicklingError), "what the standard pools raise"


# ---------------------------------------------------------------------- shutdown, map


def test_shutdown_cancels_what_has_not_started_and_nothing_else() -> None:
    """Also where the engine knows that a task runs, and its client does not yet."""
    for _ in range(3):
        executor = NotebookExecutor(n_workers=2)
        executor.submit(abs, 1).result(SAFETY)
        until_two_processes(executor)
        futures = [executor.submit(time.sleep, 0.25) for _ in range(20)]
        executor.shutdown(cancel_futures=True)
        assert [future.state for future in futures] == [TaskState.FINISHED] * 2 + [TaskState.CANCELLED] * 18


def until_two_processes(executor: NotebookExecutor) -> None:
    pids: set[int] = set()
    deadline = time.monotonic() + SAFETY
    while len(pids) < 2:
        assert time.monotonic() < deadline
        pids.update(pid for pid, _ in [f.result(SAFETY) for f in [executor.submit(remembered) for _ in range(2)]])


def test_shutdown_without_waiting_cancels_what_is_queued_and_lets_the_rest_end() -> None:
    executor = NotebookExecutor(n_workers=1)
    runs = executor.submit(time.sleep, 0.2)
    until_running(runs)
    queued = [executor.submit(time.sleep, 60) for _ in range(5)]
    executor.shutdown(wait=False, cancel_futures=True)
    assert wait([runs, *queued], SAFETY).not_done == set()
    assert runs.result() is None
    assert all(future.cancelled() for future in queued)
    with pytest.raises(RuntimeError, match="shut down"):
        executor.submit(abs, 1)


def test_queued_tasks_on_threads_are_withdrawn_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(gates, "goes on", goes_on := threading.Event())
    with memory_executor(1, auto=True) as executor:
        runs = executor.submit(wait_at_gate, "goes on", SAFETY)
        queued = [executor.submit(abs, n) for n in range(3)]
        executor.shutdown(wait=False, cancel_futures=True)
        assert wait(queued, SAFETY).not_done == set()
        assert all(future.cancelled() for future in queued)
        goes_on.set()
        assert runs.result(SAFETY) is True


def test_map_submits_at_once_and_times_out(executor: NotebookExecutor) -> None:
    begun = time.monotonic()
    results = executor.map(time.sleep, [0, 60, 60], timeout=0.3)
    assert len(executor.unfinished()) >= 2, "before a result is asked for"
    assert next(results) is None
    with pytest.raises(concurrent.futures.TimeoutError):
        next(results)
    assert time.monotonic() - begun < SAFETY
    assert wait(executor.unfinished(), SAFETY).not_done == set(), "nobody can ask for them any more"


def test_a_cancelled_future_of_the_standards_is_waited_for_until_it_tells() -> None:
    silent: concurrent.futures.Future[int] = concurrent.futures.Future()
    assert silent.cancel()
    assert wait([silent], 0).not_done == {silent}
    silent.set_running_or_notify_cancel()
    assert wait([silent], SAFETY).done == {silent}


def test_proxies_of_a_manager_work_as_arguments(executor: NotebookExecutor) -> None:
    with multiprocessing.get_context("fork").Manager() as manager:
        queue = manager.Queue()
        executor.submit(queue.put, "from a task").result(SAFETY)
        assert queue.get(timeout=SAFETY) == "from a task"


# ---------------------------------------------------------------------- the end of a script

AT_EXIT = """
import atexit, tempfile, time
from scaler_notebook import NotebookExecutor
executor = NotebookExecutor(n_workers=1)
directory = tempfile.TemporaryDirectory()  # removed at exit
def work(path):
    time.sleep(0.3)
    open(path + "/result", "w").close()
    return "worked"
def told(future):
    time.sleep(0.3)
    print(future.result(), flush=True)
    try:
        executor.submit(abs, 1)
    except RuntimeError as error:
        print(error, flush=True)
@atexit.register
def last():
    print("atexit", future.done(), flush=True)
future = executor.submit(work, directory.name)
future.add_done_callback(told)
"""


def test_a_script_ends_after_its_tasks_and_their_callbacks_and_before_its_exit_handlers() -> None:
    run = subprocess.run([sys.executable, "-c", AT_EXIT], capture_output=True, text=True, timeout=30)
    assert run.stderr == ""
    assert run.stdout.splitlines() == [
        "worked",
        "cannot schedule new futures after interpreter shutdown: the script has ended",
        "atexit True",
    ]


def test_an_executor_that_nobody_holds_lets_its_tasks_end(tmp_path: Path) -> None:
    path = tmp_path / "written"
    future = NotebookExecutor(n_workers=1).submit(lambda: (time.sleep(0.2), path.write_text("yes"))[1])
    assert future.result(SAFETY) == 3
    assert path.read_text() == "yes"
    with pytest.raises(RuntimeError, match="is gone"):
        future.retry()


def test_a_callback_that_raises_is_told_with_its_future(
    executor: NotebookExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    called = threading.Event()
    future = executor.submit(abs, -1)
    future.add_done_callback(lambda _: 1 / 0)
    future.add_done_callback(lambda _: called.set())
    assert called.wait(SAFETY)
    assert f"exception calling callback for {future!r}" in caplog.text
    assert "ZeroDivisionError" in caplog.text
