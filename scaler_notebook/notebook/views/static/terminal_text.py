"""Text that was written for a terminal: without its escape sequences, or with the colours as HTML."""

import re
from collections.abc import Iterator
from html import escape

from .terminal_style import Style, restyled

TEXT_WIDTH = 100  # characters of a line, by default

# OSC sequences, then CSI sequences other than SGR, then stray escapes and control characters.
_NOISE = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[(?![0-9;]*m)[0-?]*[ -/]*[@-~]"
    r"|\x1b(?!\[[0-9;]*m)|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f]"
)
_SGR = re.compile(r"\x1b\[([0-9;]*)m")


def plain(source: str) -> str:
    """Remove every escape sequence from a text."""
    return "\n".join(_SGR.sub("", line) for line in _lines(source))


def one_line(source: str) -> str:
    """Write a text on one line, without escape sequences and with single blanks."""
    return " ".join(plain(source).split())


def html_lines(source: str) -> list[str]:
    """Convert a text to escaped HTML lines; of the escape sequences, bold and the colours stay."""
    style, lines = Style(), []
    for line in _lines(source):
        spans = ""
        for i, part in enumerate(_SGR.split(line)):
            if i % 2:
                style = restyled(part, style)
            elif part:
                css = ("font-weight:700;" if style.bold else "") + (f"color:{style.colour}" if style.colour else "")
                spans += f'<span style="{css}">{escape(part)}</span>' if css else escape(part)
        lines.append(spans)
    return lines


def _lines(source: str) -> Iterator[str]:
    """Yield the lines as a terminal leaves them: carriage returns overwrite, and only colour sequences stay."""
    for line in source.rstrip().split("\n"):
        yield _NOISE.sub("", line.rstrip("\r").rpartition("\r")[2])
