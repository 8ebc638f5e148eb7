"""The call that a thread unpickles, with the namespaces and classes that the call has brought."""

import contextlib
import threading
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from scaler_notebook.protocol.pickling import travelling_classes

MAIN = "__main__"


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
        current.context = self

    def __exit__(self, *problem: object) -> None:
        current.context = None

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
        current.returning = self._sent

    def __exit__(self, *problem: object) -> None:
        current.returning = {}


class LocalCallContext(UnpicklingContext):
    """The namespaces of a call that its own client unpickles: classes that the client has stay as they are."""

    def restore_class(self, cls: type, setter: Callable[[type, Any], object], state: Any) -> bool:
        """Give a class its state, unless this process has the class, and return whether the class got it.

        Parameters
        ----------
        cls, setter, state
            As for :meth:`UnpicklingContext.restore_class`.
        """
        if is_new := not travelling_classes.is_complete(cls):
            setter(cls, state)
        return is_new


def _delete_stale_attributes(cls: type, state: Any) -> None:
    """Delete the attributes that an earlier task added to a class, or that the notebook has deleted since.

    Parameters
    ----------
    cls
        The class.
    state
        What cloudpickle has stored of the class: its attributes, and its slots.
    """
    attributes, _ = state
    if not travelling_classes.is_complete(cls) or not isinstance(attributes, dict):
        return
    if hasattr(cls, "__members__"):  # an Enum, of which no member is deleted
        return
    for name, value in [*vars(cls).items()]:
        is_slot = isinstance(value, types.MemberDescriptorType)
        if name in attributes or name == "_abc_impl" or is_slot:
            continue
        if not name.startswith("__") or isinstance(value, types.FunctionType | classmethod | staticmethod | property):
            with contextlib.suppress(Exception):
                delattr(cls, name)


class _CurrentCall(threading.local):
    """What this thread does for a task's call."""

    context: UnpicklingContext | None = None  # the call that this thread unpickles; None outside of a task's call
    # The classes that came with the call whose result this thread pickles, and their state, by id.
    returning: Mapping[int, tuple[type, Any]] = types.MappingProxyType({})


current = _CurrentCall()


def loading_input() -> contextlib.AbstractContextManager[None]:
    """Unpickle, within ``with``, what was pickled before the submit: an object that was sent, or a task's value."""
    context = current.context
    return context._input() if context is not None else contextlib.nullcontext()


def note_code(code: types.CodeType) -> None:
    """Note code that came by value."""
    if current.context is not None:
        current.context.codes.append(code)


def keep(value: Any) -> None:
    """Keep a value as long as the task that it came for: the notebook, which may hold it elsewhere, still has it."""
    if current.context is not None:
        current.context.kept.append(value)


def within_call() -> bool:
    """Return whether this thread unpickles the call of a task."""
    return current.context is not None


def comes_back(cls: type) -> bool:
    """Return whether a class came with the call whose result this thread pickles."""
    return id(cls) in current.returning


def note_arrival(cls: type) -> None:
    """Note a class that has its state from the first: if it came with a task's call, the task returns a reference."""
    if current.context is not None:
        current.context.note_arrival(cls)


def state_to_send(cls: type, state: Any) -> Any:
    """Return the state with which a class is pickled on this thread: its own, or the one it came with.

    Parameters
    ----------
    cls
        The class.
    state
        The state that the class has now.
    """
    sent = current.returning.get(id(cls))
    return sent[1] if sent is not None and sent[1] is not None else state


def bind(home: tuple[str, str] | None, value: Any) -> None:
    """Bind a value to its name in the task's namespace; outside of a task do nothing.

    Parameters
    ----------
    home
        The module and the name; None for none.
    value
        The value.
    """
    context = current.context
    if context is not None and home is not None:
        module, name = home
        context.namespace(module)[name] = value
