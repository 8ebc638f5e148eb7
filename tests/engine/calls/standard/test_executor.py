"""What an executor's users expect, against the real engine."""

from __future__ import annotations

import concurrent.futures
import contextlib
import ctypes
import functools
import itertools
import math
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from waits import SAFETY, until_running, until_written

import scaler_notebook
from scaler_notebook import (
    FutureGroup,
    NotebookExecutor,
    ProtocolError,
    ScalerFuture,
    TaskSerializationError,
    TaskState,
    as_completed,
    wait,
)
from scaler_notebook.client import names
from scaler_notebook.protocol.messages import Payload, Task, TaskOptions
from scaler_notebook.task import current_task
from scaler_notebook.task.calls import chunk
from scaler_notebook.testing import memory_executor


def notebook_cell(source: str) -> dict[str, Any]:
    """Run source as a notebook does: in ``__main__``, where functions pickle by reference to nothing."""
    module = sys.modules["__main__"].__dict__
    namespace = {"__name__": "__main__", "__builtins__": module["__builtins__"]}
    exec(compile(source, "<cell>", "exec"), namespace)
    return namespace


def test_is_an_executor_of_the_standard_library(executor: NotebookExecutor) -> None:
    assert isinstance(executor, concurrent.futures.Executor)
    future = executor.submit(divmod, 17, 5)
    assert isinstance(future, concurrent.futures.Future)
    assert future.result(SAFETY) == (3, 2)
    assert concurrent.futures.wait([future], SAFETY).done == {future}
    assert list(concurrent.futures.as_completed([future], SAFETY)) == [future]


def test_what_a_notebook_decorates_travels_and_comes_back(executor_of_one: NotebookExecutor) -> None:
    names = notebook_cell(
        "import enum, functools\n"
        "@functools.cache\n"
        "def fib(n):\n"
        "    return n if n < 2 else fib(n - 1) + fib(n - 2)\n"
        "class Planet(enum.Enum):\n"
        "    EARTH = 5.9, 6.3\n"
        "    MARS = 6.4, 3.3\n"
        "    def __init__(self, mass, radius):\n"
        "        self.mass = mass\n"
        "class Mode(enum.IntFlag):\n"
        "    R, W, RW = 4, 2, 6\n"
        "def asked(planet, mode):\n"
        "    return planet, planet.mass, planet is Planet.MARS, mode is Mode.RW, Mode.R | mode, fib(30)\n"
    )
    planet, mode = names["Planet"], names["Mode"]
    for _ in range(2):
        answer = executor_of_one.submit(names["asked"], planet.MARS, mode.RW).result(SAFETY)
        assert answer == (planet.MARS, 6.4, True, True, mode.RW, 832040)
        assert answer[0] is planet.MARS
    assert executor_of_one.submit(names["fib"], 20).result(SAFETY) == 6765


def test_keyword_arguments_and_partials(executor: NotebookExecutor) -> None:
    assert executor.submit(int, "ff", base=16).result(SAFETY) == 255
    assert executor.submit(functools.partial(pow, 2), 10).result(SAFETY) == 1024


def test_map_keeps_order_and_gives_results_lazily(executor: NotebookExecutor) -> None:
    results = executor.map(pow, range(20), [2] * 20)
    assert isinstance(results, types.GeneratorType)
    assert list(results) == [n * n for n in range(20)]


def test_map_with_a_buffer_reads_endless_iterables_as_results_are_taken(executor: NotebookExecutor) -> None:
    read: list[int] = []

    def numbers() -> Iterator[int]:
        for n in itertools.count():
            read.append(n)
            yield n

    results: Any = executor.map(pow, numbers(), itertools.repeat(2), buffersize=3)
    assert read == [0, 1, 2]
    assert [next(results) for _ in range(5)] == [0, 1, 4, 9, 16]
    assert read == list(range(8))
    results.close()
    assert list(executor.map(abs, [-1, -2], buffersize=5)) == [1, 2]
    assert list(executor.map(abs, [], buffersize=5)) == []


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"buffersize": 0}, ValueError),
        ({"buffersize": 1.5}, TypeError),
        ({"buffersize": True}, TypeError),
        ({"chunksize": 0}, ValueError),
        ({"chunksize": "2"}, TypeError),
    ],
)
def test_sizes_of_map_are_checked(executor: NotebookExecutor, options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        executor.map(abs, [1], **options)


def test_sizes_of_map_may_be_integers_such_as_numpys(executor: NotebookExecutor) -> None:
    two: Any = np.int64(2)
    assert list(executor.map(abs, [-1, -2, -3], chunksize=two, buffersize=two)) == [1, 2, 3]


def test_a_chunk_of_map_is_one_task_with_one_row_and_results_come_item_by_item(executor: NotebookExecutor) -> None:
    results: Any = executor.map(pow, range(8), [2] * 7, chunksize=3)
    assert list(results) == [n * n for n in range(7)]
    squares: Any = executor.map(lambda n: time.sleep(60 * n), [0, 0, 1, 1, 1], chunksize=2)
    assert [future.call for future in executor.unfinished()][-2:] == ["<lambda> × 2", "<lambda> × 1"]
    assert [next(squares), next(squares)] == [None, None]
    squares.close()
    assert wait(executor.unfinished(), SAFETY).not_done == set()


def test_a_call_that_raises_ends_its_chunk(executor: NotebookExecutor) -> None:
    results: Any = executor.map(int, ["0", "1", "2", "x", "4", "5"], chunksize=2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="'x'"):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


def test_chunks_with_a_buffer_are_read_as_results_are_taken(executor: NotebookExecutor) -> None:
    read: list[int] = []

    def numbers() -> Iterator[int]:
        for n in itertools.count():
            read.append(n)
            yield n

    results: Any = executor.map(abs, numbers(), chunksize=3, buffersize=2)
    assert read == list(range(6))
    assert [next(results) for _ in range(4)] == list(range(4))
    assert read == list(range(12))
    results.close()


def test_a_chunk_takes_futures_and_counts_its_items(executor: NotebookExecutor) -> None:
    inputs = [executor.submit(abs, -n) for n in range(5)]
    assert list(executor.map(math.sqrt, inputs, chunksize=2)) == [math.sqrt(n) for n in range(5)]
    add = functools.partial(pow, executor.submit(abs, -2))
    assert list(executor.map(add, range(4), chunksize=4)) == [1, 2, 4, 8]


def test_a_chunk_says_how_far_it_is_unless_it_is_brief(monkeypatch: pytest.MonkeyPatch) -> None:
    reports: list[tuple[float, float]] = []
    current_task.begin_on_thread(current_task.CurrentTask("t", reporter=lambda *report: reports.append(report[:2])))
    try:
        monkeypatch.setattr(chunk, "BRIEF", math.inf)
        assert chunk.ChunkCall(abs)([(-1,), (-2,)]) == [1, 2]
        assert not reports
        monkeypatch.setattr(chunk, "BRIEF", -1.0)
        assert chunk.ChunkCall(abs)([(-1,), (-2,)]) == [1, 2]
        assert reports == [(1, 2), (2, 2)]
    finally:
        current_task.end_on_thread()


def test_iterables_without_an_end_need_a_buffer(executor: NotebookExecutor) -> None:
    for endless in ([itertools.count()], [itertools.cycle("ab")], [itertools.repeat(1), itertools.count()]):
        with pytest.raises(ValueError, match="buffersize"):
            executor.map(print, *endless)
        with pytest.raises(ValueError, match="no end"):
            executor.map_async(print, *endless)
    assert list(executor.map(pow, itertools.count(), [2, 2])) == [0, 1]
    assert list(executor.map(abs, itertools.repeat(-1, 2))) == [1, 1]


def test_map_that_is_left_cancels_the_rest(executor: NotebookExecutor) -> None:
    results: Any = executor.map(time.sleep, [0, 60, 60, 60])
    assert next(results) is None
    started = time.monotonic()
    results.close()
    assert wait(executor.unfinished(), SAFETY).not_done == set()
    assert time.monotonic() - started < SAFETY


def test_functions_lambdas_and_classes_of_the_notebook(executor: NotebookExecutor) -> None:
    cell = notebook_cell(
        "factor = 3\n"
        "def helper(x): return x * factor\n"
        "def scale(x): return helper(x)\n"
        "class Point:\n"
        "    def __init__(self, x): self.x = x\n"
        "    def doubled(self): return Point(self.x * 2)\n"
        "    def __eq__(self, other): return type(other) is Point and other.x == self.x\n"
    )
    assert executor.submit(cell["scale"], 5).result(SAFETY) == 15
    assert executor.submit(lambda x: x + 1, 5).result(SAFETY) == 6
    point = cell["Point"](4)
    doubled = executor.submit(point.doubled).result(SAFETY)
    assert type(doubled) is cell["Point"]
    assert doubled.x == 8


def test_a_changed_global_and_a_redefined_function_are_seen(executor: NotebookExecutor) -> None:
    cell = notebook_cell("factor = 3\ndef helper(x): return x * factor\ndef scale(x): return helper(x)\n")
    assert executor.submit(cell["scale"], 5).result(SAFETY) == 15
    cell["factor"] = 10
    assert executor.submit(cell["scale"], 5).result(SAFETY) == 50
    exec("def helper(x): return -x", cell)
    assert executor.submit(cell["scale"], 5).result(SAFETY) == -5


def test_a_mutated_argument_is_sent_as_it_is_now(executor: NotebookExecutor) -> None:
    data = [1, 2]
    assert executor.submit(sum, data).result(SAFETY) == 3
    data.append(3)
    assert executor.submit(sum, data).result(SAFETY) == 6


def draw() -> tuple[int, float, float]:
    time.sleep(0.05)  # so that both processes take part
    return os.getpid(), random.random(), float(np.random.random())


def test_task_processes_draw_different_random_numbers(executor: NotebookExecutor) -> None:
    draws = [future.result(SAFETY) for future in [executor.submit(draw) for _ in range(8)]]
    assert len({pid for pid, _, _ in draws}) == 2
    assert len({python for _, python, _ in draws}) == 8
    assert len({numpy for _, _, numpy in draws}) == 8


def chained() -> None:
    try:
        raise KeyError("inner")
    except KeyError as error:
        raise ValueError("outer") from error


def test_an_exception_arrives_with_its_remote_traceback_and_its_cause(executor: NotebookExecutor) -> None:
    error = executor.submit(chained).exception(SAFETY)
    assert isinstance(error, ValueError)
    assert isinstance(error.__cause__, KeyError)
    remote = "".join(traceback.format_exception(error))
    assert "in chained" in remote
    assert "raise KeyError" in remote
    assert "direct cause" in remote
    package = str(Path(scaler_notebook.__file__).parent)
    assert package not in remote, "frames of ours are of no use to the user"


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_task_may_raise_anything_and_its_process_goes_on(
    executor: NotebookExecutor, error: type[BaseException]
) -> None:
    def task() -> None:
        raise error("from the task")

    assert isinstance(executor.submit(task).exception(SAFETY), error)
    assert executor.submit(abs, -1).result(SAFETY) == 1


def write_everywhere() -> None:
    print("from python é")
    print("to stderr", file=sys.stderr)
    ctypes.CDLL(None).printf(b"from c\n")
    subprocess.run(["echo", "from a child"], check=True)
    os.write(1, b"raw\n")


def test_output_is_kept_with_its_task(executor: NotebookExecutor) -> None:
    future = executor.submit(write_everywhere)
    future.result(SAFETY)
    assert future.logs.stdout == "from python é\nfrom c\nfrom a child\nraw\n"
    assert future.logs.stderr == "to stderr\n"
    quiet = executor.submit(abs, -1)
    quiet.result(SAFETY)
    assert str(quiet.logs) == ""


def test_output_arrives_while_the_task_runs(executor: NotebookExecutor) -> None:
    def task() -> None:
        print("begun")
        time.sleep(60)

    future = executor.submit(task)
    until_written(future, "begun\n")
    assert future.state is TaskState.RUNNING
    assert future.cancel()


def test_arrays_come_and_go_and_are_writable(new_executor: NotebookExecutor) -> None:
    def double_in_place(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        array *= 2
        return array

    array = np.arange(1_000_000.0)
    result = new_executor.submit(double_in_place, array).result(SAFETY)
    assert np.array_equal(result, array * 2)
    result += 1
    assert array[1] == 1.0, "the task has a copy of its own"


@pytest.mark.parametrize("count", [2_000, pytest.param(20_000, marks=pytest.mark.matrix)])
def test_many_tasks_end_once_each(executor: NotebookExecutor, count: int) -> None:
    futures = [executor.submit(abs, -n) for n in range(count)]
    done = list(as_completed(futures, 60))
    assert len(done) == len(set(done)) == count
    assert [future.result() for future in futures] == list(range(count))


class Unpicklable:
    def __init__(self) -> None:
        self.name = "x"
        self.lock = threading.Lock()


def test_an_argument_that_cannot_be_pickled_is_named(executor: NotebookExecutor) -> None:
    with pytest.raises(TaskSerializationError, match=r"argument 2 of print cannot be pickled because of .*\.lock"):
        executor.submit(print, 1, Unpicklable())
    with pytest.raises(TaskSerializationError, match=r"argument 'sep' of print"):
        executor.submit(print, 1, sep=threading.Lock())  # type: ignore[arg-type]


def test_a_function_that_cannot_be_pickled_is_named(executor: NotebookExecutor) -> None:
    lock = threading.Lock()

    def task() -> bool:
        return lock.locked()

    with pytest.raises(TaskSerializationError, match=r"the function task .*closure variable 'lock'"):
        executor.submit(task)


def test_a_result_that_cannot_be_pickled_fails_its_task_alone(executor: NotebookExecutor) -> None:
    future = executor.submit(threading.Lock)
    with pytest.raises(TaskSerializationError, match=r"the result of .*lock"):
        future.result(SAFETY)
    assert executor.submit(abs, -1).result(SAFETY) == 1


@pytest.mark.parametrize(
    "arguments",
    [{"n_workers": 0}, {"max_workers": -1}, {"grace": -1}, {"grace": float("inf")}, {"n_workers": 1, "max_workers": 2}],
)
def test_bad_arguments_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"\d|inf"):
        NotebookExecutor(**arguments)  # type: ignore[arg-type]


def test_result_times_out_and_the_task_goes_on(executor: NotebookExecutor) -> None:
    future = executor.submit(time.sleep, 0.3)
    with pytest.raises(concurrent.futures.TimeoutError, match="still"):
        future.result(0.01)
    assert future.result(SAFETY) is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("scatter", "here it is send_object(value), or map_async"),
        ("gather", "here it is scaler_notebook.gather(*futures)"),
        ("map_sync", "here it is list(map(f, items))"),
        ("apply_async", "here it is submit(f, *args)"),
        ("imap", "here it is map(f, items)"),
    ],
)
def test_what_others_call_it_is_said_with_what_it_is_called_here(name: str, words: str) -> None:
    with memory_executor() as executor:
        with pytest.raises(AttributeError) as caught:
            getattr(executor, name)
        assert f"object has no attribute '{name}'; {words}" in str(caught.value)
        with pytest.raises(AttributeError, match=r"object has no attribute 'whatever'$"):
            getattr(executor, "whatever")  # noqa: B009  # a type checker would refuse it
        with pytest.raises(AttributeError, match=r"'FutureGroup' object has no attribute 'get'; here it is results"):
            executor.map_async(abs, []).get()  # type: ignore[attr-defined]
        with pytest.raises(AttributeError, match=r"'ScalerFuture' object has no attribute 'get'; here it is result"):
            executor.submit(abs, -1).get()  # type: ignore[attr-defined]


def test_every_name_of_others_has_its_counterpart_here(executor: NotebookExecutor) -> None:
    future = executor.submit(abs, -1)
    group = FutureGroup([future])
    tables = {executor: names.OF_EXECUTORS, group: names.OF_GROUPS, future: names.OF_FUTURES}
    for owner, others in tables.items():
        assert not any(hasattr(owner, name) for name in others)
        for words in others.values():
            calls = {each.rpartition(".")[2] for each in re.findall(r"([\w.]+)\(", words)} - {"list", "zip"}
            said = calls or {words.partition(".")[0]}
            for name in said:
                assert any(hasattr(each, name) for each in (owner, group, future, scaler_notebook)), words


def test_a_group_is_made_of_futures_alone(executor: NotebookExecutor) -> None:
    futures = [executor.submit(abs, -1), executor.submit(abs, -2)]
    group = FutureGroup(futures, name="both")
    assert (group.results(SAFETY), group.name) == ([1, 2], "both")
    with pytest.raises(TypeError, match="a FutureGroup has futures of an executor's submit, not 3"):
        FutureGroup([*futures, 3])  # type: ignore[arg-type]


def test_shutdown_waits_and_refuses_what_comes_later() -> None:
    executor = NotebookExecutor(n_workers=1)
    futures = [executor.submit(time.sleep, 0.05) for _ in range(3)]
    executor.shutdown()
    assert all(future.done() and not future.cancelled() for future in futures)
    with pytest.raises(RuntimeError, match="shut down"):
        executor.submit(abs, 1)


def test_shutdown_can_cancel_what_has_not_started() -> None:
    executor = NotebookExecutor(n_workers=1)
    first = executor.submit(time.sleep, 0.3)
    queued = [executor.submit(time.sleep, 60) for _ in range(3)]
    until_running(first)
    executor.shutdown(cancel_futures=True)
    assert first.result(0) is None
    assert all(future.cancelled() for future in queued)


def test_a_script_needs_no_guard_and_waits_for_its_tasks(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from scaler_notebook import NotebookExecutor\n"
        "import time\n"
        "def task(path):\n"
        "    time.sleep(0.3)\n"
        "    open(path, 'w').write('done')\n"
        f"NotebookExecutor(n_workers=1).submit(task, {str(tmp_path / 'out')!r})\n"
    )
    subprocess.run([sys.executable, str(script)], check=True, timeout=30)
    assert (tmp_path / "out").read_text() == "done"


def keywords(**values: Any) -> list[str]:
    return sorted(values)


def test_texts_that_are_no_unicode_arrive_all_the_same(
    executor: NotebookExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCALER_LATIN", "caf\udce9")  # what Python makes of a variable in another encoding
    future = executor.submit(keywords, **{"\ud800": 1})
    assert future.result(SAFETY) == ["\ud800"]
    future.call.encode()
    assert executor.submit(os.getenv, "SCALER_LATIN").result(SAFETY) == "caf\udce9"


def test_a_message_that_cannot_be_sent_fails_its_task_alone(executor: NotebookExecutor) -> None:
    executor.submit(abs, -1).result(SAFETY)
    session = executor._session
    assert session is not None
    future: ScalerFuture[int] = ScalerFuture("bad", "bad()", session)
    function = Payload(b"x" * 1000)
    session.tasks.submit([(future, Task("bad", function, Payload(b""), TaskOptions(object())))])  # type: ignore[arg-type]
    good = [executor.submit(abs, -n) for n in range(20)]
    with pytest.raises(ProtocolError, match="could not be sent"):
        future.result(SAFETY)
    assert [other.result(SAFETY) for other in good] == list(range(20))


INTERRUPTED = """
import signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit that it is ignored
from scaler_notebook import NotebookExecutor
with NotebookExecutor(n_workers=1) as executor:
    future = executor.submit(time.sleep, 1000)
    try:
        print("waiting", flush=True)
        future.result()
    except KeyboardInterrupt:
        print("left the wait", flush=True)
"""


def test_ctrl_c_ends_a_wait_and_a_second_one_the_script() -> None:
    script = subprocess.Popen([sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert script.stdout is not None
        assert script.stdout.readline() == b"waiting\n"
        script.send_signal(signal.SIGINT)
        assert script.stdout.readline() == b"left the wait\n"
        assert script.poll() is None, "leaving with waits for the task"
        for _ in range(2):  # the first of them may find it still on its way out of the with block
            script.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                script.wait(2)
                break
        assert script.returncode is not None, "it cannot be stopped"
    finally:
        script.kill()
        script.communicate(timeout=SAFETY)


def test_starmap_is_a_map_of_tuples(executor: NotebookExecutor) -> None:
    assert list(executor.starmap(pow, [(2, 3), [3, 2]])) == [8, 9]
    assert list(executor.starmap(pow, ((n, 2) for n in range(5)), chunksize=2)) == [0, 1, 4, 9, 16]
    assert next(executor.starmap(pow, ((n, 3) for n in itertools.count(2)), buffersize=2)) == 8
    with pytest.raises(ValueError, match="would be called for ever"):
        executor.starmap(pow, itertools.repeat((2, 3)))
    with pytest.raises(TypeError, match="not iterable"):
        executor.starmap(pow, [3])  # type: ignore[list-item]


def test_other_libraries_find_the_number_of_workers(executor: NotebookExecutor) -> None:
    assert executor._max_workers == executor.n_workers == 2
