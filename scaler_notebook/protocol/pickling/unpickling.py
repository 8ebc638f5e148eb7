"""Functions and classes that travel by value, where their pickle is loaded.

cloudpickle gives a function a namespace of its own kind, and recognizes a class that was loaded here before. What else
happens depends on who loads:

* a **task process** loads the call of a task within an :class:`UnpicklingContext`. Everything from one module of the
  notebook shares one namespace, whichever pickle it came in, and a class has the state that the notebook gave it at the
  time of the submit;
* **every other process** loads a result. A class that exists here keeps its state, and functions get a namespace of
  their own, because the notebook's names belong to the notebook.
"""

import contextlib
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import cloudpickle

from . import class_ids

MAIN = "__main__"

_complete: "weakref.WeakSet[type]" = weakref.WeakSet()  # classes that have their state here
_NOTHING = contextlib.nullcontext()


class UnpicklingContext:
    """The namespaces and classes of one task's call. Within ``with`` a thread unpickles a part of the call."""

    def __init__(self) -> None:
        self.main = types.ModuleType(MAIN)
        self._namespaces: dict[str, dict[str, Any]] = {MAIN: vars(self.main)}
        self._restored: list[type] = []  # classes that have the state of the submit
        self._sent: dict[int, tuple[type, Any]] = {}  # by id: the classes of the call and its inputs, and their state
        self._of_input = False
        self.codes: list[types.CodeType] = []  # all code that the call has brought
        self.kept: list[Any] = []  # what weak references of the call refer to

    def __enter__(self) -> None:
        _current.context = self

    def __exit__(self, *problem: object) -> None:
        _current.context = None

    def namespace(self, module: str) -> dict[str, Any]:
        """Return the namespace that the functions of a module share during the task."""
        found = self._namespaces.get(module)
        if found is None:
            found = self._namespaces[module] = {"__name__": module}
        return found

    def namespaces(self) -> dict[str, dict[str, Any]]:
        """Return the namespaces that the call has brought, by module name."""
        return self._namespaces

    def has_functions_alone(self) -> bool:
        """Return whether what the call has brought are functions and values of ``__main__``: no class, no module."""
        return len(self._namespaces) == 1 and not self._sent and not self._restored

    def classes(self) -> list[type]:
        """Return the classes that the call has brought."""
        return list(self._restored)

    def restore_class(self, cls: type, setter: Callable[[type, Any], object], state: Any) -> bool:
        """Give a class the state that it had at the submit, and return whether the class got it.

        State from an input is older than the submit, so it only counts if the call itself brings none.

        Parameters
        ----------
        cls
            The class.
        setter
            Sets the state: called as ``setter(cls, state)``.
        state
            What cloudpickle has stored of the class.
        """
        if any(cls is each for each in self._restored):
            return False
        _delete_stale_attributes(cls, state)
        setter(cls, state)
        self._sent[id(cls)] = cls, state
        if not self._of_input:
            self._restored.append(cls)
        return True

    def note_arrival(self, cls: type) -> None:
        """Note that a class came with the call, and is pickled with whatever state the class has."""
        self._sent.setdefault(id(cls), (cls, None))

    def returning(self) -> contextlib.AbstractContextManager[None]:
        """Pickle, within ``with``, what the task returns or raises: its classes as references (see ``definitions``).

        Their definitions have the state that the classes came with. What the task or an initializer has put into a
        class stays here, where it may be what cannot be pickled at all: a connection, a lock.
        """
        return _Returning(self._sent)

    @contextlib.contextmanager
    def _input(self) -> Iterator[None]:
        """Unpickle, within ``with``, what was pickled before the submit."""
        before, self._of_input = self._of_input, True
        try:
            yield
        finally:
            self._of_input = before


class _Returning(contextlib.AbstractContextManager[None]):
    """The context manager of :meth:`UnpicklingContext.returning`; a generator takes three times as long.

    Parameters
    ----------
    sent
        The classes of the call, and their state.
    """

    def __init__(self, sent: Mapping[int, tuple[type, Any]]) -> None:
        self._sent = sent

    def __enter__(self) -> None:
        _current.returning = self._sent

    def __exit__(self, *problem: object) -> None:
        _current.returning = {}


class LocalCallContext(UnpicklingContext):
    """The namespaces of a call that its own client unpickles: classes that the client has stay as they are."""

    def restore_class(self, cls: type, setter: Callable[[type, Any], object], state: Any) -> bool:
        """Give a class its state, unless this process has the class, and return whether the class got it.

        Parameters
        ----------
        cls, setter, state
            As for :meth:`UnpicklingContext.restore_class`.
        """
        if is_new := not _is_complete(cls):
            setter(cls, state)
        return is_new


class _Current(threading.local):
    context: UnpicklingContext | None = None  # the call that this thread unpickles; None outside of a task's call
    # The classes that came with the call whose result this thread pickles, and their state, by id.
    returning: Mapping[int, tuple[type, Any]] = types.MappingProxyType({})


_current = _Current()


def loading_input() -> contextlib.AbstractContextManager[None]:
    """Unpickle, within ``with``, what was pickled before the submit: an object that was sent, or a task's value."""
    context = _current.context
    return context._input() if context is not None else contextlib.nullcontext()


def note_code(code: types.CodeType) -> None:
    """Note code that came by value."""
    if _current.context is not None:
        _current.context.codes.append(code)


def keep(value: Any) -> None:
    """Keep a value as long as the task that it came for: the notebook, which may hold it elsewhere, still has it."""
    if _current.context is not None:
        _current.context.kept.append(value)


def within_call() -> bool:
    """Return whether this thread unpickles the call of a task."""
    return _current.context is not None


def comes_back(cls: type) -> bool:
    """Return whether a class came with the call whose result this thread pickles."""
    return id(cls) in _current.returning


def note_arrival(cls: type) -> None:
    """Note a class that has its state from the first: if it came with a task's call, the task returns a reference."""
    if _current.context is not None:
        _current.context.note_arrival(cls)


def state_to_send(cls: type, state: Any) -> Any:
    """Return the state with which a class is pickled on this thread: its own, or the one it came with.

    Parameters
    ----------
    cls
        The class.
    state
        The state that the class has now.
    """
    sent = _current.returning.get(id(cls))
    return sent[1] if sent is not None and sent[1] is not None else state


def mark_complete(cls: type) -> None:
    """Mark a class as defined here, or fully loaded: from now on no result changes its state."""
    with contextlib.suppress(TypeError):  # a metaclass without a hash
        _complete.add(cls)


# ---------------------------------------------------------------------- named in pickles


class Namespace(dict[str, Any]):
    """The names of a module of the notebook. Pickles as the namespace that the module's functions share in the task."""

    def __init__(self, module: str) -> None:
        super().__init__()
        self._module = module

    def __reduce__(self) -> tuple[Any, ...]:
        own = {} if self._module == MAIN else dict(self)  # the task has a ``__main__`` of its own
        return namespace, (self._module, own)


def namespace(module: str, own: dict[str, Any]) -> dict[str, Any]:
    """Return the namespace for the functions of a module. Called by pickles.

    Parameters
    ----------
    module
        The name of the module.
    own
        Names that resolve the module's relative imports.
    """
    context = _current.context
    found = context.namespace(module) if context is not None else {"__name__": module}
    found.update(own)
    return found


def make_class(
    home: tuple[str, str] | None, qualname: str, class_id: str, maker: Callable[..., type], arguments: tuple[Any, ...]
) -> type:
    """Make a class without its state. Called by pickles.

    Within a task the class is also bound to its name, where pickle will look for it.

    Parameters
    ----------
    home
        The module and name to which the class is bound; None for none (see :func:`module_binding`).
    qualname
        The qualified name, which cloudpickle leaves out.
    class_id
        The id by which a process finds the class again.
    maker, arguments
        The function that makes the class, and its arguments.
    """
    cls: type | None = class_ids.known(class_id)
    if cls is None:  # cloudpickle would make a known class again, with its hooks, before it finds the known one
        with _without_hooks(arguments) if maker is cloudpickle.cloudpickle._make_skeleton_class else _NOTHING:
            cls = maker(*arguments)
        cls.__qualname__ = qualname  # cloudpickle leaves it out
    bind(home, cls)
    return cls


METACLASS_HOOKS = "__new__", "__init__", "__call__", "__prepare__"


@contextlib.contextmanager
def _without_hooks(arguments: tuple[Any, ...]) -> Iterator[None]:
    """Remove, within ``with``, the hooks by which travelled base classes and metaclasses notice a new subclass.

    What the hooks did when the class was defined (counting subclasses, say) is in the state that has travelled along.
    """
    metaclass, _, bases, *_ = arguments
    removed = []
    ancestors = [each for base in types.resolve_bases(bases) for each in base.__mro__]
    hooks = [(each, name) for each in metaclass.__mro__ for name in METACLASS_HOOKS]
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
    """Make an object, such as a function, without its state. Called by pickles.

    Parameters
    ----------
    home
        The module and name to which the object is bound within a task, as in :func:`make_class`.
    maker, arguments
        The function that makes the object, and its arguments.
    """
    made = maker(*arguments)
    bind(home, made)
    return made


def bind(home: tuple[str, str] | None, value: Any) -> None:
    """Bind a value to its name in the task's namespace; outside of a task do nothing."""
    context = _current.context
    if context is not None and home is not None:
        module, name = home
        context.namespace(module)[name] = value


def set_class_state(cls: type, setter: Callable[[type, Any], object], state: Any) -> Any:
    """Give a class the state that :func:`make_class` has left out, unless the class was here before. Called by pickles.

    Parameters
    ----------
    cls
        The class.
    setter
        The function that sets the state.
    state
        The state.

    Returns
    -------
    Any
        What :func:`set_class_attribute` is called with for more attributes of the class.
    """
    context = _current.context
    if context is not None:
        is_new = context.restore_class(cls, setter, state)
    elif is_new := not _is_complete(cls):
        setter(cls, state)
    mark_complete(cls)
    return (cls, setter, state) if is_new else None


def set_class_attribute(begun: Any, name: str, value: Any) -> None:
    """Set an attribute of a class that could not be made before the class had its methods. Called by pickles.

    Parameters
    ----------
    begun
        What :func:`set_class_state` has returned.
    name, value
        The attribute.
    """
    if begun is not None:
        cls, setter, (attributes, _) = begun
        attributes[name] = value  # the class is sent on with it
        setter(cls, ({name: value}, {}))


def set_function_state(function: types.FunctionType, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Give a function its state, and the cells of its closure their values. Called by pickles.

    Parameters
    ----------
    function
        The function.
    state
        Its attributes, and its parts as cloudpickle has them. Each value of the closure is a tuple of one, which is
        empty for a variable without a value.
    """
    attributes, parts = state
    for cell, content in zip(function.__closure__ or (), parts["__closure__"], strict=True):
        for value in content:
            cell.cell_contents = value
    cloudpickle.cloudpickle._function_setstate(function, (attributes, {**parts, "__closure__": None}))


def _is_complete(cls: type) -> bool:
    try:
        return cls in _complete
    except TypeError:
        return False


def _delete_stale_attributes(cls: type, state: Any) -> None:
    """Delete the attributes that an earlier task added to a class, or that the notebook has deleted since."""
    attributes, _ = state
    if (
        not _is_complete(cls) or not isinstance(attributes, dict) or hasattr(cls, "__members__")
    ):  # no member of an Enum is deleted
        return
    for name, value in [*vars(cls).items()]:
        if (
            name in attributes or name == "_abc_impl" or isinstance(value, types.MemberDescriptorType)
        ):  # made by __slots__
            continue
        if not name.startswith("__") or isinstance(value, types.FunctionType | classmethod | staticmethod | property):
            with contextlib.suppress(Exception):
                delattr(cls, name)


def module_binding(value: Any) -> tuple[str, str] | None:
    """Return the module and name under which a function or class is found in its module; None if it is not."""
    if not issubclass(type(value), types.FunctionType | type):
        return None  # it may compute any attribute, or raise what it likes
    module, name = getattr(value, "__module__", None), getattr(value, "__name__", None)
    if not isinstance(module, str) or not isinstance(name, str) or getattr(value, "__qualname__", None) != name:
        return None
    found = sys.modules.get(module)
    return (module, name) if found is not None and vars(found).get(name) is value else None
