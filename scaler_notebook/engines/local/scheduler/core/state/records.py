"""The scheduler's record of a task."""

from dataclasses import dataclass, field

from scaler_notebook.engines.local.scheduler.core.states import TaskStage
from scaler_notebook.protocol.messages import Capability, ClientContext, Task, TaskBrief


@dataclass(slots=True, eq=False)
class NestedTasks:
    """All that is below a task of a client that looks: what the task has submitted, and what that has, and so on."""

    owner: bytes  # the client
    task_id: str  # of the task
    count: int = 0  # tasks that were ever below it
    unfinished: "dict[str, TaskRecord]" = field(default_factory=dict)  # those that have changed and not ended
    ended: list[TaskBrief] = field(default_factory=list)  # those of which the client has not been told that


@dataclass(slots=True, eq=False)
class TaskRecord:
    """The scheduler's record of one task, from its submission to its last message."""

    task: Task
    owner: bytes  # the client
    context: ClientContext | None = None
    needs: tuple[Capability, ...] = ()  # capabilities, memory and devices
    devices: tuple[int, ...] = ()  # those that the task has, or had last, by their numbers
    number: int = 0  # see :mod:`.turns`; tasks that running tasks wait for come before all others
    priority: int = 0  # the higher one of the task's own and its parent's
    stage: TaskStage = TaskStage.QUEUED
    submitted: float = 0.0  # seconds since the epoch
    process: int = 0  # number of the last process
    seq: int = 0  # of the last run, among the runs of that process
    dispatches: int = 0  # in this try
    was_ahead: bool = False  # was the task prefetched, and taken back?
    failed: int = 0  # tries that have failed
    started: float = 0.0  # seconds since the epoch
    force: bool = False  # was any cancel request with force? Needed for the answer; the table has stages for that
    killed: bool = False  # did it run on for all of the grace period?
    missing: int = 0  # dependencies that have not arrived
    root: bytes = b""  # the client, within no task, that has submitted the task or, indirectly, its parent
    taken: int = 0  # items that the reader of the task's items has taken
    paused: bool = False  # does the task wait until more of its items are taken?
    parent: "TaskRecord | None" = None  # the task that has submitted this one, as long as that runs
    depth: int = 0  # of nesting; 0 for a task without a parent
    nested: NestedTasks | None = None  # all below the task at the top, if its client is told of them
    children: "dict[str, TaskRecord]" = field(
        default_factory=dict
    )  # by id, unfinished tasks that this one has submitted

    @property
    def tries_left(self) -> bool:
        """Whether the task may fail once more, and then be tried again."""
        return self.failed < self.task.options.retries

    @property
    def outlives(self) -> bool:
        """Whether the task's process may die, and the task then be tried again."""
        return self.tries_left and self.task.options.retry_worker_died
