"""``rerun_here()``: the call of a task made in this process, with its arguments as they were."""

from __future__ import annotations

import asyncio
import os
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from waits import SAFETY

from scaler_notebook import Client, DefaultSerializer, NotebookExecutor, ScalerFuture
from scaler_notebook.testing import detached_future, memory_executor

pids: list[int] = []


def halves(values: list[int]) -> list[float]:
    pids.append(os.getpid())
    values.append(0)
    return [1 / each for each in values]


def test_what_failed_there_fails_here_in_frames_that_a_debugger_sees(executor: NotebookExecutor) -> None:
    given = [1, 2]
    future = executor.submit(halves, given)
    given.append(3)
    assert isinstance(future.exception(SAFETY), ZeroDivisionError)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError) as caught:
            future.rerun_here()
        frames = []
        traceback: types.TracebackType | None = caught.tb
        while traceback is not None:
            frames.append(traceback.tb_frame)
            traceback = traceback.tb_next
        (frame,) = (each for each in frames if each.f_code.co_name == "halves")
        assert frame.f_locals["values"] == [1, 2, 0], "as at the submit, and what the call has done to it"
        assert frame.f_globals["pids"][-1] == os.getpid()
    assert given == [1, 2, 3]
    hidden = [each.f_code.co_name for each in frames if each.f_locals.get("__tracebackhide__")]
    assert hidden == ["rerun_here", "make"]


def test_what_succeeds_gives_its_value_and_a_cancelled_call_can_be_made(executor: NotebookExecutor) -> None:
    assert executor.submit(divmod, 7, 2).rerun_here() == (3, 1)
    cancelled = executor.submit(pow, 2, 5)
    cancelled.cancel(SAFETY)
    assert cancelled.rerun_here() == 32


def test_the_items_of_a_stream_come_again(executor: NotebookExecutor) -> None:
    def halved(number: int) -> Iterator[int]:
        while number := number // 2:
            yield number

    stream = executor.submit_stream(halved, 9)
    assert list(stream) == list(stream.rerun_here()) == [4, 2, 1]  # type: ignore[call-overload]


@pytest.mark.parametrize("length", [3, 2_000_000])
def test_large_arguments_are_those_of_the_submit_each_time(new_executor: NotebookExecutor, length: int) -> None:
    def fills(values: Any) -> float:
        values += 1
        return float(values.sum())

    array = np.zeros(length)
    future = new_executor.submit(fills, array)
    array[:] = 7
    assert [future.result(SAFETY), future.rerun_here(), future.rerun_here()] == [length] * 3
    assert future.retry().result(SAFETY) == length, "what a rerun changes stays with it"


def test_futures_and_references_stand_for_their_values(executor: NotebookExecutor) -> None:
    def appends(values: Any, more: Any, last: Any) -> Any:
        values.extend([*more, *last])
        return values

    first, referred = executor.submit(list, (1, 2)), executor.send_object([3])
    future = executor.submit(appends, first, referred, more := [4])
    more.clear()
    assert future.rerun_here() == future.rerun_here() == [1, 2, 3, 4]
    assert (future.result(SAFETY), first.result(SAFETY)) == ([1, 2, 3, 4], [1, 2])
    failed = executor.submit(divmod, 1, 0)
    with pytest.raises(ZeroDivisionError):
        executor.submit_verbose(abs, (failed,)).rerun_here()


def test_a_value_that_stayed_with_the_engine_is_said_to_be_there(executor: NotebookExecutor) -> None:
    futures = executor.get({"one": (abs, "minus"), "minus": -1, "two": (abs, "one")}, ["two"], block=False)
    with pytest.raises(LookupError, match="stayed with the engine: name its key in get"):
        futures["two"].rerun_here()
    assert futures["two"].result(SAFETY) == 1


CELL = """
counter = 0
class Model:
    version = 1
def count():
    global counter
    counter += 1
    return counter
def counts(model):
    count()
    return count(), counter, model.version, type(model)
"""


def test_functions_of_the_notebook_share_their_globals_and_leave_the_notebooks_alone(
    executor: NotebookExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", notebook)
    exec(CELL, vars(notebook))
    future = executor.submit(notebook.counts, notebook.Model())
    notebook.Model.version = 2
    vars(notebook)["counter"] = 10
    assert future.result(SAFETY)[:3] == (2, 2, 1)
    assert future.rerun_here() == (2, 2, 2, notebook.Model), "the class is the notebook's, as it is now"
    assert (notebook.counter, notebook.Model.version) == (10, 2)


def test_a_task_with_a_loop_of_its_own_runs_in_a_cell_that_has_one(executor: NotebookExecutor) -> None:
    def runs_a_loop() -> str:
        async def waits() -> str:
            await asyncio.sleep(0)
            return "waited"

        return asyncio.run(waits())

    async def in_a_cell() -> None:
        loop = asyncio.get_running_loop()
        assert executor.submit(runs_a_loop).rerun_here() == "waited"
        assert asyncio.get_running_loop() is loop
        await asyncio.sleep(0)

    asyncio.run(in_a_cell())


class Reversed(DefaultSerializer):
    """A serializer of the user's own."""

    @staticmethod
    def serialize(obj: Any) -> bytes:
        return DefaultSerializer.serialize(obj)[::-1]

    @staticmethod
    def deserialize(payload: bytes) -> Any:
        return DefaultSerializer.deserialize(payload[::-1])


def test_a_serializer_of_the_users_own_is_asked(executor: NotebookExecutor) -> None:
    with Client(executor.address, serializer=Reversed()) as client:
        future = client.submit(divmod, 7, 2)
        assert future.rerun_here() == future.result(SAFETY) == (3, 1)


def test_without_arguments_there_is_nothing_to_make() -> None:
    with pytest.raises(RuntimeError, match="belongs to no executor"):
        ScalerFuture("t").rerun_here()
    with pytest.raises(RuntimeError, match=r"f\(\) has no arguments"):
        detached_future().rerun_here()
    with memory_executor(auto=True) as executor:
        assert executor.submit(abs, -1).rerun_here() == 1
