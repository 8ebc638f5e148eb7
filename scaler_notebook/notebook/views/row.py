"""A row: one future as its views see it, with its times and its progress in words."""

from __future__ import annotations

from typing import Literal, TypedDict

from scaler_notebook.quantities import thin_spaced

from .static.terminal_text import one_line

State = Literal["submitted", "running", "cancelling", "finished", "cancelled"]
Outcome = Literal["success", "failed", "lost"]


class RowProgress(TypedDict):
    """How far a task says it is; `total` is None when the task does not know."""

    done: float
    total: float | None
    note: str


class NestedTask(TypedDict):
    """A task that the task of a row, or one below that, has submitted; times are as those of a row."""

    task_id: str
    call: str
    kind: str  # queued, running, cancelling, done, failed, cancelled or lost
    submitted_at: float
    started_at: float | None
    ended_at: float | None
    depth: int  # 0 for one that the row's task has submitted itself


class Row(TypedDict):
    """One future as its views see it; times are Unix seconds of the kernel's clock."""

    task_id: str
    call: str
    state: State
    word: str
    outcome: Outcome | None
    reason: str | None
    refused: bool
    submitted_at: float
    started_at: float | None
    ended_at: float | None
    output: str
    output_truncated: bool
    error: str | None
    origin: str | None  # where in the user's code the error was raised
    traceback: str | None
    folds: list[tuple[int, int, int]]  # lines of the traceback that are libraries': first, behind the last, frames
    result: str | None
    about: str | None  # what the result is: type, shape or length, size
    rich: str | None  # HTML, shown in place of the result's text where there is any
    progress: RowProgress | None
    nested: list[NestedTask]  # those that matter most
    nested_words: str | None  # all of them in words, if there are any


def is_over(row: Row) -> bool:
    """Return whether nothing more will happen to the task."""
    return row["state"] in ("finished", "cancelled")


def duration(seconds: float, *, settled: bool = True) -> str:
    """Write a time for a person.

    Parameters
    ----------
    seconds
        The time.
    settled
        Whether the time is final. A final time below a second is written in milliseconds.
    """
    seconds = max(0.0, seconds)
    if settled and seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def elapsed(row: Row, now: float) -> str:
    """Write the time that a task has run, or has waited if it has not started.

    Parameters
    ----------
    row
        The task.
    now
        The time until which an unfinished task counts, in Unix seconds.
    """
    start = row["submitted_at"]
    if row["state"] != "submitted" and row["started_at"] is not None:
        start = row["started_at"]
    over = is_over(row)
    end = row["ended_at"] if over and row["ended_at"] is not None else now
    return duration(end - start, settled=over)


def progress_words(progress: RowProgress) -> str:
    """Write progress in words: ``3 / 10 · fitting``."""

    def amount(n: float) -> str:
        """Write a number without needless decimals."""
        return thin_spaced(f"{n:,.2f}".rstrip("0").rstrip("."))

    total, note = progress["total"], one_line(progress["note"])
    share = f" / {amount(total)}" if total else ""
    return f"{amount(progress['done'])}{share}{f' · {note}' if note else ''}"
