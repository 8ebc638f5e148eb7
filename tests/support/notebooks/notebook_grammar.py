"""A small grammar of what notebooks define: programs whose every name has a question with a plain answer.

Definitions refer to earlier ones by asking them, and now and then to the one that comes after all, so that there are
circles.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from hypothesis import strategies as st

HEADER = """
import contextlib, ctypes, enum, functools, typing
from collections import namedtuple
from dataclasses import dataclass, field
T = typing.TypeVar("T")
P = typing.ParamSpec("P")
def noted(f):
    @functools.wraps(f)
    def inner(*args, **kwargs):
        return ("noted", f(*args, **kwargs))
    return inner
def named(name):
    def decorate(f):
        f.label = name
        return f
    return decorate
class counted:
    def __init__(self, f):
        functools.update_wrapper(self, f)
        self.calls, self.f = 0, f
    def __call__(self, *args):
        self.calls += 1
        return self.f(*args)
"""
DECORATORS = ("noted", "named('x')", "functools.cache", "functools.lru_cache(maxsize=2, typed=True)", "counted")
METHODS = ("", "@property", "@functools.cached_property", "@staticmethod", "@classmethod", "@functools.cache", "@noted")
LITERALS = st.one_of(st.integers(-9, 9), st.text("ab", max_size=2), st.booleans(), st.none(), st.floats(0, 1)).map(repr)


class Definition(NamedTuple):
    """What a cell says and what may be asked: an expression over the names that it and earlier cells bind."""

    name: str
    source: str
    question: str
    is_class: bool = False


class Program(NamedTuple):
    """A notebook's one cell, and what is asked of all its names."""

    source: str
    question: str


Draw = Callable[[Any], Any]
Earlier = list[Definition]


def _asks(draw: Draw, earlier: Earlier) -> str:
    """An expression that a definition's body may have: constants, and answers of earlier definitions."""
    parts = [draw(LITERALS)]
    if earlier:
        parts += [each.question for each in draw(st.lists(st.sampled_from(earlier), max_size=1))]
    return f"({', '.join(parts)},)"


def _function(draw: Draw, name: str, earlier: Earlier) -> Definition:
    chosen = draw(st.lists(st.sampled_from(DECORATORS), max_size=3))
    decorators = "".join(f"@{each}\n" for each in chosen)
    source = f"{decorators}def {name}(n=3):\n    return {_asks(draw, earlier)} if n < 1 else ({name}(n - 1), n)\n"
    return Definition(name, source, f"({name}(2), {name}.__name__, getattr({name}, 'label', None))")


def _closure(draw: Draw, name: str, earlier: Earlier) -> Definition:
    source = (
        f"def make_{name}(k):\n    def inner(n=1):\n        return (k, n, {_asks(draw, earlier)})\n"
        f"    return inner if k is None else [inner, lambda: inner(2)][-1]\n{name} = make_{name}({draw(LITERALS)})\n"
    )
    return Definition(name, source, f"{name}()")


def _partial(draw: Draw, name: str, earlier: Earlier) -> Definition:
    source = f"{name} = functools.partial(lambda a, b=0: (a, b, {_asks(draw, earlier)}), {draw(LITERALS)})\n"
    return Definition(name, source, f"({name}(b=1), {name}.args)")


def _class(draw: Draw, name: str, earlier: Earlier) -> Definition:
    bases = [each.name for each in earlier if each.is_class]
    base = draw(st.sampled_from([*bases, "", "typing.Generic[T]", "list", "Exception"]))
    kind = draw(st.sampled_from(METHODS))
    mine = "" if kind == "@staticmethod" else "it"
    after = "" if kind in ("@property", "@functools.cached_property") else "()"
    source = (
        f"class {name}({base}):\n    'Of {name}.'\n    __hash__ = object.__hash__\n    shared = {draw(LITERALS)}\n"
        f"    {kind or '# plain'}\n    def of_{name}({mine}):\n"
        f"        return ({name}.__name__, {_asks(draw, earlier)})\n"
        f"    def every(self):\n        above = getattr(super(), 'every', list)\n"
        f"        return [*above(), self.of_{name}{after}, {name}.shared, type(self).__name__]\n"
    )
    return Definition(name, source, f"({name}().every(), {name}.__doc__, {name}.__mro__[1].__name__)", True)


def _data_class(draw: Draw, name: str, earlier: Earlier) -> Definition:
    options = draw(st.lists(st.sampled_from(["frozen", "slots", "order", "kw_only"]), unique=True))
    arguments = ", ".join(f"{option}=True" for option in options)
    source = (
        f"@dataclass({arguments})\nclass {name}:\n    a: int = {draw(LITERALS)}\n"
        f"    b: list = field(default_factory=list)\n"
        f"    def every(self):\n        return (self, {_asks(draw, earlier)})\nof_{name} = {name}(b=[1])\n"
    )
    return Definition(
        name, source, f"(repr(of_{name}.every()), of_{name} == {name}(b=[1]), isinstance(of_{name}, {name}))"
    )


def _enum(draw: Draw, name: str, earlier: Earlier) -> Definition:
    base, values = draw(
        st.sampled_from(
            [
                ("enum.Enum", ["1", "'b'", "1", "(1, 2)"]),
                ("enum.Enum", ["[1]", "enum.auto", "[1]", "{}"]),
                ("enum.IntEnum", ["1", "2", "1", "7"]),
                ("str, enum.Enum", ["'a'", "'b'", "'a'", "''"]),
                ("enum.Flag", ["1", "2", "4", "3"]),
                ("enum.IntFlag", ["4", "2", "1", "6"]),
            ]
        )
    )
    members = "".join(f"    M{number} = {value}\n" for number, value in enumerate(values))
    extra = draw(st.sampled_from(["", "    def __init__(self, *args):\n        self.extra = args\n"]))
    source = (
        f"class {name}({base}):\n{members}{extra}"
        f"    def every(self):\n        extra = getattr(self, 'extra', 0)\n"
        f"        return (self.name, self is {name}.M0, extra, {_asks(draw, earlier)})\n"
        f"    @classmethod\n    def first(cls):\n        return cls.M0\nof_{name} = {name}.M2\n"
    )
    either = f"({name}.M0 | {name}.M2).value, {name}.M1 in ({name}.M1 | {name}.M2)" if "Flag" in base else "0"
    return Definition(
        name,
        source,
        f"(of_{name}.every(), {name}.first() is {name}.M0, {name}({name}.M3.value) is {name}.M3, "
        f"list({name}.__members__), "
        f"[each.name for each in {name}], {name}['M2'] is of_{name}, {either})",
    )


def _dispatching(draw: Draw, name: str, earlier: Earlier) -> Definition:
    kinds = [each.name for each in earlier if each.is_class]
    kind = draw(st.sampled_from([*kinds, "int", "list"]))
    source = (
        f"@functools.singledispatch\ndef {name}(x):\n    return ('any', {_asks(draw, earlier)})\n"
        f"@{name}.register({kind})\ndef of_{name}(x):\n    return ('one', {name}('other'), {_asks(draw, earlier)})\n"
    )
    return Definition(name, source, f"({name}({kind}()), {name}(''), {name}.dispatch({kind}) is of_{name})")


def _typing(draw: Draw, name: str, earlier: Earlier) -> Definition:
    kinds = [each.name for each in earlier if each.is_class]
    kind = draw(st.sampled_from([*kinds, "int", "list[T]", "typing.Callable[P, T]"]))
    source = (
        f"{name} = typing.NewType({name!r}, {kind})\ndef of_{name}(x: {name}, y: {kind} = None) -> {name}:\n"
        f"    return {name}(({_asks(draw, earlier)}, x))\n"
    )
    return Definition(
        name,
        source,
        f"(of_{name}(1), {name}.__name__, of_{name}.__annotations__['return'] is {name}, str({name}.__supertype__))",
    )


def _tuple(draw: Draw, name: str, earlier: Earlier) -> Definition:
    source = draw(
        st.sampled_from(
            [
                f"{name} = namedtuple({name!r}, 'a b', defaults=[{draw(LITERALS)}])\n",
                f"class {name}(typing.NamedTuple):\n    a: int\n    b: int = {draw(LITERALS)}\n    def every(self):\n"
                f"        return {_asks(draw, earlier)}\n",
            ]
        )
    )
    source += f"of_{name} = {name}({draw(LITERALS)})\n"
    return Definition(name, source, f"(repr(of_{name}), getattr(of_{name}, 'every', int)(), type(of_{name}) is {name})")


def _structure(draw: Draw, name: str, earlier: Earlier) -> Definition:
    base = draw(st.sampled_from(["ctypes.Structure", "ctypes.BigEndianStructure", "ctypes.Union"]))
    source = (
        f"class {name}({base}):\n    _fields_ = [('a', ctypes.c_int16), ('b', ctypes.c_uint8 * 3)]\n"
        f"    def every(self):\n        return (self.a, list(self.b), {_asks(draw, earlier)})\n"
        f"of_{name} = {name}(5)\nmany_{name} = ({name} * 2)()\n"
    )
    return Definition(name, source, f"(of_{name}.every(), bytes(of_{name}), len(many_{name}), many_{name}[1].every())")


def _container(draw: Draw, name: str, earlier: Earlier) -> Definition:
    kept = ", ".join(each.name for each in draw(st.lists(st.sampled_from(earlier), max_size=3))) if earlier else ""
    source = f"{name} = {{'here': [{kept}], 'plain': {_asks(draw, earlier)}}}\n"
    return Definition(name, source, f"({name}['plain'], len({name}['here']), {name}['here'] == [{kept}])")


MAKERS = (
    _function,
    _closure,
    _partial,
    _class,
    _data_class,
    _enum,
    _dispatching,
    _typing,
    _tuple,
    _structure,
    _container,
)


@st.composite
def programs(draw: Draw) -> Program:
    """Programs of up to six definitions."""
    made: Earlier = []
    for number, maker in enumerate(draw(st.lists(st.sampled_from(MAKERS), min_size=1, max_size=6))):
        made.append(maker(draw, f"N{number}", made))
    source = HEADER + "".join(each.source for each in made)
    return Program(source, f"({', '.join(each.question for each in made)},)")
