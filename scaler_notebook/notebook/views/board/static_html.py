"""The static forms of a board: the counts, and the rows that matter most, as plain text and as HTML.

Pure functions of a table's rows; the HTML is styled like that of
:mod:`scaler_notebook.notebook.views.static.static_html`.
"""

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from scaler_notebook.client.submission.call_text import shorten
from scaler_notebook.notebook.views.row import duration, progress_words
from scaler_notebook.notebook.views.static.badges import Badge, badge_html, badge_of
from scaler_notebook.notebook.views.static.static_html import CARD, LINE, MONO, MUTED
from scaler_notebook.notebook.views.static.terminal_text import TEXT_WIDTH, one_line, plain
from scaler_notebook.quantities import amount

from .board_row import KINDS, BoardRow, Kind

FIRST_ROWS = 8  # rows that a static form shows
FIRST_ERRORS = 3  # kinds of errors that a static form names
CALL_WIDTH = 40  # characters of a call in the plain text
ORDER: tuple[Kind, ...] = ("done", "failed", "cancelled", "lost", "cancelling", "running", "queued")  # of the counts
INTEREST: tuple[Kind, ...] = ("failed", "lost", "cancelling", "running", "queued", "cancelled", "done")  # of the rows

# What may differ between errors of one kind. board_rows.js has the same rules; error_gists.json has cases for both.
_VARYING = re.compile(
    "|".join(
        [
            r"(?:\bb|\B)'(?:[^'\n]|\b'\b)*'\B",  # what is quoted; an apostrophe is within a word
            r'(?:\bb|\B)"[^"\n]*"\B',
            r"\B(?:~|\.\.?)?(?:/[\w.+@%=~-]+){2,}/?",  # paths
            r"\b[a-z]:\\[^\s'\":]+",
            r"\b0x[0-9a-f]+\b",  # addresses
            r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b",  # UUIDs
            r"\b(?=[a-f]*\d)[0-9a-f]{8,}\b",  # digests
            r"(?:\B[-+]?\.?)?\d+(?:[.,\u2009]\d+)*(?:e[-+]?\d+)?",
        ]
    ),
    re.ASCII | re.IGNORECASE,
)

BADGES: Mapping[Kind, Badge] = {
    "queued": badge_of("submitted", None),
    "running": badge_of("running", None),
    "cancelling": badge_of("cancelling", None),
    "done": badge_of("finished", "success"),
    "failed": badge_of("finished", "failed"),
    "lost": badge_of("finished", "lost"),
    "cancelled": badge_of("cancelled", None),
}


def first_rows(rows: Iterable[BoardRow]) -> list[BoardRow]:
    """Choose the rows that a static form shows: those of most interest, in their order."""
    rank = [INTEREST.index(kind) for kind in KINDS]
    return sorted(rows, key=lambda row: rank[row.kind])[:FIRST_ROWS]


def repeated_errors(rows: Iterable[BoardRow]) -> list[str]:
    """Name the errors that several tasks have failed with, the most frequent first: ``ValueError: no data × 13``.

    Errors with one gist are counted together, as in board_errors.js.
    """
    failed = [row.note for row in rows if KINDS[row.kind] in ("failed", "lost") and row.note]
    kinds: dict[str, list[str]] = {}
    for note in failed:
        kinds.setdefault(gist_of(note), []).append(note)
    frequent = sorted((each for each in kinds.items() if len(each[1]) > 1), key=lambda each: -len(each[1]))
    return [
        f"{notes[0] if len(set(notes)) == 1 else gist} × {amount(len(notes))}"
        for gist, notes in frequent[:FIRST_ERRORS]
    ]


def gist_of(error: str) -> str:
    """Return what an error says, whatever its numbers, addresses and quoted names."""
    return _VARYING.sub("…", error)


def counts_text(counts: Mapping[Kind, int]) -> str:
    """Write the counts: ``128 done · 4 failed · 856 queued``."""
    parts = [f"{amount(counts[kind])} {BADGES[kind].word}" for kind in ORDER if counts.get(kind)]
    return " · ".join(parts) or "no tasks"


def text(title: str, counts: Mapping[Kind, int], rows: Sequence[BoardRow], *, now: float | None = None) -> str:
    """Build the text/plain form: a line of counts, and one for each of the first rows.

    Parameters
    ----------
    title
        The name of the group, or of the session.
    counts
        The number of tasks of each kind.
    rows
        All rows.
    now
        The time until which an unfinished task counts, in Unix seconds; the present by default.
    """
    now = time.time() if now is None else now
    shown = first_rows(rows)
    lines = [f"{title}: {counts_text(counts)}"]
    lines += [shorten(f"  {one_line(error)}", TEXT_WIDTH) for error in repeated_errors(rows)]
    for row in shown:
        facts = [
            BADGES[KINDS[row.kind]].word,
            _elapsed(row, now),
            shorten(one_line(row.call), CALL_WIDTH),
            _note(row),
        ]
        lines.append(shorten("  ".join(["", *filter(None, facts)]), TEXT_WIDTH))
    left = sum(counts.values()) - len(shown)
    if left:
        lines.append(f"  … {amount(left)} more")
    return "\n".join(lines)


def html(
    title: str,
    counts: Mapping[Kind, int],
    rows: Sequence[BoardRow],
    *,
    remark: str | None = None,
    now: float | None = None,
) -> str:
    """Build the text/html form: the board as it stands, without script.

    Parameters
    ----------
    title
        The name of the group, or of the session.
    counts
        The number of tasks of each kind.
    rows
        All rows.
    remark
        A line at the end of the board, e.g. how to stop its tasks.
    now
        The time until which an unfinished task counts, in Unix seconds; the present by default.
    """
    now = time.time() if now is None else now
    shown = first_rows(rows)
    total = sum(counts.values())
    parts = [
        f'<div style="display:flex;flex-wrap:wrap;gap:2px 12px"><b style="font-weight:600">{escape(title)}</b> '
        f'<span style="{MUTED}">{escape(counts_text(counts))}</span></div>'
    ]
    if total:
        parts.append(_bar_html(counts, total))
    parts += [f'<div style="font:12px/20px {MONO}">{escape(plain(error))}</div>' for error in repeated_errors(rows)]
    if shown:
        parts.append(_table_html(shown, now))
    remarks = [f"{amount(total - len(shown))} more"] if total > len(shown) else []
    if counts.keys() & {"queued", "running", "cancelling"}:
        remarks.append(f"as of {time.strftime('%H:%M:%S', time.localtime(now))}")
    remarks += [remark] if remark else []
    if remarks:
        parts.append(f'<div style="{MUTED};line-height:18px">{escape("; ".join(remarks))}</div>')
    return f'<div class="scaler-board-static" style="{CARD}">' + "\n".join(parts) + "</div>"


def _note(row: BoardRow) -> str:
    """Write how far a task is, or how it has ended."""
    if row.progress is None or row.over or row.note:
        return one_line(row.note)
    return progress_words(row.progress)


def _elapsed(row: BoardRow, now: float) -> str:
    """Write the time that a task has run; empty if it has not started.

    Parameters
    ----------
    row
        The task.
    now
        The time until which an unfinished task counts, in Unix seconds.
    """
    if row.started is None:
        return ""
    return duration((row.ended if row.over and row.ended else now) - row.started, settled=row.over)


def _bar_html(counts: Mapping[Kind, int], total: int) -> str:
    """Write the counts as a bar with a segment for each kind.

    Parameters
    ----------
    counts
        The number of tasks of each kind.
    total
        The number of all tasks.
    """
    segments = (
        f'<span title="{amount(counts[kind])} {BADGES[kind].word}" style="width:{counts[kind] / total:.3%};'
        f'background:{BADGES[kind].hue}"></span>'
        for kind in ORDER
        if counts.get(kind)
    )
    style = "display:flex;gap:1px;height:6px;margin:4px 0;border-radius:3px;overflow:hidden"
    return f'<div style="{style}">{"".join(segments)}</div>'


def _table_html(rows: Iterable[BoardRow], now: float) -> str:
    """Write rows as a table.

    Parameters
    ----------
    rows
        The rows.
    now
        The time until which an unfinished task counts, in Unix seconds.
    """
    cell = f"padding:1px 8px 1px 0;text-align:left;border:0;border-top:1px solid {LINE};background:none"
    code = f"{cell};font:12px/20px {MONO};overflow-wrap:anywhere"
    lines = "".join(
        f'<tr style="background:none"><td style="{cell}">'
        f"{badge_html(BADGES[KINDS[row.kind]], BADGES[KINDS[row.kind]].word)}</td>"
        f'<td style="{code}">{escape(plain(row.call))}</td>'
        f'<td style="{cell};{MUTED};white-space:nowrap">{_elapsed(row, now)}</td>'
        f'<td style="{cell};{MUTED}">{escape(plain(_note(row)))}</td></tr>'
        for row in rows
    )
    return f'<table style="width:100%;margin:0;border-collapse:collapse;border:0;font:inherit">{lines}</table>'
