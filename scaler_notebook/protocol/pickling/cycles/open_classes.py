"""Classes by value whose state is being pickled, and what has to wait until such a class is complete.

A class travels with its methods, and these with the values of the globals that they name. One of them may be an object
of that same class, or contain one. Loaded at that place, the object would be made by a class that has not got its
methods: its ``__new__``, ``__setstate__`` or ``__hash__``. So such a value is pickled behind the class, and then put in
its place, where an empty container or None is meanwhile: the ``__new__`` of a class that keeps its objects looks for
them there. Almost no pickle needs this, so the first attempt to pickle only notices that it is needed.
"""

import collections
import weakref
from collections.abc import Callable
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from scaler_notebook.protocol.pickling.loading import constructors

from .calls import Call, LateCall, set_closure_variable, set_global

# Values of these types contain no objects of a class by value, unless by way of functions and classes.
_SIMPLE = frozenset({FunctionType, BuiltinFunctionType, ModuleType, type, type(None), bool, int, float, str, bytes})
_CONTAINERS = frozenset(
    {
        dict,
        list,
        set,
        collections.OrderedDict,
        collections.defaultdict,
        collections.deque,
        weakref.WeakKeyDictionary,
        weakref.WeakSet,
        weakref.WeakValueDictionary,
    }
)


class OpenClassError(Exception):
    """An object has been met whose class is still being pickled: what contains the object has to be postponed."""


class OpenClasses:
    """The classes whose state one pickler is pickling.

    Parameters
    ----------
    postpones
        Whether values are postponed. If not, an object of an open class raises :class:`OpenClassError`.
    classes_within
        Returns the ids of the classes, base classes included, of the objects within a value.
    """

    def __init__(self, postpones: bool, classes_within: Callable[[Any], frozenset[int]]) -> None:
        self._postpones = postpones
        self._classes_within = classes_within
        self._known: dict[int, tuple[Any, frozenset[int]]] = {}  # the value is held, so that no other gets its id
        self._postponed: dict[int, list[Call]] = {}  # by the id of the open class, outermost first

    def check(self, kind: type) -> None:
        """Check that a class is not open; to be called for every object that is pickled.

        Raises
        ------
        OpenClassError
            The class, or one of its bases, is open.
        """
        if self._postponed and not self._postpones and any(id(each) in self._postponed for each in kind.__mro__):
            raise OpenClassError

    def class_state(self, cls: type, setter: Any, state: Any) -> tuple[LateCall, LateCall]:
        """Return the calls that complete a class, of which the first opens and the second closes it.

        Parameters
        ----------
        cls
            The class.
        setter, state
            What cloudpickle completes the class with.
        """

        def begin(begun: LateCall) -> tuple[Any, ...]:
            self._postponed[id(cls)] = []
            attributes, slots = state
            now = self._split(attributes, constructors.set_class_attribute, begun) if self._postpones else attributes
            return constructors.set_class_state, (cls, setter, (now, slots))

        def close(_: LateCall) -> tuple[Any, ...]:
            return list, (), None, iter(self._postponed.pop(id(cls)))

        return LateCall(begin), LateCall(close)

    def function_state(self, function: FunctionType, state: Any) -> Any:
        """Return the state of a function, with something else for what has to wait.

        Parameters
        ----------
        function
            The function.
        state
            What :func:`.set_function_state` gives the function, or cloudpickle where there is no closure.
        """
        if not (self._postponed and self._postpones):
            return state
        attributes, parts = state
        now = {name: self._now(parts[name], setattr, function, name) for name in ("__defaults__", "__kwdefaults__")}
        now["__globals__"] = self._split(parts["__globals__"], set_global, function)
        if function.__closure__:
            now["__closure__"] = tuple(
                tuple(self._now(value, set_closure_variable, function, index) for value in content)
                for index, content in enumerate(parts["__closure__"])
            )
        return self._split(attributes, setattr, function), {**parts, **now}

    def _split(self, values: dict[str, Any], setter: Callable[..., None], owner: Any) -> dict[str, Any]:
        return {name: self._now(value, setter, owner, name) for name, value in values.items()}

    def _now(self, value: Any, setter: Callable[..., None], *place: Any) -> Any:
        """Return a value, or if it contains objects of open classes, what is in its place until these are closed.

        Parameters
        ----------
        value
            The value.
        setter
            Puts the value in its place.
        place
            The arguments of the setter before the value.
        """
        if type(value) in _SIMPLE:
            return value
        if id(value) not in self._known:
            self._known[id(value)] = value, self._classes_within(value)
        within = self._known[id(value)][1]
        for cls, calls in self._postponed.items():
            if cls in within:
                calls.append(Call(setter, *place, value))
                return type(value)() if type(value) in _CONTAINERS else None
        return value
