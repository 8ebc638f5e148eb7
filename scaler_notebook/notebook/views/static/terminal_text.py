"""Text that was written for a terminal: without its escape sequences, or with the colours as HTML."""

from html import escape

from .terminal_screen import screen

TEXT_WIDTH = 100  # characters of a line, by default


def plain(source: str) -> str:
    """Return what a terminal would show of a text, without colours."""
    return "\n".join("".join(run.text for run in line) for line in screen(source))


def one_line(source: str) -> str:
    """Write a text on one line, without escape sequences and with single blanks."""
    return " ".join(plain(source).split())


def html_lines(source: str) -> list[str]:
    """Convert a text to escaped HTML lines, as a terminal would show them; of the styles, bold and the colours stay."""
    lines = []
    for line in screen(source):
        spans = ""
        for text, style in line:
            css = ("font-weight:700;" if style.bold else "") + (f"color:{style.colour}" if style.colour else "")
            spans += f'<span style="{css}">{escape(text)}</span>' if css else escape(text)
        lines.append(spans)
    return lines
