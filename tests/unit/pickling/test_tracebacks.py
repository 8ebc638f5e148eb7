"""Tracebacks on their way: what of them depends on Python's version, and what is left on one that nobody knows."""

from __future__ import annotations

import sys
import traceback
from types import TracebackType

import pytest

from scaler_notebook.protocol.exceptions import tracebacks
from scaler_notebook.protocol.exceptions.tracebacks import FrameRecord

UNKNOWN = (3, 99)


def traceback_of_a_failure() -> TracebackType | None:
    def fails() -> None:
        raise KeyError("mine")

    try:
        fails()
    except KeyError as error:
        return error.__traceback__
    return None


def lines(found: TracebackType | None) -> list[tuple[str, int, str]]:
    return [(f.f_code.co_filename, line, f.f_code.co_name) for f, line in traceback.walk_tb(found)]


@pytest.fixture
def unknown_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """This Python is taken for one of a version that has never been seen."""
    monkeypatch.setattr(tracebacks, "line_table", tracebacks.line_table_of(UNKNOWN))


def test_the_form_of_this_python_is_known() -> None:
    assert tracebacks.line_table is not None
    assert tracebacks.line_table is tracebacks.line_table_of(sys.version_info[:2])
    assert tracebacks.line_table_of(UNKNOWN) is None
    assert tracebacks.line_table_of((tracebacks.NEWEST_KNOWN[0], tracebacks.NEWEST_KNOWN[1] + 1)) is None


def test_on_an_unknown_python_files_lines_and_names_arrive(unknown_python: None) -> None:
    original = traceback_of_a_failure()
    places = tracebacks.frame_records(original)
    assert {place.column for place in places} == {None}
    back = tracebacks.rebuilt(places)
    assert lines(back) == lines(original)
    drawn = "".join(traceback.format_tb(back))
    assert 'raise KeyError("mine")' in drawn
    assert "^" not in drawn


def test_on_an_unknown_python_no_place_fails(unknown_python: None) -> None:
    surrogate = "\udc80\ud800.py"
    places = (
        FrameRecord("<task 1 in process 2>", 1, "<module>", 1),
        FrameRecord(surrogate, 100_000, "<lambda>", 7, 100_001, 3, 4),
        FrameRecord("no\0path", 3, "first line behind it", 10),
    )
    assert lines(tracebacks.rebuilt(places)) == [(place.file, place.line, place.name) for place in places]


def test_a_frame_that_an_unknown_python_refuses_is_left_out(unknown_python: None) -> None:
    places = (
        FrameRecord("one.py", 1, "one", 1),
        FrameRecord("two.py", 1 << 80, "two", 1),
        FrameRecord("three.py", 3, "three", 3),
    )
    assert [file for file, _, _ in lines(tracebacks.rebuilt(places))] == ["one.py", "three.py"]
