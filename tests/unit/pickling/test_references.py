"""A pickle that names something in ``__main__`` is refused, in words that say where it is; no other pickle is."""

from __future__ import annotations

import copyreg
import pickle
from typing import Any

import pytest
from fresh_interpreter import defined, notebook

from scaler_notebook.client.submission.call_pickling import pickle_call
from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.errors import TaskSerializationError
from scaler_notebook.protocol.pickling import pickler, references

# An object of a library's that says a name where it thinks it is defined, as the interfaces of zope do.
BY_NAME = """
from by_name import Named
named = Named("named")
class Holder:
    def __init__(self, it):
        self.it = it
class Slots:
    __slots__ = ("it",)
    def __init__(self, it):
        self.it = it
class WithOne:
    one = named
def uses():
    return named
def inner(x):
    return lambda: x
def takes(*args, **kwargs):
    return args
"""
REFUSED = {
    "an argument": ("takes, (named,), {}", "argument 1 of takes cannot be pickled"),
    "a keyword argument": ("takes, (), {'it': named}", "argument 'it' of takes cannot be pickled"),
    "in a list": (
        "takes, ([0, named],), {}",
        "argument 1 of takes cannot be pickled because of argument 1 of takes[1]",
    ),
    "in a dictionary": ("takes, ({'a': {'b': named}},), {}", "because of argument 1 of takes['a']['b']"),
    "an attribute": ("takes, (1, Holder(named)), {}", "because of argument 2 of takes.it"),
    "in a slot": ("takes, (Slots(named),), {}", "because of argument 1 of takes.it"),
    "of a class": ("takes, (WithOne,), {}", "because of argument 1 of takes.one"),
    "of an object's class": ("takes, (WithOne(),), {}", "because of argument 1 of takes → its class.one"),
    "a global of the function": (
        "uses, (), {}",
        "the function uses cannot be pickled because of the function uses → global",
    ),
    "a closure's": ("inner(named), (), {}", "→ closure variable 'x'"),
    "a cached function's": ("__import__('functools').cache(uses), (), {}", "global 'named'"),
    "a partial's": ("__import__('functools').partial(takes, named), (), {}", ".args[0]"),
}
FINE = {
    "texts": "['__main__', {'__main__': '__main__.f'}, b'__main__']",
    "names of what is elsewhere": "[json.loads, 'named', '__main__']",
    "text beside a class": "[A(), '__main__', 'A', A]",
    "containers of everything": "[{A(): [A(), (A(),)]}, {A()}, frozenset([A()]), od, dd, cn, dq, [A] * 3]",
    "states of all forms": "[S(), T(), L([1]), D(a=1), X('m'), P(1, y=2), range(3), slice(1)]",
    "functions in each other": "[f, g, f(1), functools.partial(g, A()), A().m, A.c]",
}
DEFINED = """
import json, functools, collections
class A:
    def m(self): return __name__
    @classmethod
    def c(cls): return "__main__"
od = collections.OrderedDict(a=A()); dd = collections.defaultdict(A, a=1); cn = collections.Counter("ab")
dq = collections.deque([A()], 3)
class S:
    __slots__ = ("a",)
    def __init__(self): self.a = 1
class T:
    def __getstate__(self): return [1, "__main__"]
    def __setstate__(self, state): self.state = state
class L(list): pass
class D(dict): pass
class X(Exception): pass
class P:
    def __new__(cls, x, *, y): return object.__new__(cls)
    def __getnewargs_ex__(self): return (1,), {"y": 2}
def f(n): return (lambda: (n, A))
def g(): return g, f
"""


class Named:
    """An object that is pickled by a name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.__module__ = "__main__"

    def __reduce__(self) -> str:
        return self.name


@pytest.fixture
def by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another module has the class, so that it is no notebook's."""
    import types

    module = types.ModuleType("by_name")
    monkeypatch.setattr(Named, "__module__", "by_name")
    monkeypatch.setattr(module, "Named", Named, raising=False)
    monkeypatch.setitem(__import__("sys").modules, "by_name", module)


@pytest.mark.parametrize("where", REFUSED)
def test_what_is_known_by_name_only_is_refused(where: str, by_name: None) -> None:
    call, words = REFUSED[where]
    with notebook(BY_NAME) as names:
        fn, args, kwargs = eval(f"({call})", names)
        with pytest.raises(TaskSerializationError) as caught:
            pickle_call(fn, args, kwargs)
    assert words in str(caught.value)
    assert "it is found as named in __main__" in str(caught.value)


@pytest.mark.parametrize("what", FINE)
def test_nothing_else_is_refused(what: str) -> None:
    with notebook(DEFINED) as names:
        value = eval(FINE[what], names)
        payload = payloads.dump(value)
        assert references.names_of_main(bytes(payload.data)) == ()
        assert bytes(payload.data).count(b"__main__")
        assert type(payloads.load(payload)) is type(value)


def test_every_name_is_found_wherever_it_stands() -> None:
    """The plain pickler names what the notebook has; each is found, however it is named and used."""
    with notebook(DEFINED) as names:
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            data = pickle.dumps([1, {"a": names["f"]}, names["A"](), names["g"], names["L"]([names["S"]])], protocol)
            assert set(references.names_of_main(data)) == {"f", "g", "A", "L", "S"}, protocol


def test_the_text_alone_is_no_reason_for_a_second_pickle(monkeypatch: pytest.MonkeyPatch) -> None:
    filters = [("default", None, DeprecationWarning, "__main__", 0), {"and": DeprecationWarning("once")}]
    monkeypatch.setattr(pickler, "dumps", None)
    assert payloads.load(payloads.dump(filters))[0] == filters[0]
    with notebook(DEFINED) as names:
        assert not references.is_free_of_main(pickle.dumps([filters, names["A"]()]), ())
    assert not references.is_free_of_main(b"no pickle of __main__", ())


def test_nothing_of_a_pickle_is_run(capsys: pytest.CaptureFixture[str]) -> None:
    class Speaks:
        def __reduce__(self) -> Any:
            return print, ("it runs", "__main__")

    data = pickle.dumps([Speaks(), Speaks()])
    assert references.names_of_main(data) == ()
    assert capsys.readouterr().out == ""


def test_what_is_registered_with_copyreg_is_looked_at_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with notebook("class A:\n    def __reduce__(self): return A, ()\na = A()\n") as names:
        monkeypatch.setitem(copyreg.dispatch_table, names["A"], lambda a: "a")
        with pytest.raises(pickle.PicklingError, match="found as a in __main__"):
            payloads.dump(names["a"])


def test_out_of_band_buffers_are_not_touched() -> None:
    buffer = bytearray(payloads.OUT_OF_BAND)
    with notebook("class A: pass\n") as names:
        a = names["A"]()
        a.buffer = pickle.PickleBuffer(buffer)
        payload = payloads.dump(a)
        assert len(payload.buffers) == 1
        assert references.names_of_main(bytes(payload.data), payload.buffers) == ()
        assert defined(names)
