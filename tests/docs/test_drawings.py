"""docs/states.md is what the tables say, and its arrows are true."""

import runpy
from pathlib import Path
from typing import Any

import pytest

from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.errors import EngineLostError
from scaler_notebook.protocol.messages import (
    TaskCancelConfirm,
    TaskCancelConfirmType,
    TaskResult,
    TaskResultType,
    TaskStarted,
)
from scaler_notebook.protocol.states import TABLE, FutureAction, FutureEvent, TaskState

ROOT = Path(__file__).parents[2]

DATA: dict[FutureEvent, Any] = {
    FutureEvent.STARTED: TaskStarted("t", "1", 1.0),
    FutureEvent.CANCEL_REQUESTED: None,
    FutureEvent.DEADLINE: None,
    FutureEvent.CONFIRM_CANCELED: TaskCancelConfirm("t", TaskCancelConfirmType.CANCELED, True),
    FutureEvent.CONFIRM_NOT_FOUND: TaskCancelConfirm("t", TaskCancelConfirmType.CANCEL_NOT_FOUND, True),
    FutureEvent.CONFIRM_FAILED: TaskCancelConfirm("t", TaskCancelConfirmType.CANCEL_FAILED, True),
    FutureEvent.RESULT: TaskResult("t", TaskResultType.SUCCESS, payloads.dump(42)),
    FutureEvent.ENGINE_LOST: EngineLostError("gone"),
}
WAYS: dict[TaskState, list[tuple[FutureEvent, ...]]] = {
    TaskState.SUBMITTED: [()],
    TaskState.RUNNING: [(FutureEvent.STARTED,)],
    TaskState.CANCELLING: [(FutureEvent.CANCEL_REQUESTED,), (FutureEvent.STARTED, FutureEvent.CANCEL_REQUESTED)],
    TaskState.FINISHED: [(FutureEvent.RESULT,)],
    TaskState.CANCELLED: [(FutureEvent.CANCEL_REQUESTED, FutureEvent.CONFIRM_CANCELED)],
}


def test_the_page_is_what_the_tables_say() -> None:
    page = runpy.run_path(str(ROOT / "tools" / "draw_states.py"))["page"]()
    assert (ROOT / "docs" / "states.md").read_text(encoding="utf-8") == page, "run tools/draw_states.py"


@pytest.mark.parametrize(("state", "event"), TABLE)
def test_every_arrow_of_a_future_is_true(state: TaskState, event: FutureEvent) -> None:
    """For the scheduler's, ``test_scheduler_core`` carries every cell out."""
    reached = set()
    for way in WAYS[state]:
        future: ScalerFuture[int] = ScalerFuture(task_id="t", call="f()")
        for earlier in way:
            future.handle(earlier, DATA[earlier])
        assert future.state is state
        future.handle(event, DATA[event])
        reached.add(future.state)
    assert reached == set(TABLE[state, event].to or (state,))


def test_every_action_of_a_future_is_in_its_table() -> None:
    assert list(TABLE) == [(state, event) for event in FutureEvent for state in TaskState]
    assert set(TABLE.values()) == set(FutureAction)
