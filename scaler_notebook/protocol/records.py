"""What messages are made of: values and their buffers, options, figures, and the words that both sides use."""

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview


class TaskCancelConfirmType(Enum):
    """An engine's answer to ``TaskCancel``."""

    CANCELED = "Canceled"  # really stopped, or never started: whoever held the task says so
    CANCEL_FAILED = "CancelFailed"  # it still runs
    CANCEL_NOT_FOUND = "CancelNotFound"  # the engine does not know it


class TaskResultType(Enum):
    """How a task ended by itself."""

    SUCCESS = "Success"
    FAILED = "Failed"
    FAILED_WORKER_DIED = "FailedWorkerDied"
    MISSING_OBJECTS = "MissingObjects"  # it never ran: an input of it is not there
    FAILED_INITIALIZER = "FailedInitializer"  # what its client has called first in each process has raised


class LogStream(Enum):
    """Where a task wrote."""

    STDOUT = "stdout"
    STDERR = "stderr"


class DisplayKind(Enum):
    """What a ``TaskDisplay`` does to what its task has shown so far."""

    SHOW = "show"
    UPDATE = "update"  # every display of the same ``display_id``, in its place
    CLEAR = "clear"  # text and displays
    CLEAR_ON_NEXT = "clear on next"  # the same, when something new comes


@dataclass(frozen=True, slots=True)
class SegmentRef:
    """A large buffer that stays where it is: a file in memory that process ``pid`` has open as ``descriptor``."""

    pid: int
    descriptor: int
    size: int  # bytes


@dataclass(frozen=True, slots=True)
class Payload:
    """A pickle (protocol 5) and its out-of-band buffers, which travel beside the message and are never copied into it.

    Parameters
    ----------
    data
        The pickle itself.
    buffers
        What ``pickle``'s ``buffer_callback`` gave, in order, each contiguous; or where it lies.
    key
        Its content address, if it may be sent once and referred to after; without data it *is* such a reference
        (:mod:`scaler_notebook.protocol.payload_cache`).
    """

    data: Buffer
    buffers: tuple[Buffer | SegmentRef, ...] = ()
    key: bytes = b""

    @property
    def nbytes(self) -> int:
        """Size of the pickle and its buffers, in bytes."""
        sizes = (b.size if isinstance(b, SegmentRef) else memoryview(b).nbytes for b in self.buffers)
        return len(self.data) + sum(sizes)


@dataclass(frozen=True, slots=True)
class Capability:
    """Something that workers have, e.g. a GPU, and how much of it."""

    name: str
    amount: int


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """What a task asks of the engine beside being run.

    Parameters
    ----------
    name
        What a person reads: the call, e.g. ``fit(model, X, y)``, or what it was named.
    priority
        Of two that are queued the one with the higher priority runs first, of equal ones the one submitted first.
    retries
        How often it is tried again after it has failed, or its process has died.
    timeout
        Seconds from the submission until its client cancels it, and 0 if it never does; an engine need not look.
    capabilities
        What it needs, sorted by name; the tasks that run at the same time share what the engine has.
    retry_on
        The pickled tuple of the exception classes after which it is tried again; empty: after any.
    retry_worker_died
        Is it tried again when its process has died?
    memory
        Bytes that it says it will take, and 0 if it says nothing: tasks that would not fit run one after the other.
    memory_limit
        Bytes; when it has more, its process is killed. 0: there is no limit.
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


@dataclass(frozen=True, slots=True)
class TaskFigures:
    """What the run cost: times in seconds since the epoch, CPU in seconds, peak resident memory in bytes.

    0 for what is not known, of CPU -1. ``processor`` is that of ``TaskStarted``, which is not sent for a task that ends
    at once.
    """

    started: float = 0.0
    ended: float = 0.0
    cpu: float = -1.0
    peak_rss: int = 0
    processor: str = ""


class PreviewKind(Enum):
    """What there is to be seen of a result beyond its summary."""

    NONE = "none"  # the summary says all
    FOLLOWS = "follows"  # in a ``TaskPreview``, unless the process ends before
    ON_REQUEST = "on request"  # a task makes it, when somebody looks


@dataclass(frozen=True, slots=True)
class ResultSummary:
    """A result in a line, made without running any code of its own: plain data as such, else type and shape.

    ``text`` is empty where there is nothing to be shown, or nobody has made one.
    """

    text: str = ""
    preview: PreviewKind = PreviewKind.ON_REQUEST

    def unaccompanied(self) -> "ResultSummary":
        """The same, where no preview follows by itself."""
        if self.preview is PreviewKind.FOLLOWS:
            return ResultSummary(self.text, PreviewKind.ON_REQUEST)
        return self


@dataclass(frozen=True, slots=True)
class ProcessExit:
    """How a task's process died: by an exit with ``exit_code`` (-1: it did not), or by ``signal`` (0: by none).

    ``out_of_memory``: the system killed it because no memory was left, or that is what it looks like.
    """

    exit_code: int = -1
    signal: int = 0
    out_of_memory: bool = False


NO_PROCESS_EXIT = ProcessExit()
