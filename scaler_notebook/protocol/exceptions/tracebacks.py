"""Tracebacks as data, and real tracebacks made from that data, which print, colour and walk like the originals.

A traceback needs frames, and frames come from running code. So each frame is made by a stub that fails at once and has
the file, the name and the position of the original (``code.replace``, as in tblib; but with the columns, which Python
underlines and IPython highlights). Source lines are looked up where the traceback is read, because the notebook's cells
are in the kernel's ``linecache`` and nowhere else. Frames have no variables, so tracebacks keep nothing alive.

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

MAX_FRAMES = 100  # of one traceback; the middle of a longer one is omitted
MAX_SOURCES = 1000  # cached source texts that belong to no file on disk; the oldest are dropped

# A call: IPython highlights a place only if the instruction there fits the source, and most places are calls.
STUB = compile("stop()", "", "exec")
STOP = iter(()).__next__  # fails in C: no frame of its own
NEWEST_KNOWN = 3, 13  # the newest Python on which the line tables below were seen to be read as they are meant


class FrameRecord(NamedTuple):
    """One frame of a traceback.

    Parameters
    ----------
    file
        The file name of the code.
    line
        The line, counted from one.
    name
        The name of the function.
    first_line
        The first line of the function; IPython counts from there.
    end_line
        The last line of the expression; None if Python does not know it.
    column, end_column
        The columns in bytes, counted from zero; None if Python does not know them.
    """

    file: str
    line: int
    name: str
    first_line: int
    end_line: int | None = None
    column: int | None = None
    end_column: int | None = None


def frame_records(traceback: TracebackType | None, own_files: tuple[str, ...] = ()) -> tuple[FrameRecord, ...]:
    """Return the frames of a traceback, outermost first.

    Parameters
    ----------
    traceback
        The traceback; None has no frames.
    own_files
        Prefixes of this package's file names; frames of such files are omitted before the first other frame.
    """
    while traceback is not None and traceback.tb_frame.f_code.co_filename.startswith(own_files):
        traceback = traceback.tb_next
    found = []
    while traceback is not None:
        found.append(traceback)
        traceback = traceback.tb_next
    if len(found) <= MAX_FRAMES:
        return tuple(map(_frame_record, found))
    half = MAX_FRAMES // 2
    left_out = FrameRecord(f"<{len(found) - 2 * half} frames left out>", 1, "...", 1)
    return (*map(_frame_record, found[:half]), left_out, *map(_frame_record, found[-half:]))


def _frame_record(traceback: TracebackType) -> FrameRecord:
    code: Any = traceback.tb_frame.f_code
    columns: tuple[int | None, ...] = ()
    if line_table is _line_table and traceback.tb_lasti >= 0:
        line, *columns_found = next(itertools.islice(code.co_positions(), traceback.tb_lasti // 2, None))
        columns = tuple(columns_found) if line == traceback.tb_lineno else ()
    return FrameRecord(code.co_filename, traceback.tb_lineno or 1, code.co_name, code.co_firstlineno, *columns)


def rebuilt(frames: Sequence[FrameRecord]) -> TracebackType | None:
    """Return a traceback of these frames."""
    result: TracebackType | None = None
    for record in reversed(frames):
        raised: TracebackType | None = None
        try:
            stub = _compiled(record) if line_table is None else _stub(record, line_table(record))
            exec(stub, {"stop": STOP, "__file__": record.file, "__name__": "?"})
        except StopIteration as stopped:
            raised = stopped.__traceback__
        except Exception:
            if line_table is not None:
                raise
        frame = raised.tb_next if raised is not None else None
        if frame is not None:
            frame.tb_next, result = result, frame
    return result


def _stub(record: FrameRecord, table: bytes) -> CodeType:
    # Any: typeshed does not know how the fields depend on Python's version.
    fields: dict[str, Any] = {"co_filename": record.file, "co_name": record.name, "co_firstlineno": record.first_line}
    if hasattr(STUB, "co_qualname"):  # Python 3.11
        fields["co_qualname"] = record.name
    return STUB.replace(**fields, co_linetable=table)


def _compiled(record: FrameRecord) -> CodeType:
    """Compile a stub at the line of ``record``: without columns, if this Python's own compiler allows that."""
    stub: CodeType | None = None
    for column, end in ((-1, -1), (0, 0)):  # -1: not known
        tree = ast.parse("stop()")
        for node in ast.walk(tree):
            if isinstance(node, ast.stmt | ast.expr):
                node.lineno = node.end_lineno = record.line
                node.col_offset, node.end_col_offset = column, end
        with suppress(ValueError):
            stub = compile(tree, "", "exec")
            break
    if stub is None:
        raise ValueError(record)
    return stub.replace(co_filename=record.file, co_name=record.name)


def line_table_of(python: tuple[int, int]) -> Callable[[FrameRecord], bytes] | None:
    """Return the function that writes a stub's ``co_linetable`` for a version of Python; None if the form is not known.

    Parameters
    ----------
    python
        The major and the minor version.
    """
    if python == (3, 10):
        return _line_table_of_310
    return _line_table if (3, 11) <= python <= NEWEST_KNOWN else None


def _line_table(record: FrameRecord) -> bytes:
    """Return a ``co_linetable`` in which every instruction of the stub has this position.

    The format is described in CPython's Objects/locations.md.
    """
    no_columns, with_columns = 13, 14
    from_first = record.line - record.first_line
    entry = _number(from_first << 1 if from_first >= 0 else -from_first << 1 | 1)
    kind = no_columns
    if record.end_line is not None and record.column is not None and record.end_column is not None:
        kind = with_columns
        entry += b"".join(
            map(_number, (max(0, record.end_line - record.line), record.column + 1, record.end_column + 1))
        )
    table, left = b"", len(STUB.co_code) // 2
    while left > 0:
        units = min(left, 8)
        table += bytes([0x80 | kind << 3 | units - 1]) + entry
        entry = b"\0" + entry[len(_number(abs(from_first) << 1)) :]  # later entries add no lines
        left -= units
    return table


def _number(value: int) -> bytes:
    digits = []
    while value >= 64:
        digits.append(64 | value & 63)
        value >>= 6
    return bytes([*digits, value])


def _line_table_of_310(record: FrameRecord) -> bytes:
    """Return a ``co_linetable`` for Python 3.10: pairs of how many bytes of code follow after how many lines.

    The format is described in CPython 3.10's Objects/lnotab_notes.txt.
    """
    left, table = record.line - record.first_line, b""
    while not -127 <= left <= 127:
        step = 127 if left > 0 else -127
        table += bytes([0, step & 255])
        left -= step
    return table + bytes([len(STUB.co_code), left & 255])


line_table = line_table_of(sys.version_info[:2])

_sources: "OrderedDict[str, None]" = OrderedDict()


def cache_source(file: str, text: str) -> None:
    """Let tracebacks show source lines of a file that does not exist on disk.

    Parameters
    ----------
    file
        The name, such as ``<task … in process …>`` or that of a notebook's cell.
    text
        The source text.
    """
    linecache.cache[file] = len(text), None, [f"{line}\n" for line in text.splitlines()], file
    _sources[file] = None
    for old in list(_sources)[:-MAX_SOURCES]:
        _sources.pop(old, None)
        linecache.cache.pop(old, None)
