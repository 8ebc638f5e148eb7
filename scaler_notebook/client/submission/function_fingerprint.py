"""The fingerprint of a notebook's function: what the function's pickle depends on, and whether that is as it was.

A function of ``__main__`` travels by value, with what it refers to; to take it apart costs more than the rest of a
submit. Its pickle can be used again while everything in it is the same object as before, and of a kind that cannot
change in place: numbers, texts, what travels by reference, and functions of ``__main__`` of which the same is true.
"""

import copyreg
import sys
import weakref
from collections.abc import Iterator
from itertools import islice, repeat
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any, TypeAlias

from cloudpickle.cloudpickle import _extract_code_globals

from scaler_notebook.protocol.pickling import pickler
from scaler_notebook.protocol.pickling.importable import importable, travels_by_value

MAIN = "__main__"
# A fingerprint keeps plain values alive, so these are small.
MAX_TEXT = 10_000  # characters, or bytes, of a text
MAX_BITS = 1_000  # of a number
MAX_LEAVES = 100  # of a tuple, however deep

_EMPTY = object()  # stands for the value of a name, or of a cell, that has none
_NOTHING = repeat(_EMPTY)
_PLAIN = frozenset({type(None), bool, int, float, str, bytes})

Numbers: TypeAlias = tuple[int, ...]

_modules_seen: list[str] = []


class Uncertain(Exception):  # it says what is known of a pickle: it is no error
    """A pickle depends on something that can change unnoticed."""


class Fingerprint:
    """The parts of a function of ``__main__`` on which its pickle depends, as they are when the fingerprint is made.

    It keeps none of the user's functions, classes and modules alive, but numbers and short texts.

    Parameters
    ----------
    function
        The function.

    Raises
    ------
    Uncertain
        The pickle depends on something that can change unnoticed.
    """

    __slots__ = ("_functions", "_kept", "_modules", "_reducers", "_references", "_sources", "_state")

    def __init__(self, function: FunctionType) -> None:
        self._functions: list[
            tuple[weakref.ref[FunctionType], tuple[str, ...]]
        ] = []  # with the globals that each names
        self._state: list[Numbers] = []  # the ids of what these functions are made of
        self._references: list[tuple[weakref.ref[Any], tuple[str, ...]]] = []  # what travels by reference, as what
        self._sources: dict[str, list[str]] = {}  # the lines of a cell, by the file name of its code
        self._kept: list[object] = []  # while they live, no other object has their ids
        self._modules: list[str] | None = None  # what was imported, if the pickle depends on that
        self._reducers = len(pickler.more_reducers)
        if copyreg._extension_registry:  # type: ignore[attr-defined]
            raise Uncertain
        self._note(function, {})

    def holds(self) -> bool:
        """Whether a pickle that was made at the time of the fingerprint would be made again now."""
        try:
            return (
                len(pickler.more_reducers) == self._reducers
                and (self._modules is None or self._modules is _imported_modules())
                and not copyreg._extension_registry  # type: ignore[attr-defined]
                and all(map(_is_as_noted, self._functions, self._state))
                and all(map(_is_same_reference, self._references))
                and all(pickler.source_lines(file) == lines for file, lines in self._sources.items())
            )
        except Uncertain:
            return False

    def _note(self, value: Any, seen: dict[int, object]) -> None:
        """Note what has to be the same for a value to have the same pickle.

        Parameters
        ----------
        value
            The value.
        seen
            The values that were noted before, by id.
        """
        if id(value) in seen:
            return
        seen[id(value)] = value
        if type(value) is FunctionType and value.__module__ == MAIN:
            scope_names = tuple(_extract_code_globals(value.__code__))
            self._state.append(_state(value, scope_names))
            self._functions.append((weakref.ref(value), scope_names))
            for part in _parts(value, scope_names):
                self._note(part, seen)
        elif (names := _names(value)) is not None:
            self._references.append((weakref.ref(value), names))
            if type(value) is CodeType:
                self._note_code(value)
            elif type(value) is ModuleType and value.__package__:
                # cloudpickle looks among the imported modules for the submodules of it that a function names.
                self._modules = _imported_modules()
        elif value is _EMPTY or _is_small(value):
            self._kept.append(value)
        else:
            raise Uncertain

    def _note_code(self, code: CodeType) -> None:
        """Note the source of a code object, and of those within it."""
        self._sources[code.co_filename] = list(pickler.source_lines(code.co_filename))
        for constant in code.co_consts:
            if type(constant) is CodeType:
                self._note_code(constant)
            elif not all(type(each) in _PLAIN for each in _leaves(constant)):
                raise Uncertain


def _is_as_noted(noted: "tuple[weakref.ref[FunctionType], tuple[str, ...]]", state: Numbers) -> bool:
    """Return whether a function still exists, and its parts are the objects that they were when it was noted.

    Parameters
    ----------
    noted
        The function, and the globals that its code named.
    state
        The ids of what it was made of.
    """
    function = noted[0]()
    return function is not None and _state(function, noted[1]) == state


def _is_same_reference(noted: "tuple[weakref.ref[Any], tuple[str, ...]]") -> bool:
    """Whether an object lives that travelled by reference, and still travels by the same one."""
    value = noted[0]()
    return value is not None and _names(value) == noted[1]


def _state(function: FunctionType, names: tuple[str, ...]) -> Numbers:
    """Return the ids of the objects that a function is made of, and numbers that say how they belong together.

    Parameters
    ----------
    function
        The function.
    names
        The globals that its code names.

    Raises
    ------
    Uncertain
        The function is not one of ``__main__``, or has attributes of an unknown kind.
    """
    scope, name, annotations = function.__globals__, function.__name__, function.__annotations__
    keywords, attributes, closure = function.__kwdefaults__, function.__dict__, function.__closure__
    main = sys.modules.get(MAIN)
    if (
        function.__module__ != MAIN
        or getattr(main, "__dict__", None) is not scope
        or scope.get("__name__") != MAIN
        or type(annotations) is not dict
        or not (keywords is None or type(keywords) is dict)
        or type(attributes) is not dict
        or getattr(function, "__type_params__", None)
    ):
        raise Uncertain
    state = (
        # Two functions may share a dictionary of annotations, or of defaults: a pickle then has it once.
        id(annotations),
        id(keywords),
        scope.get(name) is function,
        id(function.__code__),
        id(name),
        id(function.__qualname__),
        id(function.__module__),
        id(function.__doc__),
        id(function.__defaults__),
        *map(id, map(scope.get, names, _NOTHING)),
    )
    if annotations:
        state += (len(annotations), *map(id, annotations), *map(id, annotations.values()))
    if keywords or attributes or closure:
        rest = [*_rest(function)]
        state += (len(keywords or ()), len(attributes), *map(id, rest))
    return state


def _rest(function: FunctionType) -> Iterator[Any]:
    """Yield what few functions have: defaults of keywords, attributes, and the values of cells."""
    for items in (function.__kwdefaults__ or {}, function.__dict__):
        yield from items
        yield from items.values()
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:
            yield _EMPTY


def _parts(function: FunctionType, names: tuple[str, ...]) -> list[Any]:
    """Return the objects that a function is made of.

    Parameters
    ----------
    function
        The function.
    names
        The globals that its code names.
    """
    parts = [function.__code__, function.__name__, function.__qualname__, function.__module__, function.__doc__]
    parts += [function.__defaults__, *(function.__globals__.get(each, _EMPTY) for each in names)]
    return [*parts, *function.__annotations__, *function.__annotations__.values(), *_rest(function)]


def _names(value: Any) -> tuple[str, ...] | None:
    """Return the names by which a pickle refers to a module, class or function, () for code; None for anything else."""
    kind = type(value)
    if kind is CodeType:
        return ()
    if kind is ModuleType:
        name = vars(value).get("__name__")
        is_found = type(name) is str and name in sys.modules
        return (name,) if is_found and not travels_by_value(name) else None
    if kind is BuiltinFunctionType:
        name = value.__name__
        if type(value.__self__) is not ModuleType or kind in pickler.Pickler.dispatch_table:
            return None
    elif kind is type or kind is FunctionType:
        name = value.__qualname__
    else:
        return None
    module = value.__module__
    # cloudpickle asks the module for its name, which may be another than that under which it is found.
    is_found = importable(value, name) and vars(sys.modules[module]).get("__name__") == module
    return (module, name) if is_found else None


def _imported_modules() -> list[str]:
    """Return the names of the imported modules: the same list as the last time, if they are the same."""
    global _modules_seen
    names, seen = list(sys.modules), _modules_seen
    if names == seen:
        return seen
    _modules_seen = names
    return names


def _is_small(value: object) -> bool:
    """Whether a value is a short text, a number, or a tuple of a few: it cannot change, and may be kept alive."""
    leaves = list(islice(_leaves(value), MAX_LEAVES + 1))
    return len(leaves) <= MAX_LEAVES and all(map(_is_small_leaf, leaves))


def _is_small_leaf(value: Any) -> bool:
    kind = type(value)
    if kind is int:
        return bool(value.bit_length() <= MAX_BITS)
    return kind in _PLAIN and (kind not in (str, bytes) or len(value) <= MAX_TEXT)


def _leaves(value: Any) -> Iterator[Any]:
    """Yield what is in a tuple or frozen set, however deep; of anything else itself."""
    if type(value) is tuple or type(value) is frozenset:
        for each in value:
            yield from _leaves(each)
    else:
        yield value
