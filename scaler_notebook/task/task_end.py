"""How one try of a task ended, as the process that ran the task saw it."""

from enum import Enum


class TaskEnd(Enum):
    """What became of a try; engines send it by its value."""

    SUCCESS = "success"
    FAILED = "failed"
    FAILED_FOR_GOOD = "failed for good"  # by an error after which it is not tried again
    STOPPED = "stopped"  # by the interrupt that the scheduler asked for
    UNPREPARED = "unprepared"  # what its client has called first has raised
