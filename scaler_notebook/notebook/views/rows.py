"""Rows: a future as its views see it."""

from collections.abc import Sequence
from typing import Any

from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.task_state.output import Display, Piece
from scaler_notebook.notebook.settings_store import settings
from scaler_notebook.protocol import devices
from scaler_notebook.protocol.messages import PreviewKind, TaskResultType
from scaler_notebook.protocol.states import TaskState
from scaler_notebook.quantities import format_bytes

from .frames import library_folds, origin, with_cells
from .nested import nested_tasks
from .row import Outcome, Row, is_over, read_progress
from .static import mime, static_html
from .static.badges import badge_of

_OUTCOMES: dict[TaskResultType | None, Outcome] = {TaskResultType.SUCCESS: "success", TaskResultType.FAILED: "failed"}
OUTPUT_TAIL = 16_000  # characters of output that a view carries; all of it is in ``future.logs``


def row(future: ScalerFuture[Any], alone: bool = False) -> Row:
    """Read a future. None of the user's code runs for that, and nothing blocks.

    Parameters
    ----------
    future
        The future.
    alone
        Whether nothing beside the view shows what only the front end's own renderers can; as for :func:`.mime.html`.
    """
    state = future.state
    failure = future.failure
    traceback = with_cells(failure.traceback) if failure is not None else None
    outcome = None
    if state is TaskState.FINISHED:
        outcome = TaskResultType.FAILED if failure is not None else TaskResultType.SUCCESS
    output, truncated = future.last_output(OUTPUT_TAIL)
    result, rich, about = _result_forms(future, alone) if outcome is TaskResultType.SUCCESS else (None, None, None)
    displays = future.displays if future.displayed else ()
    if displays:
        output, pieces = _split_at_first_display(future.outputs())
        texts = [mime.text(display) for display in displays if alone or not mime.is_native(display)]
        own = result
        result = "\n".join([*texts, *([result] if result is not None else [])]) or None
        value = rich if rich is not None or own is None else static_html.terminal_block(own)
        rich = "\n".join(filter(None, [mime.html(pieces, alone), value])) or None
    nested, nested_words = nested_tasks(future)
    lines = output.split("\n")
    most = settings.output_lines + (not lines[-1])  # behind the last line's end there is nothing
    shown: Row = {
        "task_id": future.task_id,
        "call": future.call,
        "state": state.value,
        "word": "",
        "outcome": _OUTCOMES.get(outcome) if not future.lost else "lost",
        "reason": cancel_words(future),
        "refused": future.refused,
        "submitted_at": future.submitted_at,
        "started_at": future.started_at,
        "ended_at": future.ended_at,
        "output": "\n".join(lines[-most:]),
        "output_truncated": truncated or len(lines) > most,
        "error": with_origin(future, failure.headline) if failure is not None else None,
        "origin": origin(failure.frames) if failure is not None else None,
        "traceback": traceback,
        "folds": library_folds(traceback) if traceback is not None else [],
        "result": result,
        "rich": rich,
        "about": about,
        "progress": None,
        "nested": nested,
        "nested_words": nested_words,
    }
    if future.progress is not None:
        shown["progress"] = read_progress(future.progress, is_over(shown))
    shown["word"] = badge_of(shown["state"], shown["outcome"]).word
    if gpus := future.gpus:
        shown["word"] += f" on {devices.shown(gpus)}"
    if future.tries > 1:
        shown["word"] += f", try {future.tries}"
    return shown


def _result_forms(future: ScalerFuture[Any], alone: bool) -> tuple[str | None, str | None, str | None]:
    """Return the result as text, as HTML, and a line about it: type, shape, size. None where there is no such form.

    Parameters
    ----------
    future
        The future.
    alone
        As for :func:`row`.
    """
    summary, preview = future.summary, future.preview
    if not future.shows_result or not (summary.text or summary.kind):
        return None, None, None
    about = summary.kind or summary.text
    if future.bytes_received:  # there are none if the value is kept for other tasks alone
        about += f" · {format_bytes(future.bytes_received)}"
    if summary.preview is PreviewKind.NONE:
        return summary.text or None, None, about  # as in a notebook, None itself is not shown
    if preview is None:
        return None, None, about
    rich = mime.html([preview], alone) if mime.has_form(preview, alone) else None
    return mime.text(preview), rich, about


def cancel_words(future: ScalerFuture[Any]) -> str | None:
    """Say how a task was cancelled: its reason, whether its process was killed, and by whose cancel it was."""
    reason = future.cancel_reason
    if reason is None:
        return None
    return with_origin(future, f"{reason.value} (killed)" if future.killed else reason.value)


def with_origin(future: ScalerFuture[Any], words: str) -> str:
    """Add to the words about a task's end the name of the other task from which that end came, if any.

    Parameters
    ----------
    future
        The future of the task.
    words
        How the task ended.
    """
    return f"{words} · from {future.origin_name}" if future.origin else words


def _split_at_first_display(pieces: Sequence[Piece]) -> tuple[str, list[Piece]]:
    """Split a task's output.

    Returns
    -------
    tuple[str, list[Piece]]
        The text before the first display, and the pieces from there on.
    """
    first = next(i for i, piece in enumerate(pieces) if isinstance(piece, Display))
    before = "".join(piece[1] for piece in pieces[:first] if not isinstance(piece, Display))
    return before[-OUTPUT_TAIL:], list(pieces[first:])
