"""Reducers for types of ``typing`` and ``ctypes`` that a notebook defines, by value."""

import _ctypes
import ctypes
import operator
import sys
import typing
from collections.abc import Callable
from typing import Any

from cloudpickle import cloudpickle

from . import travelling_classes
from .importable import importable
from .loading import unpickling_context

# The metaclasses of ctypes, which are not found by name; each is found as the type of an example.
_POINTER, _ARRAY, _FUNCTION = type(ctypes._Pointer), type(ctypes.Array), type(ctypes.CFUNCTYPE(None))
_EXAMPLES = (ctypes.Structure, ctypes.Union, ctypes.c_int, ctypes._Pointer, ctypes.Array, ctypes._CFuncPtr)  # type: ignore[attr-defined, unused-ignore]
METACLASSES = {type(cls): (type, (cls,)) for cls in _EXAMPLES}
CTYPES = (*METACLASSES,)
_FIELD = type(type("_", (ctypes.Structure,), {"_fields_": [("x", ctypes.c_int)]}).x)  # type: ignore[attr-defined]
_AT_ONCE = ("_type_", "_length_", "_flags_", "_restype_", "_argtypes_")  # needed to make the class
_LAYOUT = ("_pack_", "_align_", "_layout_", "_anonymous_", "_fields_")  # in the order in which they have to be set


# ---------------------------------------------------------------------- typing


def _new_type(new: Any) -> Any:
    if importable(new, new.__qualname__):
        return NotImplemented
    names = {"__qualname__": new.__qualname__, "__module__": new.__module__}
    return _make_new_type, (new.__name__, new.__supertype__, names, travelling_classes.class_id(new))


def _make_new_type(name: str, supertype: Any, names: dict[str, str], tracker_id: str) -> Any:
    make: Any = typing.NewType
    new = make(name, supertype)
    for attribute, value in names.items():
        setattr(new, attribute, value)
    return cloudpickle._lookup_class_or_track(tracker_id, new)


def _variable(var: Any) -> Any:
    """Reduce a ``TypeVar``, ``ParamSpec`` or ``TypeVarTuple`` of ``typing`` or ``typing_extensions``."""
    if importable(var, var.__name__):
        return NotImplemented
    options = {}
    for option, unset in (
        ("bound", None),
        ("covariant", False),
        ("contravariant", False),
        ("infer_variance", False),
        ("default", getattr(typing, "NoDefault", None)),
    ):
        value = getattr(var, f"__{option}__", unset)
        if value is not unset and getattr(value, "__name__", None) != "NoDefault":
            options[option] = value
    constraints = getattr(var, "__constraints__", ())
    tracker_id = travelling_classes.class_id(var)
    return _make_variable, (type(var), var.__name__, constraints, options, var.__module__, tracker_id)


def _make_variable(
    kind: Any, name: str, constraints: tuple[Any, ...], options: dict[str, Any], module: str | None, tracker_id: str
) -> Any:
    """Make a type variable. Called by pickles."""
    later: dict[str, Any] = {}
    if "default" in options and kind.__module__ == "typing" and sys.version_info < (3, 13):
        later["__default__"] = options.pop("default")  # an attribute that typing_extensions sets
    made = kind(name, *constraints, **options)
    for attribute, value in {**later, "__module__": module}.items():
        setattr(made, attribute, value)
    return cloudpickle._lookup_class_or_track(tracker_id, made)


def _alias(alias: Any) -> Any:
    """Reduce a ``type X = ...``, whose value may refer to the alias itself."""
    if importable(alias, alias.__name__):
        return NotImplemented
    if alias.__type_params__:
        return _make_alias, (alias.__name__, alias.__value__, alias.__type_params__)
    scope: dict[str, Any] = {}  # one object in both the arguments and the state
    return _make_lazy_alias, (alias.__name__, alias.__module__, scope), (scope, alias.__value__), None, None, _set_alias


def _make_alias(name: str, value: Any, parameters: tuple[Any, ...]) -> Any:
    return typing.TypeAliasType(name, value, type_params=parameters)  # type: ignore[attr-defined, unused-ignore]


def _make_lazy_alias(name: str, module: str, scope: dict[str, Any]) -> Any:
    scope["__name__"] = module
    exec(f"type {name} = value_of_the_alias", scope)
    return scope.pop(name)


def _set_alias(alias: Any, state: tuple[dict[str, Any], Any]) -> None:
    state[0]["value_of_the_alias"] = state[1]


_TYPING: dict[str, Callable[[Any], Any]] = {
    "NewType": _new_type,
    "TypeVar": _variable,
    "ParamSpec": _variable,
    "TypeVarTuple": _variable,
    "TypeAliasType": _alias,
}
REDUCERS = {(module, name): made for module in ("typing", "typing_extensions") for name, made in _TYPING.items()}


def keep_typed_dict(cls: type, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what a class is made from, with ``TypedDict`` as the base class of a typed dictionary.

    Such a class says that its base is ``dict``, which its metaclass takes from nobody.

    Parameters
    ----------
    cls
        The class.
    arguments
        What cloudpickle makes the class from.
    """
    metaclass, name, _, *rest = arguments
    if metaclass.__name__ != "_TypedDictMeta" or "__orig_bases__" in vars(cls):
        return arguments
    return metaclass, name, (sys.modules[metaclass.__module__].TypedDict,), *rest


# ---------------------------------------------------------------------- ctypes


def reduce_ctype(cls: Any) -> Any:
    """Reduce a structure, a union, or a type that is made of other types."""
    if importable(cls, cls.__qualname__):
        return NotImplemented
    own = vars(cls)
    for here, there in (("__ctype_le__", "__ctype_be__"), ("__ctype_be__", "__ctype_le__")):
        if own.get(there) is cls and importable(native := own[here], native.__qualname__):
            return getattr, (native, there)  # a number whose bytes are in the other order
    if isinstance(cls, _POINTER) and "_type_" in own and ctypes.POINTER(own["_type_"]) is cls:
        return ctypes.POINTER, (own["_type_"],)
    if isinstance(cls, _ARRAY) and "_length_" in own and own["_type_"] * own["_length_"] is cls:
        return operator.mul, (own["_type_"], own["_length_"])
    plain_function = isinstance(cls, _FUNCTION) and cls.__bases__ == (ctypes._CFuncPtr,)  # type: ignore[attr-defined]
    if plain_function and own["_flags_"] == _ctypes.FUNCFLAG_CDECL:
        return ctypes.CFUNCTYPE, (own["_restype_"], *own["_argtypes_"])
    (kind, name, bases, given, tracker_id, _), (attributes, slots) = cloudpickle._dynamic_class_reduce(cls)[1:3]
    given = {**given, **{part: own[part] for part in _AT_ONCE if part in own}}
    layout = {part: own[part] for part in _LAYOUT if part in own}
    attributes = {
        part: value
        for part, value in attributes.items()
        if part not in given and part not in layout and type(value) is not _FIELD
    }
    return _make_ctype, (kind, name, bases, given, tracker_id), (attributes, slots, layout), None, None, _set_ctype


def _make_ctype(kind: Any, name: str, bases: tuple[Any, ...], given: dict[str, Any], tracker_id: str) -> Any:
    made = travelling_classes.known(tracker_id)
    if made is None:
        made = cloudpickle._make_skeleton_class(kind, name, bases, given, None, None)
        made = travelling_classes.register(made, tracker_id)
    unpickling_context.note_arrival(made)
    return made


def _set_ctype(cls: Any, state: tuple[dict[str, Any], dict[str, Any], dict[str, Any]]) -> None:
    """Set the attributes and the layout of a type of ctypes. Called by pickles."""
    if travelling_classes.is_ours(cls):
        return
    attributes, slots, layout = state
    replaced = [vars(cls).get(name) for name in attributes]
    cloudpickle._class_setstate(cls, (attributes, slots))
    # Setting an attribute of a union does not clear Python's method cache (CPython up to 3.12), which then refers to
    # freed memory. Setting the module clears it.
    vars(type)["__module__"].__set__(cls, cls.__module__)
    del replaced
    if "_fields_" not in vars(cls):
        for name, value in layout.items():
            setattr(cls, name, value)
