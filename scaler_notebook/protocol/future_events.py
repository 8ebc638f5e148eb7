"""The events of a task at its future, each with the data that it brings along."""

from typing import ClassVar, TypeAlias

from .frozen import frozen
from .messages import TaskCancelConfirm, TaskResult, TaskStarted


@frozen
class StartAnnounced:
    """The engine says that a try of the task runs."""

    words: ClassVar[str] = "TaskStarted"
    message: TaskStarted


@frozen
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


@frozen
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


@frozen
class CancelGranted:
    """The engine confirms that the task is cancelled."""

    words: ClassVar[str] = "TaskCancelConfirm(Canceled)"
    message: TaskCancelConfirm


@frozen
class TaskUnknown:
    """The engine does not know the task."""

    words: ClassVar[str] = "TaskCancelConfirm(CancelNotFound)"
    message: TaskCancelConfirm


@frozen
class CancelRefused:
    """The engine refuses a cancel: the task still runs."""

    words: ClassVar[str] = "TaskCancelConfirm(CancelFailed)"
    message: TaskCancelConfirm


@frozen
class ResultArrived:
    """The engine sends the value or the failure of the task."""

    words: ClassVar[str] = "TaskResult"
    message: TaskResult


@frozen
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
