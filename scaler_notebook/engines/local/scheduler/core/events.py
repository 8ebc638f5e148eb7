"""The events of a task in the scheduler, each with the data that it brings along."""

from typing import ClassVar, TypeAlias

from scaler_notebook.engines.scheduling import task_events
from scaler_notebook.protocol.frozen import frozen
from scaler_notebook.protocol.messages import TaskResult


@frozen
class NestedTooDeeply:
    """There is no process left for a task that another one has submitted, and waits for."""

    words: ClassVar[str] = "nested too deeply"
    result: TaskResult  # the failure


@frozen
class Dispatched:
    """A slot and a process are free for a queued task."""

    words: ClassVar[str] = "dispatched"
    process: int


@frozen
class Prefetched:
    """A queued task is handed to a process that still runs another one."""

    words: ClassVar[str] = "prefetched"
    process: int


@frozen
class Begun:
    """A process begins a prefetched task."""

    words: ClassVar[str] = "begun"


@frozen
class Recalled:
    """A prefetched task was taken back from its process, which had not begun it."""

    words: ClassVar[str] = "recalled"


@frozen
class StartDue:
    """TaskStarted is due: the task has run for a while, or its process has died."""

    words: ClassVar[str] = "TaskStarted due"


@frozen
class CancelAsked:
    """The client asks a task to stop."""

    words: ClassVar[str] = "TaskCancel"
    grace: float  # seconds


@frozen
class CancelForced:
    """The client asks a task to stop, and has its process killed if the task does not."""

    words: ClassVar[str] = "TaskCancel(force)"
    grace: float  # seconds


@frozen
class HalfGrace:
    """Half of the grace period of a cancel request is over."""

    words: ClassVar[str] = "half of the grace period"
    end: float  # of the whole grace period, in monotonic seconds


@frozen
class RunEnded:
    """A run ended by itself, with a value or an exception, whether it was asked to stop or not."""

    words: ClassVar[str] = "run ended"
    result: TaskResult


@frozen
class RunFailed:
    """A run ended with an exception to retry, and the task has tries left."""

    words: ClassVar[str] = "run failed, tries left"
    result: TaskResult


@frozen
class RunStopped:
    """A run was stopped by an interrupt; the request may have been refused meanwhile."""

    words: ClassVar[str] = "run stopped"


@frozen
class ProcessDied:
    """The process of a task is reaped, and all its descendants are gone."""

    words: ClassVar[str] = "process reaped"
    result: TaskResult  # the failure, which has the exit cause


@frozen
class ProcessDiedTrying:
    """The process of a task is reaped, and the task may be tried again after such a death."""

    words: ClassVar[str] = "process reaped, tries left"
    how: str  # how the process died, in words


@frozen
class ProcessDiedBefore:
    """The process of a task is reaped, and had not begun the run."""

    words: ClassVar[str] = "process reaped, run not begun"


@frozen
class ClientGone:
    """The client of a task is gone, or the task that has submitted this one is over."""

    words: ClassVar[str] = "client gone"


Event: TypeAlias = (
    task_events.InputsAvailable
    | task_events.InputFailed
    | task_events.InputCancelled
    | NestedTooDeeply
    | Dispatched
    | Prefetched
    | Begun
    | Recalled
    | StartDue
    | CancelAsked
    | CancelForced
    | HalfGrace
    | task_events.GraceOver
    | RunEnded
    | RunFailed
    | RunStopped
    | ProcessDied
    | ProcessDiedTrying
    | ProcessDiedBefore
    | task_events.BackoffOver
    | ClientGone
)
