"""``async def`` as tasks: how they run, how they are cancelled, and what they leave."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import pytest
from waits import SAFETY, until, until_written

from scaler_notebook import CancelReason, NotebookExecutor, ScalerFuture, TaskSerializationError, current_task, progress
from scaler_notebook.testing import memory_executor

Executor: TypeAlias = Any  # in the type of NotebookExecutor.submit, what a coroutine function gives is a coroutine


# ---------------------------------------------------------------- what runs


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return number * 2


class Doubles:
    async def __call__(self, number: int) -> int:
        return await double(number)

    async def method(self, number: int) -> int:
        return await double(number)

    @staticmethod
    async def static(number: int) -> int:
        return await double(number)


def given(number: int) -> Coroutine[Any, Any, int]:
    return double(number)


KINDS: dict[str, Callable[[int], Any]] = {
    "function": double,
    "partial": functools.partial(double),
    "object": Doubles(),
    "method": Doubles().method,
    "static method": Doubles.static,
    "lambda": lambda number: double(number),
    "returned by a function": given,
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_coroutine_function_is_run(any_executor: Executor, kind: str) -> None:
    assert any_executor.submit(KINDS[kind], 3).result(SAFETY) == 6


def test_wherever_calls_are_made(any_executor: Executor) -> None:
    assert list(any_executor.map(double, range(5), chunksize=2)) == [0, 2, 4, 6, 8]
    assert any_executor.map_async(double, range(3)).results(SAFETY) == [0, 2, 4]
    assert any_executor.get({"a": 1, "b": (double, "a"), "c": (double, "b")}, ["c"]) == {"c": 4}
    assert any_executor.submit(double, 1).then(double).result(SAFETY) == 4


prepared = ""


async def prepare() -> None:
    global prepared
    await asyncio.sleep(0)
    prepared = "prepared"


def test_an_initializer_may_be_one() -> None:
    with NotebookExecutor(n_workers=1, initializer=prepare) as executor:
        assert executor.submit(lambda: prepared).result(SAFETY) == "prepared"


class Raises:
    """An awaitable that is no coroutine: a result as any other."""

    def __await__(self) -> Iterator[None]:
        raise AssertionError


def test_what_is_awaitable_and_no_coroutine_is_a_result(executor: Executor) -> None:
    assert type(executor.submit(Raises).result(SAFETY)).__name__ == "Raises"


@pytest.mark.parametrize("submit", [lambda ex, it: ex.submit(it), lambda ex, it: ex.submit(abs, it)])
def test_a_coroutine_itself_is_refused_with_words(executor: Executor, submit: Callable[..., Any]) -> None:
    coroutine = double(3)
    with contextlib.closing(coroutine), pytest.raises(TaskSerializationError, match=r"submit\(double, \.\.\.\)"):
        submit(executor, coroutine)


# ---------------------------------------------------------------- around it

NAMES: ContextVar[str] = ContextVar("names", default="nobody")


async def sees() -> tuple[str, str, str]:
    NAMES.set("the task")
    names = await asyncio.gather(in_a_task_of_its_own(), asyncio.to_thread(lambda: current_task().task_id))
    return *names, current_task().task_id


async def in_a_task_of_its_own() -> str:
    return NAMES.get()


def test_context_variables_and_the_current_task(any_executor: Executor) -> None:
    future = any_executor.submit(sees)
    assert future.result(SAFETY) == ("the task", future.task_id, future.task_id)
    assert any_executor.submit(NAMES.get).result(SAFETY) == "nobody"


async def reports() -> None:
    for _ in progress(range(4), note="steps"):
        await asyncio.sleep(0)


def test_progress(executor: Executor) -> None:
    future = executor.submit(reports)
    future.result(SAFETY)
    assert future.progress is not None
    assert (future.progress.done, future.progress.note) == (4, "steps")


async def asks_others() -> list[int]:
    executor: Executor = NotebookExecutor()
    first = await executor.submit(double, 1)
    return [first, *await executor.map_async(double, [2, 3]), executor.submit(double, 4).result()]


def test_tasks_of_its_own_are_awaited_without_a_slot(executor_of_one: Executor) -> None:
    assert executor_of_one.submit(asks_others).result(SAFETY) == [2, 4, 6, 8]


async def raises(leave: BaseException) -> None:
    await asyncio.sleep(0)
    await deeper(leave)


async def deeper(leave: BaseException) -> None:
    raise leave


@pytest.mark.parametrize("error", [KeyError("mine"), SystemExit(3)])
def test_a_traceback_has_the_users_frames_alone(any_executor: Executor, error: BaseException) -> None:
    future = any_executor.submit(raises, error)
    assert type(future.exception(SAFETY)) is type(error)
    assert future.failure is not None
    assert [frame[2] for frame in future.failure.frames] == ["raises", "deeper"]


def runs_a_loop_itself() -> int:
    return asyncio.run(double(5))


def test_a_plain_task_may_run_a_loop(any_executor: Executor) -> None:
    assert any_executor.submit(runs_a_loop_itself).result(SAFETY) == 10


# ---------------------------------------------------------------- cancelling


class Connection:
    async def __aenter__(self) -> None:
        print("connected", flush=True)

    async def __aexit__(self, *problem: object) -> None:
        await asyncio.sleep(0)
        print("disconnected", flush=True)


async def cleans_up() -> None:
    async with Connection():
        try:
            print("begun", flush=True)
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            print("was cancelled", flush=True)
            raise
        finally:
            print("finally", flush=True)


def test_a_cancel_is_asyncios(patient: Executor) -> None:
    future = patient.submit(cleans_up)
    until_written(future, "begun")
    assert future.cancel(SAFETY, force=False)
    assert future.cancel_reason is CancelReason.STOPPED
    assert future.logs.stdout.split("\n")[2:-1] == ["was cancelled", "finally", "disconnected"]


async def needs_a_helper() -> None:
    """Its clean-up needs another asyncio task, which a cancel of all of them would have ended."""
    questions: asyncio.Queue[str] = asyncio.Queue()

    async def help() -> None:
        while True:
            print("helped", await questions.get(), flush=True)
            questions.task_done()

    helper = asyncio.create_task(help())
    try:
        print("begun", flush=True)
        await asyncio.sleep(1000)
    finally:
        questions.put_nowait("at the end")
        await questions.join()
        helper.cancel()


def test_it_is_the_coroutine_that_is_cancelled_and_not_what_it_has_started(patient: Executor) -> None:
    future = patient.submit(needs_a_helper)
    until_written(future, "begun")
    assert future.cancel(SAFETY)
    assert "helped at the end" in future.logs.stdout


async def swallows(path: str) -> str:
    print("begun", flush=True)
    while not os.path.exists(path):
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            print("refused", flush=True)
    return "finished all the same"


def test_one_that_swallows_the_cancel_refuses_it(executor: Executor, tmp_path: Path) -> None:
    future = executor.submit(swallows, str(tmp_path / "end"))
    until_written(future, "begun")
    assert future.cancel(force=False) is False
    assert future.refused
    assert future.logs.stdout.count("refused") == 1
    (tmp_path / "end").touch()
    assert future.result(SAFETY) == "finished all the same"


def test_what_refuses_can_be_killed(executor: Executor, tmp_path: Path) -> None:
    future = executor.submit(swallows, str(tmp_path / "end"))
    until_written(future, "begun")
    assert future.cancel(force=True)
    assert future.cancel_reason is CancelReason.STOPPED


async def cleans_up_at_length(path: str) -> None:
    try:
        print("begun", flush=True)
        await asyncio.sleep(1000)
    finally:
        while not os.path.exists(path):
            await asyncio.sleep(0.01)
        print("cleaned up", flush=True)


def test_nothing_breaks_into_its_clean_up_before_the_grace_period_ends(executor: Executor, tmp_path: Path) -> None:
    future = executor.submit(cleans_up_at_length, str(tmp_path / "end"))
    until_written(future, "begun")
    assert future.cancel(force=False) is False  # the grace period is over, and with it every ask
    (tmp_path / "end").touch()
    until(future, future.done, "its end")
    assert future.cancel_reason is CancelReason.STOPPED
    assert "cleaned up" in future.logs.stdout


async def blocks_its_loop() -> None:
    try:
        print("begun", flush=True)
        while True:
            pass
    finally:
        print("interrupted by", sys.exc_info()[0], flush=True)


def test_one_that_blocks_its_loop_is_interrupted(executor: Executor) -> None:
    executor.grace = 2.0
    future = executor.submit(blocks_its_loop)
    until_written(future, "begun")
    assert future.cancel(SAFETY)
    assert "interrupted by <class 'KeyboardInterrupt'>" in future.logs.stdout


def is_importing_asyncio() -> None:
    sys.modules["asyncio"] = ModuleType("asyncio")  # as it is while it is imported
    try:
        print("begun", flush=True)
        time.sleep(1000)
    finally:
        print("interrupted by", sys.exc_info()[0], flush=True)


def test_a_cancel_while_asyncio_is_imported(patient: NotebookExecutor) -> None:
    future = patient.submit(is_importing_asyncio)
    until_written(future, "begun")
    assert future.cancel(SAFETY)
    assert "interrupted by <class 'KeyboardInterrupt'>" in future.logs.stdout


async def waits_for_a_thread() -> None:
    print("begun", flush=True)
    await asyncio.to_thread(time.sleep, 1000)


def test_a_thread_that_it_waits_for_does_not_hold_its_end_back(patient: Executor) -> None:
    future = patient.submit(waits_for_a_thread)
    until_written(future, "begun")
    assert future.cancel(SAFETY)
    assert future.cancel_reason is CancelReason.STOPPED


async def shields(path: str) -> None:
    with current_task().shielded():
        print("begun", flush=True)
        while not os.path.exists(path):
            await asyncio.sleep(0.01)
        print("whole", flush=True)
    await asyncio.sleep(1000)


def test_a_shielded_stretch_may_await(patient: Executor, tmp_path: Path) -> None:
    future = patient.submit(shields, str(tmp_path / "end"))
    until_written(future, "begun")
    future.request_cancel()
    (tmp_path / "end").touch()
    assert future.cancel(SAFETY)
    assert "whole" in future.logs.stdout


async def leaves_at_the_end() -> None:
    asyncio.get_running_loop().create_task(stays())
    await asyncio.sleep(0)


async def stays() -> None:
    """Refuses asyncio's own cancel at the end of the loop, and so holds that back."""
    print("begun", flush=True)
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.01)


def test_what_holds_back_the_end_of_the_loop_is_interrupted(executor: Executor) -> None:
    executor.grace = 2.0
    future = executor.submit(leaves_at_the_end)
    until_written(future, "begun")
    assert future.cancel(SAFETY, force=False)


async def passes_it_on() -> None:
    print("begun", flush=True)
    await NotebookExecutor().submit(time.sleep, 1000)


def test_a_cancel_reaches_what_it_awaits(patient: Executor) -> None:
    future = patient.submit(passes_it_on)
    until_written(future, "begun")
    assert future.cancel(SAFETY)


def test_on_threads_one_that_runs_is_not_stopped() -> None:
    with memory_executor(auto=True) as executor:
        future: ScalerFuture[Any] = executor.submit(polls)
        until(future, lambda: future.progress is not None, "report")
        assert future.cancel() is False
        assert future.result(SAFETY) == "saw that it was asked"


async def polls() -> str:
    current_task().report(0)
    while not current_task().cancelled():
        await asyncio.sleep(0.001)
    return "saw that it was asked"


# ---------------------------------------------------------------- what it leaves


async def numbers() -> AsyncIterator[int]:
    try:
        yield 1
        yield 2
    finally:
        await asyncio.sleep(0)
        print("generator closed", flush=True)


async def is_left() -> None:
    try:
        await asyncio.sleep(1000)
    finally:
        await asyncio.sleep(0)
        print("task ended", flush=True)


async def leaves_much() -> int:
    leaves_much.task = asyncio.create_task(is_left())  # type: ignore[attr-defined]
    leaves_much.numbers = numbers()  # type: ignore[attr-defined]
    first: int = await leaves_much.numbers.__anext__()  # type: ignore[attr-defined]
    asyncio.get_running_loop().run_in_executor(None, lambda: print("thread done", flush=True))
    return first


def test_what_is_left_is_ended_with_the_loop(executor_of_one: Executor) -> None:
    future = executor_of_one.submit(leaves_much)
    assert future.result(SAFETY) == 1
    assert sorted(future.logs.stdout.splitlines()) == ["generator closed", "task ended", "thread done"]
    assert "left running" not in future.logs.stderr


def own_loop() -> bool:
    loop = asyncio.get_event_loop_policy().get_event_loop()
    loop.close()
    return True


@pytest.mark.filterwarnings("ignore:.*event loop.*:DeprecationWarning")
def test_the_next_task_does_not_meet_its_loop(executor_of_one: Executor) -> None:
    before = executor_of_one.submit(os.getpid).result(SAFETY)
    assert executor_of_one.submit(double, 1).result(SAFETY) == 2
    if sys.version_info < (3, 14):  # from then on there is no loop before one is made
        assert executor_of_one.submit(own_loop).result(SAFETY)
    assert executor_of_one.submit(os.getpid).result(SAFETY) == before
