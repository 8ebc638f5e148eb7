"""A result in a line: plain data as Python writes it, all else by type and shape, and no code of the user's runs."""

from __future__ import annotations

import abc
import array
import collections
import datetime
import decimal
import signal
from typing import Any, NamedTuple, NoReturn

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler_notebook.notebook.views import rows
from scaler_notebook.protocol.messages import PreviewKind
from scaler_notebook.quantities import format_bytes
from scaler_notebook.task.display.preview import (
    MAX_RICH,
    MAX_TEXT,
    PreviewBudget,
    Representations,
    bundle_of_known_type,
)
from scaler_notebook.task.display.summary import brief, summary
from scaler_notebook.testing import detached_future

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.binary(max_size=9)
PLAIN = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=4)
        | st.sets(st.integers(), max_size=3)
        | st.frozensets(st.text(max_size=3), max_size=3)
    ),
    max_leaves=12,
)


@given(PLAIN)
def test_plain_data_is_written_as_python_writes_it(value: Any) -> None:
    found = summary(value)
    assert found.preview is PreviewKind.NONE
    if value is None:
        assert found.text == ""
    elif len(repr(value)) < 1_000:
        assert found.text == repr(value)


@given(PLAIN, st.integers(1, 100))
def test_few_words_are_few(value: Any, most: int) -> None:
    found = brief(value, most)
    assert len(found) <= most + 1
    if len(repr(value)) * 4 < most:
        assert found == repr(value)


MASKED: Any = np.ma  # some versions of numpy have no types for it


class Point(NamedTuple):
    x: int
    y: int


def _never(*_: Any) -> NoReturn:
    raise AssertionError("code of the user's")


class Words(str, abc.ABC):
    __slots__ = ()
    __len__ = __repr__ = _never


class Grid(np.ndarray[Any, Any]):
    shape = dtype = property(_never)
    __len__ = __repr__ = _never


def _hostile(name: str, armed: list[bool]) -> Any:
    """A value whose every hook is the user's; the class's own hooks raise once ``armed`` has something."""

    def once_armed(default: Any) -> Any:
        return lambda *args: _never() if armed else default(*args)

    class Sly(type):
        __name__ = property(once_armed(lambda _: "Mine"))
        __module__ = property(once_armed(lambda _: "numpy"))
        __hash__ = once_armed(object.__hash__)
        __instancecheck__ = __subclasscheck__ = once_armed(lambda *_: False)

    class Mine(metaclass=Sly):
        __repr__ = __str__ = __bool__ = _never
        __getattribute__ = once_armed(object.__getattribute__)

    class MyList(list):  # type: ignore[type-arg]
        __repr__ = __len__ = __iter__ = _never

    class ndarray:
        __module__ = "numpy"
        shape = dtype = property(_never)
        __repr__ = _never

    return {"metaclass": Mine, "subclass": MyList, "namesake": ndarray}[name]()


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: [x], lambda x: {1: (x,)}, lambda x: np.array([x], object)])
@pytest.mark.parametrize("name", ["metaclass", "subclass", "namesake"])
def test_no_code_of_the_users_runs(name: str, wrap: Any) -> None:
    armed: list[bool] = []
    value = _hostile(name, armed)
    if name != "subclass" or not isinstance(wrap(1), np.ndarray):  # numpy itself asks a list for its items
        value = wrap(value)
    armed.append(True)
    found = summary(value)
    assert found.preview is PreviewKind.ON_REQUEST
    assert found.text
    assert brief(value, 60)


def test_a_length_or_shape_is_that_of_the_known_class_below() -> None:
    assert summary(Words("abc")).text == "Words of 3 characters"
    assert summary(np.zeros((2, 3)).view(Grid)).text == "Grid 2 × 3 float64"


@pytest.mark.parametrize(
    ("value", "text", "preview"),
    [
        (np.zeros((2, 3)), "numpy.ndarray 2 × 3 float64", PreviewKind.FOLLOWS),
        (np.float64(1.5), repr(np.float64(1.5)), PreviewKind.NONE),
        ({"score": np.float32(2)}, repr({"score": np.float32(2)}), PreviewKind.NONE),
        (pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}), "pandas.DataFrame 2 × 2", PreviewKind.FOLLOWS),
        (pd.DataFrame({"a": [object()]}), "pandas.DataFrame 1 × 1", PreviewKind.ON_REQUEST),
        (pd.Series(range(1_234_567)), "pandas.Series 1,234,567 int64", PreviewKind.FOLLOWS),
        ([object()] * 1_500, "list of 1,500 items", PreviewKind.ON_REQUEST),
        (datetime.date(2024, 2, 29), "datetime.date(2024, 2, 29)", PreviewKind.NONE),
        (decimal.Decimal("1.5"), "Decimal('1.5')", PreviewKind.NONE),
        ([10**5_000], "[an integer of 16,610 bits]", PreviewKind.NONE),
        (decimal.Decimal, "type", PreviewKind.ON_REQUEST),
        (Point(1, 2), "Point of 2 items", PreviewKind.ON_REQUEST),
        (collections.OrderedDict(a=1), "OrderedDict of 1 item", PreviewKind.ON_REQUEST),
        (collections.Counter("abb"), "Counter of 2 items", PreviewKind.ON_REQUEST),
        (collections.deque([1, 2, 3]), "deque of 3 items", PreviewKind.ON_REQUEST),
        (array.array("d", range(1_000)), "array of 1,000 items", PreviewKind.ON_REQUEST),
        (bytearray(4), "bytearray of 4 bytes", PreviewKind.ON_REQUEST),
        (MASKED.masked_array([1.5], [True]), "numpy.MaskedArray 1 float64", PreviewKind.ON_REQUEST),
    ],
)
def test_type_and_shape(value: Any, text: str, preview: PreviewKind) -> None:
    found = summary(value)
    assert found.preview is preview
    assert found.text == text
    assert brief(value, 60) == text


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (42, "int"),
        (True, "bool"),
        ("", "str of 0 characters"),
        (b"abc", "bytes"),
        ([7], "list of 1 item"),
        ({"a": 1, "b": [2]}, "dict of 2 items"),
        (range(10**30), "range"),
        (range(5), "range of 5 items"),
        ({1, 2}, "set of 2 items"),
        (np.float64(1.5), "numpy.float64"),
        (datetime.date(2024, 2, 29), "datetime.date"),
    ],
)
def test_a_card_says_of_plain_data_what_it_is_and_how_large(value: Any, kind: str) -> None:
    assert summary(value).kind == kind
    future = detached_future()
    future.finish(value)
    assert rows.row(future)["about"] == f"{kind} · {format_bytes(future.bytes_received)}"
    assert rows.row(future)["result"] == repr(value)


def test_what_is_large_or_holds_itself_is_cut() -> None:
    ring: list[Any] = [1]
    ring.append(ring)
    assert summary(ring).text == "[1, […]]"
    assert summary(list(range(10**6))).text.endswith(" more]")
    deep: Any = ()
    for _ in range(10_000):
        deep = (deep,)
    for value in (deep, "x" * 10**7, dict.fromkeys(range(10**5), "y" * 100), [["z"] * 100] * 1000):
        assert 0 < len(summary(value).text) < 2 * MAX_TEXT


def test_a_preview_is_bounded_and_says_what_went_wrong() -> None:
    def raises(_: Any) -> NoReturn:
        raise SystemExit("no")

    made = Representations(1).make(
        {"text/plain": raises, "text/html": lambda _: "x" * (MAX_RICH + 1), "image/png": raises}
    )
    assert list(made) == ["text/plain"]
    assert "whose repr raised SystemExit('no')" in made["text/plain"]
    assert len(Representations(1).make({"text/plain": lambda _: "x" * 10**6})["text/plain"]) == MAX_TEXT


def test_a_frame_shows_its_head_and_a_picture_its_thumbnail() -> None:
    frame = bundle_of_known_type(pd.DataFrame({"a": range(1_000_000)}))
    assert "1000000 rows" in frame["text/html"]
    image = pytest.importorskip("PIL.Image").new("CMYK", (900, 450))
    assert bundle_of_known_type(image)["image/png"].startswith(b"\x89PNG")


def test_previews_that_nobody_asked_for_take_a_small_part_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("scaler_notebook.task.display.preview.time.monotonic", lambda: clock[0])
    monkeypatch.setattr(
        "scaler_notebook.task.display.preview.bundle_of_known_type",
        lambda value: clock.__setitem__(0, clock[0] + 0.3) or {},
    )
    allowance, made = PreviewBudget(), 0
    while clock[0] < 100:
        if allowance.allows_another():
            allowance.make(1)
            made += 1
        else:
            clock[0] += 1
    assert 30 <= made <= 37, "a tenth of the time, and half a second"


def test_the_signal_handler_and_the_timer_of_the_process_are_put_back() -> None:

    before, (left, _) = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)
    Representations(1).make({"text/plain": repr})
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL)[0] == pytest.approx(left, abs=1)
