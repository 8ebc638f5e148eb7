"""What functions and classes that travel by value become where their pickle is loaded.

cloudpickle makes a function with a namespace of its own kind, and finds a class that has been here before. What it
leaves open depends on who loads:

* a **task process** loads the call of a task: an :class:`Arrival`. All that came from one module of the notebook's
  shares one namespace, whichever pickle it came in, and a class is as the notebook had it at the submit;
* **everybody else** loads a result: a class that is here already keeps the state that it has here, and functions get a
  namespace of their own, for the names of the notebook are the notebook's.
"""

import contextlib
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle

from . import class_ids

MAIN = "__main__"

_complete: "weakref.WeakSet[type]" = weakref.WeakSet()  # classes that have their state here
_NOTHING = contextlib.nullcontext()
_here = threading.local()  # ``arrival``: what this thread loads at the moment


class Arrival:
    """The call of one task, on its way into the process that runs the task. Used by one thread."""

    def __init__(self) -> None:
        self.main = types.ModuleType(MAIN)
        self._namespaces: dict[str, dict[str, Any]] = {MAIN: vars(self.main)}
        self._settled: list[type] = []  # classes that have the state of the submit
        self._of_input = False

    @contextlib.contextmanager
    def loading(self) -> Iterator[None]:
        """A stretch in which this thread loads a part of the call."""
        _here.arrival = self
        try:
            yield
        finally:
            _here.arrival = None

    def namespace(self, module: str) -> dict[str, Any]:
        """The namespace that functions of this module share during the task."""
        return self._namespaces.setdefault(module, {"__name__": module})

    def namespaces(self) -> dict[str, dict[str, Any]]:
        """Those that the call has brought, by the name of the module."""
        return self._namespaces

    def classes(self) -> list[type]:
        """The classes that the call has brought."""
        return list(self._settled)

    def settle(self, cls: type, setter: Callable[[type, Any], object], state: Any) -> None:
        """Give a class its state of the submit; what an input brings is older, and counts if nothing else comes."""
        if any(cls is each for each in self._settled):
            return
        _forget_what_is_gone(cls, state)
        setter(cls, state)
        if not self._of_input:
            self._settled.append(cls)

    @contextlib.contextmanager
    def _input(self) -> Iterator[None]:
        before, self._of_input = self._of_input, True
        try:
            yield
        finally:
            self._of_input = before


def loading_an_input() -> contextlib.AbstractContextManager[None]:
    """A stretch in which what is loaded was pickled before the submit: an object that was sent, a task's value."""
    arrival = _arrival()
    return arrival._input() if arrival is not None else contextlib.nullcontext()


def is_here(cls: type) -> None:
    """A class is at home here, or has arrived: from now on no result changes its state."""
    with contextlib.suppress(TypeError):  # a metaclass without a hash
        _complete.add(cls)


def _arrival() -> Arrival | None:
    return getattr(_here, "arrival", None)


# ---------------------------------------------------------------------- named in pickles


class Namespace(dict[str, Any]):
    """The names of a module of the notebook's; pickles as the namespace that the module's functions share there."""

    def __init__(self, module: str) -> None:
        super().__init__()
        self._module = module

    def __reduce__(self) -> tuple[Any, ...]:
        own = {} if self._module == MAIN else dict(self)  # of ``__main__`` the file is no business of a task process
        return namespace, (self._module, own)


def namespace(module: str, own: dict[str, Any]) -> dict[str, Any]:
    """The namespace for functions of a module; ``own`` is what resolves the module's relative imports."""
    arrival = _arrival()
    found = arrival.namespace(module) if arrival is not None else {"__name__": module}
    found.update(own)
    return found


def make_class(
    home: tuple[str, str] | None, qualname: str, class_id: str, maker: Callable[..., type], arguments: tuple[Any, ...]
) -> type:
    """A class without its state; in a task, under its own name where pickle will look for it (cf. :func:`home_of`)."""
    cls: type | None = class_ids.known(class_id)
    if cls is None:  # else cloudpickle would make it once more, and tell its base class so, before it finds it
        with _without_hooks(arguments) if maker is cloudpickle.cloudpickle._make_skeleton_class else _NOTHING:
            cls = maker(*arguments)
        cls.__qualname__ = qualname  # cloudpickle leaves it out
    _bind(home, cls)
    return cls


OF_METACLASSES = "__new__", "__init__", "__call__", "__prepare__"


@contextlib.contextmanager
def _without_hooks(arguments: tuple[Any, ...]) -> Iterator[None]:
    """A stretch in which the base classes that travelled, and a metaclass that did, hear of no new class.

    What they have done when the class was defined (they count their subclasses, or keep a list of them) is in the state
    that they have brought along.
    """
    metaclass, _, bases, *_ = arguments
    removed = []
    ancestors = [each for base in types.resolve_bases(bases) for each in base.__mro__]
    hooks = [(each, name) for each in metaclass.__mro__ for name in OF_METACLASSES]
    for owner, name in [*hooks, *((each, "__init_subclass__") for each in ancestors)]:
        if name in vars(owner) and _is_complete(owner):
            removed.append((owner, name, vars(owner)[name]))
            type.__delattr__(owner, name)
    try:
        yield
    finally:
        for owner, name, value in removed:
            type.__setattr__(owner, name, value)


def make(home: tuple[str, str], maker: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """A function, say, without its state; in a task, under its own name, as :func:`make_class` makes a class."""
    made = maker(*arguments)
    _bind(home, made)
    return made


def _bind(home: tuple[str, str] | None, value: Any) -> None:
    arrival = _arrival()
    if arrival is not None and home is not None:
        module, name = home
        arrival.namespace(module)[name] = value


def set_class_state(cls: type, state: tuple[Callable[[type, Any], object], Any]) -> None:
    """Give a class what :func:`make_class` has left out, unless the class is here already."""
    setter, own = state
    arrival = _arrival()
    if arrival is not None:
        arrival.settle(cls, setter, own)
    elif not _is_complete(cls):
        setter(cls, own)
    is_here(cls)


def _is_complete(cls: type) -> bool:
    try:
        return cls in _complete
    except TypeError:
        return False


def _forget_what_is_gone(cls: type, state: Any) -> None:
    """Remove the attributes that an earlier task gave a class, or that the notebook has deleted since."""
    attributes, _ = state
    if not _is_complete(cls) or not isinstance(attributes, dict) or hasattr(cls, "__members__"):  # of an Enum none goes
        return
    for name, value in [*vars(cls).items()]:
        if name in attributes or name == "_abc_impl" or isinstance(value, types.MemberDescriptorType):  # of __slots__
            continue
        if not name.startswith("__") or isinstance(value, types.FunctionType | classmethod | staticmethod | property):
            with contextlib.suppress(Exception):
                delattr(cls, name)


def home_of(value: Any) -> tuple[str, str] | None:
    """The module and the name under which a function or class is found in its module, if it is found there."""
    module, name = getattr(value, "__module__", None), getattr(value, "__name__", None)
    if not isinstance(module, str) or not isinstance(name, str) or getattr(value, "__qualname__", None) != name:
        return None
    found = sys.modules.get(module)
    return (module, name) if found is not None and vars(found).get(name) is value else None
