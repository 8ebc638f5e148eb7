"""The badges of task states, the same in cards and boards."""

from __future__ import annotations

from html import escape
from typing import NamedTuple

from scaler_notebook.notebook.views.row import Outcome, State


class Badge(NamedTuple):
    """The badge of a state.

    Parameters
    ----------
    word
        The state, in one word.
    icon
        The strokes of the icon, an SVG path in a box of 16 × 16.
    hue
        The CSS colour.
    """

    word: str
    icon: str
    hue: str


_RING = "M8 2a6 6 0 1 0 0 12a6 6 0 1 0 0-12"
_BLUE = "var(--vscode-charts-blue, var(--jp-brand-color1, #1976d2))"
_ORANGE = "var(--vscode-charts-orange, var(--jp-warn-color1, #e07800))"
_GREEN = "var(--vscode-charts-green, var(--jp-success-color1, #388e3c))"
_RED = "var(--vscode-charts-red, var(--jp-error-color1, #d32f2f))"

# The live card has the same words, strokes and hues in icons.js and card.css; a test compares them.
_BADGES: dict[State, Badge] = {
    "submitted": Badge("queued", f"{_RING}M8 4.8V8l2.2 1.5", "#78849b"),
    "running": Badge("running", "M8 2a6 6 0 1 0 6 6", _BLUE),
    "cancelling": Badge("cancelling…", f"{_RING}M6.4 6.4h3.2v3.2H6.4z", _ORANGE),
    "finished": Badge("done", f"{_RING}M5.4 8.2l1.8 1.8 3.4-3.8", _GREEN),
    "cancelled": Badge("cancelled", f"{_RING}M3.8 3.8l8.4 8.4", "#9a7b62"),
}
_LOST = Badge("lost", f"{_RING}M8 4.8V8.6M8 10.6v.6", "#78849b")
_FAILED = Badge("failed", f"{_RING}M6 6l4 4M10 6l-4 4", _RED)


def badge_of(state: State, outcome: Outcome | None) -> Badge:
    """Return the badge of a state.

    Parameters
    ----------
    state
        The state.
    outcome
        How a finished task ended.
    """
    return {"failed": _FAILED, "lost": _LOST}.get(outcome or "", _BADGES[state])


def badge_html(shown: Badge, words: str) -> str:
    """Write a badge as HTML.

    Parameters
    ----------
    shown
        The badge.
    words
        What the badge says.
    """
    _, icon, hue = shown
    return (
        f'<span class="scaler-badge" style="display:inline-flex;flex:none;'
        "align-items:center;gap:4px;padding:0 8px 0 5px;border-radius:10px;font-size:12px;font-weight:500;"
        f"white-space:nowrap;background:color-mix(in srgb, {hue} 14%, transparent);"
        f'color:color-mix(in srgb, {hue} 55%, currentColor)">'
        '<svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true" style="fill:none;'
        f'stroke:{hue};stroke-width:1.6;stroke-linecap:round;stroke-linejoin:round"><path d="{icon}"/></svg>'
        f"<span>{escape(words)}</span></span>"
    )
