"""The messages between the scheduler and one task process. They never leave the machine.

A client's :class:`~scaler_notebook.protocol.messages.ClientContext` is forwarded to a task process before the first run
in that context.
"""

from dataclasses import field
from typing import TypeAlias

from scaler_notebook.protocol.encoding.wire import Codec
from scaler_notebook.protocol.frozen import frozen
from scaler_notebook.protocol.messages import ClientContext, Payload, ResultSummary, TaskFigures
from scaler_notebook.task.task_end import TaskEnd


@frozen
class EngineAddress:
    """Scheduler → task process, before the first run: where clients reach the engine."""

    address: str


@frozen
class VisibleDevices:
    """Scheduler → task process that has run nothing yet: the devices that it sees. Sent where an engine has any."""

    names: tuple[str, ...]


@frozen
class Input:
    """The value of a dependency of a task, under the id by which the task's arguments refer to it."""

    name: str
    value: Payload


@frozen
class Run:
    """Scheduler → task process: run a task, once the number of the run is claimed (:mod:`.claims`).

    Parameters
    ----------
    seq
        The number of this run among the runs of the process; an interrupt names the run by this number.
    task_id, name
        As the task's own code sees them.
    function, arguments
        Pickled.
    last
        Is this the last try of the task?
    inputs
        The values that the task depends on.
    retry_on
        As in :class:`~scaler_notebook.protocol.messages.TaskOptions`.
    """

    seq: int
    task_id: str
    name: str
    function: Payload
    arguments: Payload
    last: bool
    inputs: tuple[Input, ...] = ()
    retry_on: bytes = b""


@frozen
class Prewarm:
    """Scheduler → task process that waits for its first task: import these modules, then send ``Ready`` again.

    A further message while the process imports, usually a ``Prewarm`` without modules, has the process stop at the next
    module.
    """

    modules: tuple[str, ...]


@frozen
class Ready:
    """Task process → scheduler, at the start and after a ``Prewarm``: the process can take a task."""

    pid: int


@frozen
class RunFinished:
    """Task process → scheduler, at the end of each run.

    Parameters
    ----------
    seq
        The number of the run.
    end
        How the run ended.
    payload
        The value or the failure, pickled.
    figures
        What the run has cost.
    summary
        The result in a line. If the summary says that a preview follows, a :class:`ResultPreview` follows.
    modules
        The installed modules that this run was the first to import.
    own
        The user's modules that this run was the first to import, in a row: name, location, and stamp of the file of
        each.
    spent
        Must the process run no other task?
    waits
        Does the process begin no other run before it gets :class:`EndHandled`? So it does after a run that has left
        something behind that is to be told from what the next run leaves: output, progress, segments.
    """

    seq: int
    end: TaskEnd
    payload: Payload
    figures: TaskFigures = field(default_factory=TaskFigures)
    summary: ResultSummary = field(default_factory=ResultSummary)
    modules: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    spent: bool = False
    waits: bool = False

    @property
    def is_last(self) -> bool:
        """Whether the process begins no other run: it is to be replaced."""
        return self.spent or self.end is TaskEnd.STOPPED


@frozen
class EndHandled:
    """Scheduler → task process, after a run that ``waits``: what the run has left is taken, and the next may begin."""

    seq: int


@frozen
class ResultPreview:
    """Task process → scheduler: the preview of a run's result, a MIME bundle as JSON."""

    seq: int
    bundle: Payload


@frozen
class Item:
    """Task process → scheduler: an item that a run gives before its end."""

    seq: int
    value: Payload


@frozen
class Paused:
    """Task process → scheduler: a run waits until more of its items are taken.

    Parameters
    ----------
    seq
        The number of the run.
    taken
        How many of its items were taken, as far as the process knows.
    """

    seq: int
    taken: int


@frozen
class Taken:
    """Scheduler → task process: so many of a run's items were taken, in all."""

    seq: int
    count: int


def where_modules_are_found(context: ClientContext) -> tuple[object, ...]:
    """Return what decides which file a name is imported from: ``sys.path``, and the directory if that is on it."""
    return context.path, context.directory if "" in context.path else ""


PROCESS_CAPACITY = 16 * 1024 * 1024  # bytes of functions and arguments that a task process caches

WorkerMessage: TypeAlias = (
    ClientContext
    | EngineAddress
    | VisibleDevices
    | Run
    | Prewarm
    | Ready
    | RunFinished
    | EndHandled
    | ResultPreview
    | Item
    | Paused
    | Taken
)
WORKER_CODEC: Codec[WorkerMessage] = Codec(
    {
        1: Run,
        2: Ready,
        3: RunFinished,
        4: ClientContext,
        5: Prewarm,
        6: EngineAddress,
        8: ResultPreview,
        9: Item,
        10: Paused,
        11: Taken,
        12: EndHandled,
        13: VisibleDevices,
    }
)
