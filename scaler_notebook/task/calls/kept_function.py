"""Functions that are kept from one task to the next: a notebook's function is unpickled once for many tasks.

Each task has a function as it was submitted, and shares nothing with the task before. So a function is kept only if
nobody can tell it from one that is unpickled anew: it is made of what cannot change in place, all parts are what they
were, no other object of the process refers to one of them, and what it names in modules is what is found there now.
"""

import linecache
import sys
import weakref
from operator import attrgetter, is_
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from cloudpickle.cloudpickle import _find_imported_submodules

from scaler_notebook.protocol.messages import Payload
from scaler_notebook.protocol.pickling.importable import importable
from scaler_notebook.protocol.pickling.loading.unpickling_context import MAIN, UnpicklingContext

LARGEST = 16 * 1024  # bytes of a pickle
MAX_KEPT = 16  # functions: what a process keeps that waits for tasks is small
_PLAIN = frozenset({type(None), bool, int, float, str, bytes})
_OF_MODULES = frozenset({type, FunctionType, BuiltinFunctionType})
_NAMES = "__code__ __name__ __qualname__ __module__ __doc__ __defaults__ __kwdefaults__ __closure__ __type_params__"
_parts = attrgetter(*[name for name in _NAMES.split() if hasattr(FunctionType, name)])


class CannotBeKept(Exception):  # it says what is known of a function: it is no error
    """A function has a part that may change unnoticed."""


class KeptFunction:
    """A function of ``__main__`` that was unpickled, and what it is made of.

    Parameters
    ----------
    function
        The function, before it was called.
    context
        The context in which it was unpickled.

    Raises
    ------
    CannotBeKept
        The function has a part that may change unnoticed.
    """

    def __init__(self, function: Any, context: UnpicklingContext) -> None:
        if type(function) is not FunctionType or not context.has_functions_alone():
            raise CannotBeKept
        names = context.namespace(MAIN)
        self.context = context
        self._names, self._values = [*names], [*names.values()]
        self._count_of_codes = len(context.codes)
        self._functions: list[tuple[Any, ...]] = []
        self._references: list[tuple[Any, str, str]] = []  # what is found in a module, or is one (without a name there)
        own: dict[int, Any] = {}
        for value in [function, *self._values]:
            if type(value) is FunctionType and value.__globals__ is names:
                own[id(value)] = value
        for each in own.values():
            self._note_function(each)
        for name, value in names.items():
            if id(value) not in own and name != "__builtins__":
                self._note_value(value)
        files = {code.co_filename for code in context.codes}
        self._sources = [file for file in files if file in linecache.cache]
        self._held: list[Any] = [*own.values(), context.main, names]
        # A function is held by ``_functions``, and by the namespace and ``_values`` as often as it has a name.
        of_functions = [1 + 2 * sum(value is each for value in self._values) for each in own.values()]
        of_functions[0] += 1  # by ``function``
        holders = [*of_functions, 1, len(own) + 2]  # of ``main``: the context; of the names: functions, main, context
        self._counts = [_count_of_held_alone() + count for count in holders]
        self.function = function

    def _note_function(self, function: FunctionType) -> None:
        """Note the parts of a function that has come with the call."""
        if function.__closure__ or function.__kwdefaults__ or function.__dict__ or function.__module__ != MAIN:
            raise CannotBeKept
        for value in (*(function.__defaults__ or ()), *function.__annotations__.values()):
            self._note_value(value)
        annotations = function.__annotations__
        self._functions.append((function, _parts(function), annotations, dict(annotations)))
        modules: list[Any] = [value for value in self._values if type(value) is ModuleType]
        for module in _find_imported_submodules(function.__code__, modules):
            self._note_value(module)

    def _note_value(self, value: Any) -> None:
        kind = type(value)
        if kind in _PLAIN:
            return
        if kind is ModuleType and _is_found(reference := (value, value.__name__, "")):
            self._references.append(reference)
        elif kind in _OF_MODULES and "." not in value.__qualname__ and importable(value, value.__qualname__):
            self._references.append((value, value.__module__, value.__qualname__))
        else:
            raise CannotBeKept

    def is_as_it_was(self) -> bool:
        """Return whether the function, unpickled anew, would be equal to this one, which nobody else has."""
        return self._has_no_other_holder() and self._has_same_parts()

    def _has_no_other_holder(self) -> bool:
        held = self._held
        return [*map(sys.getrefcount, held)] == self._counts and not any(map(weakref.getweakrefcount, held))

    def _has_same_parts(self) -> bool:
        context = self.context
        names = context.namespace(MAIN)
        return (
            context.has_functions_alone()
            and len(context.codes) == self._count_of_codes
            and [*names] == self._names
            and all(map(is_, names.values(), self._values))
            and all(map(_is_unchanged, self._functions))
            and all(map(_is_found, self._references))
            and all(map(linecache.cache.__contains__, self._sources))
        )


def _count_of_held_alone() -> int:
    """Return what ``sys.getrefcount`` gives, where it is mapped, of what a list alone holds."""
    (count,) = map(sys.getrefcount, [object()])
    return count


def _is_unchanged(noted: tuple[Any, ...]) -> bool:
    """Return whether a function is made of the same parts as it was."""
    function, parts, annotations, before = noted
    return (
        all(map(is_, _parts(function), parts))
        and not function.__dict__
        and function.__annotations__ is annotations
        and (not (annotations or before) or [*annotations.items()] == [*before.items()])
    )


def _is_found(reference: tuple[Any, str, str]) -> bool:
    """Return whether a module, or what a module has, is still found under its name."""
    value, module, name = reference
    found: Any = sys.modules.get(module)
    return (getattr(found, name, None) if name else found) is value


class FunctionKeeper:
    """Keeps the functions that a process has unpickled more than once.

    Most functions are called once; these are not looked at.
    """

    def __init__(self) -> None:
        self._kept: dict[bytes, KeptFunction | None] = {}  # by content; None until it comes again, or if it is no use
        self._hopeless: set[bytes] = set()

    def take(self, payload: Payload) -> KeptFunction | None:
        """Return a function that was kept, if it is as it was; None to have it unpickled."""
        kept = self._kept.get(payload.key)
        if kept is None or kept.is_as_it_was():
            return kept
        self._kept[payload.key] = None
        self._hopeless.add(payload.key)
        return None

    def note(self, payload: Payload, function: Any, context: UnpicklingContext) -> None:
        """Keep a function that was unpickled, if it can be kept and has come before.

        Parameters
        ----------
        payload
            What was unpickled.
        function
            What that gave; it was not called yet.
        context
            The context in which it was unpickled, and nothing else.
        """
        key = payload.key
        if not key or key in self._hopeless or len(payload.data) > LARGEST:
            return
        if key not in self._kept:
            if len(self._kept) == MAX_KEPT:
                self._hopeless.discard(oldest := next(iter(self._kept)))
                del self._kept[oldest]
            self._kept[key] = None
            return
        try:
            self._kept[key] = KeptFunction(function, context)
        except Exception:  # CannotBeKept, or what an object of the user's raises when it is looked at
            self._hopeless.add(key)
