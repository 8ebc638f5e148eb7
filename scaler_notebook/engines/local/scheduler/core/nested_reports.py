"""Reports to clients of the tasks that their tasks, and these in turn, have submitted.

The client of a nested task is a task process. Whoever looks at the task above is told in brief, some times a second
and of so many tasks at most; a client that shows nothing is not told.
"""

from functools import partial

from scaler_notebook.engines.scheduling.timers import Clock
from scaler_notebook.protocol.messages import TaskActivity, TaskNested, TaskResultType

from .effects import Effects
from .events import Event
from .state.records import NestedTasks, TaskRecord
from .state.scheduler_state import SchedulerState, TimerKey
from .states import TaskStage
from .task_briefs import ended_brief, unfinished_brief

INTERVAL = 0.1  # seconds between two messages about what is below one task
MAX_TOLD = 200  # tasks below one task of which its client hears; it is told how many more there are

_STOPPED = (TaskStage.ASKED, TaskStage.WARNED, TaskStage.ENDING)


class NestedReports:
    """The messages about nested tasks that are still to be sent.

    Parameters
    ----------
    state
        The core's state.
    effects
        Sends the messages.
    clock
        The source of the time.
    """

    def __init__(self, state: SchedulerState, effects: Effects, clock: Clock) -> None:
        self._state = state
        self._effects = effects
        self._clock = clock

    def join(self, record: TaskRecord) -> None:
        """Report a task that was submitted, if another task has submitted it and the client of that one looks."""
        if (parent := record.parent) is None:
            return
        nested = parent.nested
        if nested is None:
            context = self._state.contexts.get(record.root)
            if parent.depth or context is None or not context.shows_results:
                return
            nested = parent.nested = NestedTasks(record.root, parent.task.task_id)
        nested.count += 1
        if nested.count <= MAX_TOLD:
            record.nested = nested
            nested.unfinished[record.task.task_id] = record
        self._tell_soon(nested)

    def changed(self, record: TaskRecord, before: TaskStage, event: Event) -> None:
        """Report a change of a nested task.

        Parameters
        ----------
        record
            The task.
        before
            The stage before the change.
        event
            What has changed it.
        """
        nested = record.nested
        if nested is None or not record.depth:
            return
        if record.stage is TaskStage.OVER:
            nested.unfinished.pop(record.task.task_id, None)
            nested.ended.append(ended_brief(record, _end(before, event), self._clock.time()))
        else:
            nested.unfinished[record.task.task_id] = record
        self._tell_soon(nested)

    def tell(self, nested: NestedTasks) -> None:
        """Send what has changed below a task since it was last sent."""
        self._state.timers.cancel(_due(nested))
        told = (*map(unfinished_brief, nested.unfinished.values()), *nested.ended)
        nested.unfinished.clear()
        nested.ended.clear()
        if nested.owner in self._state.contexts:
            self._effects.send(nested.owner, TaskNested(nested.task_id, told, max(0, nested.count - MAX_TOLD)))

    def _tell_soon(self, nested: NestedTasks) -> None:
        """Set the timer for what has changed below a task."""
        if _due(nested) not in self._state.timers:
            self._state.timers.set(_due(nested), self._clock.monotonic() + INTERVAL, partial(self.tell, nested))


def _due(nested: NestedTasks) -> TimerKey:
    """Return the key of the timer for what is below a task."""
    return "nested", nested.task_id


def _end(before: TaskStage, event: Event) -> TaskActivity:
    """Return how a task ended: what was asked to stop is cancelled, whatever comes of it.

    Parameters
    ----------
    before
        The stage in which it ended.
    event
        What ended it.
    """
    result = getattr(event, "result", None)
    if before in _STOPPED or result is None:
        return TaskActivity.CANCELLED
    return TaskActivity.DONE if result.outcome is TaskResultType.SUCCESS else TaskActivity.FAILED
