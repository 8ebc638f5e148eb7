"""What ``scaler_notebook.testing`` promises to those who test their own notebooks with it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest
from shared_things import gates, wait_at_gate
from waits import SAFETY, until_running

from scaler_notebook import (
    CancelReason,
    DisconnectedError,
    EngineLostError,
    MissingObjects,
    ProcessorDiedError,
    ScalerFuture,
    TaskSerializationError,
    TaskState,
    as_completed,
    wait,
)
from scaler_notebook.client.task_state.output import Display
from scaler_notebook.notebook.views import preview
from scaler_notebook.protocol.messages import LogStream, Task, TaskCancel, TaskCancelConfirmType
from scaler_notebook.task.display.display_publisher import publish
from scaler_notebook.testing import InMemoryExecutor, detached_future, memory_executor

# ---------------------------------------------------------------- the scripted engine


def test_a_test_says_what_happens() -> None:
    with memory_executor() as executor:
        future = executor.submit(sum, [1, 2])
        task = executor.engine.sent.next(Task)
        assert (task.task_id, task.options.name) == (future.task_id, "sum(list)")
        executor.engine.start_task(task)
        assert future.state is TaskState.RUNNING
        executor.engine.log(future, "half way\n")
        executor.engine.log(future, "careful\n", LogStream.STDERR)
        executor.engine.display(future, {"text/plain": "a figure"}, {"width": 3})
        assert (future.logs.stdout, future.logs.stderr) == ("half way\n", "careful\n")
        assert future.displays == (Display({"text/plain": "a figure"}, {"width": 3}),)
        executor.engine.finish(future.task_id, "any value")
        assert str(future.result(0)) == "any value"


def test_failures_arrive_as_they_would() -> None:
    with memory_executor() as executor:
        raised, died = executor.submit(abs, 1), executor.submit(abs, 2)
        executor.engine.fail(raised, ZeroDivisionError("by hand"))
        executor.engine.worker_died(died)
        with pytest.raises(ZeroDivisionError, match="by hand"):
            raised.result(0)
        with pytest.raises(ProcessorDiedError, match="SIGKILL"):
            died.result(0)


def test_results_are_copies_that_can_be_written_to() -> None:
    with memory_executor() as executor:
        future, value = executor.submit(np.zeros, 10_000), np.zeros(10_000)
        executor.engine.finish(future, value)
        value[0] = 1
        result = future.result(0)
        assert result[0] == 0
        result[0] = 2
        assert value[0] == 1


def test_cancels_are_seen_and_answered_in_their_own_strength() -> None:
    with memory_executor(grace=0.5) as executor:
        future = executor.submit(abs, 1)
        future.request_cancel(force=False)
        future.request_cancel(force=True)
        executor.engine.refuse(future, force=False)
        assert future.state is TaskState.CANCELLING, "weaker than what was asked"
        assert [request.force for request in executor.engine.sent.all(TaskCancel)] == [False, True]
        assert executor.engine.sent.next(TaskCancel).grace == 0.5
        future.request_cancel()
        executor.engine.refuse(future)
        assert future.refused
        future.request_cancel(force=False)
        executor.engine.confirm(future)
        assert future.cancel_reason is CancelReason.NEVER_STARTED


def test_waiting_for_a_message_that_does_not_come_ends() -> None:
    with memory_executor() as executor:
        executor.submit(abs, 1)
        executor.engine.sent.next(Task)
        with pytest.raises(TimeoutError, match="no Task within"):
            executor.engine.sent.next(Task, timeout=0.01)


def test_a_message_that_comes_later_is_waited_for() -> None:
    with memory_executor() as executor:
        executor.submit(abs, 1)
        found: SimpleQueue[Task] = SimpleQueue()
        engine = executor.engine
        engine.sent.next(Task)
        waiting = threading.Thread(target=lambda: found.put(engine.sent.next(Task, SAFETY)))
        waiting.start()
        second = executor.submit(abs, 2)
        assert found.get(timeout=SAFETY).task_id == second.task_id
        waiting.join(SAFETY)


def test_an_engine_that_dies_is_replaced_at_the_next_submit() -> None:
    with memory_executor() as executor:
        before, future = executor.engine, executor.submit(abs, 1)
        executor.engine.die()
        with pytest.raises(EngineLostError):
            future.result(0)
        with pytest.raises(RuntimeError, match="no client is connected"):
            before.start_task(future)
        after = executor.submit(abs, 1)
        assert executor.engine is not before
        executor.engine.finish(after, 1)
        assert after.result(0) == 1


def test_leaving_with_does_not_wait_for_what_never_ends() -> None:
    with memory_executor() as executor:
        future = executor.submit(abs, 1)
    with pytest.raises(DisconnectedError):
        future.result(0)


@pytest.mark.parametrize("held", ["executor = memory_executor(); executor", "memory_executor()"])
def test_a_script_that_forgets_an_executor_ends(held: str) -> None:
    script = f"from scaler_notebook.testing import memory_executor; {held}.submit(abs, 1)"
    subprocess.run([sys.executable, "-c", script], timeout=2 * SAFETY, check=True)


# ---------------------------------------------------------------- the engine on threads


def passes_the_gate() -> str:
    assert wait_at_gate("passes", SAFETY)
    return "passed"


def exits() -> None:
    raise SystemExit(3)


def test_on_threads_tasks_really_run() -> None:
    with memory_executor(auto=True) as executor:
        assert list(executor.map(abs, [-1, -2, -3], timeout=SAFETY)) == [1, 2, 3]
        assert list(executor.map(abs, [-1, -2, -3], chunksize=2)) == [1, 2, 3]
        mutable = [3, 1, 2]
        assert executor.submit(sorted, mutable).result(SAFETY) == [1, 2, 3]
        assert isinstance(executor.submit(exits).exception(SAFETY), SystemExit)
        with pytest.raises(TaskSerializationError, match=r"the result of (allocate_lock|lock\(\))"):
            executor.submit(threading.Lock).result(SAFETY)
        assert isinstance(executor.submit(lambda: 1 / 0).exception(SAFETY), ZeroDivisionError)


def test_on_threads_arguments_are_copies() -> None:
    with memory_executor(auto=True) as executor:
        mutable = [1]
        executor.submit(mutable.clear).result(SAFETY)
        assert mutable == [1]


def test_on_threads_a_running_task_is_not_stopped_and_a_queued_one_never_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(gates, "passes", gate := threading.Event())
    with memory_executor(1, auto=True) as executor:
        running, queued, last = (executor.submit(passes_the_gate) for _ in range(3))
        until_running(running)
        assert running.cancel(SAFETY) is False
        assert running.refused
        assert queued.cancel(SAFETY) is True
        assert queued.cancel_reason is CancelReason.NEVER_STARTED
        assert last.state is TaskState.SUBMITTED, "there is one slot"
        gate.set()
        assert [running.result(SAFETY), last.result(SAFETY)] == ["passed", "passed"]
        executor.engine.confirm(last, TaskCancelConfirmType.CANCEL_NOT_FOUND)  # as a late answer would be


# ---------------------------------------------------------------- futures that are settled by hand


def test_a_detached_future_lives_by_its_methods() -> None:
    future = detached_future("fit(model)")
    states = []
    future.watch(lambda changed: states.append(changed.state))
    future.start()
    future.log("half way")
    future.display({"text/plain": "a figure"})
    future.finish(0.93)
    assert future.result(0) == 0.93
    assert future.outputs() == ((LogStream.STDOUT, "half way"), Display({"text/plain": "a figure"}, {}))
    assert states == [TaskState.RUNNING, TaskState.RUNNING, TaskState.RUNNING, TaskState.FINISHED]
    assert "fit(model)" in repr(future)
    future.fail(KeyError("too late"))
    assert future.result(0) == 0.93


def test_a_detached_future_can_be_cancelled() -> None:
    future = detached_future()
    future.start()
    future.request_cancel(force=False)
    assert [request.force for request in future.requests] == [False]
    future.refuse()
    assert (future.refused, future.state) == (True, TaskState.RUNNING)
    future.request_cancel()
    future.confirm()
    assert future.cancel_reason is CancelReason.STOPPED
    with pytest.raises(CancelledError, match="stopped"):
        future.result(0)
    not_found = detached_future()
    not_found.request_cancel()
    not_found.confirm(TaskCancelConfirmType.CANCEL_NOT_FOUND)
    assert not_found.cancel_reason is CancelReason.NOT_FOUND


def test_a_view_that_requests_a_preview_of_a_detached_future_gets_none() -> None:
    future = detached_future()
    future.finish(np.zeros(10_000))
    assert future.lacks_preview
    preview.ask(future)
    assert future.preview is None


def test_detached_futures_fail_and_lose_their_engine() -> None:
    failed, died, lost = (detached_future() for _ in range(3))
    failed.fail(ZeroDivisionError("by hand"))
    died.worker_died("task process 7 died: exit status 1")
    lost.lose_engine()
    assert isinstance(failed.exception(0), ZeroDivisionError)
    assert failed.failure is not None
    assert failed.failure.headline == "ZeroDivisionError: by hand"
    with pytest.raises(ProcessorDiedError, match="exit status 1"):
        died.result(0)
    with pytest.raises(EngineLostError):
        lost.result(0)


def test_detached_futures_are_waited_for_like_others() -> None:
    first, second = detached_future("a()"), detached_future("b()")
    called: SimpleQueue[ScalerFuture[object]] = SimpleQueue()
    first.add_done_callback(called.put)
    first.finish(1)
    assert called.get(timeout=SAFETY) is first
    assert wait([first, second], timeout=0).not_done == {second}
    second.finish(2)
    assert {future.result(0) for future in as_completed([first, second], SAFETY)} == {1, 2}
    assert first.task_id != second.task_id


def test_a_task_on_a_thread_displays_too() -> None:
    with memory_executor(auto=True) as executor:
        future = executor.submit(publish, {"text/plain": "from a thread"})
        future.result(10)
        assert future.displays == (Display({"text/plain": "from a thread"}, {}),)


def test_graphs_objects_and_futures_as_arguments_on_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(gates, "slow", gate := threading.Event())

    def waits() -> int:
        assert wait_at_gate("slow", SAFETY)
        return -1

    def fail(x: int) -> None:
        raise ValueError(x)

    with memory_executor(auto=True) as executor:
        graph = {"a": 2, "b": (abs, "a"), "c": (max, "a", "b"), "bad": (fail, "c"), "next": (abs, "bad")}
        assert executor.get(graph, ["c", "a"]) == {"c": 2, "a": 2}
        with pytest.raises(ValueError, match="2"):
            executor.get(graph, ["next"])
        reference = executor.send_object([1, 2])
        assert executor.submit(sum, reference).result(SAFETY) == 3
        slow = executor.submit(waits)
        until_running(slow)
        needs, needs_that = slow.then(abs), slow.then(abs).then(abs)
        assert not needs.done()
        needs_that.request_cancel()
        gate.set()
        assert needs.result(SAFETY) == 1
        assert slow.then(abs).result(SAFETY) == 1
        executor.clear()
        with pytest.raises(MissingObjects):
            executor.submit(sum, reference)


class Counted:
    """A function that counts how often it is pickled."""

    pickles: int = 0

    def __call__(self, value: object) -> object:
        return value

    def __reduce__(self) -> tuple[type[object], tuple[()]]:
        Counted.pickles += 1
        return Counted, ()


def test_a_map_of_what_is_at_hand_pickles_its_function_once_and_any_other_submits_call_by_call() -> None:
    with memory_executor() as executor:
        Counted.pickles = 0
        executor.submit(Counted(), 1)
        of_one = Counted.pickles
        for submit in (executor.map_async, executor.map):
            Counted.pickles = 0
            submit(Counted(), [1, 2, 3], range(3))
            assert Counted.pickles == of_one
        assert len(executor.unfinished()) == 7

        def items() -> Iterator[int]:
            for number in range(3):
                assert len(executor.unfinished()) == 7 + number
                yield number

        executor.map_async(Counted(), items())
        assert Counted.pickles == 4 * of_one
        with pytest.raises(TaskSerializationError, match="argument 1 of Counted"):
            executor.map_async(Counted(), [1, threading.Lock(), 3])
        assert len(executor.unfinished()) == 11  # what came before the error


def test_a_submit_of_ones_own_is_that_of_a_map_too() -> None:
    calls: list[Any] = []

    class Noting(InMemoryExecutor):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> ScalerFuture[Any]:
            calls.append(args)
            return super().submit(fn, *args, **kwargs)

    with Noting() as executor:
        executor.map_async(abs, [-1, -2])
        executor.map(abs, [-3])
        assert calls == [(-1,), (-2,), (-3,)]
