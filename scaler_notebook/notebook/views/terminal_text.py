"""Text that was written for a terminal: without its escape sequences, or with the basic colours as HTML."""

import re
from collections.abc import Iterator
from html import escape

TEXT_WIDTH = 100  # characters of a line, by default

# OSC sequences, then CSI sequences other than SGR, then stray escapes and control characters.
_NOISE = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[(?![0-9;]*m)[0-?]*[ -/]*[@-~]"
    r"|\x1b(?!\[[0-9;]*m)|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f]"
)
_SGR = re.compile(r"\x1b\[([0-9;]*)m")
_ANSI_COLOURS = {1: "#d9534f", 2: "#2f9e4f", 3: "#c08a00", 4: "#3b82d6", 5: "#b35cb3", 6: "#1f9d9d"}


def plain(source: str) -> str:
    """Remove every escape sequence from a text."""
    return "\n".join(_SGR.sub("", line) for line in _lines(source))


def one_line(source: str) -> str:
    """Write a text on one line, without escape sequences and with single blanks."""
    return " ".join(plain(source).split())


def html_lines(source: str) -> list[str]:
    """Convert a text to escaped HTML lines; of the escape sequences, bold and the basic ANSI colours stay."""
    bold, colour, lines = False, 0, []
    for line in _lines(source):
        spans = ""
        for i, part in enumerate(_SGR.split(line)):
            if i % 2:
                bold, colour = _apply_sgr(part, bold, colour)
            elif part:
                style = "font-weight:700;" if bold else ""
                if colour in _ANSI_COLOURS:
                    style += f"color:color-mix(in srgb, {_ANSI_COLOURS[colour]} 65%, currentColor)"
                spans += f'<span style="{style}">{escape(part)}</span>' if style else escape(part)
        lines.append(spans)
    return lines


def _lines(source: str) -> Iterator[str]:
    """Yield the lines as a terminal leaves them: carriage returns overwrite, and only colour sequences stay."""
    for line in source.rstrip().split("\n"):
        yield _NOISE.sub("", line.rstrip("\r").rpartition("\r")[2])


def _apply_sgr(codes: str, bold: bool, colour: int) -> tuple[bool, int]:
    """Apply an SGR sequence to the style of the text before.

    Parameters
    ----------
    codes
        The parameters of the sequence, separated by semicolons.
    bold
        Whether the text before is bold.
    colour
        The basic colour of the text before, 1 to 7; 0 for the default.

    Returns
    -------
    tuple[bool, int]
        Whether the text after the sequence is bold, and its colour.
    """
    queue = [int(code[:3] or 0) for code in codes.split(";")]
    while queue:
        code = queue.pop(0)
        if code in (0, 39):
            colour = 0
        if code in (0, 22):
            bold = False
        bold = bold or code == 1
        if 30 <= code <= 37 or 90 <= code <= 97:
            colour = code % 10
        if code in (38, 48):
            del queue[: 2 if queue[:1] == [5] else 4]
    return bold, colour
