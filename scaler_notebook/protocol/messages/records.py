"""The parts of messages: values and their buffers, options, figures, and enums that both sides use."""

from enum import Enum
from typing import TypeAlias

from scaler_notebook.protocol.frozen import frozen

Buffer: TypeAlias = bytes | bytearray | memoryview


class TaskCancelConfirmType(Enum):
    """The answers of an engine to ``TaskCancel``."""

    CANCELED = "Canceled"  # really stopped, or never started: sent by whoever held the task
    CANCEL_FAILED = "CancelFailed"  # the task still runs
    CANCEL_NOT_FOUND = "CancelNotFound"  # the engine does not know the task


class TaskResultType(Enum):
    """The ways in which a task ends by itself."""

    SUCCESS = "Success"
    FAILED = "Failed"
    FAILED_WORKER_DIED = "FailedWorkerDied"
    MISSING_OBJECTS = "MissingObjects"  # the task never ran, because an input is missing
    FAILED_INITIALIZER = "FailedInitializer"  # the client's initializer raised


class LogStream(Enum):
    """The streams that a task writes to."""

    STDOUT = "stdout"
    STDERR = "stderr"


class DisplayKind(Enum):
    """The effects of a ``TaskDisplay`` on the output that its task has shown so far."""

    SHOW = "show"
    UPDATE = "update"  # replace every display of the same ``display_id`` where it is
    CLEAR = "clear"  # remove text and displays
    CLEAR_ON_NEXT = "clear on next"  # the same, as soon as something new comes


class TaskActivity(Enum):
    """The states of a task in brief, in the words of a future's state; the last three are ends."""

    QUEUED = "queued"  # or it waits for its inputs, or between two tries
    RUNNING = "running"
    CANCELLING = "cancelling"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@frozen
class TaskBrief:
    """A description of a task, for any client of the user's while the task is unfinished.

    Parameters
    ----------
    task_id
        The id of the task.
    name
        The text for a person: as in ``TaskOptions`` for the task's own client, without arguments for any other.
    activity
        The state of it now.
    submitted, started
        Seconds since the epoch; ``started`` is that of the current try, 0 if it does not run.
    process
        The id of the process that runs it, or has run it; 0 if it does not run.
    parent
        The id of the task that has submitted it; empty if none has.
    ended
        Seconds since the epoch; 0 if it has not ended.
    """

    task_id: str
    name: str
    activity: TaskActivity
    submitted: float
    started: float = 0.0
    process: int = 0
    parent: str = ""
    ended: float = 0.0


@frozen
class SegmentRef:
    """A reference to a large buffer in shared memory: a memory file that a process has open.

    Parameters
    ----------
    pid
        The process.
    descriptor
        The number of the file descriptor in that process.
    size
        The size in bytes.
    """

    pid: int
    descriptor: int
    size: int


@frozen
class Payload:
    """A pickle (protocol 5) with out-of-band buffers, which travel beside the message and are never copied into it.

    Parameters
    ----------
    data
        The pickle.
    buffers
        The buffers that ``pickle``'s ``buffer_callback`` received, in order, each contiguous; or references to them.
    key
        The content address, if the payload may be sent once and referred to after that. A payload with a key and
        without data *is* such a reference (:mod:`scaler_notebook.protocol.payload_cache`).
    """

    data: Buffer
    buffers: tuple[Buffer | SegmentRef, ...] = ()
    key: bytes = b""

    @property
    def nbytes(self) -> int:
        """The size of the pickle and the buffers, in bytes."""
        if not self.buffers:
            return len(self.data)
        sizes = (b.size if isinstance(b, SegmentRef) else memoryview(b).nbytes for b in self.buffers)
        return len(self.data) + sum(sizes)


@frozen
class Capability:
    """An amount of something that workers have, e.g. GPUs.

    Parameters
    ----------
    name
        The name of the capability.
    amount
        How much of it.
    """

    name: str
    amount: int


@frozen
class TaskOptions:
    """The options of a task, for the engine.

    Parameters
    ----------
    name
        The text for a person: the call, e.g. ``fit(model, X, y)``, or the name that the user chose.
    priority
        Of two queued tasks, the one with the higher priority runs first; of equal ones, the one submitted first.
    retries
        How often the task is tried again after it has failed, or after its process has died.
    timeout
        Seconds from the submission until the client cancels the task, 0 for never. Engines need not look at it.
    capabilities
        What the task needs, sorted by name. Tasks that run at the same time share the engine's capabilities.
    retry_on
        The pickled tuple of the exception classes after which the task is tried again; empty for any.
    retry_worker_died
        Whether the task is tried again when its process has died.
    memory
        Bytes that the task is expected to need, 0 for unknown. Tasks that would not fit together run one after the
        other.
    memory_limit
        Bytes; the process of a task that has more is killed. 0 for no limit.
    run_timeout
        Seconds from the start of each try until the client cancels the task, 0 for never. Engines need not look at it.
    gpus
        What the task takes of the engine's devices, in hundredths of one.
    is_named
        Whether the user chose the name. Any other has arguments or code in it, which is for the task's own client.
    """

    name: str = ""
    priority: int = 0
    retries: int = 0
    timeout: float = 0.0
    capabilities: tuple[Capability, ...] = ()
    retry_on: bytes = b""
    retry_worker_died: bool = True
    memory: int = 0
    memory_limit: int = 0
    run_timeout: float = 0.0
    gpus: int = 0
    is_named: bool = False


@frozen
class TaskFigures:
    """The cost of one run of a task.

    Parameters
    ----------
    started, ended
        Seconds since the epoch, 0 if unknown.
    cpu
        CPU time in seconds, -1 if unknown.
    peak_rss
        The peak of resident memory in bytes, 0 if unknown.
    processor
        As in ``TaskStarted``, which is not sent for a task that ends at once.
    devices
        Likewise.
    """

    started: float = 0.0
    ended: float = 0.0
    cpu: float = -1.0
    peak_rss: int = 0
    processor: str = ""
    devices: tuple[str, ...] = ()


class PreviewKind(Enum):
    """The kinds of preview that a result has beyond its summary."""

    NONE = "none"  # the summary is complete
    FOLLOWS = "follows"  # sent in a ``TaskPreview``, unless the process ends before
    ON_REQUEST = "on request"  # made by another task, when somebody looks


@frozen
class ResultSummary:
    """A result in one line, made without running any code of the value: plain data as it is, else type and shape.

    Parameters
    ----------
    text
        The line; empty where there is nothing to show, or no summary was made.
    preview
        Which preview there is.
    kind
        The type and size of plain data, whose text is the value itself; else empty, for the text says so.
    """

    text: str = ""
    preview: PreviewKind = PreviewKind.ON_REQUEST
    kind: str = ""

    def unaccompanied(self) -> "ResultSummary":
        """Return the summary for an engine that sends no preview by itself."""
        if self.preview is PreviewKind.FOLLOWS:
            return ResultSummary(self.text, PreviewKind.ON_REQUEST)
        return self


@frozen
class ProcessExit:
    """The way in which a task's process died.

    Parameters
    ----------
    exit_code
        The exit status; -1 if the process did not exit.
    signal
        The signal that killed the process; 0 for none.
    out_of_memory
        Whether the system killed the process because no memory was left, or probably did.
    """

    exit_code: int = -1
    signal: int = 0
    out_of_memory: bool = False


NO_PROCESS_EXIT = ProcessExit()
