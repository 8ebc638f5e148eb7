"""joblib's ``Parallel`` on an executor."""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import joblib
import numpy as np
import pytest
from joblib import Parallel, delayed, parallel_config
from waits import SAFETY

from scaler_notebook import NotebookExecutor, TaskCancelledError
from scaler_notebook.client.waiting.host import current_host
from scaler_notebook.client.waiting.signal import Signal
from scaler_notebook.interop.joblib import ScalerBackend
from scaler_notebook.interop.parallel_call import _function_name


@pytest.fixture
def backend(executor_of_two: NotebookExecutor) -> Iterator[ScalerBackend]:
    found = executor_of_two.joblib_backend()
    with parallel_config(backend=found):
        yield found


def until_there(path: Path) -> None:
    """Wait until a task in another process has made a file."""
    deadline = time.monotonic() + SAFETY
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} was never made"
        time.sleep(0.001)


def square(number: int) -> int:
    return number * number


def sum_of_squares(number: int) -> int:
    return sum(Parallel(n_jobs=2)(delayed(square)(each) for each in range(number)))


def test_results_are_in_order_and_made_by_tasks(backend: ScalerBackend) -> None:
    assert Parallel(n_jobs=-1)(delayed(square)(n) for n in range(200)) == [n * n for n in range(200)]
    assert os.getpid() not in Parallel(n_jobs=2)(delayed(os.getpid)() for _ in range(4))


def test_the_backend_has_a_name_after_the_import() -> None:
    with NotebookExecutor(n_workers=2), parallel_config(backend="scaler_notebook", n_jobs=2):
        assert os.getpid() not in Parallel()(delayed(os.getpid)() for _ in range(2))


def squares_by_name(count: int) -> list[int]:
    with parallel_config(backend="scaler_notebook", n_jobs=2):
        return list(Parallel()(delayed(square)(n) for n in range(count)))


def squares_by_name_without_a_block(count: int) -> list[int]:
    return list(Parallel(n_jobs=2, backend="scaler_notebook")(delayed(square)(n) for n in range(count)))


def imports_joblib() -> bool:
    importlib.import_module("joblib")
    return "scaler_notebook.interop.joblib" in sys.modules


@pytest.mark.parametrize("squares", [squares_by_name, squares_by_name_without_a_block])
def test_a_task_knows_the_name_without_the_import(squares: Callable[[int], list[int]]) -> None:
    with NotebookExecutor(n_workers=2) as executor:  # whose processes have imported no backend
        assert executor.submit(imports_joblib).result(SAFETY) is False
        assert executor.submit(squares, 3).result(SAFETY) == [0, 1, 4]


@pytest.mark.parametrize("return_as", ["generator", "generator_unordered"])
def test_results_come_as_they_are_ready(backend: ScalerBackend, return_as: str) -> None:
    found = Parallel(n_jobs=2, return_as=return_as)(delayed(square)(n) for n in range(20))
    assert sorted(found) == [n * n for n in range(20)]


def test_how_many_run_at_a_time(backend: ScalerBackend) -> None:
    assert [joblib.effective_n_jobs(n) for n in (None, 1, 2, 3, -1, -2, -9)] == [1, 1, 2, 3, 2, 1, 1]
    with pytest.raises(ValueError, match="n_jobs == 0"):
        joblib.effective_n_jobs(0)


def test_one_worker_is_a_task_at_a_time(executor_of_one: NotebookExecutor) -> None:
    with parallel_config(backend=executor_of_one.joblib_backend()):
        assert joblib.effective_n_jobs(-1) == 1
        assert os.getpid() not in Parallel(n_jobs=-1)(delayed(os.getpid)() for _ in range(3))
        with Parallel() as several:
            assert os.getpid() not in several(delayed(os.getpid)() for _ in range(3))
        assert Parallel(n_jobs=1)(delayed(os.getpid)() for _ in range(3)) == [os.getpid()] * 3


@pytest.mark.parametrize("return_as", ["list", "generator", "generator_unordered"])
def test_an_end_is_noticed_when_it_comes(
    backend: ScalerBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, return_as: str
) -> None:
    monkeypatch.setattr("scaler_notebook.interop.parallel_call.LOOK", 2 * SAFETY)
    host, wait = current_host(), current_host().wait

    def wait_for_what_ends_then(signal: Signal, timeout: float | None) -> bool:
        (tmp_path / "waits").touch()
        return wait(signal, timeout)

    monkeypatch.setattr(host, "wait", wait_for_what_ends_then)

    def call() -> list[None]:
        found = Parallel(n_jobs=2, backend=backend, return_as=return_as)
        return list(found(delayed(until_there)(tmp_path / "waits") for _ in range(3)))

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(call).result(SAFETY) == [None] * 3


def test_two_calls_at_a_time_do_not_stop_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    boards: list[str] = []

    def open_board(title: str) -> Callable[[Any], None]:
        boards.append(title)
        return lambda future: None

    monkeypatch.setattr(current_host(), "open_board", open_board)
    with NotebookExecutor(n_workers=4) as executor, parallel_config(backend=executor.joblib_backend()):

        def begin(gate: Path) -> Any:
            several = Parallel(n_jobs=2, return_as="generator", pre_dispatch=2, batch_size=1)
            return several(delayed(until_there)(gate) for _ in range(6))

        first, second = begin(tmp_path / "first"), begin(tmp_path / "second")
        with pytest.warns(UserWarning, match="cancelled"):
            first.close()
        (tmp_path / "second").touch()
        assert list(second) == [None] * 6
        assert not executor.unfinished()
    assert boards == ["joblib: until_there"] * 2


def test_a_batch_that_comes_after_the_end_of_its_call_is_no_task(
    backend: ScalerBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted: list[Any] = []
    monkeypatch.setattr(backend.executor, "submit_verbose", lambda *arguments, **options: submitted.append(arguments))
    backend.submit(list)
    assert submitted == [], "joblib may make one on the callback thread while the call is aborted"


def most_tasks(executor: NotebookExecutor, gate: Path, monkeypatch: pytest.MonkeyPatch, enough: int) -> int:
    """The most tasks that are unfinished at a time during a call of two jobs.

    None ends before there are ``enough``.
    """
    submit, seen = executor.submit_verbose, []

    def watched(*arguments: Any, **options: Any) -> Any:
        future = submit(*arguments, **options)
        seen.append(len(executor.unfinished()))
        if len(seen) == enough:
            gate.touch()
        return future

    monkeypatch.setattr(executor, "submit_verbose", watched)
    Parallel(n_jobs=2, batch_size=1)(delayed(until_there)(gate) for _ in range(30))
    return max(seen)


def test_no_more_batches_than_jobs_are_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with NotebookExecutor(n_workers=3) as wide, parallel_config(backend=wide.joblib_backend()):
        assert most_tasks(wide, tmp_path / "gate", monkeypatch, 2) == 2


def test_each_worker_has_the_next_batch_in_the_queue(
    backend: ScalerBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert most_tasks(backend.executor, tmp_path / "gate", monkeypatch, 4) == 4, "joblib gives two for each job"


def test_an_exception_keeps_its_type_and_stops_the_rest(backend: ScalerBackend, tmp_path: Path) -> None:
    def fails(number: int) -> int:
        if number == 1:
            until_there(tmp_path / "begun")
            raise ZeroDivisionError(number)
        (tmp_path / "begun").write_text("")
        time.sleep(60)
        return number

    with pytest.raises(ZeroDivisionError):
        Parallel(n_jobs=2)(delayed(fails)(n) for n in range(100))
    assert not backend.executor.unfinished()
    assert Parallel(n_jobs=2)(delayed(square)(n) for n in range(4)) == [0, 1, 4, 9]


def test_an_argument_that_cannot_be_pickled_is_named_as_its_caller_knows_it(backend: ScalerBackend) -> None:
    with pytest.raises(pickle.PicklingError, match=r"^argument 1 of square cannot be pickled \(a _thread.lock\)"):
        Parallel(n_jobs=2, batch_size=2)(delayed(square)(each) for each in (1, threading.Lock()))
    assert Parallel(n_jobs=2)(delayed(square)(n) for n in range(3)) == [0, 1, 4]


def test_a_timeout_stops_what_runs(backend: ScalerBackend) -> None:
    with pytest.raises(Exception, match=r"^$") as caught:
        Parallel(n_jobs=2, timeout=0.2)(delayed(time.sleep)(60) for _ in range(3))
    assert type(caught.value).__name__ == "TimeoutError"
    assert not backend.executor.unfinished()


def test_a_cancel_from_elsewhere_ends_the_call(
    backend: ScalerBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit, submitted = backend.executor.submit_verbose, []

    def counted(*arguments: Any, **options: Any) -> Any:
        submitted.append(arguments)
        return submit(*arguments, **options)

    monkeypatch.setattr(backend.executor, "submit_verbose", counted)

    def waits() -> None:
        (tmp_path / "begun").write_text("")
        time.sleep(60)

    def cancels() -> None:
        until_there(tmp_path / "begun")
        backend.executor.cancel_all()

    thread = threading.Thread(target=cancels)
    thread.start()
    with pytest.raises(TaskCancelledError):
        Parallel(n_jobs=2)(delayed(waits)() for _ in range(40))
    thread.join(SAFETY)
    assert not backend.executor.unfinished()
    assert len(submitted) <= 4, "joblib had given at most two for each job, and gave no more after the cancel"


def test_calls_within_calls_are_tasks_within_tasks() -> None:
    with NotebookExecutor(n_workers=2) as executor, parallel_config(backend=executor.joblib_backend()):
        assert Parallel(n_jobs=2)(delayed(sum_of_squares)(n) for n in range(4)) == [0, 0, 1, 5]


def waits_of_this_task(gate: str) -> tuple[int, int]:
    """How many waits lend this task's slot between two results of a generator, and how many once a wait has begun."""
    calls = (delayed(until_there)(Path(name)) for name in (os.devnull, gate))
    results = Parallel(n_jobs=2, backend="scaler_notebook", return_as="generator", batch_size=1)(calls)
    next(results)
    host: Any = current_host()
    between = len(host._waits)
    seen: list[int] = []
    wait = host.wait

    def wait_then(signal: Signal, timeout: float | None) -> bool:
        seen.append(len(host._waits))
        Path(gate).touch()
        return bool(wait(signal, timeout))

    host.wait = wait_then
    next(results)
    del host.wait
    return between, seen[0]


def test_a_task_that_reads_results_lends_its_slot_while_it_waits_alone(
    executor_of_two: NotebookExecutor, tmp_path: Path
) -> None:
    assert executor_of_two.submit(waits_of_this_task, str(tmp_path / "gate")).result(SAFETY) == (0, 1)


def processes_of_a_call_within() -> set[int]:
    return {os.getpid(), *Parallel()(delayed(os.getpid)() for _ in range(4))}


def test_a_call_within_a_call_has_one_job_unless_it_says_another_number(backend: ScalerBackend) -> None:
    """As within loky: a forest of trees, in each fit of a search, would be tasks beside those of the search."""
    found = Parallel(n_jobs=2)(delayed(processes_of_a_call_within)() for _ in range(4))
    assert [len(each) for each in found] == [1] * 4


def mapped_file(array: Any) -> tuple[str, int]:
    """The device and the inode that an array's memory is a mapping of; an inode of 0 if the memory is no file's."""
    address = array.__array_interface__["data"][0]
    for line in Path("/proc/self/maps").read_text().splitlines():
        bounds, _, _, device, inode = line.split()[:5]
        first, last = (int(bound, 16) for bound in bounds.split("-"))
        if first <= address < last:
            return device, int(inode)
    raise LookupError(f"nothing is mapped at {address:x}")


def test_a_large_array_is_in_shared_memory() -> None:
    array = np.random.default_rng(0).random(200_000)
    with NotebookExecutor(n_workers=2) as executor, parallel_config(backend=executor.joblib_backend()):
        assert set(Parallel(n_jobs=2)(delayed(np.sum)(array) for _ in range(8))) == {array.sum()}
        ((_, inode),) = set(Parallel(n_jobs=2)(delayed(mapped_file)(array) for _ in range(4)))
        assert inode, "one file, which all processes map"
        assert {inode for _, inode in Parallel(n_jobs=2)(delayed(mapped_file)(array[:9]) for _ in range(4))} == {0}


def test_threads_of_libraries_are_limited(executor_of_two: NotebookExecutor) -> None:
    with parallel_config(backend=executor_of_two.joblib_backend(inner_max_num_threads=3)):
        assert set(Parallel(n_jobs=2)(delayed(os.getenv)("OMP_NUM_THREADS") for _ in range(2))) == {"3"}


THREADPOOLCTL = """
import contextlib
limits = []
@contextlib.contextmanager
def threadpool_limits(most):
    limits.append(most)
    yield
    limits.pop()
"""


def limits_in_force() -> list[int]:
    limits: list[int] = importlib.import_module("threadpoolctl").limits
    return list(limits)


def test_threads_of_libraries_that_are_loaded_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "threadpoolctl.py").write_text(THREADPOOLCTL)
    monkeypatch.syspath_prepend(str(tmp_path))
    with NotebookExecutor(n_workers=2) as executor:
        with parallel_config(backend=executor.joblib_backend(inner_max_num_threads=3)):
            assert Parallel(n_jobs=2)(delayed(limits_in_force)() for _ in range(2)) == [[3], [3]]
        assert executor.submit(limits_in_force).result(SAFETY) == []


def devices_seen() -> str | None:
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def devices_seen_within() -> set[str | None]:
    return {devices_seen(), *Parallel(n_jobs=2)(delayed(devices_seen)() for _ in range(2))}


def test_a_batch_has_the_options_of_a_task() -> None:
    with NotebookExecutor(n_workers=2, gpus=["a", "b"], capabilities={"licence": 1}) as executor:
        with parallel_config(backend=executor.joblib_backend(gpus=1, capabilities={"licence": 1}, priority=3)):
            found = Parallel(n_jobs=2, batch_size=1)(delayed(devices_seen)() for _ in range(4))
        assert set(found) <= {"a", "b"}
        with parallel_config(backend=executor.joblib_backend()):
            assert Parallel(n_jobs=2)(delayed(devices_seen)() for _ in range(2)) == ["-1"] * 2
            assert set(Parallel(n_jobs=2, gpus=1)(delayed(devices_seen)() for _ in range(2))) <= {"a", "b"}
            within = Parallel(n_jobs=2, gpus=1)(delayed(devices_seen_within)() for _ in range(2))
        assert all("-1" in each for each in within), "two that have the two devices would wait for ever for a third"
        with pytest.raises(ValueError, match="gpus is a whole number"):
            executor.joblib_backend(gpus=-1)
        with parallel_config(backend=executor.joblib_backend(gpus=3)), pytest.raises(ValueError, match="2"):
            Parallel(n_jobs=2)(delayed(devices_seen)() for _ in range(2))


def test_an_option_of_another_backend_is_refused(backend: ScalerBackend) -> None:
    with pytest.raises(TypeError, match=r"NotebookExecutor\(initializer=…\).joblib_backend"):
        Parallel(n_jobs=2, initializer=print)(delayed(square)(n) for n in range(2))
    with pytest.raises(TypeError, match=r"'priorty'; did you mean 'priority'\?"):
        backend.executor.joblib_backend(priorty=1)
    with pytest.raises(TypeError, match="no option 'x': of a task's there are capabilities, gpus"):
        backend.executor.joblib_backend(x=1)
    with pytest.raises(TypeError, match="executor is a NotebookExecutor, not an int"):
        ScalerBackend(2)  # type: ignore[arg-type]


def test_an_executor_that_is_shut_down_is_not_replaced_in_silence() -> None:
    with NotebookExecutor(n_workers=2) as executor:
        backend = executor.joblib_backend()
    with parallel_config(backend=backend), pytest.raises(RuntimeError, match="shut"):
        Parallel(n_jobs=2)(delayed(square)(n) for n in range(2))


def test_a_call_that_answers_everything_has_a_name() -> None:
    assert _function_name(Mock()) == "Mock"
    assert _function_name(partial(partial(square, 1))) == "square"


INTERRUPTED = """
import os, sys, time
from joblib import Parallel, delayed, parallel_config
from scaler_notebook import NotebookExecutor
def waits(begun):
    open(begun, "w").close()
    time.sleep(60)
with NotebookExecutor(n_workers=2) as ex:
    try:
        with parallel_config(backend=ex.joblib_backend()):
            Parallel(n_jobs=2)(delayed(waits)(sys.argv[1]) for _ in range(4))
    except KeyboardInterrupt:
        print(len(ex.unfinished()), "left")
"""


def test_ctrl_c_ends_all(tmp_path: Path) -> None:
    script = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path / "begun")], stdout=subprocess.PIPE, text=True
    )
    until_there(tmp_path / "begun")
    script.send_signal(signal.SIGINT)
    assert script.communicate(timeout=SAFETY)[0] == "0 left\n"
