"""Small tables that magics display, as text and as static HTML. Pure functions."""

from __future__ import annotations

import time
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import psutil

from scaler_notebook.client.session_log.history import HistoryRecord, session
from scaler_notebook.client.submission.call_text import shorten
from scaler_notebook.notebook.views.row import duration
from scaler_notebook.notebook.views.static import static_html, terminal_text
from scaler_notebook.protocol.messages import EngineStatus
from scaler_notebook.wording import counted

MAX_CALL = 60


class Table(NamedTuple):
    """Headings and rows.

    Parameters
    ----------
    headings
        One for each column; ``>`` at the beginning aligns the column right, as for figures.
    rows
        A text for each column.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


def bundle(table: Table, notes: Sequence[str] = ()) -> dict[str, str]:
    """Build the MIME bundle of a table, for ``display(…, raw=True)``.

    Parameters
    ----------
    table
        The table.
    notes
        Lines below the table.
    """
    return {"text/plain": text(table, notes), "text/html": html(table, notes)}


def text(table: Table, notes: Sequence[str] = ()) -> str:
    """Write a table as text, its columns aligned.

    Parameters
    ----------
    table
        The table.
    notes
        Lines below the table.
    """
    headings = [heading.lstrip(">") for heading in table.headings]
    widths = [max(map(len, column)) for column in zip(headings, *table.rows, strict=True)]
    right = [heading.startswith(">") for heading in table.headings]
    lines = [
        "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)).rstrip()
        for row in (headings, *table.rows)
    ]
    return "\n".join([*lines, *notes])


def html(table: Table, notes: Sequence[str] = ()) -> str:
    """Write a table as a card of static HTML.

    Parameters
    ----------
    table
        The table.
    notes
        Lines below the table.
    """
    right = ["right" if heading.startswith(">") else "left" for heading in table.headings]
    style = "padding:1px 12px 1px 0;white-space:nowrap;text-align:"

    def line(tag: str, cells: Sequence[str], more: str = "") -> str:
        """Write one row.

        Parameters
        ----------
        tag
            ``th`` or ``td``.
        cells
            A text for each column.
        more
            Further styles of each cell.
        """
        found = (
            f'<{tag} style="{style}{side};{more}">{escape(cell)}</{tag}>'
            for cell, side in zip(cells, right, strict=True)
        )
        return f"<tr>{''.join(found)}</tr>"

    head = line("th", [heading.lstrip(">") for heading in table.headings], "font-weight:500;opacity:0.72")
    body = "".join(line("td", row) for row in table.rows)
    below = "".join(f'<div style="{static_html.MUTED}">{escape(note)}</div>' for note in notes)
    return (
        f'<div class="scaler-table" style="{static_html.CARD};overflow-x:auto">'
        f'<table style="border-collapse:collapse;margin:0;font:inherit"><thead>{head}</thead>'
        f"<tbody>{body}</tbody></table>{below}</div>"
    )


def history_table(records: Sequence[HistoryRecord]) -> Table:
    """List the tasks of a session."""
    return Table(
        ["task", "call", "state", "submitted", ">time", ">output"],
        [
            [
                record.task_id,
                shorten(terminal_text.one_line(record.call), MAX_CALL),
                shorten(record.words if now.error is None else f"failed: {terminal_text.plain(now.error)}", MAX_CALL),
                time.strftime("%H:%M:%S", time.localtime(record.submitted_at)),
                duration(record.seconds, settled=record.is_over),
                f"{len(now.output):,}" if now.output else "",
            ]
            for record in records
            for now in [record.now()]
        ],
    )


def status_table(engine: str, found: EngineStatus) -> tuple[Table, list[str]]:
    """List the processes of an engine.

    Parameters
    ----------
    engine
        The engine, in words.
    found
        What the engine says of itself.

    Returns
    -------
    tuple[Table, list[str]]
        The table, and notes about the queue and the memory.
    """
    calls = {record.task_id: record for record in session}
    rows, total = [], 0
    gpus = found.gpus or ("",) * len(found.processes)
    for pid, task, gpu in zip(found.processes, found.tasks, gpus, strict=True):
        memory = _resident_bytes(pid)
        total += memory
        record = calls.get(task)
        shown = shorten(terminal_text.one_line(record.call), MAX_CALL) if record else ""
        seconds = duration(record.seconds, settled=False) if record else ""
        memory_shown = f"{memory / 1e6:,.0f} MB" if memory else ""
        rows.append([str(pid), *([gpu] if found.gpus else []), memory_shown, task or "idle", shown, seconds])
    if not found.slots:  # a cluster: it reports only on its client's own tasks
        waiting = f"{found.queued} of this client's tasks are queued there, or on their way"
        return Table([], []), [engine, f"{waiting}; what else the cluster does, Scaler's own tools show (scaler_top)"]
    running, spare = sum(map(bool, found.tasks)), max(0, len(found.processes) - found.slots)
    processes = counted(len(found.processes), "process", "processes") + (f", {spare} of them spare" if spare else "")
    notes = [
        engine,
        f"{running} running, {found.queued} queued; {processes}; "
        f"{total / 1e6:,.0f} MB in all (shared memory counted in each)",
    ]
    if found.idle_timeout:
        gone = f"; {found.gone} {'has' if found.gone == 1 else 'have'} gone" if found.gone else ""
        notes.append(f"processes that are idle for {found.idle_timeout:g} s go, and come back on demand{gone}")
    return Table(["process", *(["GPU"] if found.gpus else []), ">memory", "task", "call", ">time"], rows), notes


def _resident_bytes(pid: int) -> int:
    """Return the resident memory of a process; 0 if it cannot be read."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
