"""Tasks in brief, as clients are told of them."""

import re
from dataclasses import replace

from scaler_notebook.protocol.messages import TaskActivity, TaskBrief, TaskOptions

from .state.records import TaskRecord
from .states import TaskStage

ACTIVITIES = {
    TaskStage.WAITING: TaskActivity.QUEUED,
    TaskStage.QUEUED: TaskActivity.QUEUED,
    TaskStage.BACKING_OFF: TaskActivity.QUEUED,
    TaskStage.PREFETCHED: TaskActivity.QUEUED,
    TaskStage.RUNNING: TaskActivity.RUNNING,
    TaskStage.ASKED: TaskActivity.CANCELLING,
    TaskStage.WARNED: TaskActivity.CANCELLING,
    TaskStage.ENDING: TaskActivity.CANCELLING,
}

# What a call or code begins with: a function, or a name that is assigned; "× 100" says how many calls a chunk has.
LEADING_NAME = re.compile(r"(?:<lambda>|[^\W\d][\w.]*)(?: × [\d\u2009]+$)?")


def unfinished_brief(record: TaskRecord) -> TaskBrief:
    """Return what a task's own client may know of it while it is not over."""
    task, activity = record.task, ACTIVITIES[record.stage]
    started, process = (0.0, 0) if activity is TaskActivity.QUEUED else (record.started, record.process)
    return TaskBrief(
        task.task_id, task.options.name, activity, record.submitted, started, process, parent=nested_in(record)
    )


def public_brief(record: TaskRecord) -> TaskBrief:
    """Return what any client may know of a task that is not over: no arguments, which may be passwords."""
    return replace(unfinished_brief(record), name=public_name(record.task.options))


def public_name(options: TaskOptions) -> str:
    """Return the name that the user chose for a task, or that of the function which it calls."""
    if options.is_named or not options.name:
        return options.name
    found = LEADING_NAME.match(options.name)
    return found[0] if found is not None else "…"


def ended_brief(record: TaskRecord, activity: TaskActivity, ended: float) -> TaskBrief:
    """Return what a task's own client may know of it when it is over.

    Parameters
    ----------
    record
        The task.
    activity
        How the task ended.
    ended
        When it ended, in seconds since the epoch.
    """
    task = record.task
    started, process = (record.started, record.process) if record.dispatches else (0.0, 0)
    return TaskBrief(
        task.task_id, task.options.name, activity, record.submitted, started, process, nested_in(record), ended
    )


def nested_in(record: TaskRecord) -> str:
    """Return the id of the task that has submitted this one; empty if no task has."""
    return record.task.parent if record.depth else ""
