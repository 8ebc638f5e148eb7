"""A function's pickle that is used again is the one that would be made anew, whatever has changed in between."""

from __future__ import annotations

import cmath
import collections
import copyreg
import decimal
import functools
import gc
import importlib.util
import json
import linecache
import math
import os
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle
import pytest

from scaler_notebook.client.submission import function_fingerprint, function_pickles
from scaler_notebook.client.submission.call_pickling import CallPickler, pickle_call
from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.messages import Payload
from scaler_notebook.protocol.pickling import pickler

SOURCE = '''
import math, os.path
from collections import OrderedDict
from json import dumps
from math import sqrt

factor, text, pair, nothing = 3, "a text", (1, ("b", None)), None

def innermost(x): return x * factor

def helper(x): return innermost(x)

def outer(n):
    def inner():
        return n
    return inner

closure = outer(1000)
other_closure = outer(2000)

def f(x: int, y=(1, 2), *, z=0.5) -> "a text":
    """Has a bit of everything."""
    def nested():
        return text, pair, nothing, later
    return helper(x), math.sin(y[0]), sqrt(x), OrderedDict(), dumps(x), closure(), nested, f

def alone(x): return x

f.attribute = 1
'''
FILE = "<cell 1 of the test>"
Names = dict[str, Any]


@pytest.fixture
def names() -> Iterator[Names]:
    """The names of ``__main__``, with the functions of a cell; put back afterwards."""
    scope = vars(sys.modules["__main__"])
    before = scope.copy()
    run(SOURCE, scope, FILE)
    yield scope
    scope.clear()
    scope.update(before)


def run(source: str, scope: Names, file: str = "<another cell>") -> None:
    """Run source as a cell of a notebook is run."""
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    exec(compile(source, file, "exec"), scope)


class Calls:
    """Counts the pickles that are really made."""

    def __init__(self) -> None:
        self.number = 0

    def dump(self, value: object) -> Payload:
        self.number += 1
        return payloads.dump(value)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Calls:
    calls = Calls()
    monkeypatch.setattr(function_pickles, "payloads", calls)
    return calls


def remembered(function: object, made: Calls) -> Payload:
    """A function's pickle, which is remembered from now on."""
    for _ in range(2):
        function_pickles.dump(function)
    before = made.number
    payload = function_pickles.dump(function)
    assert made.number == before, "it is not made a third time"
    return payload


def test_a_pickle_is_made_twice_and_then_used_again(names: Names, made: Calls) -> None:
    for name in ("f", "alone", "closure", "helper"):
        assert remembered(names[name], made) == payloads.dump(names[name])


def set_global(name: str, value: object) -> Callable[[Names], None]:
    return lambda names: names.update({name: value})


def set_attribute(function: str, name: str, value: object) -> Callable[[Names], None]:
    return lambda names: setattr(names[function], name, value)


def defined(source: str) -> Callable[[Names], None]:
    return lambda names: run(source, names)


def new_cell_contents(names: Names) -> None:
    names["closure"].__closure__[0].cell_contents = 1001


def emptied_cell(names: Names) -> None:
    del names["closure"].__closure__[0].cell_contents


def unbound(names: Names) -> None:
    """The object stays, and its name is gone: the task would not find it under that any more."""
    names["kept"] = names["f"]
    names["helper2"] = names.pop("innermost")


def module_is_gone(names: Names) -> None:
    names["math"] = types.ModuleType("math")
    names["math"].sin = math.sin


def another_source(_: Names) -> None:
    source = SOURCE.replace("a bit of", "some of")
    linecache.cache[FILE] = (len(source), None, source.splitlines(keepends=True), FILE)


def another_line_of_the_source(_: Names) -> None:
    lines = linecache.cache[FILE][2]  # type: ignore[misc]
    lines[-1] = "# another line"


CHANGES: dict[str, Callable[[Names], None]] = {
    "a number": set_global("factor", 4),
    "a number that is equal": set_global("factor", 3.0),
    "a text": set_global("text", "another text"),
    "a tuple": set_global("pair", (1, ("b", ...))),
    "a global that there was not": set_global("later", 5),
    "a global instead of a builtin": set_global("helper", abs),
    "a list instead": set_global("pair", [1]),
    "an instance instead": set_global("pair", decimal.Decimal(1)),
    "a class instead": defined("class factor: pass"),
    "a module instead": set_global("math", cmath),
    "a package instead": set_global("math", json),
    "a module of one's own": module_is_gone,
    "a function of a module instead": set_global("dumps", json.loads),
    "a class of a module instead": set_global("OrderedDict", collections.Counter),
    "a deleted global": lambda names: names.pop("factor"),
    "a deleted helper": lambda names: names.pop("innermost"),
    "a redefined helper": defined("def helper(x): return -x"),
    "a redefined helper of a helper": defined("def innermost(x): return -x"),
    "a helper that is defined again in the same words": defined("def innermost(x): return x * factor"),
    "a redefinition of itself": defined("def f(x): return -x"),
    "an unbound helper": unbound,
    "its name is gone": lambda names: names.pop("alone"),
    "a cell": new_cell_contents,
    "an empty cell": emptied_cell,
    "another closure": lambda names: names.update(closure=names["other_closure"]),
    "code": lambda names: setattr(names["f"], "__code__", names["f"].__code__.replace(co_firstlineno=77)),
    "a helper's code": lambda names: setattr(names["innermost"], "__code__", names["alone"].__code__),
    "defaults": set_attribute("f", "__defaults__", ((1, 3),)),
    "a mutable default": set_attribute("f", "__defaults__", ([1],)),
    "no defaults": set_attribute("f", "__defaults__", None),
    "keyword defaults": set_attribute("f", "__kwdefaults__", {"z": 0.75}),
    "a keyword default in place": lambda names: names["f"].__kwdefaults__.update(z=0.75),
    "no keyword defaults": set_attribute("f", "__kwdefaults__", None),
    "empty keyword defaults": set_attribute("alone", "__kwdefaults__", {}),
    "an attribute": set_attribute("f", "attribute", 2),
    "a new attribute": set_attribute("f", "another", 2),
    "an attribute of another name": lambda names: names["f"].__dict__.update(
        other=names["f"].__dict__.pop("attribute")
    ),
    "a helper's attribute": set_attribute("innermost", "attribute", 2),
    "annotations": set_attribute("f", "__annotations__", {"x": float}),
    "an annotation in place": lambda names: names["f"].__annotations__.update(x=float),
    "doc": set_attribute("f", "__doc__", "It says something else."),
    "a name": set_attribute("f", "__name__", "g"),
    "a qualified name": set_attribute("f", "__qualname__", "Model.f"),
    "another module": set_attribute("f", "__module__", "json"),
    "a helper's module": set_attribute("innermost", "__module__", None),
    "shared annotations": lambda names: setattr(names["helper"], "__annotations__", names["f"].__annotations__),
    "a cell's source": another_source,
    "a line of a cell's source": another_line_of_the_source,
    "a name for __main__": set_global("__name__", "something"),
}
# Their pickles may be what they were.
SAME = {"a helper that is defined again in the same words", "a name for __main__", "a module of one's own"}
OF_ANOTHER = {"empty keyword defaults": "alone", "its name is gone": "alone"}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen_by_the_next_task(names: Names, made: Calls, change: str) -> None:
    function = names[OF_ANOTHER.get(change, "f")]
    before = remembered(function, made)
    CHANGES[change](names)
    after = function_pickles.dump(function)
    anew = payloads.dump(function)
    assert after == anew
    assert change in SAME or after != before
    for _ in range(3):
        assert function_pickles.dump(function) == anew


def test_what_can_change_in_place_is_pickled_anew_each_time(names: Names, made: Calls) -> None:
    values: list[Any] = [[1], {"a": 1}, {1}, bytearray(b"a"), ([1],), decimal.Decimal(1), 1j]
    values += [types.SimpleNamespace(), names["f"].__code__.co_consts, [].append, dict.fromkeys, ...]
    values += [("x" * 20_000,), "x" * 20_000, 1 << 2000, tuple(range(1000))]  # they can not, and are large
    for value in values:
        run("def user(): return value", names)
        names["value"] = value
        before = made.number
        for _ in range(4):
            assert function_pickles.dump(names["user"]) == payloads.dump(names["user"])
        assert made.number == before + 4
    run("def user(): return value", names)
    names["value"] = value = [1]
    for number in range(12):
        value[0] = number // 4
        assert function_pickles.dump(names["user"]) == payloads.dump(names["user"])


def test_a_module_that_is_registered_by_value_is_noticed(names: Names, made: Calls) -> None:
    before = remembered(names["f"], made)
    cloudpickle.register_pickle_by_value(json)
    try:
        after = function_pickles.dump(names["f"])
        assert after == payloads.dump(names["f"])
        assert after != before
    finally:
        cloudpickle.unregister_pickle_by_value(json)
    assert function_pickles.dump(names["f"]) == before


def test_a_helper_that_is_no_longer_found_in_its_module_travels_by_value(
    names: Names, made: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = remembered(names["f"], made)
    monkeypatch.setattr(json, "dumps", json.loads)
    assert function_pickles.dump(names["f"]) == payloads.dump(names["f"]) != before


def test_a_module_that_is_no_longer_imported_travels_otherwise(
    names: Names, made: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("a_module")
    monkeypatch.setitem(sys.modules, "a_module", module)
    names["factor"] = module
    before = remembered(names["f"], made)
    monkeypatch.delitem(sys.modules, "a_module")
    assert function_pickles.dump(names["f"]) == payloads.dump(names["f"]) != before


def test_a_submodule_that_is_imported_later_travels_along(
    names: Names, made: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = types.ModuleType("a_package")
    package.__package__, package.__path__ = "a_package", []
    monkeypatch.setitem(sys.modules, "a_package", package)
    names["a_package"] = package
    run("def user(): return a_package.part", names)
    before = remembered(names["user"], made)
    monkeypatch.setitem(sys.modules, "a_package.part", types.ModuleType("a_package.part"))
    later = function_pickles.dump(names["user"])
    assert later == payloads.dump(names["user"]) != before
    monkeypatch.delitem(sys.modules, "a_package.part")
    monkeypatch.setitem(sys.modules, "a_package.other", types.ModuleType("a_package.other"))  # as many as before
    assert function_pickles.dump(names["user"]) == payloads.dump(names["user"]) == before


def test_another_main_is_noticed(names: Names, made: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    before = remembered(names["f"], made)
    monkeypatch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))
    assert function_pickles.dump(names["f"]) == payloads.dump(names["f"]) != before


def test_a_reducer_of_ours_that_comes_later_is_asked(
    names: Names, made: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reduce(value: object) -> Any:
        return (math.sqrt, (4,)) if value is math else NotImplemented

    before = remembered(names["f"], made)
    monkeypatch.setattr(pickler, "more_reducers", [*pickler.more_reducers, reduce])
    assert function_pickles.dump(names["f"]) == payloads.dump(names["f"]) != before


def test_a_reducer_of_the_users_for_builtins_is_asked(
    names: Names, made: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = remembered(names["f"], made)
    monkeypatch.setitem(copyreg.dispatch_table, types.BuiltinFunctionType, lambda _: (int, ()))
    assert function_pickles.dump(names["f"]) == payloads.dump(names["f"]) != before


def test_what_another_thread_changes_while_the_pickle_is_made_is_not_remembered(
    names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Changing:
        """Changes a global within each pickle, and back."""

        @staticmethod
        def dump(value: object) -> Payload:
            names["factor"] = 5
            payload = payloads.dump(value)
            names["factor"] = 3
            return payload

    function_pickles.dump(names["f"])
    with monkeypatch.context() as patched:
        patched.setattr(function_pickles, "payloads", Changing())
        function_pickles.dump(names["f"])
    assert function_pickles.dump(names["f"]) == payloads.dump(names["f"])


def test_what_cannot_be_pickled_fails_each_time_and_can_be_repaired(names: Names, made: Calls) -> None:
    remembered(names["f"], made)
    names["factor"] = threading.Lock()
    for _ in range(3):
        with pytest.raises(TypeError):
            function_pickles.dump(names["f"])
    names["factor"] = 3
    assert function_pickles.dump(names["f"]) == payloads.dump(names["f"])


def test_nothing_of_the_users_is_kept_alive(names: Names, made: Calls) -> None:
    module = types.ModuleType("a_module")
    exec("class Class: pass\ndef function(): pass", vars(module))
    module.Class.__module__ = module.function.__module__ = "a_module"
    sys.modules["a_module"] = module
    try:
        names.update(module=module, Class=module.Class, function=module.function)
        run("def user():\n    return [module, Class, function, innermost]", names)
        remembered(names["user"], made)
    finally:
        del sys.modules["a_module"]
    parts = [names.pop(name) for name in ("module", "Class", "function", "innermost")]
    parts += [names["helper"]]
    names["helper"] = None
    function = names["user"]
    references = [weakref.ref(each) for each in parts]
    del parts, module
    gc.collect()
    assert [reference() for reference in references] == [None] * 5
    assert function_pickles.dump(function) == payloads.dump(function)
    reference = weakref.ref(function)
    number = len(function_pickles._pickles)
    del function, names["user"]
    gc.collect()
    assert reference() is None
    assert len(function_pickles._pickles) < number


def test_another_helper_at_the_address_of_one_that_is_gone_is_another(names: Names, made: Calls) -> None:
    remembered(names["helper"], made)
    code = names["innermost"].__code__
    new = functools.partial(types.FunctionType, code, names, "innermost")
    address = id(names.pop("innermost"))
    names["innermost"] = at(address, new, (5,))
    assert function_pickles.dump(names["helper"]) == payloads.dump(names["helper"])


def test_another_number_at_the_address_of_one_that_is_gone_is_another(names: Names, made: Calls) -> None:
    names["factor"] = math.sqrt(3)
    remembered(names["innermost"], made)
    address = id(names.pop("factor"))
    names["factor"] = at(address, math.sqrt, 5, unless_kept=True)
    assert function_pickles.dump(names["innermost"]) == payloads.dump(names["innermost"])


def at(address: int, new: Callable[[Any], Any], argument: object, unless_kept: bool = False) -> Any:
    """An object at the address of one that is gone; any, if that one may have been kept."""
    made = [new(argument)]
    while id(made[-1]) != address and len(made) < 100_000:
        made.append(new(argument))
    assert unless_kept or id(made[-1]) == address
    return made[-1]


class Constant:
    """A constant as no compiler makes it."""

    number = 0


def test_a_constant_that_can_change_is_looked_at_each_time(names: Names, made: Calls) -> None:
    function, constant = names["alone"], Constant()
    function.__code__ = function.__code__.replace(co_consts=(None, (constant,)))
    for number in range(12):
        constant.number = number // 4
        assert function_pickles.dump(function) == payloads.dump(function)


def test_a_module_that_travels_by_value_from_now_on_is_noticed(names: Names, made: Calls) -> None:
    run("def user(): return math.sin", names)
    before = remembered(names["user"], made)
    cloudpickle.register_pickle_by_value(math)
    try:
        after = function_pickles.dump(names["user"])
        assert after == payloads.dump(names["user"]) != before
    finally:
        cloudpickle.unregister_pickle_by_value(math)


def test_a_module_that_is_found_under_another_name_may_travel_by_value(
    names: Names, made: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("its_name")
    exec("def function(): pass", vars(module))
    names["dumps"] = vars(module)["function"]
    names["dumps"].__module__ = "another_name"
    monkeypatch.setitem(sys.modules, "another_name", module)
    monkeypatch.setitem(sys.modules, "its_name", module)
    before = [function_pickles.dump(names["f"]) for _ in range(3)]
    cloudpickle.register_pickle_by_value(module)
    try:
        assert function_pickles.dump(names["f"]) == payloads.dump(names["f"]) != before[-1]
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def test_a_number_in_place_of_a_name_is_noticed(names: Names, made: Calls) -> None:
    before = remembered(names["f"], made)
    copyreg.add_extension("json", "dumps", 240)
    try:
        assert function_pickles.dump(names["f"]) == payloads.dump(names["f"]) != before
    finally:
        copyreg.remove_extension("json", "dumps", 240)
    assert function_pickles.dump(names["f"]) == payloads.dump(names["f"])


def test_a_pickle_of_some_size_is_not_kept(names: Names, made: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(function_pickles, "LARGEST", 10)
    for _ in range(3):
        assert function_pickles.dump(names["f"]) == payloads.dump(names["f"])
    assert function_pickles._pickles[names["f"]] is None
    assert made.number == 3


def test_functions_of_modules_and_other_callables_are_pickled_as_ever(names: Names, made: Calls) -> None:
    for value in (os.path.join, len, decimal.Decimal, importlib.util.find_spec):
        for _ in range(3):
            assert function_pickles.dump(value) == payloads.dump(value)
    assert made.number == 12
    assert function_fingerprint.MAIN == "__main__"


def test_the_arguments_of_many_calls_are_pickled_as_those_of_one() -> None:
    calls = CallPickler(abs)
    for args in [(1,), (None, True, 1.5, "__main__", b"x" * 20_000), ([1],), (bytearray(20_000),), (), (-1,)]:
        assert calls.pickle(args) == pickle_call(abs, args, {})
