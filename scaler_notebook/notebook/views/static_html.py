"""What a future's card says where no widget lives: plain text, and HTML for saved notebooks.

Pure functions of a row. The HTML carries its styles inline, for `<style>` does not survive a front end's
sanitiser, and it mixes each hue with the text's own colour, so that it reads on light and dark pages alike.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from html import escape
from typing import Literal, NamedTuple, TypedDict

from .terminal_style import Style, restyled

State = Literal["submitted", "running", "cancelling", "finished", "cancelled"]
Outcome = Literal["success", "failed"]

TAIL_LINES = 3
TEXT_WIDTH = 100
HOW_TO_RETRY = "fut.retry() submits the same call again"


class Progress(TypedDict):
    """How far a task says it is; `total` is None when it does not know."""

    done: float
    total: float | None
    note: str


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
    origin: str | None  # where in the user's code
    traceback: str | None
    result: str | None
    about: str | None  # what the result is, where the result itself does not say so: type, shape, size
    rich: str | None  # HTML, shown in place of the result's text where there is any
    progress: Progress | None


class Look(NamedTuple):
    """A badge: its word, the strokes of its icon in a 16 × 16 box, and its hue."""

    word: str
    icon: str
    hue: str


_RING = "M8 2a6 6 0 1 0 0 12a6 6 0 1 0 0-12"
_BLUE = "var(--vscode-charts-blue, var(--jp-brand-color1, #1976d2))"
_ORANGE = "var(--vscode-charts-orange, var(--jp-warn-color1, #e07800))"
_GREEN = "var(--vscode-charts-green, var(--jp-success-color1, #388e3c))"
_RED = "var(--vscode-charts-red, var(--jp-error-color1, #d32f2f))"

# The same words, strokes and hues as in icons.js and card.css.
_LOOKS: dict[State, Look] = {
    "submitted": Look("queued", f"{_RING}M8 4.8V8l2.2 1.5", "#78849b"),
    "running": Look("running", "M8 2a6 6 0 1 0 6 6", _BLUE),
    "cancelling": Look("cancelling…", f"{_RING}M6.4 6.4h3.2v3.2H6.4z", _ORANGE),
    "finished": Look("done", f"{_RING}M5.4 8.2l1.8 1.8 3.4-3.8", _GREEN),
    "cancelled": Look("cancelled", f"{_RING}M3.8 3.8l8.4 8.4", "#9a7b62"),
}
_FAILED = Look("failed", f"{_RING}M6 6l4 4M10 6l-4 4", _RED)


def look(state: State, outcome: Outcome | None) -> Look:
    """The badge of a state."""
    return _FAILED if state == "finished" and outcome == "failed" else _LOOKS[state]


def is_over(row: Row) -> bool:
    """Whether nothing more will happen to the task."""
    return row["state"] in ("finished", "cancelled")


def duration(seconds: float, *, settled: bool = True) -> str:
    """Seconds as a person says them; settled times below a second are worth their milliseconds."""
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
    """The time that counts: running time, or waiting time for what never started."""
    start = row["submitted_at"]
    if row["state"] != "submitted" and row["started_at"] is not None:
        start = row["started_at"]
    over = is_over(row)
    end = row["ended_at"] if over and row["ended_at"] is not None else now
    return duration(end - start, settled=over)


def text(row: Row, *, now: float | None = None) -> str:
    """The text/plain form: `<ScalerFuture a1b2-3 running 4.2 s: fit(model, X, y)>`, then how it ended."""
    facts = [f"{_word(row, '{} ({})')} {elapsed(row, time.time() if now is None else now)}"]
    if row["progress"] is not None:
        facts.append(progress_words(row["progress"]))
    if row["refused"] and not is_over(row):
        facts.append("cancel refused")
    call = shortened(" ".join(plain(row["call"]).split()))
    lines = [f"<ScalerFuture {plain(row['task_id'])} {', '.join(facts)}: {call}>"]
    if row["error"] is not None:
        lines.append(f"  {shortened(plain(row['error']))}")
    if row["origin"] is not None:
        lines.append(f"  {shortened(plain(row['origin']))}")
    if row["result"] is not None:
        preview = plain(row["result"]).split("\n")
        lines += [f"  {shortened(line)}" for line in preview[:TAIL_LINES]]
        if len(preview) > TAIL_LINES:
            lines.append("  …")
    if row["about"] is not None:
        lines.append(f"  {shortened(plain(row['about']))}")
    return "\n".join(lines)


def html(row: Row, *, remark: str | None = None, now: float | None = None) -> str:
    """The text/html form: the card as it stands, without script; `remark` stands at its end, e.g. how to stop it."""
    now = time.time() if now is None else now
    hue = look(row["state"], row["outcome"]).hue
    parts = [_head(row, now)]
    if row["progress"] is not None:
        parts.append(_progress_bar(row["progress"], hue))
    if row["output"].strip():
        parts.append(_output(row))
    if row["error"] is not None:
        parts.append(_block("scaler-error", hue, _error(row["error"], row["origin"], row["traceback"])))
    if row["rich"] is not None:
        parts.append(_block("scaler-result", hue, f'<div style="overflow:auto;max-height:420px">{row["rich"]}</div>'))
    elif row["result"] is not None:
        parts.append(_block("scaler-result", hue, _pre(_terminal(row["result"]))))
    if row["about"] is not None:
        parts.append(f'<div style="{MUTED};line-height:18px">{escape(row["about"])}</div>')
    remarks = [remark] if remark else []
    if row["outcome"] == "failed" or row["state"] == "cancelled":
        remarks.append(HOW_TO_RETRY)
    if not is_over(row):
        remarks.insert(0, f"as of {time.strftime('%H:%M:%S', time.localtime(now))}")
        if row["refused"]:
            remarks.insert(0, "a cancel was refused, it is still running")
    if remarks:
        parts.append(f'<div style="{MUTED};line-height:18px">{escape("; ".join(remarks))}</div>')
    task, state = escape(row["task_id"]), escape(row["state"])
    body = "\n".join(parts)
    root = f'<div class="scaler-card-static" data-task-id="{task}" data-state="{state}" style="{CARD}">'
    return f"{root}\n{body}\n</div>"


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


def _word(row: Row, shape: str) -> str:
    """The word, with the reason of a cancellation: `cancelled: stopped`."""
    if row["state"] == "cancelled" and row["reason"]:
        return shape.format(row["word"], row["reason"])
    return row["word"]


def badge(shown: Look, words: str, title: str = "") -> str:
    """The HTML of a badge that says ``words``."""
    _, icon, hue = shown
    return (
        f'<span class="scaler-badge" title="{escape(title)}" style="display:inline-flex;flex:none;'
        "align-items:center;gap:4px;padding:0 8px 0 5px;border-radius:10px;font-size:12px;font-weight:500;"
        f"white-space:nowrap;background:color-mix(in srgb, {hue} 14%, transparent);"
        f'color:color-mix(in srgb, {hue} 55%, currentColor)">'
        '<svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true" style="fill:none;'
        f'stroke:{hue};stroke-width:1.6;stroke-linecap:round;stroke-linejoin:round"><path d="{icon}"/></svg>'
        f"<span>{escape(words)}</span></span>"
    )


def _head(row: Row, now: float) -> str:
    call = escape(row["call"])
    shown = badge(look(row["state"], row["outcome"]), _word(row, "{}: {}"), f"task {row['task_id']}")
    return (
        f'<div style="display:flex;flex-wrap:wrap;align-items:center;gap:2px 8px;min-height:24px">{shown} '
        f'<code title="{call}" style="flex:1 1 0;min-width:11ch;overflow:hidden;text-overflow:ellipsis;'
        f'padding:0;white-space:nowrap;background:none;color:inherit;font:12px/20px {MONO}">{call}</code> '
        f'<span class="scaler-time" style="{MUTED};font-variant-numeric:tabular-nums;white-space:nowrap">'
        f"{elapsed(row, now)}</span></div>"
    )


def progress_words(progress: Progress) -> str:
    """``3 / 10 · fitting``."""

    def amount(n: float) -> str:
        return f"{n:,.2f}".rstrip("0").rstrip(".").replace(",", "\u2009")

    total, note = progress["total"], " ".join(plain(progress["note"]).split())
    share = f" / {amount(total)}" if total else ""
    return f"{amount(progress['done'])}{share}{f' · {note}' if note else ''}"


def _progress_bar(progress: Progress, hue: str) -> str:
    total = progress["total"]
    share = min(1.0, max(0.0, progress["done"] / total)) if total else 0.0
    return (
        '<div style="display:flex;align-items:center;gap:8px;min-height:18px">'
        '<span style="flex:1 1 0;min-width:80px;height:4px;border-radius:2px;overflow:hidden;'
        'background:color-mix(in srgb, currentColor 13%, transparent)">'
        f'<span style="display:block;height:100%;width:{share:.1%};background:{hue}"></span></span> '
        f'<span style="{MUTED}">{escape(progress_words(progress))}</span></div>'
    )


def _output(row: Row) -> str:
    lines = _terminal(row["output"])
    earlier, tail = lines[:-TAIL_LINES], lines[-TAIL_LINES:]
    count = f"{len(earlier)} earlier {'line' if len(earlier) == 1 else 'lines'}"
    if row["output_truncated"]:
        count += " kept, older ones dropped"
    title = f'<span style="{MUTED};font-family:{_SANS};line-height:1">{count}</span>'
    folded = _folded(title, earlier) if earlier else ""
    return _block("scaler-output", LINE, folded + _pre(tail, wrap=True))


def _error(error: str, origin: str | None, traceback: str | None) -> str:
    line = f'<span style="overflow-wrap:anywhere">{"<br>".join(_terminal(error))}</span>'
    place = f'<div style="{MUTED};overflow-wrap:anywhere">{escape(plain(origin))}</div>' if origin is not None else ""
    return (_folded(line, _terminal(traceback)) if traceback is not None else line) + place


def terminal_block(source: str) -> str:
    """Text as a terminal would show it, wrapped where it is too long."""
    return _pre(_terminal(source), wrap=True)


def _folded(title: str, lines: list[str]) -> str:
    summary = f'<summary style="cursor:pointer">{title}</summary>'
    return f'<details style="margin:0;padding:0">{summary}\n{_pre(lines)}</details>'


def _pre(lines: list[str], *, wrap: bool = False) -> str:
    space = "pre-wrap;overflow-wrap:anywhere" if wrap else "pre;max-height:306px"
    style = "margin:0;padding:0;border:0;background:none;color:inherit;overflow:auto"
    body = "\n".join(lines)
    # HTML drops a line end right after <pre>: ours, so never one of the task's.
    return f'<pre style="{style};font:12px/17px {MONO};white-space:{space}">\n{body}</pre>'


def _block(name: str, edge: str, body: str) -> str:
    style = f"margin:3px 0;padding-left:8px;border-left:2px solid {edge};font:12px/18px {MONO}"
    return f'<div class="{name}" style="{style}">{body}</div>'


# OSC sequences, then CSI sequences other than SGR, then stray escapes and control characters.
_NOISE = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[(?![0-9;]*m)[0-?]*[ -/]*[@-~]"
    r"|\x1b(?!\[[0-9;]*m)|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f]"
)
_SGR = re.compile(r"\x1b\[([0-9;]*)m")


def _terminal_lines(source: str) -> Iterator[str]:
    """Lines as a terminal leaves them (carriage returns paint over), with no escape but colours."""
    for line in source.rstrip().split("\n"):
        yield _NOISE.sub("", line.rstrip("\r").rpartition("\r")[2])


def plain(source: str) -> str:
    """Text without any escape."""
    return "\n".join(_SGR.sub("", line) for line in _terminal_lines(source))


def shortened(line: str, width: int = TEXT_WIDTH) -> str:
    """A line of at most so many characters."""
    return line if len(line) <= width else line[: width - 1] + "…"


def _terminal(source: str) -> list[str]:
    """Escaped HTML lines with a terminal's colours."""
    style, lines = Style(), []
    for line in _terminal_lines(source):
        spans = ""
        for i, part in enumerate(_SGR.split(line)):
            if i % 2:
                style = restyled(part, style)
            elif part:
                css = ("font-weight:700;" if style.bold else "") + (f"color:{style.colour}" if style.colour else "")
                spans += f'<span style="{css}">{escape(part)}</span>' if css else escape(part)
        lines.append(spans)
    return lines
