"""The ways in which one try of a task ends, as the process that ran the task sees them."""

from enum import Enum


class TaskEnd(Enum):
    """The end of a try; engines send it by its value."""

    SUCCESS = "success"
    FAILED = "failed"
    FAILED_FOR_GOOD = "failed for good"  # by an error after which the task is not tried again
    STOPPED = "stopped"  # by the interrupt that the scheduler asked for
    UNPREPARED = "unprepared"  # the client's initializer raised
