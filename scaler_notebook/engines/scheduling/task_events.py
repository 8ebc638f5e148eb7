"""The events that a task can have at every engine; those of one engine alone stand beside its table of transitions."""

from typing import ClassVar

from scaler_notebook.protocol.frozen import frozen
from scaler_notebook.protocol.messages import TaskResult


@frozen
class InputsAvailable:
    """The last of the values that a task depends on has come."""

    words: ClassVar[str] = "inputs there"


@frozen
class InputFailed:
    """A task that this one depends on, however far up, has failed."""

    words: ClassVar[str] = "an input failed"
    result: TaskResult  # the failure, with the id of the task that failed as ``origin``


@frozen
class InputCancelled:
    """A task that this one depends on, however far up, was cancelled."""

    words: ClassVar[str] = "an input was cancelled"
    origin: str  # the id of the task that was cancelled


@frozen
class GraceOver:
    """The grace period of a cancel request is over; at once if the task cannot be told of the request."""

    words: ClassVar[str] = "end of the grace period"


@frozen
class BackoffOver:
    """The pause before the next try of a task is over."""

    words: ClassVar[str] = "end of the back-off"
