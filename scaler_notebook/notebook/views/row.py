"""A row: one future as its views see it, with its times and its progress in words."""

from __future__ import annotations

import math
from typing import Literal, TypedDict

from scaler_notebook.protocol.messages import TaskProgress
from scaler_notebook.quantities import amount, format_bytes

from .static.terminal_text import one_line

State = Literal["submitted", "running", "cancelling", "finished", "cancelled"]
Outcome = Literal["success", "failed", "lost"]


MAX_UNIT = 20  # characters of the unit that a view shows
LONGEST = 3e9  # seconds that a step, or what is left, can be believed to take: a century
BYTES = "B"  # the unit whose amounts are bytes, as tqdm has it


class RowProgress(TypedDict):
    """How far a task says it is: numbers for a bar, and words; `total` is None when the task does not know."""

    done: float
    total: float | None
    amount: str  # how much is done, of how much, and the rate
    left: str  # the time left; empty where nobody knows, and when the task has ended
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


def read_progress(progress: TaskProgress, over: bool) -> RowProgress:
    """Read what a task has reported last.

    Parameters
    ----------
    progress
        The report.
    over
        Whether the task has ended, so that no time is left.
    """
    done, total, rate = progress.done, progress.total, progress.rate
    unit = one_line(progress.unit)[:MAX_UNIT] or "it"
    parts, left = [_measured(done, unit)], 0.0
    if total > 0:
        parts[0] += f" of {_measured(total, unit)}"
        parts.insert(0, f"{math.floor(100 * share_of(done, total) + 1e-9)} %")  # 100 % is no sooner than the end
    if 1 / LONGEST < rate < math.inf:
        parts.append(_rate(rate, unit))
        left = (total - done) / rate if total > 0 and not over else 0.0
    return {
        "done": done,
        "total": total if total >= 0 else None,
        "amount": " · ".join(parts),
        "left": f"about {roughly(left)} left" if 1 <= left < LONGEST else "",
        "note": one_line(progress.note),
    }


def share_of(done: float, total: float) -> float:
    """Return the part that is done, from 0 to 1.

    Parameters
    ----------
    done
        How many steps are done.
    total
        How many steps there are; not 0.
    """
    return min(1.0, max(0.0, done / total))


def progress_words(progress: RowProgress) -> str:
    """Write progress in words: ``34 % · 340 of 1 000 · 12.1 it/s · about 55 s left · loss=0.3``."""
    return " · ".join(filter(None, [progress["amount"], progress["left"], progress["note"]]))


def roughly(seconds: float) -> str:
    """Write a time no more exactly than it is known: ``40 s``, ``7 min``."""
    if seconds < 10:
        return f"{max(1, math.floor(seconds + 0.5))} s"
    if seconds < 90:
        return f"{math.floor(seconds / 5 + 0.5) * 5} s"
    if seconds < 5400:
        return f"{math.floor(seconds / 60 + 0.5)} min"
    return f"{seconds / 3600:.1f} h"


def _measured(number: float, unit: str) -> str:
    """Write an amount; one of bytes has their unit with it.

    Parameters
    ----------
    number
        The amount.
    unit
        What it counts.
    """
    return format_bytes(number) if unit == BYTES else amount(number)


def _rate(rate: float, unit: str) -> str:
    """Write a rate: ``12.1 it/s``; for fewer than one in a second the time of one, ``2.5 s/it``.

    Parameters
    ----------
    rate
        How many in a second.
    unit
        What it counts.
    """
    if unit == BYTES:
        return f"{format_bytes(rate)}/s"
    if rate < 1:
        return f"{duration(1 / rate, settled=False)}/{unit}"
    return f"{amount(round(rate, 1) if rate < 100 else round(rate))} {unit}/s"
