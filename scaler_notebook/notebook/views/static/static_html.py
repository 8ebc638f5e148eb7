"""The static forms of a card: plain text, and HTML for saved notebooks and front ends without widgets.

Pure functions of a row. The HTML carries its styles inline, for `<style>` does not survive a front end's
sanitiser, and it mixes each hue with the text's own colour, so that it reads on light and dark pages alike.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from html import escape

from scaler_notebook.client.submission.call_text import shorten
from scaler_notebook.notebook.views.row import Row, RowProgress, elapsed, is_over, progress_words, share_of
from scaler_notebook.quantities import thin_spaced
from scaler_notebook.wording import counted

from .badges import badge_html, badge_of
from .terminal_text import TEXT_WIDTH, html_lines, one_line, plain

TAIL_LINES = 3
HOW_TO_RETRY = "fut.retry() submits the same call again"

MONO = "var(--vscode-editor-font-family, var(--jp-code-font-family, ui-monospace, Menlo, monospace))"
_SANS = "var(--vscode-font-family, var(--jp-ui-font-family, system-ui, sans-serif))"
LINE = "color-mix(in srgb, currentColor 18%, transparent)"
MUTED = "color:color-mix(in srgb, currentColor 72%, transparent);font-size:12px"
CARD = (
    f"box-sizing:border-box;max-width:760px;margin:2px 0;padding:3px 8px;border:1px solid {LINE};"
    "border-radius:4px;background:var(--vscode-editor-background, var(--jp-layout-color1, transparent));"
    "color:var(--vscode-editor-foreground, var(--jp-content-font-color1, inherit));"
    f"font:13px/20px {_SANS};text-align:left"
)


def text(row: Row, *, now: float | None = None) -> str:
    """Build the text/plain form: `<ScalerFuture a1b2-3 running 4.2 s: fit(model, X, y)>`, then how it ended.

    Parameters
    ----------
    row
        The task.
    now
        The time until which an unfinished task counts, in Unix seconds; the present by default.
    """
    facts = [f"{_state_word(row)} {elapsed(row, time.time() if now is None else now)}"]
    if row["progress"] is not None:
        facts.append(progress_words(row["progress"]))
    if row["refused"] and not is_over(row):
        facts.append("cancel refused")
    call = shorten(one_line(row["call"]), TEXT_WIDTH)
    lines = [f"<ScalerFuture {plain(row['task_id'])} {', '.join(facts)}: {call}>"]
    if row["error"] is not None:
        lines.append(f"  {shorten(plain(row['error']), TEXT_WIDTH)}")
    if row["origin"] is not None:
        lines.append(f"  {shorten(plain(row['origin']), TEXT_WIDTH)}")
    if row["result"] is not None:
        preview = plain(row["result"]).split("\n")
        lines += [f"  {shorten(line, TEXT_WIDTH)}" for line in preview[:TAIL_LINES]]
        if len(preview) > TAIL_LINES:
            lines.append("  …")
    if row["about"] is not None:
        lines.append(f"  {shorten(plain(row['about']), TEXT_WIDTH)}")
    return "\n".join(lines)


def html(row: Row, *, remark: str | None = None, now: float | None = None) -> str:
    """Build the text/html form: the card as it stands, without script.

    Parameters
    ----------
    row
        The task.
    remark
        A line at the end of the card, e.g. how to stop the task.
    now
        The time until which an unfinished task counts, in Unix seconds; the present by default.
    """
    now = time.time() if now is None else now
    hue = badge_of(row["state"], row["outcome"]).hue
    parts = [_head_html(row, now)]
    if row["progress"] is not None:
        parts.append(_progress_html(row["progress"], hue))
    if row["output"].strip():
        parts.append(_output_html(row))
    if row["error"] is not None:
        parts.append(_block_html("scaler-error", hue, _error_html(row["error"], row)))
    if row["rich"] is not None:
        parts.append(
            _block_html(
                "scaler-result",
                hue,
                f'<div class="mathjax_process" style="overflow:auto;max-height:420px">{row["rich"]}</div>',
            )
        )
    elif row["result"] is not None:
        parts.append(_block_html("scaler-result", hue, _pre_html(html_lines(row["result"]))))
    if row["about"] is not None:
        parts.append(f'<div style="{MUTED};line-height:18px">{escape(row["about"])}</div>')
    if row["nested_words"] is not None:
        parts.append(f'<div style="{MUTED};line-height:18px">{escape(row["nested_words"])}</div>')
    remarks = [remark] if remark else []
    if row["outcome"] in ("failed", "lost") or row["state"] == "cancelled":
        remarks.append(HOW_TO_RETRY)
    if row["refused"] and not is_over(row):
        remarks.insert(0, "a cancel was refused, it is still running")
    if remarks:
        parts.append(f'<div style="{MUTED};line-height:18px">{escape("; ".join(remarks))}</div>')
    task, state = escape(row["task_id"]), escape(row["state"])
    body = "\n".join(parts)
    root = f'<div class="scaler-card-static" data-task-id="{task}" data-state="{state}" style="{CARD}">'
    return f"{root}\n{body}\n</div>"


def terminal_block(source: str) -> str:
    """Write text as a terminal would show it, wrapped where it is too long."""
    return _pre_html(html_lines(source), wrap=True)


def _state_word(row: Row) -> str:
    """Write the state's word, with the reason of a cancellation: `cancelled: stopped`."""
    return f"{row['word']}: {row['reason']}" if row["state"] == "cancelled" and row["reason"] else row["word"]


def _head_html(row: Row, now: float) -> str:
    """Write the first line of a card: badge, call, time. It is as high as that of a live card.

    Parameters
    ----------
    row
        The task.
    now
        The time until which an unfinished task counts, in Unix seconds.
    """
    call = escape(row["call"])
    moment = f'<span style="{MUTED}">as of {time.strftime("%H:%M:%S", time.localtime(now))}</span>'
    shown = badge_html(badge_of(row["state"], row["outcome"]), _state_word(row))
    return (
        f'<div style="display:flex;flex-wrap:wrap;align-items:center;gap:2px 8px;min-height:24px">{shown} '
        f'<code title="{call}" style="flex:1 1 0;min-width:11ch;overflow:hidden;text-overflow:ellipsis;'
        f'padding:0;white-space:nowrap;background:none;color:inherit;font:12px/20px {MONO}">{call}</code> '
        f'<span class="scaler-id" style="{MUTED};flex:none;font-family:{MONO};user-select:all">'
        f"{escape(row['task_id'])}</span> "
        f'<span class="scaler-time" style="{MUTED};font-variant-numeric:tabular-nums;white-space:nowrap">'
        f"{elapsed(row, now)}</span> {'' if is_over(row) else moment}</div>"
    )


def _progress_html(progress: RowProgress, hue: str) -> str:
    """Write a progress bar, with the progress in words beside it.

    Parameters
    ----------
    progress
        The progress.
    hue
        The CSS colour of the bar.
    """
    total = progress["total"]
    share = share_of(progress["done"], total) if total else 0.0
    return (
        '<div style="display:flex;align-items:center;gap:8px;min-height:18px">'
        '<span style="flex:1 1 0;min-width:80px;height:4px;border-radius:2px;overflow:hidden;'
        'background:color-mix(in srgb, currentColor 13%, transparent)">'
        f'<span style="display:block;height:100%;width:{share:.1%};background:{hue}"></span></span> '
        f'<span style="{MUTED}">{escape(progress_words(progress))}</span></div>'
    )


def _output_html(row: Row) -> str:
    """Write a task's output: the last lines, and the earlier ones folded."""
    lines = html_lines(row["output"])
    earlier, tail = lines[:-TAIL_LINES], lines[-TAIL_LINES:]
    count = thin_spaced(counted(len(earlier), "earlier line"))
    if row["output_truncated"]:
        count += f"; %scaler logs {escape(plain(row['task_id']))} prints all"
    title = f'<span style="{MUTED};font-family:{_SANS};line-height:1">{count}</span>'
    folded = _folded_html(title, earlier) if earlier else ""
    return _block_html("scaler-output", LINE, folded + _pre_html(tail, wrap=True))


def _error_html(error: str, row: Row) -> str:
    """Write an error: where in the user's code it was raised, and the whole traceback, which is folded.

    Parameters
    ----------
    error
        The last line of the traceback.
    row
        The task.
    """
    origin, traceback = row["origin"], row["traceback"]
    line = f'<span style="overflow-wrap:anywhere">{"<br>".join(html_lines(error))}</span>'
    place = f'<div style="{MUTED};overflow-wrap:anywhere">{escape(plain(origin))}</div>' if origin is not None else ""
    return (_opened_html(line, _traceback_html(traceback, row["folds"])) if traceback is not None else line) + place


def _traceback_html(traceback: str, folds: Sequence[tuple[int, int, int]]) -> str:
    """Write a traceback, with the frames of libraries folded.

    Parameters
    ----------
    traceback
        The traceback.
    folds
        As in :class:`~scaler_notebook.notebook.views.row.Row`.
    """
    lines, parts, shown = html_lines(traceback), [], 0
    for first, behind, frames in folds:
        if lines[shown:first]:
            parts.append(_pre_html(lines[shown:first]))
        title = f'<span style="{MUTED}">… {thin_spaced(counted(frames, "frame"))} of libraries</span>'
        parts.append(_folded_html(title, lines[first:behind]))
        shown = behind
    return "\n".join([*parts, _pre_html(lines[shown:])])


def _folded_html(title: str, lines: list[str]) -> str:
    """Write lines that unfold at a click on the title.

    Parameters
    ----------
    title
        The title, as HTML.
    lines
        The lines, as HTML.
    """
    return _opened_html(title, _pre_html(lines))


def _opened_html(title: str, body: str) -> str:
    """Write what unfolds at a click on the title.

    Parameters
    ----------
    title
        The title, as HTML.
    body
        What unfolds, as HTML.
    """
    summary = f'<summary style="cursor:pointer">{title}</summary>'
    return f'<details style="margin:0;padding:0">{summary}\n{body}</details>'


def _pre_html(lines: list[str], *, wrap: bool = False) -> str:
    """Write preformatted lines.

    Parameters
    ----------
    lines
        The lines, as HTML.
    wrap
        Wrap long lines, instead of a scroll bar.
    """
    space = "pre-wrap;overflow-wrap:anywhere;max-height:420px" if wrap else "pre;max-height:306px"
    style = "margin:0;padding:0;border:0;background:none;color:inherit;overflow:auto"
    body = "\n".join(lines)
    # HTML drops a line end right after <pre>: with this one, no line end of the task's is dropped.
    return f'<pre style="{style};font:12px/17px {MONO};white-space:{space}">\n{body}</pre>'


def _block_html(name: str, edge: str, body: str) -> str:
    """Write a block with a coloured edge.

    Parameters
    ----------
    name
        The CSS class.
    edge
        The CSS colour of the edge.
    body
        The content, as HTML.
    """
    style = f"margin:3px 0;padding-left:8px;border-left:2px solid {edge};font:12px/18px {MONO}"
    return f'<div class="{name}" style="{style}">{body}</div>'
