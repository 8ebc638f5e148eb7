"""One row of a board: a future, read."""

from typing import Any, Literal, NamedTuple

from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.task_state.observed_task import ObservedTask
from scaler_notebook.notebook.views.row import RowProgress, read_progress
from scaler_notebook.notebook.views.rows import cancel_words, with_origin
from scaler_notebook.notebook.views.static.terminal_text import one_line
from scaler_notebook.protocol import devices
from scaler_notebook.protocol.states import TaskState

Kind = Literal["queued", "running", "cancelling", "done", "failed", "cancelled", "lost"]

KINDS: tuple[Kind, ...] = ("queued", "running", "cancelling", "done", "failed", "cancelled", "lost")
ENDED = frozenset(map(KINDS.index, ("done", "failed", "cancelled", "lost")))
FAILED = KINDS.index("failed")
CANCELLING = KINDS.index("cancelling")
CANCELLED = KINDS.index("cancelled")
LOST = KINDS.index("lost")
MAX_NOTE = 160  # characters of a row's note
MAX_HEADLINE = 2_000  # characters of an exception's line that are looked at for it, a terminal's colours included

_KIND_OF_STATE = {
    TaskState.SUBMITTED: KINDS.index("queued"),
    TaskState.RUNNING: KINDS.index("running"),
    TaskState.CANCELLING: CANCELLING,
    TaskState.FINISHED: KINDS.index("done"),
    TaskState.CANCELLED: CANCELLED,
}


class BoardRow(NamedTuple):
    """One task as a board shows it; times are Unix seconds of the kernel's clock."""

    call: str
    kind: int  # an index of KINDS
    processor: str
    submitted: float
    started: float | None
    ended: float | None
    note: str  # the reason of a cancel, or the exception
    refused: bool
    progress: RowProgress | None = None
    tries: int = 1  # how often the call was tried, as far as known
    cpu: float | None = None  # seconds, when it has ended

    @property
    def over(self) -> bool:
        """Whether the task has ended."""
        return self.kind in ENDED


def read_row(future: ScalerFuture[Any]) -> BoardRow:
    """Read a future. None of the user's code runs for that, and nothing blocks."""
    kind, note = _KIND_OF_STATE[future.state], ""
    if future.failed:
        kind, failure = LOST if future.lost else FAILED, future.failure
        note = one_line(failure.headline[:MAX_HEADLINE]) if failure is not None else ""
        note = with_origin(future, note)[:MAX_NOTE]
    elif future.cancel_reason is not None:
        note = (cancel_words(future) or "")[:MAX_NOTE]
    progress = future.progress
    return BoardRow(
        future.call,
        kind,
        _place_of(future),
        future.submitted_at,
        future.started_at,
        future.ended_at,
        note,
        future.refused,
        None if progress is None else read_progress(progress, kind in ENDED),
        max(1, future.tries),
        future.figures.cpu if future.figures.cpu >= 0 else None,
    )


def _place_of(future: ScalerFuture[Any]) -> str:
    """Write where a task runs or has run: its GPUs, which a narrow column shows first, and its process."""
    gpus = future.gpus
    return f"{devices.shown(gpus)} · {future.processor}" if gpus else future.processor


def kind_of(future: ObservedTask) -> Kind:
    """Return the kind of a task alone, for who reads many."""
    if future.failed:
        return "lost" if future.lost else "failed"
    return KINDS[_KIND_OF_STATE[future.state]]
