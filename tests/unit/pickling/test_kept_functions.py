"""A function that is kept from one task to the next is as one that is unpickled anew, whatever a task has done."""

from __future__ import annotations

import json
import linecache
import math
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.messages import Payload
from scaler_notebook.protocol.pickling.loading.unpickling_context import UnpicklingContext
from scaler_notebook.task.calls.kept_function import MAX_KEPT, FunctionKeeper

SOURCE = '''
import json, math
from json import dumps

number, text, items = 1, "text", []

def helper(x): return x + number

def plain(x: int, y="y") -> "a text":
    """Has a bit of everything that can be kept."""
    return helper(x), math.pi, json.dumps(text), dumps(y), plain

def outer():
    kept = 1
    def inner(): return kept
    return inner

closure = outer()

class Own: pass

def with_items(): return items
def with_closure(): return closure()
def with_class(): return Own
def with_keyword(*, z=1): return z
def with_attribute(): pass
with_attribute.attribute = 1
'''
FILE = "<cell of the test of kept functions>"
Names = dict[str, Any]
held: list[object] = []


@pytest.fixture
def names() -> Iterator[Names]:
    """The names of ``__main__``, with the functions of a cell; put back afterwards."""
    scope = vars(sys.modules["__main__"])
    before = scope.copy()
    linecache.cache[FILE] = (len(SOURCE), None, SOURCE.splitlines(keepends=True), FILE)
    exec(compile(SOURCE, FILE, "exec"), scope)
    yield scope
    scope.clear()
    scope.update(before)
    linecache.cache.pop(FILE, None)
    held.clear()


def pickled(function: object) -> Payload:
    """A function's pickle, as it comes to a task process."""
    return Payload(payloads.dump(function).data, key=b"a key")


def load(keeper: FunctionKeeper, payload: Payload) -> None:
    """Unpickle a function as a task process does."""
    context = UnpicklingContext()
    with context:
        function = payloads.load(payload)
    keeper.note(payload, function, context)


def kept(name: str, names: Names) -> tuple[FunctionKeeper, Payload]:
    """A keeper of a function that has come twice."""
    keeper, payload = FunctionKeeper(), pickled(names[name])
    load(keeper, payload)
    assert keeper.take(payload) is None, "most functions are called once"
    load(keeper, payload)
    return keeper, payload


def test_a_function_that_has_come_twice_is_kept(names: Names) -> None:
    keeper, payload = kept("plain", names)
    first, second = (keeper.take(payload) for _ in range(2))
    assert first is not None
    assert first is second
    assert first.function(1)[:4] == names["plain"](1)[:4]
    del first, second
    assert keeper.take(payload) is not None, "a call changes nothing"


@pytest.mark.parametrize("name", ["with_items", "with_closure", "with_class", "with_keyword", "with_attribute"])
def test_what_may_change_unnoticed_is_unpickled_anew(names: Names, name: str) -> None:
    keeper, payload = kept(name, names)
    assert keeper.take(payload) is None


def other(x: int) -> int:
    return x


CHANGES: dict[str, Callable[[Any, Names], object]] = {
    "a global that is bound": lambda f, own: own.update(number=2),
    "to one that is equal": lambda f, own: own.update(number=True),
    "a new global": lambda f, own: own.update(new=1),
    "one that is deleted": lambda f, own: own.pop("text"),
    "code": lambda f, own: setattr(f, "__code__", other.__code__),
    "code of a helper": lambda f, own: setattr(own["helper"], "__code__", other.__code__),
    "an attribute": lambda f, own: setattr(f, "attribute", 1),
    "defaults": lambda f, own: setattr(f, "__defaults__", ("z",)),
    "keyword defaults": lambda f, own: setattr(f, "__kwdefaults__", {"y": "z"}),
    "an annotation": lambda f, own: f.__annotations__.update(x=str),
    "all annotations": lambda f, own: setattr(f, "__annotations__", {}),
    "the docstring": lambda f, own: setattr(f, "__doc__", ""),
    "the name": lambda f, own: setattr(f, "__name__", "other"),
    "somebody holds it": lambda f, own: held.append(f),
    "somebody holds a helper": lambda f, own: held.append(own["helper"]),
    "somebody holds its globals": lambda f, own: held.append(own),
    "somebody refers to it weakly": lambda f, own: held.append(weakref.ref(f)),
    "somebody has made a function": lambda f, own: held.append(eval("lambda: number", own)),
    "the source is forgotten": lambda f, own: linecache.cache.pop(FILE),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_a_task_has_changed_or_holds_is_unpickled_anew(
    names: Names, change: Callable[[Any, Names], object]
) -> None:
    keeper, payload = kept("plain", names)
    assert keeper.take(payload) is not None
    function: Any = keeper._kept[payload.key].function  # type: ignore[union-attr]
    change(function, function.__globals__)
    del function
    assert keeper.take(payload) is None


def test_a_name_in_a_module_is_what_is_found_there_now(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    changes: list[Callable[[], object]] = [
        lambda: monkeypatch.setattr(json, "dumps", other),
        lambda: monkeypatch.setitem(sys.modules, "math", json),
        lambda: monkeypatch.delitem(sys.modules, "json"),
    ]
    for change in changes:
        keeper, payload = kept("plain", names)
        change()
        assert keeper.take(payload) is None
        monkeypatch.undo()


def test_arguments_that_bring_functions_are_not_left_to_the_next_task(names: Names) -> None:
    keeper, payload = kept("plain", names)
    arguments = payloads.dump(names["with_items"])
    kept_one = keeper.take(payload)
    assert kept_one is not None
    with kept_one.context:
        payloads.load(arguments)
    del kept_one
    assert keeper.take(payload) is None


def test_no_more_than_some_are_kept() -> None:
    keeper = FunctionKeeper()
    for n in range(MAX_KEPT + 5):
        keeper.note(Payload(b"", key=b"%d" % n), math.sin, UnpicklingContext())
    assert len(keeper._kept) == MAX_KEPT
