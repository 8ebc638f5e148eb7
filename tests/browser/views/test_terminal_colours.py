"""The live card's own translation of a terminal's colours, in Chromium; test_rendering has the static form's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext

from scaler_notebook.notebook import views
from scaler_notebook.notebook.views.modules import joined

pytestmark = pytest.mark.browser

CASES = json.loads((Path(__file__).parents[2] / "support" / "notebooks" / "terminal_colours.json").read_text("utf-8"))
DRAW = """async ([source, texts]) => {
    const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    const { fill, plainText, terminalLines } = await import(url);
    const style = document.head.appendChild(document.createElement("style"));
    style.textContent = ".scaler-bold { font-weight: 700; }";
    return texts.map((text) => {
        const lines = terminalLines(text);
        const shown = document.body.appendChild(document.createElement("pre"));
        fill(shown, lines);
        const spans = [...shown.children].map((span) => {
            const { color, fontWeight } = getComputedStyle(span);
            return [span.textContent, fontWeight === "700", color];
        });
        return {
            runs: lines.map((runs) => runs.map(({ text, bold, colour }) => [text, bold, colour])),
            words: shown.textContent,
            plain: plainText(text),
            spans,
        };
    });
}"""


def test_the_live_card_knows_the_same_colours(context: BrowserContext) -> None:
    page = context.new_page()
    source = joined(Path(views.__file__).parent / "terminal.js")
    drawn = page.evaluate(DRAW, [source, [case["text"] for case in CASES]])
    page.close()
    for case, found in zip(CASES, drawn, strict=True):
        assert found["runs"] == case["lines"], case["name"]
        words = "\n".join("".join(words for words, *_ in line) for line in case["lines"])
        assert found["words"] == found["plain"] == words
        styled = [run for line in case["lines"] for run in line if run[1] or run[2]]
        assert [span[:2] for span in found["spans"]] == [run[:2] for run in styled]
        for span, run in zip(found["spans"], styled, strict=True):
            assert (span[2] != "rgb(0, 0, 0)") == bool(run[2]), "the browser understands the colour"
