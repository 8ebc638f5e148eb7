"""The tasks that a task has submitted, as the task's own views show them."""

from collections import Counter
from typing import Any

from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.protocol.messages import TaskActivity, TaskBrief
from scaler_notebook.quantities import amount, thin_spaced
from scaler_notebook.wording import counted

from .row import NestedTask
from .static.terminal_text import one_line

MAX_SHOWN = 20  # nested tasks that one card shows
INTEREST = ("failed", "lost", "cancelling", "running", "queued", "cancelled", "done")
ENDS = (TaskActivity.DONE, TaskActivity.FAILED, TaskActivity.CANCELLED)


def nested_kind(brief: TaskBrief, lost: bool) -> str:
    """Return the state of a nested task as a person sees it.

    Parameters
    ----------
    brief
        What the engine has told of it.
    lost
        Whether the engine is gone.
    """
    return "lost" if lost and brief.activity not in ENDS else brief.activity.value


def nested_name(brief: TaskBrief) -> str:
    """Return the call of a nested task, or its id where there is none."""
    return one_line(brief.name) or brief.task_id


def nested_tasks(future: ScalerFuture[Any]) -> tuple[list[NestedTask], str | None]:
    """Read the tasks that a future's task has submitted.

    Returns
    -------
    tuple of list of NestedTask and str or None
        Those that matter most, each behind the one that has submitted it, and all of them in words; None if there are
        none.
    """
    below = dict(future.nested)
    if not below:
        return [], None
    kinds = {task_id: nested_kind(brief, future.lost) for task_id, brief in below.items()}
    chosen = set(sorted(below, key=lambda task_id: INTEREST.index(kinds[task_id]))[:MAX_SHOWN])
    counts = Counter(kinds.values())
    words = [f"{amount(counts[kind])} {kind}" for kind in INTEREST if counts[kind]]
    if future.nested_omitted:
        words.append(f"{amount(future.nested_omitted)} more")
    total = thin_spaced(counted(len(below) + future.nested_omitted, "task"))
    shown = [
        NestedTask(
            task_id=task_id,
            call=nested_name(below[task_id]),
            kind=kinds[task_id],
            submitted_at=below[task_id].submitted,
            started_at=below[task_id].started or None,
            ended_at=below[task_id].ended or None,
            depth=depth,
        )
        for task_id, depth in _in_order(below, future.task_id)
        if task_id in chosen
    ]
    return shown, f"{total} that it has submitted: {', '.join(words)}"


def _in_order(below: dict[str, TaskBrief], top: str) -> list[tuple[str, int]]:
    """Return the ids of nested tasks with their depths, each behind the one that has submitted it.

    Parameters
    ----------
    below
        The nested tasks, by id.
    top
        The id of the task that they are below.
    """
    children: dict[str, list[str]] = {}
    for brief in sorted(below.values(), key=lambda brief: brief.submitted):
        children.setdefault(brief.parent, []).append(brief.task_id)
    ordered: list[tuple[str, int]] = []
    left = [(task_id, 0) for task_id in reversed(children.get(top, ()))]
    while left:
        task_id, depth = left.pop()
        ordered.append((task_id, depth))
        left += [(each, depth + 1) for each in reversed(children.pop(task_id, ()))]
    return ordered
