"""The attributes or the items of one object, as they were before a task: restored when the task has replaced some."""

import operator
import sys
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

_ABSENT = object()
_PLAIN = (bool, int, float, str, type(None))  # compared by their values
_ORDINARY: tuple[Any, ...] = (object.__setattr__, ModuleType.__setattr__)
CONTAINERS = (dict, defaultdict, OrderedDict, list, set)  # not others, whose classes may do more with items
MAX_ITEMS = 1000  # the items of a larger container are not compared
_CODE = (FunctionType, BuiltinFunctionType, type)


def attributes_of(owner: Any) -> Mapping[str, Any]:
    """Return the own attributes of any object. A module that is loaded lazily is not loaded for it."""
    found: Mapping[str, Any] = {}
    with suppress(Exception):
        found = vars(owner) if issubclass(type(owner), type) else object.__getattribute__(owner, "__dict__")
    return found


class WatchedAttributes:
    """Attributes of an object, with the values that they had before the task.

    Parameters
    ----------
    owner
        A module, a class, or another object that is found in one.
    """

    def __init__(self, owner: Any) -> None:
        self._owner = owner
        self._names: set[str] = set()
        self._before: dict[str, Any] = {}
        self._all: dict[str, Any] | None = None  # if any attribute may be replaced
        self._at_import: tuple[dict[str, Any], dict[str, Any]] = {}, {}

    def watch(self, names: Iterable[str]) -> None:
        """Note the values of more attributes."""
        if new := {*names} - self._names:
            self._names |= new
            self._before.update(_values(self._owner, new))

    def watch_all(self) -> None:
        """Note the values of all attributes, for code that may replace any of them."""
        if self._all is None:
            self._all = dict(attributes_of(self._owner))

    def accept(self, begins: bool) -> None:
        """Begin (True) or end (False) a stretch whose changes :meth:`restore` leaves as they are."""
        now = _values(self._owner, self._names), {} if self._all is None else dict(attributes_of(self._owner))
        if begins:
            self._at_import = now
            return
        _merge(self._before, self._at_import[0], now[0])
        if self._all is not None:
            _merge(self._all, self._at_import[1], now[1])

    def restore(self, is_of_task: Callable[[Any], bool]) -> None:
        """Restore the attributes that were replaced.

        Where any attribute may have been replaced, a library may have changed some, too. Of these only functions and
        classes are restored.

        Parameters
        ----------
        is_of_task
            Returns whether a value is a function or a class of the task's own code.
        """
        now, before = _values(self._owner, self._names), self._before
        for name in now.keys() | before.keys():
            if not _same(now.get(name, _ABSENT), before.get(name, _ABSENT)):
                self._set(name, before.get(name, _ABSENT))
        if self._all is None or _identical(self._all, attributes_of(self._owner)):
            return
        for name, value in [*attributes_of(self._owner).items()]:
            earlier = self._all.get(name, _ABSENT)
            if value is not earlier and (isinstance(earlier, _CODE) or is_of_task(value)):
                self._set(name, earlier)
        for name in self._all.keys() - attributes_of(self._owner).keys():
            self._set(name, self._all[name])

    def _set(self, name: str, value: Any) -> None:
        owner = self._owner
        with suppress(Exception):  # an object that does not let its attributes be set
            if value is not _ABSENT:
                setattr(owner, name, value)
            elif not self._is_submodule(name):
                delattr(owner, name)

    def _is_submodule(self, name: str) -> bool:
        """Return whether an attribute is a submodule: it was imported, perhaps on another thread, and stays."""
        own_name = attributes_of(self._owner).get("__name__")
        return issubclass(type(self._owner), ModuleType) and f"{own_name}.{name}" in sys.modules


class WatchedItems:
    """The items of a container, and of the containers in it, as they were before the task.

    Parameters
    ----------
    container
        A dictionary, a list or a set that is found in a module.
    """

    def __init__(self, container: Any) -> None:
        self._container = container
        self._before = _contents(container)
        self._at_import = self._before

    def accept(self, begins: bool) -> None:
        """Begin (True) or end (False) a stretch whose changes :meth:`restore` leaves as they are."""
        now = _contents(self._container)
        if begins:
            self._at_import = now
        elif not _equal_contents(self._at_import, now):
            self._before = now

    def restore(self, is_of_task: object) -> None:
        """Restore the items, if they have changed."""
        for container, before in self._before:
            if not _equal_items(container, before):
                container.clear()
                (container.extend if isinstance(container, list) else container.update)(before)


class WatchedModules:
    """The modules of the standard library in ``sys.modules``, as they were before the task."""

    def __init__(self) -> None:
        self._before = _standard_modules()

    def accept(self, begins: bool) -> None:
        """Begin (True) or end (False) a stretch whose imports :meth:`restore` leaves as they are."""
        if not begins:
            self._before = {**_standard_modules(), **self._before}

    def restore(self, is_of_task: object) -> None:
        """Restore the modules that were replaced or deleted."""
        sys.modules.update(self._before)


def _standard_modules() -> dict[str, ModuleType]:
    found = ((name, sys.modules.get(name)) for name in sys.stdlib_module_names if not name.startswith("_"))
    return {name: each for name, each in found if isinstance(each, ModuleType) and each.__spec__ is not None}


def _contents(container: Any) -> list[tuple[Any, Any]]:
    """Return a container and those in it, each with a copy; none if there is too much in them."""
    found, waiting, count = [], [container], 0
    for each in waiting:  # grows meanwhile
        count += len(each)
        if count > MAX_ITEMS:
            return []
        found.append((each, each.copy()))
        waiting += [part for part in (each.values() if isinstance(each, dict) else each) if type(part) in CONTAINERS]
    return found


def _equal_contents(one: list[tuple[Any, Any]], other: list[tuple[Any, Any]]) -> bool:
    return len(one) == len(other) and all(_equal_items(a[1], b[1]) for a, b in zip(one, other, strict=True))


def _equal_items(one: Any, other: Any) -> bool:
    """Return whether two containers have the same items in the same order, without calling any ``__eq__``."""
    if isinstance(one, dict):
        return _identical(one, other) and all(map(operator.is_, one, other))
    return len(one) == len(other) and all(map(operator.is_, one, other))


def _values(owner: Any, names: set[str]) -> dict[str, Any]:
    """Return those attributes that an object has. No code runs for that if it is a plain module, or a class."""
    attributes = attributes_of(owner)
    found = {name: attributes[name] for name in attributes.keys() & names}
    if len(found) < len(names) and not issubclass(type(owner), type) and type(owner) is not ModuleType:
        for name in names - found.keys():
            with suppress(Exception):
                found.update(_settable(owner, name))
    return found


def _settable(owner: Any, name: str) -> dict[str, Any]:
    """Return an attribute that is not in the object's own dictionary, if it can be set and has one value at a time."""
    kind = type(owner)
    sets_by_itself = kind.__setattr__ not in _ORDINARY
    if not sets_by_itself and not hasattr(getattr(kind, name, None), "__set__"):
        return {}
    value = getattr(owner, name)
    return {name: value} if _same(value, getattr(owner, name)) else {}


def _identical(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two mappings have the same values in the same order. This is quick, for no line of Python runs."""
    return len(one) == len(other) and all(map(operator.is_, one.values(), other.values()))


def _same(value: Any, other: Any) -> bool:
    return value is other or (type(value) is type(other) and isinstance(value, _PLAIN) and bool(value == other))


def _merge(wanted: dict[str, Any], before: dict[str, Any], after: dict[str, Any]) -> None:
    """Change values as they have changed from ``before`` to ``after``.

    Parameters
    ----------
    wanted
        The values to change.
    before, after
        The values at two times.
    """
    for name in before.keys() | after.keys():
        now = after.get(name, _ABSENT)
        if not _same(before.get(name, _ABSENT), now):
            if now is _ABSENT:
                wanted.pop(name, None)
            else:
                wanted[name] = now
