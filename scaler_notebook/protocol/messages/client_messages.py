"""The messages that a client sends to its engine."""

from dataclasses import field
from typing import TypeAlias

from scaler_notebook.protocol.frozen import frozen

from .records import Payload, TaskOptions


@frozen
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


@frozen
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


@frozen
class ObjectDelete:
    """Release objects that the client will not name again; tasks that have named them still get them."""

    object_ids: tuple[str, ...]


@frozen
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


@frozen
class ItemsTaken:
    """The reader of a task's items has taken so many of them, in all: the task may send further ones.

    Parameters
    ----------
    task_id
        The id of the task.
    count
        How many items were taken since the task was submitted.
    """

    task_id: str
    count: int


@frozen
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


@frozen
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


@frozen
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


@frozen
class ClientWithdraw:
    """Take back the client's tasks that have not started: each is confirmed ``Canceled``. Running tasks go on."""


@frozen
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


@frozen
class EngineScale:
    """Change how many tasks run at the same time, for all clients. Each of them is sent an ``EngineStatus``.

    Parameters
    ----------
    slots
        How many. What runs goes on, even if that is more.
    """

    slots: int


@frozen
class EngineStatusRequest:
    """Ask for an ``EngineStatus``."""


@frozen
class EngineTasksRequest:
    """Ask for ``EngineTasks``: the unfinished tasks of all clients."""


@frozen
class BuffersReceived:
    """The client has mapped these descriptors of the engine, which need not keep them open."""

    descriptors: tuple[int, ...]


@frozen
class ClientDisconnect:
    """The client leaves; its unfinished tasks are cancelled."""


@frozen
class ClientShutdown:
    """End the engine with everything that it runs, for all of its clients. Answered by ``ClientShutdownResponse``."""


@frozen
class ClientPause:
    """Start none of the client's tasks, or start them again. What runs goes on, and so do tasks of the running ones.

    Parameters
    ----------
    paused
        Whether the pause begins; else it ends.
    """

    paused: bool


ClientMessage: TypeAlias = (
    Task
    | TaskCancel
    | TaskWaits
    | ItemsTaken
    | ObjectCreate
    | ObjectDelete
    | ClientDisconnect
    | ClientContext
    | BuffersReceived
    | ClientHello
    | EngineStatusRequest
    | EngineScale
    | EngineTasksRequest
    | ClientShutdown
    | ClientWithdraw
    | ClientPause
)
