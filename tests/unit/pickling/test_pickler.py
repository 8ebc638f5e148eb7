"""Code that travels by value: its file names and lines arrive, and equal code gives equal bytes."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any

import cloudpickle
import pytest

from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.pickling import pickler

FILE = "/tmp/ipykernel_1/2345.py"
SOURCE = '''
import functools

def plain(n):
    return 1 / n

def with_default(n=0, *, shift=lambda: 0):
    return 1 / (n + shift())

def outer():
    factor = 1
    def inner():
        return factor / 0
    return inner

class Model:
    rate = property(lambda self: 1 / 0)

    def fit(self):
        """Fit it."""
        return 1 / 0

    @staticmethod
    def load():
        return 1 / 0

    @classmethod
    def make(cls):
        return 1 / 0

def in_a_comprehension():
    return [1 / n for n in (0,)]

def in_a_generator():
    return list(1 / n for n in (0,))

async def awaited():
    return 1 / 0

@functools.wraps(plain)
def wrapped():
    return plain(0)
'''
CALLS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a function": lambda names: lambda: names["plain"](0),
    "a function with defaults": lambda names: names["with_default"],
    "a closure": lambda names: names["outer"](),
    "a bound method": lambda names: names["Model"]().fit,
    "a static method": lambda names: names["Model"].load,
    "a class method": lambda names: names["Model"].make,
    "a property": lambda names: lambda: names["Model"]().rate,
    "a comprehension": lambda names: names["in_a_comprehension"],
    "a generator expression": lambda names: names["in_a_generator"],
    "a coroutine": lambda names: lambda: names["awaited"]().send(None),
    "a decorated function": lambda names: names["wrapped"],
}


def defined() -> dict[str, Any]:
    """What a cell with this source leaves in a notebook."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(SOURCE, FILE, "exec"), names)
    return names


def travelled(value: Any) -> Any:
    return payloads.load(payloads.dump(value))


def codes(code: CodeType) -> Iterator[CodeType]:
    """A code object, and all that are within it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes(constant)


@pytest.mark.parametrize("what", CALLS)
def test_a_traceback_names_the_users_file_and_line(what: str) -> None:
    def frames(call: Callable[[], Any]) -> list[tuple[str, int | None, str]]:
        with pytest.raises(ZeroDivisionError) as caught:
            call()
        places = traceback.extract_tb(caught.tb)
        return [(place.filename, place.lineno, place.name) for place in places if place.filename == FILE]

    names = defined()
    call = CALLS[what](names)
    assert frames(call)
    assert frames(travelled(call)) == frames(call)


def test_code_arrives_whole() -> None:
    """Every attribute that Python compares or shows, down to the code within the code."""
    original = compile(SOURCE, FILE, "exec")
    arrived = pickle.loads(pickler.dumps(original))
    assert arrived == original
    for before, after in zip(codes(original), codes(arrived), strict=True):
        assert after.co_filename == FILE
        attributes = [name for name in dir(before) if name.startswith("co_") and not callable(getattr(before, name))]
        attributes = [name for name in attributes if name != "co_lnotab"]  # Python 3.12 warns of it
        assert {name: getattr(before, name) for name in attributes} == {
            name: getattr(after, name) for name in attributes
        }
        assert list(after.co_lines()) == list(before.co_lines())


def test_equal_functions_give_equal_bytes() -> None:
    """Functions travel once for each content: a cell that is run again defines nothing new."""
    first, second = defined(), defined()
    for name, value in first.items():
        if isinstance(value, FunctionType):
            assert pickler.dumps(value) == pickler.dumps(second[name]), name


def test_a_function_that_has_travelled_gives_the_same_bytes() -> None:
    for name, value in defined().items():
        if isinstance(value, FunctionType):
            once = pickle.loads(pickler.dumps(value))
            assert pickler.dumps(once) == pickler.dumps(pickle.loads(pickler.dumps(once))), name


def test_what_else_travels_by_value_is_cloudpickles_business() -> None:
    """Modules that were registered there are; the names of their files are kept too."""
    import retried_tasks

    cloudpickle.register_pickle_by_value(retried_tasks)
    try:
        data = pickler.dumps(retried_tasks.fails)
    finally:
        cloudpickle.unregister_pickle_by_value(retried_tasks)
    arrived = pickle.loads(data)
    assert arrived is not retried_tasks.fails
    assert arrived.__code__.co_filename == retried_tasks.__file__
