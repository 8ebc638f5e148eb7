"""A future as its views see it."""

from typing import Any

from ..client.future import ScalerFuture
from ..protocol.messages import TaskResultType
from ..protocol.states import TaskState
from .rendering import Row, look

OUTPUT_TAIL = 16_000  # characters of output that a view carries; all of it is in ``future.logs``
OUTPUT_LINES = 200


def row(future: ScalerFuture[Any], preview: str | None = None, rich: str | None = None) -> Row:
    """Read a future; runs none of the user's code, blocks never.

    Parameters
    ----------
    preview, rich
        The result as text and as HTML, if somebody has made them.
    """
    state = future.state
    reason, failure = future.cancel_reason, future.failure
    outcome = None
    if state is TaskState.FINISHED:
        outcome = TaskResultType.FAILED if failure is not None else TaskResultType.SUCCESS
    output, truncated = future.last_output(OUTPUT_TAIL)
    lines = output.splitlines(keepends=True)
    shown: Row = {
        "task_id": future.task_id,
        "call": future.call,
        "state": state.value,
        "word": "",
        "outcome": None if outcome is None else ("failed" if outcome is TaskResultType.FAILED else "success"),
        "reason": reason.value if reason is not None else None,
        "refused": future.refused,
        "submitted_at": future.submitted_at,
        "started_at": future.started_at,
        "ended_at": future.ended_at,
        "output": "".join(lines[-OUTPUT_LINES:]),
        "output_truncated": truncated or len(lines) > OUTPUT_LINES,
        "error": failure.headline if failure is not None else None,
        "traceback": failure.traceback if failure is not None else None,
        "result": preview if outcome is TaskResultType.SUCCESS else None,
        "rich": rich if outcome is TaskResultType.SUCCESS else None,
        "progress": None,
    }
    shown["word"] = look(shown["state"], shown["outcome"]).word
    return shown
