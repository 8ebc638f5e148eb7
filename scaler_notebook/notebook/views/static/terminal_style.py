"""The colours that a terminal's escapes ask for, as CSS. terminal.js knows the same ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

# Of a middle lightness, so that they read on light and on dark pages. Black and white are the text's own colour.
HUES = (
    ("", "#d9534f", "#2f9e4f", "#c08a00", "#3b82d6", "#b35cb3", "#1f9d9d", ""),
    ("", "#ff5f5f", "#35b65b", "#cf9a00", "#5b9dff", "#cf74cf", "#20b2b2", ""),
)
GREY = "color-mix(in srgb, currentColor 72%, transparent)"  # "bright black"
NAMED_SHARE = 65  # per cent of a colour of HUES in what is shown; the rest is the text's own colour
EXACT_SHARE = 38  # ... of any other one: black and white, too, leave a contrast of 4.5 on light and on dark pages


class Style(NamedTuple):
    """How text looks; ``colour`` is CSS, or empty for the text's own."""

    bold: bool = False
    colour: str = ""


def restyled(codes: str, before: Style) -> Style:
    """Return the style that follows on another.

    Parameters
    ----------
    codes
        Of an SGR sequence, between ``[`` and ``m``.
    before
        The style until then.
    """
    bold, colour = before
    queue = [-1 if len(code) > 3 else int(code or 0) for code in codes.split(";")]
    while queue:
        code = queue.pop(0)
        if code == 0:
            bold, colour = Style()
        elif code in (1, 22):
            bold = code == 1
        elif code == 39:
            colour = ""
        elif 30 <= code <= 37:
            colour = _named(code - 30)
        elif 90 <= code <= 97:
            colour = _named(code - 82)
        elif code in (38, 48, 58):
            # Of the text, behind it, of its underline: the last two are not shown, but their parts are no codes.
            kind = queue.pop(0) if queue else None
            count = 1 if kind == 5 else 3
            parts, queue = queue[:count], queue[count:]
            if code == 38 and len(parts) == count and all(0 <= part <= 255 for part in parts):
                colour = _indexed(parts[0]) if kind == 5 else _exact(parts) if kind == 2 else colour
    return Style(bold, colour)


def _named(number: int) -> str:
    """Return the colour of a number from 0 to 15."""
    if number == 8:
        return GREY
    hue = HUES[number >> 3][number & 7]
    return hue and _mixed(hue, NAMED_SHARE)


def _indexed(number: int) -> str:
    """Return the colour of a number from 0 to 255: the named ones, a cube of 6 × 6 × 6, then greys."""
    if number < 16:
        return _named(number)
    if number >= 232:
        return _exact([8 + 10 * (number - 232)] * 3)
    cube = number - 16
    return _exact(55 + 40 * step if step else 0 for step in (cube // 36, cube // 6 % 6, cube % 6))


def _exact(parts: Iterable[int]) -> str:
    """Return the colour of red, green and blue, each from 0 to 255."""
    return _mixed("#" + "".join(f"{part:02x}" for part in parts), EXACT_SHARE)


def _mixed(hue: str, share: int) -> str:
    return f"color-mix(in srgb, {hue} {share}%, currentColor)"
