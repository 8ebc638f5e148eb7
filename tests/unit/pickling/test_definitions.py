"""The classes of a call in what the task returns: a reference where the class is, its definition where it is not."""

from __future__ import annotations

import gc
import types
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.messages import Payload, SegmentRef
from scaler_notebook.protocol.pickling.loading.unpickling_context import UnpicklingContext

NOTEBOOK = """
from enum import Enum
from ctypes import Structure, c_int

class Counted:
    "An object that counts how often one is made."
    made = 0
    def __new__(cls, *_):
        Counted.made += 1
        return super().__new__(cls)

class Parent:
    state = "as sent"
    example = None
    def name(self):
        return "parent of " + self.child.__name__

class Child(Parent):
    own = Counted()
    @classmethod
    def parent(cls):
        return Parent

Parent.child = Child
Parent.example = Child()

class Colour(Enum):
    RED = (1, Child)
    GREEN = (2, Counted())

class Point(Structure):
    _fields_ = [("x", c_int)]
    kept = Counted()
"""


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    """A ``__main__`` that defines classes which refer to each other."""
    main = types.ModuleType("__main__")
    monkeypatch.setitem(__import__("sys").modules, "__main__", main)
    exec(NOTEBOOK, vars(main))
    yield main
    vars(main).clear()


def returned(value: Any) -> Payload:
    """Return a value as a task would that got the value as its argument."""
    context = UnpicklingContext()
    with context:
        argument = payloads.load(payloads.dump(value))
    with context.returning():
        return payloads.copied(payloads.dump(argument))


NAMES = "Parent", "Child", "Colour", "Point"


@pytest.mark.parametrize("name", NAMES)
def test_a_class_comes_back_without_loading_its_state(notebook: types.ModuleType, name: str) -> None:
    cls = getattr(notebook, name)
    payload = returned([cls])
    notebook.Parent.state, made = "changed since", notebook.Counted.made
    assert payloads.load(payload) == [cls]
    assert notebook.Counted.made == made, "nothing of the definition is loaded"
    assert notebook.Parent.state == "changed since"


@pytest.mark.parametrize("name", NAMES)
def test_a_class_that_is_gone_is_made_again(notebook: types.ModuleType, name: str) -> None:
    payload = returned([getattr(notebook, name), getattr(notebook, name)])
    vars(notebook).clear()
    gc.collect()
    first, again = payloads.load(payload)
    assert first is again
    assert first.__name__ == name
    if name == "Colour":
        assert [member.name for member in first] == ["RED", "GREEN"]
        first = first.RED.value[1]
    if name == "Point":
        assert first(3).x == 3
        return
    parent = first.parent() if first.__name__ == "Child" else first
    assert (parent.state, parent().name()) == ("as sent", "parent of Child")
    assert issubclass(parent.child, parent)
    assert parent.child.parent() is parent
    assert type(parent.example) is parent.child


def test_an_object_keeps_its_class_and_its_own_state(notebook: types.ModuleType) -> None:
    child = notebook.Child()
    child.colour, child.other = notebook.Colour.GREEN, notebook.Parent
    found = payloads.load(returned(child))
    assert type(found) is notebook.Child
    assert (found.colour, found.other) == (notebook.Colour.GREEN, notebook.Parent)


def test_pickling_holds_nothing_of_what_was_pickled(notebook: types.ModuleType) -> None:
    gc.collect()
    gc.disable()
    try:
        child = notebook.Child()
        context = UnpicklingContext()
        with context:
            payloads.load(payloads.dump(child))
        with context.returning():
            payloads.dump(child)
        gone = weakref.ref(child)
        del child
        assert gone() is None
    finally:
        gc.enable()


def test_a_large_definition_is_no_copy_in_the_pickle(notebook: types.ModuleType) -> None:
    notebook.Parent.table = bytes(8_000_000)
    payload = returned(notebook.Parent())
    assert len(payload.data) < 100_000, "the definition is a buffer"
    vars(notebook).clear()
    gc.collect()
    assert len(payloads.load(payload).table) == 8_000_000


def test_classes_that_refer_to_each_other_are_pickled_once_each(notebook: types.ModuleType) -> None:
    classes = [type(f"C{number}", (), {"__module__": "__main__", "text": "x" * 1000}) for number in range(30)]
    for cls in classes:
        vars(notebook)[cls.__name__] = cls
        cls.all = classes  # type: ignore[attr-defined]
    payload = returned(classes)
    assert payloads.load(payload) == classes
    buffers = [part for part in payload.buffers if not isinstance(part, SegmentRef)]
    assert len(payload.data) + sum(memoryview(part).nbytes for part in buffers) < 100 * 1000
