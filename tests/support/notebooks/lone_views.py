"""Views of ours in a page without a notebook: a model that keeps what it is sent, and messages for its views."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from scaler_notebook.notebook import views
from scaler_notebook.notebook.views.modules import joined

VIEWS = Path(views.__file__).parent
IMPORT = """const load = async (source, style) => {
    document.head.appendChild(document.createElement("style")).textContent = style;
    return import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
};"""
# A view of ours with a model that keeps what it is sent.
SHOW = f"""async ([source, style]) => {{
    {IMPORT}
    const made = (await load(source, style)).default;
    const widget = typeof made === "function" ? made() : made;
    const listeners = new Set();
    window.sent = [];
    window.tell = (message) => listeners.forEach((hear) => hear(message));
    const model = {{
        get: () => "",
        on: (_, hear) => listeners.add(hear),
        off: (_, hear) => listeners.delete(hear),
        send: (request) => sent.push(request),
    }};
    widget.initialize({{ model }});
    widget.render({{ model, el: document.body }});
}}"""
# Two: in the first one, a view may only find out that it is to be painted.
PAINTED = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
BOARD = "board/board.js", ["card/card.css", "board/board.css"]
ENGINE = "engine/engine.js", ["engine/engine.css"]
CARD = "card/widget.js", ["card/card.css"]
NOTICES = "notices/notices.js", ["notices/notices.css"]


def show(page: Page, view: tuple[str, Sequence[str]]) -> None:
    module, styles = view
    style = "".join((VIEWS / each).read_text("utf-8") for each in styles)
    page.evaluate(SHOW, [joined(VIEWS / module), style])


def tell(page: Page, message: dict[str, Any]) -> None:
    """Have a view hear a message, and paint it."""
    page.evaluate("message => window.tell(message)", message)
    page.evaluate(PAINTED)


def rows(seq: int, kinds: str, *, flags: int = 0, notes: Sequence[str] = ("",)) -> dict[str, Any]:
    """A snapshot of a board: of each row its kind, as a number of KINDS; the last note is that of all that follow."""
    count = len(kinds)
    texts = [*(f"work({n})" for n in range(count)), "", *notes]
    noted = [count + 1 + min(n, len(notes) - 1) for n in range(count)]
    ended = [2000 if int(kind) > 2 else None for kind in kinds]
    columns = [
        [*range(count)], [*map(int, kinds)], [count] * count, [0] * count, [1000] * count, ended, noted,
        [flags] * count, [1] * count, [None] * count,
    ]  # fmt: skip
    about = {"type": "rows", "seq": seq, "now": 3, "whole": True, "title": "some", "epoch": 0, "edges": []}
    return {**about, "strings": texts, "columns": columns, "progress": [], "details": [], "answer": None}


def requests(page: Page) -> list[Any]:
    found: list[Any] = page.evaluate("sent.filter(({ type }) => !['ready', 'here'].includes(type))")
    return found


def engine(seq: int, counts: dict[str, int]) -> dict[str, Any]:
    about = {"type": "engine", "seq": seq, "now": 3, "whole": True, "state": "running", "address": "", "answer": None}
    newer: dict[str, Any] = {"name": "newer", "cell": None, "counts": {}}
    groups = [newer] * (seq - 1) + [{"name": "g", "cell": 7, "counts": counts}]
    return {**about, "can_pause": True, "slots": 2, "gpus": [], "queued": 0, "workers": [], "groups": groups}


def card(seq: int, earlier: dict[str, Any], **row: Any) -> dict[str, Any]:
    texts = dict.fromkeys(("reason", "error", "origin", "traceback", "result", "about", "rich", "nested_words"))
    base = {"task_id": "a1-1", "call": "f()", "state": "finished", "word": "done", "outcome": "success"}
    times = {"submitted_at": 1, "started_at": 1, "ended_at": 2, "refused": False, "progress": None}
    lists = {"folds": [], "nested": [], "output": "", "output_truncated": False}
    shown = {**texts, **base, **times, **lists, **row}
    return {"type": "row", "seq": seq, "now": 3, "row": shown, "note": None, "retry": False, "earlier": earlier}
