"""The trace of a task: its messages with their times, kept for each future and printed as a small time line."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias, overload

from scaler_notebook.protocol import devices
from scaler_notebook.protocol.future_events import (
    CancelGranted,
    CancelRefused,
    DeadlineReached,
    EngineGone,
    FutureEvent,
    ResultArrived,
    StartAnnounced,
    TaskUnknown,
)
from scaler_notebook.protocol.messages import (
    TaskCancel,
    TaskCancelConfirm,
    TaskResult,
    TaskResultType,
    TaskStarted,
)

What: TypeAlias = TaskStarted | TaskCancel | TaskCancelConfirm | TaskResultType | str | None
Moment: TypeAlias = tuple[float, type[FutureEvent], bool, What]  # the bool says whether anything changed

WIDTH = 24  # characters of the time line


class TraceEntry(NamedTuple):
    """A message of a task, or something that happened to its future.

    Parameters
    ----------
    time
        Seconds since the epoch, when this process sent or received the message.
    sender
        ``"client"``, ``"engine"``, or ``""`` for what is no message (``engine lost``, ``discarded``).
    message
        The name of the message, e.g. ``TaskCancelConfirm``.
    detail
        What the message says, e.g. ``Canceled, force=True``, and whether it was ignored.
    """

    time: float
    sender: str
    message: str
    detail: str


class Trace(Sequence[TraceEntry]):
    """The messages of a task up to now, in their order: what :meth:`~scaler_notebook.ScalerFuture.trace` returns.

    The task's output is not part of the trace (``future.logs`` has that).

    Parameters
    ----------
    title
        The first line of the printed form.
    submitted_at
        Seconds since the epoch, when the task was submitted.
    moments
        The events of the future, in their order.
    """

    def __init__(self, title: str, submitted_at: float, moments: Sequence[Moment]) -> None:
        self._title = title
        self._entries = [TraceEntry(submitted_at, "client", "Task", ""), *map(_entry, moments)]

    @overload
    def __getitem__(self, index: int) -> TraceEntry: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[TraceEntry]: ...
    def __getitem__(self, index: int | slice) -> TraceEntry | Sequence[TraceEntry]:
        return self._entries[index]

    def __len__(self) -> int:
        return len(self._entries)

    def __str__(self) -> str:
        return "\n".join([self._title, *self._lines()])

    __repr__ = __str__

    def _lines(self) -> Iterator[str]:
        """Yield the lines of the printed form, one for each message."""
        first, last = self._entries[0].time, self._entries[-1].time
        names = max(len(entry.message) for entry in self._entries)
        for entry in self._entries:
            since = max(0.0, entry.time - first)  # a clock may be set back
            place = round(since / (last - first) * (WIDTH - 1)) if last > first else 0
            line = "·" * place + "●" + "·" * (WIDTH - 1 - place)
            arrow = {"client": "→", "engine": "←"}.get(entry.sender, " ")
            yield f"  {since:9.3f} s  {line}  {arrow} {entry.message:{names}}  {entry.detail}".rstrip()


def trace_form(event: FutureEvent) -> What:
    """Return what a trace keeps of an event, without a result's payload and an error's frames."""
    match event:
        case StartAnnounced() | CancelGranted() | TaskUnknown() | CancelRefused():
            return event.message
        case ResultArrived():
            return event.message.outcome
        case EngineGone(TaskResult() as result):
            return result.outcome
        case EngineGone(cause):
            return f"{type(cause).__name__}: {cause}"
    return None


def _entry(moment: Moment) -> TraceEntry:
    """Return an event as an entry of the trace."""
    time, event, changed, what = moment
    sender, message = "engine", event.words.partition("(")[0]
    match what:
        case TaskStarted():
            details = [f"process {what.processor}"]
            if what.devices:
                details.append(devices.shown(what.devices))
            if what.attempt > 1:
                details.append(f"try {what.attempt}")
        case TaskCancel():
            sender, message, details = "client", "TaskCancel", [f"force={what.force}", f"grace {what.grace:g} s"]
            if event is DeadlineReached:
                details.append("timed out")
        case TaskCancelConfirm():
            details = [what.answer.value, f"force={what.force}", *(["killed"] if what.killed else [])]
        case TaskResultType():
            details = [what.value]
        case str():
            sender, details = "", [what]
        case None:
            sender, message, details = "", "discarded", ["cancelled after it had finished"]
    if not changed:
        details.append("ignored")
    return TraceEntry(time, sender, message, ", ".join(details))
