"""docs/states.md is what the tables say, and its arrows are true."""

import runpy
from pathlib import Path
from typing import get_args

import pytest

from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.protocol import future_events, payloads
from scaler_notebook.protocol.errors import EngineLostError
from scaler_notebook.protocol.future_events import FutureEvent
from scaler_notebook.protocol.messages import (
    TaskCancelConfirm,
    TaskCancelConfirmType,
    TaskResult,
    TaskResultType,
    TaskStarted,
)
from scaler_notebook.protocol.states import TABLE, FutureAction, TaskState

ROOT = Path(__file__).parents[2]

CONFIRM = TaskCancelConfirmType
MADE: dict[type[FutureEvent], FutureEvent] = {
    future_events.StartAnnounced: future_events.StartAnnounced(TaskStarted("t", "1", 1.0)),
    future_events.CancelRequested: future_events.CancelRequested(),
    future_events.DeadlineReached: future_events.DeadlineReached(),
    future_events.CancelGranted: future_events.CancelGranted(TaskCancelConfirm("t", CONFIRM.CANCELED, True)),
    future_events.TaskUnknown: future_events.TaskUnknown(TaskCancelConfirm("t", CONFIRM.CANCEL_NOT_FOUND, True)),
    future_events.CancelRefused: future_events.CancelRefused(TaskCancelConfirm("t", CONFIRM.CANCEL_FAILED, True)),
    future_events.ResultArrived: future_events.ResultArrived(
        TaskResult("t", TaskResultType.SUCCESS, payloads.dump(42))
    ),
    future_events.EngineGone: future_events.EngineGone(EngineLostError("gone")),
}
WAYS: dict[TaskState, list[tuple[type[FutureEvent], ...]]] = {
    TaskState.SUBMITTED: [()],
    TaskState.RUNNING: [(future_events.StartAnnounced,)],
    TaskState.CANCELLING: [
        (future_events.CancelRequested,),
        (future_events.StartAnnounced, future_events.CancelRequested),
    ],
    TaskState.FINISHED: [(future_events.ResultArrived,)],
    TaskState.CANCELLED: [(future_events.CancelRequested, future_events.CancelGranted)],
}


def test_the_page_is_what_the_tables_say() -> None:
    page = runpy.run_path(str(ROOT / "tools" / "draw_states.py"))["page"]()
    assert (ROOT / "docs" / "states.md").read_text(encoding="utf-8") == page, "run tools/draw_states.py"


@pytest.mark.parametrize(("state", "event"), TABLE)
def test_every_arrow_of_a_future_is_true(state: TaskState, event: type[FutureEvent]) -> None:
    """For the scheduler's, ``test_scheduler_core`` carries every cell out."""
    reached = set()
    for way in WAYS[state]:
        future: ScalerFuture[int] = ScalerFuture(task_id="t", call="f()")
        for earlier in way:
            future.handle(MADE[earlier])
        assert future.state is state
        future.handle(MADE[event])
        reached.add(future.state)
    assert reached == set(TABLE[state, event].to or (state,))


def test_every_action_of_a_future_is_in_its_table() -> None:
    assert list(TABLE) == [(state, event) for event in get_args(FutureEvent) for state in TaskState]
    assert set(TABLE.values()) == set(FutureAction)
