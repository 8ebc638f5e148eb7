"""The events of a task at a Scaler cluster, each with the data that it brings along."""

from typing import ClassVar, TypeAlias

from scaler_notebook.engines.scaler.wire.inband_events import StartedEvent
from scaler_notebook.engines.scheduling import task_events
from scaler_notebook.protocol.frozen import frozen
from scaler_notebook.protocol.messages import TaskResult


@frozen
class Sent:
    """The task and its arguments are at the cluster."""

    words: ClassVar[str] = "sent"


@frozen
class Unsendable:
    """The task cannot be sent."""

    words: ClassVar[str] = "cannot be sent"
    result: TaskResult  # the failure that says why


@frozen
class StartReported:
    """The task reports its start; once more if the worker is lost and Scaler runs the task again."""

    words: ClassVar[str] = "start reported"
    start: StartedEvent


@frozen
class StopRequested:
    """The client asks the task to stop."""

    words: ClassVar[str] = "TaskCancel"


@frozen
class StopForced:
    """The client has the task stopped, whatever that takes."""

    words: ClassVar[str] = "TaskCancel(force)"


@frozen
class StopReported:
    """The task reports that it was stopped."""

    words: ClassVar[str] = "stop reported"


@frozen
class CancelConfirmed:
    """Scaler confirms a cancel."""

    words: ClassVar[str] = "Canceled"


@frozen
class CancelNotFound:
    """Scaler does not know the task."""

    words: ClassVar[str] = "CancelNotFound"


@frozen
class ResultAvailable:
    """Scaler reports the end of the task, whose result is in the storage."""

    words: ClassVar[str] = "TaskResult"


@frozen
class ResultFetched:
    """The result of the task has come from the storage."""

    words: ClassVar[str] = "result fetched"
    result: TaskResult


@frozen
class FailureFetched:
    """The failure of a try has come from the storage, and the task has tries left."""

    words: ClassVar[str] = "failure fetched, tries left"


ScalerEvent: TypeAlias = (
    task_events.InputsAvailable
    | task_events.InputFailed
    | task_events.InputCancelled
    | Sent
    | Unsendable
    | StartReported
    | StopRequested
    | StopForced
    | task_events.GraceOver
    | StopReported
    | CancelConfirmed
    | CancelNotFound
    | ResultAvailable
    | ResultFetched
    | FailureFetched
    | task_events.BackoffOver
)
