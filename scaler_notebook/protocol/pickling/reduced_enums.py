"""Reducers for enums of the notebook, by value, without the code that made them.

cloudpickle calls ``Enum`` with the members' values, before the class has its methods. So attributes that ``__init__``
or ``__new__`` set are missing, and so are aliases. Here the class is made empty, then it gets members, which are found
by name, and at last everything that may refer to the class: values, methods, whatever else a member has.
"""

import copyreg
import enum
from enum import Enum
from typing import Any

from . import travelling_classes
from .importable import importable
from .loading import unpickling_context

# Types of attributes that cannot refer to the class, and so can be set from the start.
_PLAIN = (int, str, float, bytes, bool, type(None), *([enum.FlagBoundary] if hasattr(enum, "FlagBoundary") else ()))
# Attributes that Python makes by itself; copyreg stores ``__slotnames__`` in a class that it has looked at.
_OF_ANY_CLASS = ("__dict__", "__weakref__", "__module__", "__qualname__", "__slotnames__")
_MADE = (*_OF_ANY_CLASS, "_member_map_", "_value2member_map_", "_member_type_")


def reduce_class(cls: Any) -> Any:
    """Reduce an enum to an empty class with members and, once that exists, the rest."""
    if importable(cls, cls.__qualname__) or cls.__module__ == "enum":
        return NotImplemented
    members = _members(cls)
    numbers = {id(member): number for number, member in enumerate(members)}
    names = {name: numbers[id(member)] for name, member in cls._member_map_.items()}
    plain: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    stored: dict[str, int] = {}
    for name, value in vars(cls).items():
        if id(value) in numbers:
            stored[name] = numbers[id(value)]
        elif name not in _MADE:
            (plain if _is_plain(value) else rest)[name] = value
    attributes = [_attributes(member) for member in members]
    skeletons = [
        (_arguments(cls, member), {name: value for name, value in each.items() if _is_plain(value)})
        for member, each in zip(members, attributes, strict=True)
    ]
    later = [{name: value for name, value in each.items() if not _is_plain(value)} for each in attributes]
    made = (
        type(cls),
        cls.__name__,
        cls.__bases__,
        {"__module__": cls.__module__, "__qualname__": cls.__qualname__},
        cls._member_type_,
        (plain, skeletons, names, stored),
        travelling_classes.class_id(cls),
    )
    return _make_class, made, (rest, later), None, None, _set_class


def reduce_member(member: Any) -> Any:
    """Reduce a member to the class and the member's name, and a combination of flags to the class and its value."""
    cls = type(member)
    if importable(cls, cls.__qualname__):
        return NotImplemented
    name = member._name_
    if cls._member_map_.get(name) is member:
        return _member, (cls, name)
    return cls, (member._value_,)


def _member(cls: Any, name: str) -> Any:
    return cls._member_map_[name]


def _members(cls: Any) -> list[Enum]:
    """Return each member once, in the order of definition."""
    return list({id(member): member for member in cls._member_map_.values()}.values())


def _is_plain(value: Any) -> bool:
    return type(value) in _PLAIN or (type(value) is list and all(type(each) in _PLAIN for each in value))


def _attributes(member: Any) -> dict[str, Any]:
    attributes = {name: value for name, value in vars(member).items() if name not in ("__objclass__", "_inverted_")}
    slots = copyreg._slotnames(type(member))  # type: ignore[attr-defined]
    return attributes | {name: getattr(member, name) for name in slots if hasattr(member, name)}


def _arguments(cls: Any, member: Any) -> tuple[Any, ...]:
    """Return the arguments for the type that the enum is mixed with, e.g. the number of a member of an ``IntEnum``."""
    base = cls._member_type_
    if base.__new__ is object.__new__:
        return ()
    if hasattr(base, "__getnewargs__"):
        return tuple(base.__getnewargs__(member))
    function, arguments = base.__reduce_ex__(member, 4)[:2]
    return tuple(arguments[1:] if function is copyreg.__newobj__ else arguments)  # type: ignore[attr-defined]


def _make_class(
    metaclass: Any, name: str, bases: Any, where: dict[str, Any], base: Any, skeleton: Any, tracker_id: str
) -> Any:
    """Make an enum with its members, without what may refer to the class. Called by pickles."""
    plain, skeletons, names, stored = skeleton
    if (found := travelling_classes.known(tracker_id)) is not None:
        unpickling_context.note_arrival(found)
        _set_class(found, (plain, [attributes for _, attributes in skeletons]))
        return found
    cls: Any = type.__new__(metaclass, name, bases, where)
    members = []
    for arguments, attributes in skeletons:
        member = base.__new__(cls, *arguments)
        member.__objclass__ = cls
        _set_attributes(member, attributes)
        members.append(member)
    by_name = {name: members[number] for name, number in names.items()}
    own = {**plain, **{name: members[number] for name, number in stored.items()}}
    for attribute, value in {**own, "_member_type_": base, "_member_map_": by_name, "_value2member_map_": {}}.items():
        type.__setattr__(cls, attribute, value)
    _index_values(cls)
    registered = travelling_classes.register(cls, tracker_id)
    unpickling_context.note_arrival(registered)
    return registered


def _set_class(cls: Any, state: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    if travelling_classes.is_ours(cls):
        return
    rest, later = state
    for name, value in rest.items():
        type.__setattr__(cls, name, value)
    for member, attributes in zip(_members(cls), later, strict=True):
        _set_attributes(member, attributes)
    _index_values(cls)


def _set_attributes(member: Any, attributes: dict[str, Any]) -> None:
    for name, value in attributes.items():
        object.__setattr__(member, name, value)


def _index_values(cls: Any) -> None:
    """Let ``cls(value)`` find the members that have their values already."""
    for member in _members(cls):
        try:
            cls._value2member_map_.setdefault(vars(member)["_value_"], member)
        except (KeyError, TypeError):  # no value yet, or not hashable: then Enum compares values one by one
            continue
