"""Frames of a task's traceback, for a person: where the user's own code is, and which frames are libraries'."""

import linecache
import re
import sys
from collections.abc import Sequence
from typing import Any

from scaler_notebook.protocol.exceptions.failures import Frame
from scaler_notebook.task.modules.installation import is_installed

Fold = tuple[int, int, int]  # first line and the one behind the last, and how many frames they are

# Tracebacks of the exceptions in a group have a margin.
_FRAME = re.compile(r'^(?P<margin> *\| |)  File "(?P<file>[^"\n]+)"(?P<more>, line \d+.*)$', re.MULTILINE)
_CELL = re.compile(r"(?: *\| |)  Cell ")
_GOES_ON = re.compile(r"    |  \[Previous line repeated ")  # what belongs to the frame above: its source, for one


def origin(frames: Sequence[Frame]) -> str | None:
    """Name the innermost frame of the user's own code: ``In[3], line 2, in fit: x / 0``; None if there is none."""
    own = [frame for frame in frames if not _is_librarys(frame[0])]
    if not own:
        return None
    return frame_words(*own[-1])


def frame_words(file: str, number: int, function: str) -> str:
    """Name a frame for a person: ``In[3], line 2, in fit: x / 0``.

    Parameters
    ----------
    file
        The file, as the frame's code has it.
    number
        The line.
    function
        The function.
    """
    source = linecache.getline(file, number).strip()
    return f"{_location(file)}, line {number}, in {function}{f': {source}' if source else ''}"


def with_cells(traceback: str) -> str:
    """Return a traceback that names the notebook's cells as IPython does: ``Cell In[3], line 2, in fit``."""

    def named(frame: re.Match[str]) -> str:
        location = _location(frame["file"])
        return frame[0] if location == frame["file"] else f"{frame['margin']}  Cell {location}{frame['more']}"

    return _FRAME.sub(named, traceback)


def library_folds(traceback: str) -> list[Fold]:
    """Find the frames of libraries among the lines of a traceback; none if there is no frame of the user's."""
    lines = traceback.split("\n")
    folds: list[Fold] = []
    has_own = False
    i = 0
    while i < len(lines):
        frame = _FRAME.match(lines[i])
        has_own |= _CELL.match(lines[i]) is not None or (frame is not None and not _is_librarys(frame["file"]))
        if frame is None or not _is_librarys(frame["file"]):
            i += 1
            continue
        start, margin = i, frame["margin"]
        i += 1
        while i < len(lines) and lines[i].startswith(margin) and _GOES_ON.match(lines[i], len(margin)):
            i += 1
        if folds and folds[-1][1] == start:
            folds[-1] = (folds[-1][0], i, folds[-1][2] + 1)
        else:
            folds.append((start, i, 1))
    return folds if has_own else []


def _is_librarys(file: str) -> bool:
    """Return whether a file is not the user's own."""
    return is_installed(file) or file.startswith("<frozen")


def _location(file: str) -> str:
    """Name the file or cell of a frame for a person."""
    ipython = sys.modules.get("IPython")
    shell: Any = ipython.get_ipython() if ipython is not None else None
    cell = shell.compile.format_code_name(file) if hasattr(shell, "compile") else None
    return str(cell[1]) if cell else file
