"""The trace of a task: its messages, in order, with their times."""

from __future__ import annotations

import re
import time

import pytest
from waits import SAFETY, until_running

from scaler_notebook import EngineLostError, NotebookExecutor
from scaler_notebook.protocol.future_events import DeadlineReached
from scaler_notebook.protocol.messages import TaskCancelConfirmType
from scaler_notebook.testing import DetachedFuture, detached_future


def said(future: DetachedFuture) -> list[str]:
    arrow = {"client": "→", "engine": "←", "": " "}
    return [f"{arrow[entry.sender]} {entry.message} {entry.detail}".strip() for entry in future.trace()]


def test_a_refusal_and_a_kill() -> None:
    future = detached_future("fit(model)")
    future.start()
    future.request_cancel(force=False, grace=2)
    future.refuse()
    future.request_cancel()
    future.confirm()
    assert said(future) == [
        "→ Task",
        "← TaskStarted process memory",
        "→ TaskCancel force=False, grace 2 s",
        "← TaskCancelConfirm CancelFailed, force=False",
        "→ TaskCancel force=True, grace 1 s",
        "← TaskCancelConfirm Canceled, force=True",
    ]
    times = [entry.time for entry in future.trace()]
    assert times == sorted(times)
    assert abs(times[0] - time.time()) < SAFETY


def test_what_came_to_nothing_says_so() -> None:
    future = detached_future()
    future.confirm(TaskCancelConfirmType.CANCEL_FAILED)
    future.request_cancel(force=False)
    future.request_cancel(force=False)  # no message: one of that strength is under way
    future.finish("x" * 1000)
    assert said(future)[1:] == [
        "← TaskCancelConfirm CancelFailed, force=True, ignored",
        "→ TaskCancel force=False, grace 1 s",
        "← TaskResult Success",
    ]


def test_a_deadline_says_so() -> None:
    future = detached_future("fit(model)")
    future.handle(DeadlineReached())
    future.finish("too late")
    assert said(future) == [
        "→ Task",
        "→ TaskCancel force=True, grace 1 s, timed out",
        "← TaskResult Success",
    ]


def test_what_is_no_message() -> None:
    future = detached_future()
    future.lose_engine(EngineLostError("it died"))
    assert said(future)[1:] == ["EngineLostError: it died"] or said(future)[1:] == [
        "engine lost EngineLostError: it died"
    ]
    future = detached_future()
    future.finish()
    future.request_cancel()
    future.request_cancel()
    assert said(future)[1:] == ["← TaskResult Success", "discarded cancelled after it had finished"]


def test_it_prints_as_a_time_line() -> None:
    future = detached_future("fit(model)")
    future.start()
    future.finish()
    lines = str(future.trace()).splitlines()
    assert lines[0] == f"{future.task_id}  fit(model)"
    assert [re.sub(r"^ +\d+\.\d{3} s  [·●]{24}  ", "", line) for line in lines[1:]] == [
        "→ Task",
        "← TaskStarted  process memory",
        "← TaskResult   Success",
    ]
    assert [line.count("●") for line in lines[1:]] == [1, 1, 1]
    assert lines[1].index("●") < lines[3].index("●")
    assert repr(future.trace()) == str(future.trace())
    assert len(str(detached_future().trace()).splitlines()) == 2


@pytest.mark.parametrize("force", [True, False])
def test_of_a_real_task(executor: NotebookExecutor, force: bool) -> None:
    future = executor.submit(time.sleep, 60)
    until_running(future)
    assert future.cancel(SAFETY, force, grace=5)
    task, started, request, confirm = future.trace()
    assert (task.message, started.message) == ("Task", "TaskStarted")
    assert int(started.detail.removeprefix("process ")) > 1
    assert request.detail == f"force={force}, grace 5 s"
    assert confirm.detail == f"Canceled, force={force}"
