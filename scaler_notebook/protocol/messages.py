"""The messages between a client and an engine. Names are OpenGRIS Scaler's where it has one.

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

from .records import NO_DEATH as NO_DEATH
from .records import Buffer as Buffer
from .records import Capability as Capability
from .records import Death as Death
from .records import DisplayKind as DisplayKind
from .records import LogStream as LogStream
from .records import Payload as Payload
from .records import PreviewKind as PreviewKind
from .records import ResultSummary as ResultSummary
from .records import SegmentRef as SegmentRef
from .records import TaskCancelConfirmType as TaskCancelConfirmType
from .records import TaskFigures as TaskFigures
from .records import TaskOptions as TaskOptions
from .records import TaskResultType as TaskResultType

PYTHON = "{}.{}".format(*sys.version_info)  # of this process


@dataclass(frozen=True, slots=True)
class Task:
    """Run ``function(*args, **kwargs)``; ``arguments`` is the pickle of ``(args, kwargs)``.

    Parameters
    ----------
    inputs
        Ids of the objects and of the client's other tasks whose values the arguments refer to. It waits until those
        tasks have ended; if one fails or is cancelled, so is this one.
    keep
        Its value may be named as an input until ``ObjectDelete``, by tasks that are still to be sent.
    stays
        The value is for such tasks alone: its ``TaskResult`` has none.
    parent
        The task whose code submits this one; empty for none.
    """

    task_id: str
    function: Payload
    arguments: Payload
    options: TaskOptions = field(default_factory=TaskOptions)
    inputs: tuple[str, ...] = ()
    keep: bool = False
    stays: bool = False
    parent: str = ""


@dataclass(frozen=True, slots=True)
class ObjectCreate:
    """A value that the client's tasks may name as an input, until ``ObjectDelete``; answered by ``ObjectCreated``."""

    object_id: str
    content: Payload


@dataclass(frozen=True, slots=True)
class ObjectCreated:
    """The engine has the object; its content need not be kept open for it."""

    object_id: str


@dataclass(frozen=True, slots=True)
class ObjectDelete:
    """The client names these no more; tasks that have named them still get them."""

    object_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TaskWaits:
    """From a client within a task: the task waits for other tasks, and lends them its slot; or it goes on."""

    task_id: str
    waits: bool


@dataclass(frozen=True, slots=True)
class Initializer:
    """What a task process calls once, before the first task of ``client`` that it runs; without a client, nothing.

    ``arguments`` is the pickle of ``(args, kwargs)``, and ``name`` the call as a person reads it.
    """

    client: str = ""
    name: str = ""
    function: Payload = field(default_factory=lambda: Payload(b""))
    arguments: Payload = field(default_factory=lambda: Payload(b""))


@dataclass(frozen=True, slots=True)
class ClientContext:
    """Where the client's later tasks run: what the kernel's own code would see.

    Parameters
    ----------
    directory
        The working directory; empty if it is gone.
    path
        ``sys.path``; entries that are relative are absolute, but for the empty one.
    environment
        ``NAME=value``, all of them.
    modules
        As JSON, the user's modules that the client has imported, by name: ``[reason, file, stamp, sum, directory, …]``.
        The reason is why a task cannot import it, or empty. The file is empty where there is none; its stamp and the
        sum of its bytes are those of when the client imported it. The directories are a package's.
    initializer
        What comes before the first of them in each process.
    authkey
        What a manager of :mod:`multiprocessing` (and a proxy of it, in an argument) knows the client's processes by.
    settings
        Warnings filters, options of libraries and the like, as :mod:`.settings` encodes them.
    shows_results
        Does somebody look at results there? Then previews of them are made, where that costs little.
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
    """Stop a task; after ``grace`` seconds of asking, kill it (``force``) or answer ``CancelFailed``."""

    task_id: str
    force: bool
    grace: float = 1.0


@dataclass(frozen=True, slots=True)
class ClientWithdraw:
    """Take back what has not started of the client's tasks: each is confirmed, ``Canceled``; what runs goes on."""


@dataclass(frozen=True, slots=True)
class ClientHello:
    """The first message of a client that attaches to a running engine; the engine answers ``EngineHello``.

    ``pid`` is the client's process: when it ends, what the client left unfinished is cancelled. ``home`` is the process
    that runs the task within which the client is, if it is within one: ``pid``, or what that is a fork of.
    ``namespace`` is the one in which those numbers mean something (Linux's, of processes); 0 where there are none.
    """

    pid: int
    home: int = 0
    namespace: int = 0


@dataclass(frozen=True, slots=True)
class EngineHello:
    """The engine is there, runs ``slots`` tasks at the same time, and shares these capabilities between them.

    ``python`` is the version that its tasks run on: functions come to it as code of that version.
    """

    slots: int
    capabilities: tuple[Capability, ...] = ()
    python: str = PYTHON


@dataclass(frozen=True, slots=True)
class EngineStatusRequest:
    """Answer with ``EngineStatus``."""


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """What the engine does now, for all of its clients.

    Parameters
    ----------
    slots
        How many tasks run at the same time.
    queued
        How many wait.
    processes
        The process ids of its task processes, spares included.
    tasks
        What each of them runs: a task's id, or nothing.
    """

    slots: int
    queued: int
    processes: tuple[int, ...] = ()
    tasks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BuffersReceived:
    """The client has mapped these descriptors of the engine's; the engine need not keep them open."""

    descriptors: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ClientDisconnect:
    """The client goes; what it left unfinished is cancelled."""


@dataclass(frozen=True, slots=True)
class ClientShutdown:
    """End the engine with everything it runs, for all of its clients; it answers ``ClientShutdownResponse``."""


@dataclass(frozen=True, slots=True)
class ClientShutdownResponse:
    """``accepted``: the engine ends now. Otherwise it is protected, and goes on."""

    accepted: bool


@dataclass(frozen=True, slots=True)
class TaskStarted:
    """The task runs since ``time`` (seconds since the epoch) on ``processor`` (a process id, as text).

    Sent once for each try; the first ``attempt`` is 1.
    """

    task_id: str
    processor: str
    time: float
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class TaskCancelConfirm:
    """The one true answer to the strongest ``TaskCancel`` outstanding; ``force`` is the strength it answers.

    ``origin`` is the task whose cancel has taken this one along, unasked, because it was an input of it.
    """

    task_id: str
    answer: TaskCancelConfirmType
    force: bool
    origin: str = ""


@dataclass(frozen=True, slots=True)
class TaskResult:
    """How a task ended.

    ``payload`` is the pickled value (``SUCCESS``), a pickled
    :class:`~scaler_notebook.protocol.failures.RemoteFailure` (``FAILED``, ``FAILED_INITIALIZER``), or the UTF-8 text
    that says how the process died (``FAILED_WORKER_DIED``; ``death`` has the figures then), or the ids of the inputs
    that are not there, one a line (``MISSING_OBJECTS``). ``origin`` is the task whose failure this is, if it is that of
    an input. ``summary`` is that of a value.
    """

    task_id: str
    outcome: TaskResultType
    payload: Payload
    figures: TaskFigures = field(default_factory=TaskFigures)
    origin: str = ""
    death: Death = NO_DEATH
    summary: ResultSummary = field(default_factory=ResultSummary)


@dataclass(frozen=True, slots=True)
class TaskLog:
    """Text that the task wrote, in the order in which it wrote and displayed.

    What Python code writes is in true order; what comes from C code and subprocesses is as far as the engine can tell.
    """

    task_id: str
    stream: LogStream
    text: str


@dataclass(frozen=True, slots=True)
class TaskProgress:
    """``done`` of ``total`` units (``total`` < 0: unknown)."""

    task_id: str
    done: float
    total: float
    note: str


@dataclass(frozen=True, slots=True)
class TaskDisplay:
    """A rich display that the task made: a MIME bundle and its metadata, both as JSON objects.

    Bytes in a bundle (images) are base64 text, as in a notebook's file. ``display_id`` is IPython's, "" for none.
    """

    task_id: str
    bundle: Payload
    metadata: Payload
    kind: DisplayKind = DisplayKind.SHOW
    display_id: str = ""


@dataclass(frozen=True, slots=True)
class TaskPreview:
    """What the task's result looks like, after its ``TaskResult``: a MIME bundle as in ``TaskDisplay``."""

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
