"""The functions that pickles call, where they are loaded, to make functions and classes."""

import contextlib
import types
from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle

from scaler_notebook.protocol.pickling import travelling_classes

from .unpickling_context import MAIN, bind, current

_NOTHING = contextlib.nullcontext()


class Namespace(dict[str, Any]):
    """The names of a module of the notebook. Pickles as the namespace that the module's functions share in the task."""

    def __init__(self, module: str) -> None:
        super().__init__()
        self._module = module

    def __reduce__(self) -> tuple[Any, ...]:
        own = {} if self._module == MAIN else dict(self)  # the task has a ``__main__`` of its own
        return namespace, (self._module, own)


def namespace(module: str, own: dict[str, Any]) -> dict[str, Any]:
    """Return the namespace for the functions of a module.

    Parameters
    ----------
    module
        The name of the module.
    own
        Names that resolve the module's relative imports.
    """
    context = current.context
    found = context.namespace(module) if context is not None else {"__name__": module}
    found.update(own)
    return found


def make_class(
    home: tuple[str, str] | None, qualname: str, class_id: str, maker: Callable[..., type], arguments: tuple[Any, ...]
) -> type:
    """Make a class without its state.

    Within a task the class is also bound to its name, where pickle will look for it.

    Parameters
    ----------
    home
        The module and name to which the class is bound; None for none (see :func:`.importable.module_binding`).
    qualname
        The qualified name, which cloudpickle leaves out.
    class_id
        The id by which a process finds the class again.
    maker, arguments
        The function that makes the class, and its arguments.
    """
    cls: type | None = travelling_classes.known(class_id)
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
        if name in vars(owner) and travelling_classes.is_complete(owner):
            removed.append((owner, name, vars(owner)[name]))
            type.__delattr__(owner, name)
    try:
        yield
    finally:
        for owner, name, value in removed:
            type.__setattr__(owner, name, value)


def make(home: tuple[str, str], maker: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Make an object, such as a function, without its state.

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


def set_class_state(cls: type, setter: Callable[[type, Any], object], state: Any) -> Any:
    """Give a class the state that :func:`make_class` has left out, unless the class was here before.

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
    context = current.context
    if context is not None:
        is_new = context.restore_class(cls, setter, state)
    elif is_new := not travelling_classes.is_complete(cls):
        setter(cls, state)
    travelling_classes.mark_complete(cls)
    return (cls, setter, state) if is_new else None


def set_class_attribute(begun: Any, name: str, value: Any) -> None:
    """Set an attribute of a class that could not be made before the class had its methods.

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
    """Give a function its state, and the cells of its closure their values.

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
