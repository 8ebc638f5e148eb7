"""Generators as tasks: items as they come, how far ahead, errors, cancels, and what nobody reads."""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from waits import SAFETY, until, until_written

from scaler_notebook import (
    CancelReason,
    EngineLostError,
    FutureGroup,
    ItemStream,
    NotebookExecutor,
    ProcessorDiedError,
    TaskCancelledError,
    TaskSerializationError,
    TaskState,
    as_completed,
    wait,
)
from scaler_notebook.client.futures import item_stream
from scaler_notebook.client.session import lifetime
from scaler_notebook.client.waiting.host import PlainHost
from scaler_notebook.protocol.messages import ItemsTaken, Payload, TaskCancel, TaskItem
from scaler_notebook.task.calls.generator import AHEAD, WAITS
from scaler_notebook.testing import InMemoryExecutor, memory_executor


def until_waiting(stream: ItemStream[Any], count: int) -> None:
    """Wait until the task waits for its reader, after so many items."""
    until(
        stream,
        lambda: (said := stream.progress) is not None and said.done == count and said.note.startswith(WAITS),
        "wait",
    )


# ---------------------------------------------------------------- reading


def numbers(count: int) -> Iterator[int]:
    yield from range(count)


async def numbers_async(count: int) -> AsyncIterator[int]:
    for number in range(count):
        await asyncio.sleep(0)
        yield number


class Sequence:
    """A sequence of the oldest form, as torch has for data sets: it is asked for one item after the other."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __getitem__(self, place: int) -> int:
        if place >= self.count:
            raise IndexError
        return place


class Numbers:
    """An iterable that is no generator, and cannot be closed or told anything."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.count))


async def read(stream: ItemStream[Any]) -> list[Any]:
    return [item async for item in stream]


@pytest.mark.parametrize("count", [0, 1, AHEAD - 1, AHEAD, AHEAD + 1, 10 * AHEAD])
@pytest.mark.parametrize(
    "function", [numbers, numbers_async, Numbers, Sequence, range, lambda count: list(range(count))]
)
def test_each_item_comes_once_and_in_order(
    any_executor: NotebookExecutor, function: Callable[[int], Any], count: int
) -> None:
    stream = any_executor.submit_stream(function, count)
    assert list(stream) == list(range(count))
    assert list(stream) == []
    assert stream.result(SAFETY) == count
    assert asyncio.run(read(any_executor.submit_stream(function, count))) == list(range(count))


def asked_for(ask: io.TextIOBase, count: int) -> Iterator[int]:
    """Gives the next item when it is asked to."""
    for number in range(count):
        ask.read(1)
        yield number


def test_items_come_while_the_task_runs(executor: NotebookExecutor, tmp_path: Path) -> None:
    pipe = tmp_path / "ask"
    os.mkfifo(pipe)

    def gives(count: int) -> Iterator[int]:
        with open(pipe) as ask:
            yield from asked_for(ask, count)

    stream = executor.submit_stream(gives, 3)
    items = iter(stream)
    with open(pipe, "w", buffering=1) as answer:
        for number in range(3):
            answer.write("\n")
            assert next(items) == number
            assert not stream.done() or number == 2
    assert next(items, "end") == "end"


class Point:
    def __init__(self, x: int) -> None:
        self.x = x


def points() -> Iterator[Point]:
    for x in range(3):
        yield Point(x)


def arrays() -> Iterator[Any]:
    for number in range(20):
        yield np.full(1_000_000, number, "u1")


def test_items_are_as_results_are(any_executor: NotebookExecutor) -> None:
    assert [type(point) is Point and point.x for point in any_executor.submit_stream(points)] == [0, 1, 2]
    for number, array in enumerate(any_executor.submit_stream(arrays)):
        assert (array == number).all()
        array += 1


def test_a_loop_may_begin_in_one_place_and_go_on_in_another(executor: NotebookExecutor) -> None:
    items = iter(executor.submit_stream(numbers, 100))
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    assert sum(items) == sum(range(3, 100))


# ---------------------------------------------------------------- how far ahead


def marks(path: str) -> Iterator[int]:
    """Says in a file how far it is; without an end."""
    number = 0
    while True:
        Path(path).write_text(str(number))
        yield number
        number += 1


def test_the_generator_waits_for_its_reader(executor: NotebookExecutor, tmp_path: Path) -> None:
    path = tmp_path / "mark"
    stream = executor.submit_stream(marks, str(path))
    until_waiting(stream, AHEAD)
    assert path.read_text() == str(AHEAD - 1)
    items = iter(stream)
    assert [next(items) for _ in range(AHEAD)] == list(range(AHEAD))
    until_waiting(stream, 2 * AHEAD)
    assert path.read_text() == str(2 * AHEAD - 1)
    items.close()
    until(stream, stream.done, "its end")


class Loud:
    """A value whose text is the user's code."""

    def __repr__(self) -> str:
        print("asked", flush=True)
        return "loud"


@pytest.mark.parametrize(
    ("item", "text"),
    [
        ({"loss": 0.5}, "{'loss': 0.5}"),
        ("x" * 1_000, f"'{'x' * 59}…"),
        (list(range(1_000)), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, … 989 more]"),
        (np.zeros((3, 4)), "numpy.ndarray 3 × 4 float64"),
        (Loud(), "Loud"),
        ([Loud()], "list of 1 item"),
        (None, "None"),
    ],
    ids=["plain", "long", "many", "array", "object", "objects", "nothing"],
)
def test_the_card_shows_the_last_item_and_asks_nothing_of_the_users(
    executor: NotebookExecutor, item: Any, text: str
) -> None:
    stream = executor.submit_stream(itertools.repeat, item)
    until_waiting(stream, AHEAD)
    assert stream.progress is not None
    assert stream.progress.note == f"{WAITS}; item 16: {text}"
    assert stream.cancel(SAFETY)
    assert str(stream.logs) == ""


def test_a_reader_may_submit_tasks_however_few_workers_there_are(executor_of_one: NotebookExecutor) -> None:
    stream = executor_of_one.submit_stream(numbers, 3 * AHEAD)
    assert [executor_of_one.submit(abs, -number).result(SAFETY) for number in stream] == list(range(3 * AHEAD))


@pytest.mark.matrix
def test_streams_are_read_in_any_order(executor_of_one: NotebookExecutor) -> None:
    streams = [executor_of_one.submit_stream(numbers, 2 * AHEAD) for _ in range(3)]
    assert [len(list(stream)) for stream in reversed(streams)] == [2 * AHEAD] * 3


def reads_itself(count: int) -> int:
    return sum(NotebookExecutor().submit_stream(numbers, count))


def test_a_task_may_read(executor_of_one: NotebookExecutor) -> None:
    assert executor_of_one.submit(reads_itself, 3 * AHEAD).result(SAFETY) == sum(range(3 * AHEAD))


def test_one_that_nobody_reads_holds_nobody_up_and_says_that_it_waits(
    executor_of_one: NotebookExecutor, tmp_path: Path
) -> None:
    stream = executor_of_one.submit_stream(marks, str(tmp_path / "mark"))
    until_waiting(stream, AHEAD)
    assert str(stream.where()).endswith(" is now between two of its own lines")
    assert executor_of_one.submit(abs, -1).result(SAFETY) == 1
    assert stream.cancel(SAFETY)


async def awaited(stream: ItemStream[Any]) -> int:
    return await stream


def after(stream: Any) -> Any:
    return stream


WAITS_FOR_THE_END: dict[str, Callable[[NotebookExecutor, ItemStream[Any]], object]] = {
    "result": lambda executor, stream: stream.result(SAFETY),
    "exception": lambda executor, stream: stream.exception(SAFETY),
    "await": lambda executor, stream: asyncio.run(awaited(stream)),
    "wait": lambda executor, stream: wait([stream], SAFETY),
    "as_completed": lambda executor, stream: list(as_completed([stream], SAFETY)),
    "group": lambda executor, stream: FutureGroup([stream]).results(SAFETY),
    "argument": lambda executor, stream: executor.submit(after, stream).result(SAFETY),
    "then": lambda executor, stream: stream.then(after).result(SAFETY),
}


@pytest.mark.parametrize("how", WAITS_FOR_THE_END)
def test_who_waits_for_the_end_gets_it_and_reads_later(any_executor: NotebookExecutor, how: str) -> None:
    stream = any_executor.submit_stream(numbers, 5 * AHEAD)
    WAITS_FOR_THE_END[how](any_executor, stream)
    assert stream.result(0) == 5 * AHEAD
    assert list(stream) == list(range(5 * AHEAD))


@pytest.mark.parametrize("kind", [lambda: NotebookExecutor(n_workers=1), lambda: memory_executor(auto=True)])
def test_and_so_does_who_leaves_the_executor(kind: Callable[[], NotebookExecutor]) -> None:
    with kind() as executor:
        stream = executor.submit_stream(numbers, 5 * AHEAD)
    assert list(stream) == list(range(5 * AHEAD))


class EndsWhenToldOf(io.StringIO):
    """A stderr that ends a stream as soon as something is written about it."""

    def __init__(self, executor: InMemoryExecutor, stream: ItemStream[Any]) -> None:
        super().__init__()
        self.executor, self.stream = executor, stream

    def write(self, text: str) -> int:
        if not self.stream.done():
            self.executor.engine.finish(self.stream, 0)
        return super().write(text)


@pytest.mark.parametrize("read", [0, 1])
def test_who_waits_for_one_without_an_end_is_told_which(
    scripted: InMemoryExecutor, monkeypatch: pytest.MonkeyPatch, read: int
) -> None:
    stream = scripted.submit_stream(marks, "")
    for number in range(read + 1):
        scripted.engine.give_item(stream, number)
    items = iter(stream)  # held, as by a name of a cell
    assert [next(items) for _ in range(read)] == list(range(read))
    monkeypatch.setattr(lifetime, "UNREAD_PATIENCE", 0.01)
    monkeypatch.setattr(sys, "stderr", said := EndsWhenToldOf(scripted, stream))
    scripted.shutdown()
    assert "waits for the end of marks(''), of which nobody has read an item" in said.getvalue()


def test_what_is_kept_of_one_without_an_end_is_bounded_and_said(
    executor: NotebookExecutor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(item_stream, "most_kept", lambda: 200_000)
    stream = executor.submit_stream(itertools.count)
    items = iter(stream)
    assert next(items) == 0
    stream.run_to_end()  # as all that waits for its end
    until(stream, lambda: "items of count() that nobody has read (200." in caplog.text, "words about it")
    until(stream, lambda: stream.progress is not None and stream.progress.note.startswith(WAITS), "wait")
    assert stream.progress is not None
    assert stream.progress.done < 3_000
    assert [next(items) for _ in range(5_000)] == list(range(1, 5_001)), "it goes on with its reader"
    assert caplog.text.count("that nobody has read") == 1
    assert stream.cancel(SAFETY)


def test_a_task_of_large_items_is_not_far_ahead(scripted: InMemoryExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_stream, "most_kept", lambda: 1_000_000)
    stream = scripted.submit_stream(arrays)
    stream.run_to_end()
    for _ in range(11):
        scripted.engine.give_item(stream, bytes(100_000))
    assert scripted.engine.sent.next(ItemsTaken).count == 8, "when 7 had arrived, and there was room for 3"
    scripted.engine.finish(stream, 11)
    assert stream.result(SAFETY) == 11
    assert len(scripted.engine.sent.all(ItemsTaken)) == 1


# ---------------------------------------------------------------- errors


def breaks_off() -> Iterator[int]:
    yield 1
    yield 2
    raise KeyError("mine")


async def breaks_off_async() -> AsyncIterator[int]:
    yield 1
    yield 2
    raise KeyError("mine")


@pytest.mark.parametrize("function", [breaks_off, breaks_off_async])
def test_an_error_comes_after_the_items_before_it(any_executor: NotebookExecutor, function: Callable[[], Any]) -> None:
    stream = any_executor.submit_stream(function)
    items = iter(stream)
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(KeyError, match="mine"):
        next(items)
    assert stream.failure is not None
    assert [frame[2] for frame in stream.failure.frames][-1] == function.__name__


def dies() -> Iterator[int]:
    yield 1
    os.kill(os.getpid(), signal.SIGKILL)


def test_so_does_the_death_of_its_process(executor: NotebookExecutor) -> None:
    items = iter(executor.submit_stream(dies))
    assert next(items) == 1
    with pytest.raises(ProcessorDiedError):
        next(items)


def gives_what_cannot_travel() -> Iterator[Any]:
    yield 1
    yield threading.Lock()


def test_an_item_that_cannot_travel_is_named(executor: NotebookExecutor) -> None:
    items = iter(executor.submit_stream(gives_what_cannot_travel))
    assert next(items) == 1
    with pytest.raises(TaskSerializationError, match=r"item 2 of gives_what_cannot_travel\(\) cannot be pickled"):
        next(items)


def test_what_gives_no_items_is_named(any_executor: NotebookExecutor) -> None:
    function: Any = abs
    with pytest.raises(TypeError, match=r"abs\(-3\) gives no items: it returns an int"):
        list(any_executor.submit_stream(function, -3))


async def returns_a_list(count: int) -> list[int]:
    return [count]


def test_so_is_a_coroutine_and_nothing_else_is_said_of_it(executor: NotebookExecutor) -> None:
    function: Any = returns_a_list
    stream: ItemStream[Any] = executor.submit_stream(function, 3)
    with pytest.raises(TypeError, match=r"returns_a_list\(3\) gives no items: it is a coroutine, an async def without"):
        list(stream)
    assert str(stream.logs) == ""


def test_a_generator_that_has_begun_here_is_refused(scripted: InMemoryExecutor) -> None:
    begun: Any = numbers(3)
    with pytest.raises(TypeError, match="fn is a function, or anything else that can be called, not a generator"):
        scripted.submit_stream(begun)


def test_a_stream_has_the_options_of_a_task_but_retries(executor: NotebookExecutor) -> None:
    options: dict[str, Any] = {"name": "some numbers", "priority": 1, "run_timeout": SAFETY, "timeout": SAFETY}
    stream = executor.submit_stream_verbose(numbers, (3,), **options)
    assert (stream.call, list(stream)) == ("some numbers", [0, 1, 2])
    slow = executor.submit_stream_verbose(sleeps, run_timeout=0.05)
    with pytest.raises(TaskCancelledError, match=r"sleeps\(\): timed out, its run_timeout of 0.05 s is over"):
        list(slow)
    with pytest.raises(TypeError, match=r"submit_stream_verbose\(\) has no option 'retries'"):
        executor.submit_stream_verbose(numbers, (3,), retries=1)  # type: ignore[call-arg]


def forks() -> Iterator[Any]:
    child = os.fork()
    yield "of the task" if child else "of the child"
    yield os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_fork_of_the_generator_gives_nothing(executor: NotebookExecutor) -> None:
    stream = executor.submit_stream(forks)
    assert list(stream) == ["of the task", 1]
    assert "not in a fork of that" in stream.logs.stderr


# ---------------------------------------------------------------- cancelling


def cleans_up(path: str) -> Iterator[int]:
    try:
        yield from marks(path)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        raise
    finally:
        print("cleaned up", flush=True)


async def cleans_up_async(path: str) -> AsyncIterator[int]:
    try:
        for number in marks(path):
            yield number
    except asyncio.CancelledError:
        await asyncio.sleep(0)
        print("interrupted", flush=True)
        raise
    finally:
        print("cleaned up", flush=True)


@pytest.mark.parametrize("function", [cleans_up, cleans_up_async])
def test_a_cancel_reaches_a_generator_that_waits(
    patient: NotebookExecutor, tmp_path: Path, function: Callable[[str], Any]
) -> None:
    stream = patient.submit_stream(function, str(tmp_path / "mark"))
    until_waiting(stream, AHEAD)
    assert stream.cancel(SAFETY, force=False)
    assert stream.cancel_reason is CancelReason.STOPPED
    assert stream.logs.stdout == "interrupted\ncleaned up\n"
    with pytest.raises(TaskCancelledError):
        list(stream)


def sleeps() -> Iterator[int]:
    yield 1
    print("begun", flush=True)
    time.sleep(1000)


def test_and_one_that_works(patient: NotebookExecutor) -> None:
    stream = patient.submit_stream(sleeps)
    until_written(stream, "begun")
    assert stream.cancel(SAFETY)


def refuses(path: str) -> Iterator[str]:
    while not os.path.exists(path):
        try:
            yield "item"
        except KeyboardInterrupt:
            print("refused", flush=True)
    yield "the last"


async def refuses_async(path: str) -> AsyncIterator[str]:
    while not os.path.exists(path):
        try:
            yield "item"
        except asyncio.CancelledError:
            print("refused", flush=True)
    yield "the last"


@pytest.mark.parametrize("function", [refuses, refuses_async])
def test_a_generator_may_refuse(executor: NotebookExecutor, tmp_path: Path, function: Callable[[str], Any]) -> None:
    stream = executor.submit_stream(function, str(tmp_path / "end"))
    until_waiting(stream, AHEAD)
    assert stream.cancel(force=False) is False
    assert stream.logs.stdout == "refused\n"
    (tmp_path / "end").touch()
    assert [*stream][-1] == "the last"


def test_leaving_the_loop_cancels(executor: NotebookExecutor, tmp_path: Path) -> None:
    stream = executor.submit_stream(marks, str(tmp_path / "mark"))
    for number in stream:
        if number == 3:
            break
    until(stream, stream.done, "its end")
    assert stream.cancel_reason is CancelReason.STOPPED


def test_leaving_an_async_loop_cancels(executor: NotebookExecutor, tmp_path: Path) -> None:
    stream = executor.submit_stream(marks, str(tmp_path / "mark"))

    async def main() -> None:
        async with contextlib.aclosing(aiter(stream)) as items:
            async for number in items:
                if number == 3:
                    break

    asyncio.run(main())
    until(stream, stream.done, "its end")
    assert stream.cancel_reason is CancelReason.STOPPED


def test_so_does_a_cancel_of_who_reads(executor: NotebookExecutor) -> None:
    stream = executor.submit_stream(sleeps)

    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(read(stream), 0.1)

    asyncio.run(main())
    until(stream, stream.done, "its end")
    assert stream.cancelled()


def test_on_threads_one_that_waits_is_stopped(tmp_path: Path) -> None:
    with memory_executor(auto=True) as executor:
        stream = executor.submit_stream(cleans_up, str(tmp_path / "mark"))
        until_waiting(stream, AHEAD)
        stream.request_cancel()
        until(stream, stream.done, "its end")


def test_another_try_is_a_stream_too(executor: NotebookExecutor) -> None:
    stream = executor.submit_stream(breaks_off)
    with pytest.raises(KeyError):
        list(stream)
    again = stream.retry()
    assert isinstance(again, ItemStream)
    items = iter(again)
    assert [next(items), next(items)] == [1, 2]


# ---------------------------------------------------------------- said by hand


@pytest.fixture
def scripted() -> Iterator[InMemoryExecutor]:
    """An executor whose engine does what a test says."""
    with memory_executor() as executor:
        yield executor


def test_the_task_is_told_of_what_was_read_some_at_a_time(scripted: InMemoryExecutor) -> None:
    stream = scripted.submit_stream(numbers, 100)
    for number in range(AHEAD):
        scripted.engine.give_item(stream, number)
    items = iter(stream)
    assert [next(items) for _ in range(AHEAD)] == list(range(AHEAD))
    assert [scripted.engine.sent.next(ItemsTaken).count for _ in range(2)] == [AHEAD // 2, AHEAD]
    scripted.engine.finish(stream, AHEAD)
    assert next(items, "end") == "end"


def test_when_the_engine_is_lost_what_came_is_read(scripted: InMemoryExecutor) -> None:
    stream = scripted.submit_stream(numbers, 100)
    scripted.engine.give_item(stream, 0)
    scripted.engine.die()
    items = iter(stream)
    assert next(items) == 0
    with pytest.raises(EngineLostError):
        next(items)


def test_a_generator_that_is_a_result_or_an_argument_is_refused_with_words(executor: NotebookExecutor) -> None:
    with pytest.raises(TaskSerializationError, match=r"the result of numbers.* or have submit_stream send its items"):
        executor.submit(numbers, 3).result(SAFETY)
    with pytest.raises(TaskSerializationError, match=r"argument 1 of sum.* make a list of it"):
        executor.submit(sum, (number for number in range(3)))


def test_an_item_that_cannot_be_loaded_ends_the_reading(scripted: InMemoryExecutor) -> None:
    stream = scripted.submit_stream(numbers, 100)
    scripted.engine.tell(TaskItem(stream.task_id, Payload(b"no pickle")))
    with pytest.raises(TaskSerializationError, match=r"an item of numbers\(100\) arrived and cannot be loaded"):
        list(stream)
    assert scripted.engine.sent.next(TaskCancel).task_id == stream.task_id


def test_the_stop_button_ends_the_wait_and_not_the_task(
    scripted: InMemoryExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = scripted.submit_stream(numbers, 100)
    items = iter(stream)

    def interrupted(*given: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(PlainHost, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            next(items)
    assert stream.state is TaskState.SUBMITTED
    scripted.engine.give_item(stream, 7)
    assert next(iter(stream)) == 7


def test_items_of_a_task_that_is_over_or_no_stream_are_dropped(scripted: InMemoryExecutor) -> None:
    future, stream = scripted.submit(abs, -1), scripted.submit_stream(numbers, 1)
    scripted.engine.give_item(future, 0)
    scripted.engine.finish(stream, 0)
    scripted.engine.give_item(stream, 0)
    assert list(stream) == []
    scripted.engine.finish(future, 1)
    assert future.result(0) == 1
