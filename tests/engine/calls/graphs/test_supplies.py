"""Futures as arguments, in every order in which an engine can hear of them and of their ends."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from waits import SAFETY

from scaler_notebook import CancelReason, MissingObjects, ScalerFuture, TaskState
from scaler_notebook.client.agent import input_values
from scaler_notebook.client.waiting import callback_thread
from scaler_notebook.engines.testing.task_messages import failed, succeeded
from scaler_notebook.protocol.messages import (
    ObjectCreate,
    ObjectDelete,
    Payload,
    Task,
    TaskCancel,
    TaskCancelConfirmType,
    TaskResult,
    TaskResultType,
)
from scaler_notebook.testing import InMemoryExecutor, memory_executor


def missed(future: ScalerFuture[Any], *needed: ScalerFuture[Any]) -> TaskResult:
    """The engine does not have what the task needs."""
    lost = Payload("\n".join(each.task_id for each in needed).encode())
    return TaskResult(future.task_id, TaskResultType.MISSING_OBJECTS, lost)


def tasks(executor: InMemoryExecutor) -> list[str]:
    return [task.task_id for task in executor.engine.sent.all(Task)]


def until_called_back(executor: InMemoryExecutor) -> None:
    """What was posted to the callback thread so far is done, and what it has posted to the engine is sent."""
    over = []
    callback_thread.inputs.post(lambda: over.append(True))
    deadline = time.monotonic() + SAFETY
    while not over:
        assert time.monotonic() < deadline
    executor.engine.tell()  # nothing, behind what else the agent has to do


def test_what_has_not_ended_is_named() -> None:
    with memory_executor() as executor:
        first = executor.submit(abs, -1)
        second = executor.submit(max, first, [first, 2])
        assert executor.engine.sent.next(Task).inputs == ()
        assert executor.engine.sent.next(Task).inputs == (first.task_id,)
        assert executor.engine.sent.all(ObjectCreate) == []
        executor.engine.finish(second, 3)
        assert second.result(0) == 3


def test_an_engine_that_cannot_keep_a_value_is_not_sent_it_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_values, "backoff", lambda refusals: 0.0)
    with memory_executor() as executor:
        first = executor.submit(abs, -1)
        executor.engine.finish(first, 1)
        second = executor.submit(abs, first)
        assert executor.engine.sent.next(Task).task_id == first.task_id
        for _ in range(1 + len(second.inputs) + input_values.MAX_REFUSALS):
            assert not second.done()
            assert executor.engine.sent.next(Task).task_id == second.task_id
            executor.engine.tell(missed(second, first))
        assert isinstance(second.exception(SAFETY), MissingObjects)


def test_what_has_ended_travels_with_the_task() -> None:
    with memory_executor() as executor:
        first = executor.submit(abs, -1)
        executor.engine.finish(first, 1)
        second = executor.submit(max, first, 2)
        task = executor.engine.sent.next(Task)
        while task.task_id != second.task_id:
            task = executor.engine.sent.next(Task)
        assert executor.engine.sent.next(ObjectCreate).object_id == first.task_id
        assert executor.engine.sent.next(ObjectDelete).object_ids == (first.task_id,)


@pytest.mark.parametrize("together", [True, False])
def test_what_ends_while_the_task_is_on_its_way_is_sent_after_it(together: bool) -> None:
    with memory_executor() as executor:
        first = executor.submit(abs, -1)
        second = executor.submit(max, first, 2)
        messages = [succeeded(first.task_id, 1), missed(second, first)]
        if together:
            executor.engine.tell(*messages)
        else:
            for message in messages:
                executor.engine.tell(message)
        assert executor.engine.sent.next(ObjectCreate).object_id == first.task_id
        until_called_back(executor)
        assert tasks(executor) == [first.task_id, second.task_id, second.task_id]
        assert not second.done()
        executor.engine.finish(second, 2)
        assert second.result(0) == 2


def test_it_is_not_sent_again_once_its_cancel_is_on_its_way() -> None:
    with memory_executor() as executor:
        first = executor.submit(abs, -1)
        second = executor.submit(max, first, 2)
        second.request_cancel()
        executor.engine.sent.next(TaskCancel)
        executor.engine.tell(succeeded(first.task_id, 1), missed(second, first))
        until_called_back(executor)
        assert tasks(executor) == [first.task_id, second.task_id]
        executor.engine.confirm(second, TaskCancelConfirmType.CANCEL_NOT_FOUND)
        assert second.cancel_reason is CancelReason.NOT_FOUND


def test_what_failed_meanwhile_is_the_end_of_it() -> None:
    with memory_executor() as executor:
        first = executor.submit(abs, -1)
        second = executor.submit(max, first, 2)
        executor.engine.tell(failed(first.task_id, KeyError("k")), missed(second, first))
        assert isinstance(second.exception(SAFETY), KeyError)
        assert second.origin == first.task_id
        assert tasks(executor) == [first.task_id, second.task_id]


def test_what_was_cancelled_meanwhile_cancels_it() -> None:
    with memory_executor() as executor:
        first = executor.submit(abs, -1)
        second = executor.submit(max, first, 2)
        first.request_cancel()
        executor.engine.confirm(first)
        executor.engine.tell(missed(second, first))
        until_called_back(executor)
        assert second.cancel_reason is CancelReason.PARENT_CANCELLED
        assert second.origin == first.task_id


def test_what_lacks_one_that_was_missing_something_itself_waits_for_its_end() -> None:
    with memory_executor() as executor:
        first = executor.submit(abs, -1)
        second = executor.submit(max, first, 2)
        third, fourth = executor.submit(abs, second), executor.submit(abs, second)
        everything = succeeded(first.task_id, 1), missed(second, first), missed(third, second), missed(fourth, second)
        executor.engine.tell(*everything)
        until_called_back(executor)
        assert tasks(executor)[4:] == [second.task_id]
        fourth.request_cancel()
        executor.engine.confirm(fourth, TaskCancelConfirmType.CANCEL_NOT_FOUND)
        executor.engine.finish(second, 2)
        until_called_back(executor)
        assert tasks(executor)[4:] == [second.task_id, third.task_id]
        executor.engine.finish(third, 2)
        assert third.result(0) == 2


def test_what_nobody_here_has_is_an_error_that_names_it() -> None:
    with memory_executor() as executor:
        reference = executor.send_object(1, name="one")
        future = executor.submit(max, reference, 2)
        lost = Payload(reference.object_id.encode())
        executor.engine.tell(TaskResult(future.task_id, TaskResultType.MISSING_OBJECTS, lost))
        assert future.state is TaskState.FINISHED
        with pytest.raises(LookupError, match=reference.object_id):
            future.result(0)


def test_a_value_that_cannot_be_pickled_again_fails_what_needs_it() -> None:
    with memory_executor() as executor:
        first = executor.submit(list)
        executor.engine.finish(first, [])
        first.result(0).append(threading.Lock())
        second = executor.submit(len, first)
        assert isinstance(second.exception(SAFETY), TypeError)


def test_a_done_callback_may_wait_for_a_task_whose_inputs_are_sent_again() -> None:
    with memory_executor() as executor:
        first = executor.submit(abs, -1)
        second = executor.submit(max, first, 2)
        values: list[int] = []
        first.add_done_callback(lambda _: values.append(second.result(SAFETY)))
        executor.engine.tell(succeeded(first.task_id, 1), missed(second, first))
        deadline = time.monotonic() + SAFETY
        while tasks(executor).count(second.task_id) < 2:
            assert time.monotonic() < deadline, "it was not sent again"
        executor.engine.finish(second, 2)
        callback_thread.drain()
        assert values == [2]
