"""The messages between a client and an engine, with the names of OpenGRIS Scaler's protocol where it has one.

Client → engine: ``ClientHello``, ``Task``, ``TaskCancel``, ``TaskWaits``, ``ObjectCreate``, ``ObjectDelete``,
``ClientContext``, ``BuffersReceived``, ``EngineStatusRequest``, ``ClientWithdraw``, ``ClientShutdown``,
``ClientDisconnect``.
Engine → client: ``EngineHello``, ``EngineStatus``, ``ObjectCreated``, ``ClientShutdownResponse``, ``TaskStarted``,
``TaskCancelConfirm``, ``TaskResult``, ``TaskLog``, ``TaskProgress``, ``TaskDisplay``, ``TaskPreview``.

A field's type is checked when a message arrives (:mod:`scaler_notebook.protocol.wire`): the annotations here are
the wire's specification.
"""

import sys
from dataclasses import dataclass, field
from typing import TypeAlias

from .records import NO_PROCESS_EXIT as NO_PROCESS_EXIT
from .records import Buffer as Buffer
from .records import Capability as Capability
from .records import DisplayKind as DisplayKind
from .records import LogStream as LogStream
from .records import Payload as Payload
from .records import PreviewKind as PreviewKind
from .records import ProcessExit as ProcessExit
from .records import ResultSummary as ResultSummary
from .records import SegmentRef as SegmentRef
from .records import TaskCancelConfirmType as TaskCancelConfirmType
from .records import TaskFigures as TaskFigures
from .records import TaskOptions as TaskOptions
from .records import TaskResultType as TaskResultType

PYTHON = "{}.{}".format(*sys.version_info)  # this process's version


@dataclass(frozen=True, slots=True)
class Task:
    """Run ``function(*args, **kwargs)``.

    Parameters
    ----------
    task_id
        The id of the task.
    function
        The pickled function.
    arguments
        The pickle of ``(args, kwargs)``.
    options
        The options of the task.
    inputs
        Ids of the objects and of the client's other tasks whose values the arguments refer to. The task waits until
        those tasks have ended; if one fails or is cancelled, so is this task.
    retain
        Retain the value until ``ObjectDelete``: tasks that are still to be sent may name it as an input.
    omit_value
        Send a ``TaskResult`` without the value, which is for such tasks alone.
    parent
        The task whose code submits this one; empty for none.
    """

    task_id: str
    function: Payload
    arguments: Payload
    options: TaskOptions = field(default_factory=TaskOptions)
    inputs: tuple[str, ...] = ()
    retain: bool = False
    omit_value: bool = False
    parent: str = ""


@dataclass(frozen=True, slots=True)
class ObjectCreate:
    """Store a value that the client's tasks may name as an input, until ``ObjectDelete``.

    Answered by ``ObjectCreated``.

    Parameters
    ----------
    object_id
        The id of the object.
    content
        The pickled value.
    """

    object_id: str
    content: Payload


@dataclass(frozen=True, slots=True)
class ObjectCreated:
    """The engine has the object; the client need not keep the content's buffers open."""

    object_id: str


@dataclass(frozen=True, slots=True)
class ObjectDelete:
    """Release objects that the client will not name again; tasks that have named them still get them."""

    object_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TaskWaits:
    """A task waits for other tasks and lends them its slot, or goes on. Sent by a client within the task.

    Parameters
    ----------
    task_id
        The id of the task.
    waits
        Whether the task waits.
    """

    task_id: str
    waits: bool


@dataclass(frozen=True, slots=True)
class Initializer:
    """A call that a task process makes once, before the first task that it runs for a client.

    Parameters
    ----------
    client
        The client; empty for no call at all.
    name
        The call as a person reads it.
    function
        The pickled function.
    arguments
        The pickle of ``(args, kwargs)``.
    """

    client: str = ""
    name: str = ""
    function: Payload = field(default_factory=lambda: Payload(b""))
    arguments: Payload = field(default_factory=lambda: Payload(b""))


@dataclass(frozen=True, slots=True)
class ClientContext:
    """The surroundings of the client's later tasks: what the kernel's own code would see.

    Parameters
    ----------
    directory
        The working directory; empty if it is gone.
    path
        ``sys.path``, with relative entries made absolute, except for the empty one.
    environment
        ``NAME=value`` for each environment variable.
    modules
        The user's modules that the client has imported, as JSON: ``[reason, file, stamp, sum, directory, …]`` by name.
        The reason says why a task cannot import the module, or is empty. The file is empty where there is none; the
        stamp and the checksum of the file are those of the time when the client imported it. The directories are a
        package's.
    initializer
        The call before the client's first task in each process.
    authkey
        The key by which a manager of :mod:`multiprocessing` recognizes the client's processes.
    settings
        Warnings filters, options of libraries and the like, as :mod:`.settings` encodes them.
    shows_results
        Whether somebody looks at results at the client. Then previews are made where that costs little.
    """

    directory: str
    path: tuple[str, ...]
    environment: tuple[str, ...]
    modules: str
    initializer: Initializer = field(default_factory=Initializer)
    authkey: bytes = b""
    settings: bytes = b""
    shows_results: bool = False


@dataclass(frozen=True, slots=True)
class TaskCancel:
    """Stop a task.

    Parameters
    ----------
    task_id
        The id of the task.
    force
        After the grace period, kill the task (true) or answer ``CancelFailed`` (false).
    grace
        The grace period in seconds.
    """

    task_id: str
    force: bool
    grace: float = 1.0


@dataclass(frozen=True, slots=True)
class ClientWithdraw:
    """Take back the client's tasks that have not started: each is confirmed ``Canceled``. Running tasks go on."""


@dataclass(frozen=True, slots=True)
class ClientHello:
    """The first message of a client that attaches to a running engine. Answered by ``EngineHello``.

    Parameters
    ----------
    pid
        The client's process. When it ends, the client's unfinished tasks are cancelled.
    home
        For a client within a task, the process that runs the task: ``pid``, or an ancestor of ``pid``. Else 0.
    namespace
        The Linux namespace in which the process ids are valid; 0 where there are no namespaces.
    """

    pid: int
    home: int = 0
    namespace: int = 0


@dataclass(frozen=True, slots=True)
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
    """

    slots: int
    capabilities: tuple[Capability, ...] = ()
    python: str = PYTHON


@dataclass(frozen=True, slots=True)
class EngineStatusRequest:
    """Ask for an ``EngineStatus``."""


@dataclass(frozen=True, slots=True)
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
    """

    slots: int
    queued: int
    processes: tuple[int, ...] = ()
    tasks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BuffersReceived:
    """The client has mapped these descriptors of the engine, which need not keep them open."""

    descriptors: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ClientDisconnect:
    """The client leaves; its unfinished tasks are cancelled."""


@dataclass(frozen=True, slots=True)
class ClientShutdown:
    """End the engine with everything that it runs, for all of its clients. Answered by ``ClientShutdownResponse``."""


@dataclass(frozen=True, slots=True)
class ClientShutdownResponse:
    """The answer to ``ClientShutdown``.

    Parameters
    ----------
    accepted
        Whether the engine ends now. Otherwise it is protected, and goes on.
    """

    accepted: bool


@dataclass(frozen=True, slots=True)
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
    """

    task_id: str
    processor: str
    time: float
    attempt: int = 1


@dataclass(frozen=True, slots=True)
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
    """

    task_id: str
    answer: TaskCancelConfirmType
    force: bool
    origin: str = ""


@dataclass(frozen=True, slots=True)
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
    origin
        The task whose failure this result passes on, if the task ended because an input of it failed; else empty.
    process_exit
        How the process died, for ``FAILED_WORKER_DIED``.
    summary
        The summary of the value, for ``SUCCESS``.
    """

    task_id: str
    outcome: TaskResultType
    payload: Payload
    figures: TaskFigures = field(default_factory=TaskFigures)
    origin: str = ""
    process_exit: ProcessExit = NO_PROCESS_EXIT
    summary: ResultSummary = field(default_factory=ResultSummary)


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
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
    """

    task_id: str
    done: float
    total: float
    note: str


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
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


ClientMessage: TypeAlias = (
    Task
    | TaskCancel
    | TaskWaits
    | ObjectCreate
    | ObjectDelete
    | ClientDisconnect
    | ClientContext
    | BuffersReceived
    | ClientHello
    | EngineStatusRequest
    | ClientShutdown
    | ClientWithdraw
)
TaskMessage: TypeAlias = (
    TaskStarted | TaskCancelConfirm | TaskResult | TaskLog | TaskProgress | TaskDisplay | TaskPreview
)
EngineMessage: TypeAlias = EngineHello | EngineStatus | ObjectCreated | ClientShutdownResponse | TaskMessage
Message: TypeAlias = ClientMessage | EngineMessage
