"""Reducers for objects that picklers know only by their name in ``__main__``, or not at all.

The kernel's ``__main__`` is not the task's, so definitions of a notebook have to travel by value. cloudpickle does so
with functions and classes. This module does so with the rest: caches, dispatching functions, enums, types of ``typing``
and ``ctypes``, and other objects of the standard library. Definitions of modules keep travelling by reference.
"""

import contextvars
import copyreg
import ctypes
import dataclasses
import functools
import gc
import importlib
import struct
import sys
import threading
import uuid
import weakref
from collections.abc import Callable
from enum import EnumMeta
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

from . import reduced_arrays, reduced_enums, reduced_types
from .importable import importable, travels_by_value
from .loading import unpickling_context

# The code of every function that ``singledispatch`` returns.
_DISPATCHING = functools.singledispatch(lambda _: None).__code__  # type: ignore[attr-defined]
_SINGLETONS = {id(one): name for name, one in vars(dataclasses).items() if name in ("MISSING", "_HAS_DEFAULT_FACTORY")}
_METATYPE = type(type(ctypes.Structure))
_NO_VALUE = "no value"
_OF_SCANNERS = "strict", "object_hook", "object_pairs_hook", "parse_float", "parse_int", "parse_constant"


def reduce(obj: Any) -> Any:
    """Return how to take an object apart, as ``__reduce__`` would; ``NotImplemented`` if other picklers do better."""
    kind = type(obj)
    if kind is FunctionType:
        return _dispatching(obj) if obj.__code__ is _DISPATCHING else NotImplemented
    if kind is type or kind is _METATYPE:
        return reduced_types.METACLASSES.get(obj, NotImplemented)
    if reducer := _REDUCERS.get(kind):
        return reducer(obj)
    module = getattr(kind, "__module__", None)
    if reducer := _REDUCERS_BY_NAME.get((module, kind.__name__)):
        return reducer(obj)
    for kinds, reducer in _BASE_CLASSES:
        if issubclass(kind, kinds):  # not isinstance, which asks a proxy for what it stands for
            return reducer(obj)
    if issubclass(type(kind), EnumMeta):
        return reduced_enums.reduce_member(obj)
    if module != "__main__" or issubclass(kind, type) or kind in copyreg.dispatch_table:
        return NotImplemented
    if _reduction(kind) != _reduction(object):
        return _with_its_own_reduction(obj)
    return _filled(obj) if issubclass(kind, dict | list) else NotImplemented


def _reduction(cls: Any) -> tuple[Any, Any]:
    return cls.__reduce__, cls.__reduce_ex__


def _module(module: Any) -> Any:
    """Reduce a module whose type is its own, such as ``torch.backends.cudnn`` or one that is loaded lazily."""
    name = object.__getattribute__(module, "__dict__").get("__name__")  # a lazy module must not be loaded
    if type(module) is ModuleType or sys.modules.get(name) is not module or travels_by_value(name):
        return NotImplemented
    return importlib.import_module, (name,)


# ---------------------------------------------------------------------- functools


def _cached(wrapper: Any) -> Any:
    """Reduce a function under ``cache`` or ``lru_cache``, without the cached values."""
    if importable(wrapper, getattr(wrapper, "__qualname__", None)):
        return NotImplemented
    # ``__wrapped__`` may have been set by ``functools.wraps``. The garbage collector knows what is called: the
    # object before the mark that parts positional from keyword arguments in the keys.
    parts = gc.get_referents(wrapper)
    function = parts[max(i for i, part in enumerate(parts) if type(part) is object) - 1]
    parameters = wrapper.cache_parameters()
    attributes = {name: value for name, value in vars(wrapper).items() if name != "cache_parameters"}
    if attributes.get("__wrapped__") is function:
        del attributes["__wrapped__"]
    return _make_cached, (function, parameters["maxsize"], parameters["typed"]), attributes


def _make_cached(function: Any, maxsize: int | None, typed: bool) -> Any:
    return functools.lru_cache(maxsize, typed)(function)


def _dispatching(wrapper: Any) -> Any:
    """Reduce a function under ``singledispatch``: the default at once, the others once the function itself exists."""
    if importable(wrapper, wrapper.__qualname__):
        return NotImplemented
    default = wrapper.registry[object]
    others = [(cls, function) for cls, function in wrapper.registry.items() if cls is not object]
    made = vars(functools.singledispatch(default))
    attributes = {name: value for name, value in vars(wrapper).items() if name not in made}
    return functools.singledispatch, (default,), (others, attributes), None, None, _set_dispatching


def _set_dispatching(wrapper: Any, state: tuple[list[tuple[type, Any]], dict[str, Any]]) -> None:
    others, attributes = state
    for cls, function in others:
        wrapper.register(cls, function)
    vars(wrapper).update(attributes)


def _cached_property(prop: Any) -> Any:
    """Reduce a ``cached_property``, which has a lock before Python 3.12."""
    state = vars(prop).copy()
    return _make_cached_property, (type(prop), state.pop("lock", None) is not None), state


def _make_cached_property(cls: Any, locked: bool) -> Any:
    prop = cls.__new__(cls)
    if locked:
        prop.lock = threading.RLock()
    return prop


# ---------------------------------------------------------------------- descriptors


def _property(prop: Any) -> Any:
    if type(prop) is property:
        return NotImplemented
    return _make_property, (type(prop), prop.fget, prop.fset, prop.fdel, prop.__doc__), _attributes(prop)


def _make_property(cls: Any, *parts: Any) -> Any:
    made = cls.__new__(cls)
    property.__init__(made, *parts)
    return made


def _method(method: Any) -> Any:
    if type(method) in (classmethod, staticmethod):
        return NotImplemented
    return _make_method, (type(method), method.__func__), _attributes(method)


def _make_method(cls: Any, function: Any) -> Any:
    base: Any = classmethod if issubclass(cls, classmethod) else staticmethod
    made = cls.__new__(cls, function)
    base.__init__(made, function)
    return made


def _attributes(obj: Any) -> dict[str, Any] | None:
    return {name: value for name, value in getattr(obj, "__dict__", {}).items() if name != "__wrapped__"} or None


# ---------------------------------------------------------------------- other objects


def _context_variable(var: contextvars.ContextVar[Any]) -> Any:
    """Reduce a context variable, with its default and its current value."""
    try:
        default = contextvars.Context().run(var.get)
        defaults: tuple[Any, ...] = (default,)
    except LookupError:
        defaults = ()
    value = var.get(_NO_VALUE)
    values = () if value is _NO_VALUE or (defaults and value is defaults[0]) else (value,)
    made_of = _variables.variable_id(var), var.name, *defaults
    return _make_context_variable, made_of, values or None, None, None, _set_context_variable


class _ContextVariables:
    """The context variables that travel, so that each is one object in a process, whichever pickle it came in.

    They are retained, because there can be no weak references to them.
    """

    def __init__(self) -> None:
        self._by_id: dict[str, contextvars.ContextVar[Any]] = {}
        self._ids: dict[contextvars.ContextVar[Any], str] = {}
        self._own: set[contextvars.ContextVar[Any]] = set()  # those of this process

    def variable_id(self, var: contextvars.ContextVar[Any]) -> str:
        """Return the id of a variable, which is this process's own if it has none yet."""
        if var not in self._ids:
            self._own.add(var)
            self._add(uuid.uuid4().hex, var)
        return self._ids[var]

    def _add(self, variable_id: str, var: contextvars.ContextVar[Any]) -> None:
        self._by_id[variable_id], self._ids[var] = var, variable_id

    def find(self, variable_id: str, name: str, *default: Any) -> contextvars.ContextVar[Any]:
        """Return the variable with an id, which is made if there is none.

        Parameters
        ----------
        variable_id
            The id.
        name, default
            The variable's name, and its default, if any.
        """
        found = self._by_id.get(variable_id)
        if found is None:
            found = contextvars.ContextVar(name, default=default[0]) if default else contextvars.ContextVar(name)
            self._add(variable_id, found)
        return found

    def is_own(self, var: contextvars.ContextVar[Any]) -> bool:
        """Return whether a variable is this process's own: what others know of its value is older."""
        return var in self._own


_variables = _ContextVariables()


def _make_context_variable(variable_id: str, name: str, *default: Any) -> Any:
    return _variables.find(variable_id, name, *default)


def _set_context_variable(var: contextvars.ContextVar[Any], state: tuple[Any, ...]) -> None:
    if not _variables.is_own(var):
        var.set(*state)


def _with_its_own_reduction(obj: Any) -> Any:
    """Reduce an object of a notebook's class that defines its own reduction.

    Some reduce to a name, because they are the only instance of their class; such an object travels as any other would.
    """
    reduced = obj.__reduce_ex__(5)
    if not isinstance(reduced, str):
        return reduced
    if importable(obj, reduced):
        return NotImplemented
    cls = type(obj)
    return copyreg.__newobj__, (cls,), getattr(obj, "__dict__", None) or None  # type: ignore[attr-defined]


def _filled(obj: Any) -> Any:
    """Reduce an object of a notebook's class of lists or dictionaries, whatever such a class does when it is filled.

    Pickle would have the object fill itself by its own ``append`` or ``__setitem__``, without its attributes.
    """
    maker, arguments, state, *_ = obj.__reduce_ex__(5)
    return maker, arguments, (state, dict(obj) if isinstance(obj, dict) else list(obj)), None, None, _fill


def _fill(obj: Any, content: tuple[Any, Any]) -> None:
    state, items = content
    if isinstance(obj, dict):
        dict.update(obj, items)
    else:
        list.extend(obj, items)
    if (setter := getattr(type(obj), "__setstate__", None)) is not None:
        if state is not None:
            setter(obj, state)
        return
    attributes, slots = state if isinstance(state, tuple) else (state, None)
    if attributes:
        vars(obj).update(attributes)
    for name, value in (slots or {}).items():
        setattr(obj, name, value)


def _sort_key(key: Any) -> Any:
    """Reduce what ``functools.cmp_to_key`` returns, or a key that this has made of an object."""
    function, *objects = (each for each in gc.get_referents(key) if each is not type(key))
    made = functools.cmp_to_key
    return (made(function), tuple(objects)) if objects else (made, (function,))


def _json_scanner(scanner: Any) -> Any:
    """Reduce what a decoder of :mod:`json` scans texts with."""
    return _make_json_scanner, ({name: getattr(scanner, name) for name in _OF_SCANNERS},)


def _make_json_scanner(settings: dict[str, Any]) -> Any:
    return importlib.import_module("json.scanner").c_make_scanner(SimpleNamespace(**settings))


def _make_weak(cls: Any, content: Any) -> Any:
    unpickling_context.keep(content)
    return cls(content)


def _singleton(obj: Any) -> Any:
    """Reduce a marker of ``dataclasses``, which is compared by identity, to its name."""
    return _SINGLETONS.get(id(obj), NotImplemented)


_REDUCERS: dict[type, Callable[[Any], Any]] = {
    type(functools.lru_cache(lambda: None)): _cached,
    type(functools.cmp_to_key(lambda one, other: 0)): _sort_key,
    contextvars.ContextVar: _context_variable,
    struct.Struct: lambda obj: (struct.Struct, (obj.format,)),
    weakref.WeakKeyDictionary: lambda obj: (_make_weak, (weakref.WeakKeyDictionary, dict(obj))),
    weakref.WeakValueDictionary: lambda obj: (_make_weak, (weakref.WeakValueDictionary, dict(obj))),
    weakref.WeakSet: lambda obj: (_make_weak, (weakref.WeakSet, list(obj))),
    **{type(getattr(dataclasses, name)): _singleton for name in _SINGLETONS.values()},
}
_REDUCERS_BY_NAME: dict[tuple[Any, str], Callable[[Any], Any]] = {
    **reduced_types.REDUCERS,
    **reduced_arrays.REDUCERS,
    ("_json", "Scanner"): _json_scanner,
}
_BASE_CLASSES: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (EnumMeta, reduced_enums.reduce_class),
    (ModuleType, _module),
    (reduced_types.CTYPES, reduced_types.reduce_ctype),
    (functools.cached_property, _cached_property),
    (property, _property),
    ((classmethod, staticmethod), _method),
)
