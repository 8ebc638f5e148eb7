"""Futures that belong together, and the bulk cancels: every request first, one wait, results kept."""

from __future__ import annotations

import asyncio
import concurrent.futures
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from waits import SAFETY, until_running, until_written

from scaler_notebook import (
    CancelReason,
    DisconnectedError,
    FutureGroup,
    NotebookExecutor,
    TaskCancelledError,
    TaskState,
)
from scaler_notebook.protocol.messages import TaskCancel
from scaler_notebook.testing import InMemoryExecutor, memory_executor


@pytest.fixture
def scripted() -> Iterator[InMemoryExecutor]:
    with memory_executor() as executor:
        yield executor


def three(scripted: InMemoryExecutor) -> FutureGroup[Any]:
    """One that has finished, one that runs, one that is queued."""
    group = scripted.map_async(abs, [-1, -2, -3])
    scripted.engine.finish(group[0], 1)
    scripted.engine.start_task(group[1])
    return group


def test_map_async_gives_a_group(executor: NotebookExecutor) -> None:
    group = executor.map_async(pow, [2, 3, 4], [5, 6])
    assert len(group) == 2
    assert group.results(SAFETY) == [32, 729]
    assert [future.result(0) for future in group] == [32, 729]
    assert {future.result(0) for future in group.as_completed(SAFETY)} == {32, 729}
    assert (group.done(), group.wait(0), group.counts()) == (True, True, {TaskState.FINISHED: 2})
    assert repr(group) == "<FutureGroup pow × 2: 2 finished>"
    assert asyncio.run(_awaited(group)) == [32, 729]


class Untold:
    """What gives items, and no length."""

    def __iter__(self) -> Iterator[int]:
        return iter([-1, -2])

    def __len__(self) -> int:
        raise ValueError("nobody has counted them")


def test_what_is_mapped_need_not_tell_its_length(scripted: InMemoryExecutor) -> None:
    assert len(scripted.map_async(abs, Untold())) == 2
    assert len(scripted.map_async(pow, iter([1, 2, 3]), range(10))) == 3


def test_map_async_has_the_options_of_a_call(executor: NotebookExecutor, tmp_path: Path) -> None:
    def fails_once(number: int) -> int:
        seen = tmp_path / str(number)
        if not seen.exists():
            seen.write_text("")
            raise ValueError(number)
        return number

    group = executor.map_async(fails_once, range(3), retries=1, name="three")
    assert (group.results(SAFETY), group.name) == ([0, 1, 2], "three")
    assert [future.tries for future in group] == [2, 2, 2]
    with pytest.raises(TypeError, match="did you mean 'retries'"):
        executor.map_async(abs, [1], retrys=1)


async def _awaited(group: FutureGroup[Any]) -> list[Any]:
    return await group


def test_what_a_group_says_of_itself(scripted: InMemoryExecutor) -> None:
    group = three(scripted)
    assert group.counts() == {TaskState.FINISHED: 1, TaskState.RUNNING: 1, TaskState.SUBMITTED: 1}
    assert list(group.unfinished()) == list(group[1:]) == [group[1], group[2]]
    assert (group.done(), group.wait(0)) == (False, False)
    with pytest.raises(concurrent.futures.TimeoutError, match=r"2 \(of 3\)"):
        group.results(0)
    scripted.engine.fail(group[1], KeyError("mine"))
    assert list(group.failed()) == [group[1]]
    with pytest.raises(KeyError, match="mine"):  # although the third has not ended
        group.results(SAFETY)
    with pytest.raises(KeyError, match="mine"):
        asyncio.run(_awaited(group))
    assert group[2].state is TaskState.SUBMITTED


def test_the_exceptions_of_a_group(scripted: InMemoryExecutor) -> None:
    group = three(scripted)
    with pytest.raises(concurrent.futures.TimeoutError, match=r"2 \(of 3\)"):
        group.exceptions(0)
    scripted.engine.fail(group[1], KeyError("mine"))
    with pytest.raises(concurrent.futures.TimeoutError, match=r"1 \(of 3\)"):
        group.exceptions(0)
    group[2].request_cancel()
    scripted.engine.confirm(group[2])
    assert [type(error) for error in group.exceptions(SAFETY)] == [type(None), KeyError, TaskCancelledError]


def test_the_results_of_a_group_with_its_exceptions(scripted: InMemoryExecutor) -> None:
    group = three(scripted)
    scripted.engine.fail(group[1], KeyError("mine"))
    with pytest.raises(concurrent.futures.TimeoutError, match=r"1 \(of 3\)"):
        group.results(0, return_exceptions=True)
    group[2].request_cancel()
    scripted.engine.confirm(group[2])
    results: list[Any] = group.results(SAFETY, return_exceptions=True)
    assert [type(result) for result in results] == [int, KeyError, TaskCancelledError]


def test_a_group_and_a_chunk_have_their_numbers_as_boards_write_them(scripted: InMemoryExecutor) -> None:
    assert scripted.map_async(abs, range(1000)).name == "abs × 1\u2009000"
    results: Any = scripted.map(abs, range(1000), chunksize=1000)
    assert scripted.unfinished()[-1].call == "abs × 1\u2009000"
    results.close()


def test_a_group_is_iterated_as_its_tasks_end(scripted: InMemoryExecutor) -> None:
    group = three(scripted)

    async def ended() -> list[int]:
        seen = []
        async for future in group:
            seen.append(group.index(future))
            if seen == [0]:
                scripted.engine.fail(group[2], KeyError("mine"))
            elif seen == [0, 2]:
                scripted.engine.finish(group[1], 1)
        return seen

    assert asyncio.run(asyncio.wait_for(ended(), SAFETY)) == [0, 2, 1]


def test_an_empty_group(executor: NotebookExecutor) -> None:
    group = executor.map_async(abs, [])
    assert (group.results(0), group.done(), group.cancel(0), repr(group)) == (
        [],
        True,
        True,
        "<FutureGroup abs × 0: empty>",
    )


BULK: dict[str, Callable[[InMemoryExecutor, FutureGroup[Any]], Any]] = {
    "cancel_all": lambda executor, group: executor.cancel_all(0),
    "clear": lambda executor, group: executor.clear(0),
    "group.cancel": lambda executor, group: group.cancel(0),
    "group.cancel_async": lambda executor, group: asyncio.run(group.cancel_async(0.001)),
    "group.request_cancel": lambda executor, group: group.request_cancel(),
}


@pytest.mark.parametrize("way", BULK)
def test_a_bulk_cancel_asks_for_all_of_them_and_keeps_results(scripted: InMemoryExecutor, way: str) -> None:
    group = three(scripted)
    assert not BULK[way](scripted, group)
    asked = [scripted.engine.sent.next(TaskCancel).task_id for _ in group[1:]]
    assert asked == [group[2].task_id, group[1].task_id], "what runs is asked last: nothing queued takes its place"
    assert group.counts() == {TaskState.FINISHED: 1, TaskState.CANCELLING: 2}
    for future in group[1:]:
        scripted.engine.confirm(future)
    assert BULK[way](scripted, group) in (True, None)
    assert [future.cancel_reason for future in group] == [None, CancelReason.STOPPED, CancelReason.NEVER_STARTED]
    assert group[0].result(0) == 1
    with pytest.raises(TaskCancelledError) as cancelled:
        group.results(0)
    assert cancelled.value.reason is CancelReason.STOPPED


def test_a_bulk_cancel_has_one_budget_and_ends_with_the_last_answer(scripted: InMemoryExecutor) -> None:
    group = scripted.map_async(abs, range(20))
    for future in group[:2]:
        scripted.engine.start_task(future)
    began = time.monotonic()
    assert not group.cancel(timeout=0.2)
    assert time.monotonic() - began < 2, "each had a budget of its own"
    for future in group[2:]:
        scripted.engine.confirm(future)
    scripted.engine.refuse(group[0])
    scripted.engine.refuse(group[1])
    assert not group.cancel(timeout=0, force=False), "two of them run"
    for future in group[:2]:
        scripted.engine.refuse(future)
    assert group.counts() == {TaskState.RUNNING: 2, TaskState.CANCELLED: 18}


def deaf(seconds: float) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print("begun", flush=True)
    time.sleep(seconds)


def test_a_refusal_is_an_answer(executor: NotebookExecutor) -> None:
    group = executor.map_async(deaf, [60, 60])
    for future in group:
        until_written(future, "begun")
    assert not group.cancel(timeout=None, force=False, grace=0.05)
    assert all(future.refused for future in group)
    assert group.cancel(SAFETY, grace=0.05)


def test_cancelling_the_await_of_a_group_asks_for_all_of_them(scripted: InMemoryExecutor) -> None:
    group = three(scripted)

    async def main() -> None:
        await asyncio.wait_for(_awaited(group), 0.001)

    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(main())
    assert group.counts() == {TaskState.FINISHED: 1, TaskState.CANCELLING: 2}


@pytest.mark.parametrize("where", ["here", "callback"])
def test_disconnect_cancels_what_is_unfinished_and_ends_the_engine(where: str) -> None:
    executor = NotebookExecutor(n_workers=1, grace=0.3)
    done, running, queued = executor.submit(abs, -1), executor.submit(time.sleep, 60), executor.submit(abs, -2)
    until_running(running)
    if where == "here":
        executor.disconnect()
        assert not executor.unfinished()
    else:

        async def main() -> None:  # a callback of a loop must not wait
            asyncio.get_running_loop().call_soon(executor.disconnect)

        asyncio.run(main())
    assert [(f.wait_for_answer(SAFETY), f.cancel_reason)[1] for f in (running, queued)] == [
        CancelReason.STOPPED,
        CancelReason.NEVER_STARTED,
    ]
    assert done.result(0) == 1
    with pytest.raises(DisconnectedError, match="create a new one"):
        executor.submit(abs, -1)
    executor.disconnect()


def test_disconnect_gives_up_after_its_budget(scripted: InMemoryExecutor) -> None:
    group = three(scripted)
    scripted.disconnect(timeout=0)
    assert [future.cancel_reason for future in group] == [None, *[CancelReason.DISCONNECTED] * 2]
    assert group[0].result(0) == 1


def test_disconnect_from_the_engine_of_another_leaves_it_running(executor: NotebookExecutor) -> None:
    other = NotebookExecutor(executor.address)
    mine, theirs = executor.submit(time.sleep, 60), other.submit(time.sleep, 60)
    until_running(theirs)
    other.disconnect()
    assert theirs.cancel_reason is CancelReason.STOPPED
    assert executor.submit(abs, -1).result(SAFETY) == 1
    assert mine.state is TaskState.RUNNING
    assert mine.cancel(SAFETY)


def test_without_a_task_there_is_nothing_to_disconnect_from() -> None:
    executor = NotebookExecutor(n_workers=1)
    executor.disconnect()
    assert executor.is_shut_down


def test_leaving_with_waits_and_a_closed_engine_says_so() -> None:
    with memory_executor() as executor:
        left = executor.submit(abs, -1)
    with pytest.raises(DisconnectedError, match="submit it again"):
        left.result(0)
