"""The messages between the scheduler and one task process. They never leave the machine.

The client's :class:`~scaler_notebook.protocol.messages.ClientContext` is passed on before the first run that it is
for.
"""

from dataclasses import dataclass, field
from typing import TypeAlias

from scaler_notebook.protocol.messages import ClientContext, Payload, ResultSummary, TaskFigures
from scaler_notebook.protocol.wire import Codec
from scaler_notebook.task.task_end import TaskEnd


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """Scheduler → task process, before its first run: where clients reach the engine."""

    address: str


@dataclass(frozen=True, slots=True)
class Input:
    """An input of a task, by the id that its arguments have for it."""

    name: str
    value: Payload


@dataclass(frozen=True, slots=True)
class Run:
    """Scheduler → task process. ``seq`` counts the runs of one process; interrupts name it."""

    seq: int
    task_id: str
    name: str  # as the task's own code is told it
    function: Payload
    arguments: Payload
    last: bool  # if it fails, it is not tried again
    inputs: tuple[Input, ...] = ()
    retry_on: bytes = b""  # as in TaskOptions


@dataclass(frozen=True, slots=True)
class Prewarm:
    """Scheduler → task process that waits for its first task: import what others had to, then say ``Ready`` again.

    While it imports, any further message (one without modules, say) has it stop at the next module.
    """

    modules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ResultReceived:
    """Scheduler → task process: the large buffers of its last result are taken over, it may free its own."""


@dataclass(frozen=True, slots=True)
class Ready:
    """Task process → scheduler, at its start and after ``Prewarm``: it can take a task."""

    pid: int


@dataclass(frozen=True, slots=True)
class RunFinished:
    """Task process → scheduler, once a run; ``spent`` says that the process is to run no other task.

    If the summary says that a preview follows, so does a :class:`ResultPreview`.
    """

    seq: int
    end: TaskEnd
    payload: Payload
    figures: TaskFigures = field(default_factory=TaskFigures)
    modules: tuple[str, ...] = ()  # installed ones that this run had to import
    own: tuple[str, ...] = ()  # of each of the user's that it had to import, in turn: name, location, stamp of the file
    spent: bool = False
    summary: ResultSummary = field(default_factory=ResultSummary)


@dataclass(frozen=True, slots=True)
class ResultPreview:
    """Task process → scheduler: what the result of a run looks like, as JSON of a MIME bundle."""

    seq: int
    bundle: Payload


def where_modules_are_found(context: ClientContext) -> tuple[object, ...]:
    """What decides which file a name is imported from: the path, and the directory if that is on it."""
    return context.path, context.directory if "" in context.path else ""


PROCESS_CAPACITY = 16 * 1024 * 1024  # bytes of functions and arguments that a task process remembers

WorkerMessage: TypeAlias = (
    ClientContext | EngineAddress | Run | Prewarm | Ready | RunFinished | ResultReceived | ResultPreview
)
WORKER_CODEC: Codec[WorkerMessage] = Codec(
    {
        1: Run,
        2: Ready,
        3: RunFinished,
        4: ClientContext,
        5: Prewarm,
        6: EngineAddress,
        7: ResultReceived,
        8: ResultPreview,
    }
)
