"""The events of a task at a Scaler cluster, each with the data that it brings along."""

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from scaler_notebook.engines.scaler.wire.inband_events import StartedEvent
from scaler_notebook.protocol.messages import TaskResult


@dataclass(frozen=True, slots=True)
class InputsAvailable:
    """The last of the values that a task depends on has come."""

    words: ClassVar[str] = "inputs there"


@dataclass(frozen=True, slots=True)
class DependencyFailed:
    """A task that this one depends on, however far up, has failed."""

    words: ClassVar[str] = "an input failed"
    result: TaskResult  # the failure, with the task that it is of as ``origin``


@dataclass(frozen=True, slots=True)
class DependencyCancelled:
    """A task that this one depends on, however far up, was cancelled."""

    words: ClassVar[str] = "an input was cancelled"
    origin: str  # the id of the task that was cancelled


@dataclass(frozen=True, slots=True)
class Sent:
    """The task and its arguments are at the cluster."""

    words: ClassVar[str] = "sent"


@dataclass(frozen=True, slots=True)
class Unsendable:
    """The task cannot be sent."""

    words: ClassVar[str] = "cannot be sent"
    result: TaskResult  # the failure that says why


@dataclass(frozen=True, slots=True)
class StartReported:
    """The task reports its start; once more if the worker is lost and Scaler runs the task again."""

    words: ClassVar[str] = "start reported"
    start: StartedEvent


@dataclass(frozen=True, slots=True)
class StopRequested:
    """The client asks the task to stop."""

    words: ClassVar[str] = "TaskCancel"


@dataclass(frozen=True, slots=True)
class StopForced:
    """The client has the task stopped, whatever that takes."""

    words: ClassVar[str] = "TaskCancel(force)"


@dataclass(frozen=True, slots=True)
class GracePeriodOver:
    """The grace period of a cancel request is over; at once if the task has no mailbox."""

    words: ClassVar[str] = "end of the grace period"


@dataclass(frozen=True, slots=True)
class StopReported:
    """The task reports that it was stopped."""

    words: ClassVar[str] = "stop reported"


@dataclass(frozen=True, slots=True)
class CancelConfirmed:
    """Scaler confirms a cancel."""

    words: ClassVar[str] = "Canceled"


@dataclass(frozen=True, slots=True)
class CancelNotFound:
    """Scaler does not know the task."""

    words: ClassVar[str] = "CancelNotFound"


@dataclass(frozen=True, slots=True)
class ResultAvailable:
    """Scaler reports the end of the task, whose result is in the storage."""

    words: ClassVar[str] = "TaskResult"


@dataclass(frozen=True, slots=True)
class ResultFetched:
    """The result of the task has come from the storage."""

    words: ClassVar[str] = "result fetched"
    result: TaskResult


@dataclass(frozen=True, slots=True)
class FailureFetched:
    """The failure of a try has come from the storage, and the task has tries left."""

    words: ClassVar[str] = "failure fetched, tries left"


@dataclass(frozen=True, slots=True)
class PauseOver:
    """The pause before the next try is over."""

    words: ClassVar[str] = "end of the back-off"


ScalerEvent: TypeAlias = (
    InputsAvailable
    | DependencyFailed
    | DependencyCancelled
    | Sent
    | Unsendable
    | StartReported
    | StopRequested
    | StopForced
    | GracePeriodOver
    | StopReported
    | CancelConfirmed
    | CancelNotFound
    | ResultAvailable
    | ResultFetched
    | FailureFetched
    | PauseOver
)
