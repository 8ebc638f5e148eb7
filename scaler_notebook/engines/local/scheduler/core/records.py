"""The scheduler's record of a task."""

from dataclasses import dataclass, field

from scaler_notebook.protocol.messages import Capability, ClientContext, Task

from .states import Stage


@dataclass(slots=True, eq=False)
class TaskRecord:
    """One task, from its arrival to its last message."""

    task: Task
    owner: bytes  # the client that has submitted it
    context: ClientContext | None = None
    needs: tuple[Capability, ...] = ()  # without which it cannot run
    number: int = 0  # in the order of submission, those that tasks wait for before all others
    priority: int = 0  # its own, or its parent's if that is higher
    stage: Stage = Stage.QUEUED
    process: int = 0
    handed: int = 0  # how often, in this try
    failed: int = 0  # tries
    started: float = 0.0  # seconds since the epoch
    force: bool = False  # of the strongest request so far, for the answer; the table has stages for it
    missing: int = 0  # values that it waits for
    root: bytes = b""  # the client that is within no task, and has submitted it or what submitted it
    parent: "TaskRecord | None" = None  # as long as that runs
    depth: int = 0  # of nesting
    children: "dict[str, TaskRecord]" = field(default_factory=dict)  # unfinished tasks that it has submitted

    @property
    def tries_left(self) -> bool:
        """May it fail once more?"""
        return self.failed < self.task.options.retries

    @property
    def outlives(self) -> bool:
        """May its process die once more?"""
        return self.tries_left and self.task.options.retry_deaths
