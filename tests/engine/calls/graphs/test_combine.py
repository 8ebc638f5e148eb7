"""``then``, ``gather`` and the coroutines that wait for several futures."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import FIRST_COMPLETED, FIRST_EXCEPTION, CancelledError, Future, TimeoutError
from typing import Any

import pytest
from waits import SAFETY, until_running

from scaler_notebook import (
    CancelReason,
    FutureGroup,
    NotebookExecutor,
    as_completed_async,
    gather,
    gather_async,
    wait_async,
)
from scaler_notebook.testing import detached_future, memory_executor


def fail(x: Any) -> None:
    raise ValueError(x)


def test_then_goes_on_with_the_value(executor: NotebookExecutor) -> None:
    first = executor.submit(abs, -3)
    second = first.then(pow, 2)
    assert second.then(str).result(SAFETY) == "9"
    assert second.then(pow, 2).result(SAFETY) == 81, "also when it has ended"
    bad = executor.submit(fail, "mine").then(str)
    with pytest.raises(ValueError, match="mine"):
        bad.result(SAFETY)


def test_what_was_to_follow_is_cancelled_with_it_and_alone(executor: NotebookExecutor) -> None:
    first = executor.submit(time.sleep, 60)
    second = first.then(str)
    third = second.then(str)
    until_running(first)
    assert third.cancel(SAFETY)
    assert not second.done()
    assert first.cancel(SAFETY)
    assert second.wait_for_answer(SAFETY) is None
    with pytest.raises(CancelledError, match="parent cancelled"):
        second.result(SAFETY)
    assert second.cancel_reason is CancelReason.PARENT_CANCELLED


def test_gather_gives_values_in_order(executor: NotebookExecutor) -> None:
    futures = [executor.submit(abs, -n) for n in range(4)]
    assert gather(*futures) == gather(futures) == [0, 1, 2, 3]
    assert gather() == gather([]) == []
    plain: Future[int] = Future()
    plain.set_result(7)
    assert gather(plain, futures[1]) == [7, 1]
    with pytest.raises(TypeError, match="not an int"):
        gather([1])  # type: ignore[list-item]


def test_gather_raises_at_the_first_failure_or_gives_it() -> None:
    with memory_executor() as executor:
        slow, bad, gone = (executor.submit(abs, n) for n in range(3))
        executor.engine.fail(bad, KeyError("k"))
        with pytest.raises(KeyError, match="k"):
            gather(slow, bad)
        with pytest.raises(TimeoutError, match="1 \\(of 2\\)"):
            gather(slow, bad, timeout=0.01, return_exceptions=True)
        executor.engine.finish(slow, 5)
        gone.request_cancel()
        executor.engine.confirm(gone)
        values = gather(slow, bad, gone, return_exceptions=True)
        assert values[0] == 5
        assert isinstance(values[1], KeyError)
        assert isinstance(values[2], CancelledError)
        with pytest.raises(CancelledError):
            gather(slow, gone)


def test_coroutines_wait_without_blocking_the_loop() -> None:
    async def main() -> None:
        with memory_executor() as executor:
            one, two, three = (executor.submit(abs, n) for n in range(3))
            loop = asyncio.get_running_loop()
            loop.call_later(0.02, executor.engine.finish, two, 2)
            done, not_done = await wait_async([one, two, three], SAFETY, FIRST_COMPLETED)
            assert (done, not_done) == ({two}, {one, three})
            done, not_done = await wait_async([one, two], 0.01)
            assert (done, not_done) == ({two}, {one})
            loop.call_later(0.02, executor.engine.fail, one, KeyError("k"))
            done, _ = await wait_async([one, three], SAFETY, FIRST_EXCEPTION)
            assert done == {one}
            with pytest.raises(KeyError):
                await gather_async(one, three)
            with pytest.raises(TimeoutError, match=r"1 \(of 2\)"):
                await gather_async([two, three], timeout=0.01)
            loop.call_later(0.02, executor.engine.finish, three, 3)
            order = [future async for future in as_completed_async([three, two])]
            assert order == [two, three]
            assert await gather_async(two, three) == [2, 3]
            values = await gather_async(two, one, return_exceptions=True)
            assert values[0] == 2
            assert isinstance(values[1], KeyError)
            with pytest.raises(TypeError, match="only ScalerFutures"):
                await wait_async([Future()])  # type: ignore[list-item]
            with pytest.raises(ValueError, match="return_when"):
                await wait_async([one], return_when="SOME")

    asyncio.run(main())


def test_a_group_says_how_far_it_is() -> None:
    with memory_executor() as executor:
        group = FutureGroup(executor.submit(abs, n) for n in range(4))
        assert group.progress == (0.0, 4)
        executor.engine.finish(group[0])
        executor.engine.start_task(group[1])
        executor.engine.progress(group[1], 5, 10)
        executor.engine.progress(group[2], 5)
        assert group.progress == (1.5, 4)
        assert group.progress.fraction == 1.5 / 4
    assert FutureGroup([]).progress.fraction == 1.0


def test_a_future_without_an_executor_has_no_successor_that_runs() -> None:
    future = detached_future("f()")
    assert future.then(abs, 1).call == "abs(DetachedFuture, 1)"
