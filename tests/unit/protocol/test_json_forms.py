"""The forms in JSON of values and errors: whatever these are, they are made, and of JSON's own types alone."""

from __future__ import annotations

import enum
import json
from typing import Any

import pytest

from scaler_notebook.protocol.encoding.json_forms import MAX_DEPTH, document, failure_form, value_form


class Colour(str, enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Text(str):
    def __repr__(self) -> str:
        return Text("a text")


class Silent(Exception):
    def __repr__(self) -> str:
        raise KeyError("no text")

    __str__ = __repr__


class Elusive(Exception):
    def __getattr__(self, name: str) -> Any:
        raise KeyError(name)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ([1, "é", None, {"a": 0.5}], [1, "é", None, {"a": 0.5}]),
        (Colour.RED, "red"),
        ({"c": [Colour.RED, Level.LOW, Text("b")]}, {"c": ["red", 1, "b"]}),
        ({"\udcff": ["a\udcff"]}, {"\\udcff": ["a\\udcff"]}),
        (nested(MAX_DEPTH), nested(MAX_DEPTH)),
    ],
)
def test_a_value_that_json_has(value: Any, plain: Any) -> None:
    form = value_form(value)
    assert form["value"] == plain
    assert types_in(form) <= {str, int, float, list, dict, type(None)}
    assert json.loads(document(**form)) == {"version": 1, **form}


def types_in(form: Any) -> set[type]:
    inner = [*form, *form.values()] if isinstance(form, dict) else form if isinstance(form, list) else []
    return {type(form)}.union(*map(types_in, inner))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ((1, 2), "(1, 2)"),
        ({1: 2}, "{1: 2}"),
        (float("nan"), "nan"),
        (Silent(), "<Silent: repr() raises KeyError: 'no text'>"),
        (nested(MAX_DEPTH + 1), repr(nested(MAX_DEPTH + 1))),
    ],
)
def test_a_value_that_json_has_not(value: Any, text: str) -> None:
    assert value_form(value) == {"text": text}


def test_an_integer_with_more_digits_than_python_writes_is_a_value_all_the_same() -> None:
    form = value_form(10**5000)
    assert form.keys() == {"text"}
    assert form["text"].startswith("<int: repr() raises ValueError")


def test_an_error_that_has_no_text() -> None:
    assert failure_form(Silent())["message"] == "<Silent: str() raises KeyError: 'no text'>"
    assert failure_form(ValueError("\udcff"))["message"] == "\\udcff"
    form = failure_form(Elusive("gone"))
    assert (form["type"], form["message"]) == ("Elusive", "gone")
    assert form["traceback"], "on 3.11 and 3.12 Python cannot write it"


def test_a_document_is_utf_8_whatever_a_task_has_written() -> None:
    text = document(output="a\udcff", tasks=[{"call": "\ud800"}])
    assert json.loads(text) == {"version": 1, "output": "a\\udcff", "tasks": [{"call": "\\ud800"}]}
