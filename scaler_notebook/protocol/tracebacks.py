"""Tracebacks as data, and real ones made of them again: what prints, colours or walks tracebacks sees no difference.

A traceback needs frames, and frames come from running code. So each is rebuilt by a stub that fails at once and carries
the file, the name and the position of the original (``code.replace``, as in tblib; but with the columns, which Python
underlines and IPython highlights). Source lines are looked up where the traceback is read: the notebook's cells are in
the kernel's ``linecache`` and nowhere else. There are no variables in it, and it keeps nothing alive.

How code says its positions depends on Python's version. On one that is not known here the compiler makes each stub:
file, line and name are right, and columns are left out.
"""

import ast
import itertools
import linecache
import sys
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import CodeType, TracebackType
from typing import Any, NamedTuple

MAX_FRAMES = 100  # of one traceback; of a longer one the middle is left out
MOST_SOURCES = 1000  # of files that are none, the latest

# A call: IPython highlights a place only if the instruction there fits the source, and most places are calls.
STUB = compile("stop()", "", "exec")
STOP = iter(()).__next__  # fails in C: no frame of its own
NEWEST_KNOWN = 3, 13  # the newest Python on which the line tables below were seen to be read as they are meant


class Place(NamedTuple):
    """One frame. Lines are counted from one, columns in bytes from zero; None if Python does not know them.

    ``first_line`` is that of the function: IPython counts from there.
    """

    file: str
    line: int
    name: str
    first_line: int
    end_line: int | None = None
    column: int | None = None
    end_column: int | None = None


def places(traceback: TracebackType | None, own_files: tuple[str, ...] = ()) -> tuple[Place, ...]:
    """The frames of a traceback, outermost first.

    Parameters
    ----------
    own_files
        Prefixes of file names of ours; such frames before the first of another's are left out.
    """
    while traceback is not None and traceback.tb_frame.f_code.co_filename.startswith(own_files):
        traceback = traceback.tb_next
    found = []
    while traceback is not None:
        found.append(traceback)
        traceback = traceback.tb_next
    if len(found) <= MAX_FRAMES:
        return tuple(map(_place, found))
    half = MAX_FRAMES // 2
    left_out = Place(f"<{len(found) - 2 * half} frames left out>", 1, "...", 1)
    return (*map(_place, found[:half]), left_out, *map(_place, found[-half:]))


def _place(traceback: TracebackType) -> Place:
    code: Any = traceback.tb_frame.f_code
    columns: tuple[int | None, ...] = ()
    if line_table is _line_table and traceback.tb_lasti >= 0:
        line, *columns_found = next(itertools.islice(code.co_positions(), traceback.tb_lasti // 2, None))
        columns = tuple(columns_found) if line == traceback.tb_lineno else ()
    return Place(code.co_filename, traceback.tb_lineno or 1, code.co_name, code.co_firstlineno, *columns)


def rebuilt(frames: Sequence[Place]) -> TracebackType | None:
    """A traceback of these frames."""
    result: TracebackType | None = None
    for place in reversed(frames):
        raised: TracebackType | None = None
        try:
            stub = _compiled(place) if line_table is None else _stub(place, line_table(place))
            exec(stub, {"stop": STOP, "__file__": place.file, "__name__": "?"})
        except StopIteration as stopped:
            raised = stopped.__traceback__
        except Exception:
            if line_table is not None:
                raise
        frame = raised.tb_next if raised is not None else None
        if frame is not None:
            frame.tb_next, result = result, frame
    return result


def _stub(place: Place, table: bytes) -> CodeType:
    # Any: typeshed does not know how the fields depend on Python's version.
    fields: dict[str, Any] = {"co_filename": place.file, "co_name": place.name, "co_firstlineno": place.first_line}
    if hasattr(STUB, "co_qualname"):  # Python 3.11
        fields["co_qualname"] = place.name
    return STUB.replace(**fields, co_linetable=table)


def _compiled(place: Place) -> CodeType:
    """A stub at the line of ``place`` that this Python's own compiler has made: without columns, if that can be."""
    stub: CodeType | None = None
    for column, end in ((-1, -1), (0, 0)):  # -1: not known
        tree = ast.parse("stop()")
        for node in ast.walk(tree):
            if isinstance(node, ast.stmt | ast.expr):
                node.lineno = node.end_lineno = place.line
                node.col_offset, node.end_col_offset = column, end
        with suppress(ValueError):
            stub = compile(tree, "", "exec")
            break
    if stub is None:
        raise ValueError(place)
    return stub.replace(co_filename=place.file, co_name=place.name)


def line_table_of(python: tuple[int, int]) -> Callable[[Place], bytes] | None:
    """The function that writes the ``co_linetable`` of a stub as a Python reads it; None if that is not known here.

    Parameters
    ----------
    python
        The major and the minor version.
    """
    if python == (3, 10):
        return _line_table_of_310
    return _line_table if (3, 11) <= python <= NEWEST_KNOWN else None


def _line_table(place: Place) -> bytes:
    """The stub's ``co_linetable``: every instruction stands at that place (CPython's Objects/locations.md)."""
    no_columns, with_columns = 13, 14
    from_first = place.line - place.first_line
    entry = _number(from_first << 1 if from_first >= 0 else -from_first << 1 | 1)
    kind = no_columns
    if place.end_line is not None and place.column is not None and place.end_column is not None:
        kind = with_columns
        entry += b"".join(map(_number, (max(0, place.end_line - place.line), place.column + 1, place.end_column + 1)))
    table, left = b"", len(STUB.co_code) // 2
    while left > 0:
        units = min(left, 8)
        table += bytes([0x80 | kind << 3 | units - 1]) + entry
        entry = b"\0" + entry[len(_number(abs(from_first) << 1)) :]  # the others are no lines further
        left -= units
    return table


def _number(value: int) -> bytes:
    digits = []
    while value >= 64:
        digits.append(64 | value & 63)
        value >>= 6
    return bytes([*digits, value])


def _line_table_of_310(place: Place) -> bytes:
    """Pairs of bytes: how many bytes of code, after how many lines (CPython 3.10's Objects/lnotab_notes.txt)."""
    left, table = place.line - place.first_line, b""
    while not -127 <= left <= 127:
        step = 127 if left > 0 else -127
        table += bytes([0, step & 255])
        left -= step
    return table + bytes([len(STUB.co_code), left & 255])


line_table = line_table_of(sys.version_info[:2])

_sources: "OrderedDict[str, None]" = OrderedDict()


def give_source(file: str, text: str) -> None:
    """Let a file that is none, such as ``<task … in process …>`` or a notebook's cell, read ``text`` in tracebacks."""
    linecache.cache[file] = len(text), None, [f"{line}\n" for line in text.splitlines()], file
    _sources[file] = None
    for old in list(_sources)[:-MOST_SOURCES]:
        _sources.pop(old, None)
        linecache.cache.pop(old, None)
