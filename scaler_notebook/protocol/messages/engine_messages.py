"""The messages that an engine sends to a client: about itself, and about the client's tasks."""

import sys
from dataclasses import field
from typing import TypeAlias

from scaler_notebook.protocol.frozen import frozen

from .records import (
    NO_PROCESS_EXIT,
    Capability,
    DisplayKind,
    LogStream,
    Payload,
    ProcessExit,
    ResultSummary,
    TaskBrief,
    TaskCancelConfirmType,
    TaskFigures,
    TaskResultType,
)

PYTHON = "{}.{}".format(*sys.version_info)  # this process's version


@frozen
class ObjectCreated:
    """The engine has the object; the client need not keep the content's buffers open."""

    object_id: str


@frozen
class EngineHello:
    """The first message of a running engine to a client that attaches.

    Parameters
    ----------
    slots
        How many tasks run at the same time.
    capabilities
        What the engine's tasks share.
    python
        The Python version of the task processes, to which functions are sent as code of that version.
    gpus
        The names of the devices that tasks may be given.
    """

    slots: int
    capabilities: tuple[Capability, ...] = ()
    python: str = PYTHON
    gpus: tuple[str, ...] = ()


@frozen
class EngineStatus:
    """The activity of the engine, for all of its clients together.

    Parameters
    ----------
    slots
        How many tasks run at the same time.
    queued
        How many tasks wait.
    processes
        The process ids of the task processes, spares included.
    tasks
        For each of these processes, the id of the task that it runs, or nothing.
    idle_timeout
        Seconds after which an idle process goes; 0 for never.
    gone
        How many processes have gone because they were idle, and come back on demand.
    gpus
        For each process the devices that it has begun with, as a text; empty if none has begun with any.
    """

    slots: int
    queued: int
    processes: tuple[int, ...] = ()
    tasks: tuple[str, ...] = ()
    idle_timeout: float = 0.0
    gone: int = 0
    gpus: tuple[str, ...] = ()


@frozen
class EngineTasks:
    """The unfinished tasks of the engine, for all of its clients together: those that run, then those that wait.

    Parameters
    ----------
    tasks
        The first of them.
    omitted
        How many more there are.
    """

    tasks: tuple[TaskBrief, ...]
    omitted: int = 0


@frozen
class ClientShutdownResponse:
    """The answer to ``ClientShutdown``.

    Parameters
    ----------
    accepted
        Whether the engine ends now. Otherwise it is protected, and goes on.
    """

    accepted: bool


@frozen
class TaskStarted:
    """A try of a task has started. Sent once for each try.

    Parameters
    ----------
    task_id
        The id of the task.
    processor
        The process that runs the task, as text.
    time
        Seconds since the epoch.
    attempt
        The number of the try; the first is 1.
    devices
        The names of the devices that it has.
    """

    task_id: str
    processor: str
    time: float
    attempt: int = 1
    devices: tuple[str, ...] = ()


@frozen
class TaskAttemptFailed:
    """A try of a task has failed, and another one follows.

    Parameters
    ----------
    task_id
        The id of the task.
    attempt
        The number of the try that has failed.
    """

    task_id: str
    attempt: int


@frozen
class TaskCancelConfirm:
    """The one true answer to the strongest ``TaskCancel`` that is not answered.

    Parameters
    ----------
    task_id
        The id of the task.
    answer
        What became of the request.
    force
        The strength of the request that is answered.
    origin
        The input whose cancel has taken this task along, if nobody asked to cancel this one; else empty.
    killed
        Whether the task ran on for all of the grace period, so that its process was killed in the middle of its run.
    """

    task_id: str
    answer: TaskCancelConfirmType
    force: bool
    origin: str = ""
    killed: bool = False


@frozen
class TaskResult:
    """The end of a task.

    Parameters
    ----------
    task_id
        The task's id.
    outcome
        Whether the task succeeded, and why not.
    payload
        Depends on ``outcome``. ``SUCCESS``: the pickled value. ``FAILED``, ``FAILED_INITIALIZER``: a pickled
        :class:`~scaler_notebook.protocol.exceptions.failures.RemoteFailure`. ``FAILED_WORKER_DIED``: UTF-8 text that
        says how the process died. ``MISSING_OBJECTS``: the ids of the missing inputs, one a line.
    figures
        What the run cost.
    summary
        The summary of the value, for ``SUCCESS``.
    origin
        The task whose failure this result passes on, if the task ended because an input of it failed; else empty.
    process_exit
        How the process died, for ``FAILED_WORKER_DIED``.
    """

    task_id: str
    outcome: TaskResultType
    payload: Payload
    figures: TaskFigures = field(default_factory=TaskFigures)
    summary: ResultSummary = field(default_factory=ResultSummary)
    origin: str = ""
    process_exit: ProcessExit = NO_PROCESS_EXIT


@frozen
class TaskLog:
    """Text that the task wrote, in the order in which the task wrote and displayed.

    The order of text from Python code is true. The place of text from C code and subprocesses is as good as the engine
    can tell.

    Parameters
    ----------
    task_id
        The id of the task.
    stream
        The stream that the task wrote to.
    text
        The text.
    """

    task_id: str
    stream: LogStream
    text: str


@frozen
class TaskProgress:
    """The progress of a task.

    Parameters
    ----------
    task_id
        The id of the task.
    done
        How many steps are done.
    total
        How many steps there are; negative if unknown.
    note
        A few words for a person.
    rate
        How many steps are done in a second; negative if unknown.
    unit
        What a step is; empty if the task does not say. With ``B`` amounts are bytes.
    """

    task_id: str
    done: float
    total: float
    note: str
    rate: float = -1.0
    unit: str = ""


@frozen
class TaskDisplay:
    """A rich display that the task made.

    Parameters
    ----------
    task_id
        The id of the task.
    bundle, metadata
        The MIME bundle and its metadata, both as JSON objects. Bytes in a bundle (images) are base64 text, as in a
        notebook's file.
    kind
        Whether the display is new, an update, or clears what was shown before.
    display_id
        IPython's id of the display; empty for none.
    """

    task_id: str
    bundle: Payload
    metadata: Payload
    kind: DisplayKind = DisplayKind.SHOW
    display_id: str = ""


@frozen
class TaskPreview:
    """A preview of a task's result, sent after the ``TaskResult``.

    Parameters
    ----------
    task_id
        The id of the task.
    bundle
        A MIME bundle, as in ``TaskDisplay``.
    """

    task_id: str
    bundle: Payload


@frozen
class TaskItem:
    """An item that a task gives before its end, in their order.

    Parameters
    ----------
    task_id
        The id of the task.
    value
        The pickled item.
    """

    task_id: str
    value: Payload


@frozen
class TaskNested:
    """Tasks below a task that are new or have changed: its code has submitted them, or theirs has, and so on.

    Sent to clients that show results, at a bounded rate. The last ones may come after the end of the task.

    Parameters
    ----------
    task_id
        The id of the task.
    tasks
        The tasks.
    omitted
        How many tasks are below it that no message has.
    """

    task_id: str
    tasks: tuple[TaskBrief, ...]
    omitted: int = 0


TaskMessage: TypeAlias = (
    TaskStarted
    | TaskAttemptFailed
    | TaskCancelConfirm
    | TaskResult
    | TaskLog
    | TaskProgress
    | TaskDisplay
    | TaskPreview
    | TaskItem
    | TaskNested
)
EngineMessage: TypeAlias = (
    EngineHello | EngineStatus | EngineTasks | ObjectCreated | ClientShutdownResponse | TaskMessage
)
