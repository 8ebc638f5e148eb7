"""The events of a task at its future, each with the data that it brings along."""

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from .messages import TaskCancelConfirm, TaskResult, TaskStarted


@dataclass(frozen=True, slots=True)
class StartAnnounced:
    """The engine says that a try of the task runs."""

    words: ClassVar[str] = "TaskStarted"
    message: TaskStarted


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """The user, or the policy of the stop button, requests a cancel.

    Parameters
    ----------
    force
        Whether the task's process is killed after the grace period.
    grace
        The grace period in seconds; None: the policy's.
    keep_result
        Whether a task that has finished is left as it is.
    """

    words: ClassVar[str] = "request_cancel()"
    force: bool = True
    grace: float | None = None
    keep_result: bool = False


@dataclass(frozen=True, slots=True)
class DeadlineReached:
    """The task has not ended by the end of its timeout: a cancel by force is requested.

    Parameters
    ----------
    limit
        The timeout that is over, in words.
    """

    words: ClassVar[str] = "end of its timeout"
    force: ClassVar[bool] = True
    grace: ClassVar[float | None] = None
    keep_result: ClassVar[bool] = False
    limit: str = ""


@dataclass(frozen=True, slots=True)
class CancelGranted:
    """The engine confirms that the task is cancelled."""

    words: ClassVar[str] = "TaskCancelConfirm(Canceled)"
    message: TaskCancelConfirm


@dataclass(frozen=True, slots=True)
class TaskUnknown:
    """The engine does not know the task."""

    words: ClassVar[str] = "TaskCancelConfirm(CancelNotFound)"
    message: TaskCancelConfirm


@dataclass(frozen=True, slots=True)
class CancelRefused:
    """The engine refuses a cancel: the task still runs."""

    words: ClassVar[str] = "TaskCancelConfirm(CancelFailed)"
    message: TaskCancelConfirm


@dataclass(frozen=True, slots=True)
class ResultArrived:
    """The engine sends the value or the failure of the task."""

    words: ClassVar[str] = "TaskResult"
    message: TaskResult


@dataclass(frozen=True, slots=True)
class EngineGone:
    """The engine is gone, or another task's result has ended all tasks."""

    words: ClassVar[str] = "engine lost"
    cause: BaseException | TaskResult


FutureEvent: TypeAlias = (
    StartAnnounced
    | CancelRequested
    | DeadlineReached
    | CancelGranted
    | TaskUnknown
    | CancelRefused
    | ResultArrived
    | EngineGone
)
