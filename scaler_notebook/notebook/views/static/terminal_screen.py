"""The screen of a terminal: text is written at a cursor, over what is there. terminal.js has the same.

A screen has as many lines as the text needs. Of escapes that are not known nothing is shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from .terminal_style import Style, restyled

FARTHEST = 10_000  # columns, or lines, that an escape can move the cursor by

# An OSC sequence, a CSI sequence, a move of the cursor, text, and a stray escape.
_TOKEN = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[(?P<codes>[0-?]*)[ -/]*(?P<final>[@-~])"
    r"|(?P<move>[\n\r\b])|(?P<text>[^\x1b\n\r\b]+)|\x1b"
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tab


class Run(NamedTuple):
    """Text of one style."""

    text: str
    style: Style = Style()


Line = list[Run]


def screen(source: str) -> list[Line]:
    """Return the lines that a terminal shows of a text."""
    shown = _Screen()
    for token in _TOKEN.finditer(source.rstrip()):
        if token["text"]:
            shown.write(_CONTROLS.sub("", token["text"]))
        elif token["move"]:
            shown.move(token["move"], 1)
        elif token["final"] == "m":
            shown.restyle(token["codes"])
        elif token["final"]:
            shown.act(token["final"], token["codes"])
    return shown.lines()


class _Screen:
    """Lines, and a cursor among them."""

    def __init__(self) -> None:
        self._lines: list[Line] = [[]]
        self._row = self._column = 0
        self._style = Style()
        self._begun = False  # does text of this style end at the cursor?

    def lines(self) -> list[Line]:
        """Return the lines, without empty ones at the end."""
        lines = self._lines
        while len(lines) > 1 and not lines[-1]:
            del lines[-1]
        return lines

    def restyle(self, codes: str) -> None:
        """Change the style of what is written next, by the codes of an SGR sequence."""
        if all(code in "0123456789;" for code in codes):
            self._style, self._begun = restyled(codes, self._style), False

    def write(self, text: str) -> None:
        """Write text at the cursor."""
        line = self._lines[self._row]
        length = sum(len(run.text) for run in line)
        if self._column > length:
            line.append(Run(" " * (self._column - length)))
        if self._column < length:
            line[:] = [*_cut(line, 0, self._column), Run(text, self._style), *_cut(line, self._column + len(text))]
        elif self._begun and line and self._column == length:
            line[-1] = Run(line[-1].text + text, self._style)
        else:
            line.append(Run(text, self._style))
        self._column, self._begun = self._column + len(text), self._column >= length

    def move(self, way: str, count: int) -> None:
        """Move the cursor.

        Parameters
        ----------
        way
            A control character, or the last character of a CSI sequence.
        count
            By how many lines or columns.
        """
        self._begun = False
        match way:
            case "\n":
                self._row, self._column = self._row + 1, 0
                if self._row == len(self._lines):
                    self._lines.append([])
            case "\r":
                self._column = 0
            case "A":
                self._row = max(0, self._row - count)
            case "B":
                self._row = min(len(self._lines) - 1, self._row + count)
            case "C":
                self._column = min(FARTHEST, self._column + count)
            case "D" | "\b":
                self._column = max(0, self._column - count)
            case "G":
                self._column = count - 1

    def act(self, final: str, codes: str) -> None:
        """Carry out a CSI sequence.

        Parameters
        ----------
        final
            The last character, which says what is done.
        codes
            The parameters.
        """
        first = codes.partition(";")[0]
        if first and not first.isdecimal():
            return
        if final == "K":
            self._erase_in_line(first)
        elif final == "J":
            self._erase(first)
        elif final in "Hf" and codes in ("", "1;1"):
            self._row, self._column, self._begun = 0, 0, False
        else:
            self.move(final, min(FARTHEST, int(first[:9] or 1)) or 1)

    def _erase_in_line(self, which: str) -> None:
        """Erase the line behind the cursor (``0``), in front of it (``1``), or both (``2``)."""
        line, self._begun = self._lines[self._row], False
        before = _cut(line, 0, self._column) if which in ("", "0") else []
        behind = [Run(" " * (self._column + 1)), *_cut(line, self._column + 1)] if which == "1" else []
        line[:] = before or behind

    def _erase(self, which: str) -> None:
        """Erase what is behind the cursor (``0``), or everything (``2``, ``3``)."""
        if which in ("", "0"):
            self._erase_in_line("")
            del self._lines[self._row + 1 :]
        elif which in ("2", "3"):
            self._lines, self._row, self._begun = [[]], 0, False


def _cut(line: Iterable[Run], start: int, end: int | None = None) -> Line:
    """Return the runs of a line from one column to another."""
    found, column = [], 0
    for run in line:
        text = run.text[max(0, start - column) : None if end is None else max(0, end - column)]
        column += len(run.text)
        if text:
            found.append(Run(text, run.style))
    return found
