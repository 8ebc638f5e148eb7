"""Classes of a notebook with ``__slots__``, by value, so that they have slots where they arrive.

cloudpickle makes such a class without its slots: its objects would have a ``__dict__`` in the task, and would come back
with a state that the notebook's own class cannot take.
"""

from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any

from .importable import importable

_LAYOUT = ("__dict__", "__weakref__")  # the slots that ``vars`` of a class shows in another form
# Metaclasses of these modules make a class of whatever slots it names; another one may have computed them itself.
_PLAIN = ("builtins", "abc", "typing")


def keep_slots(cls: type, arguments: tuple[Any, ...], state: Any) -> tuple[tuple[Any, ...], Any]:
    """Add the slots of a class to what it is made from, and take their descriptors out of its state.

    Parameters
    ----------
    cls
        The class.
    arguments
        What cloudpickle makes the class from.
    state
        The state that cloudpickle gives the class after that.

    Returns
    -------
    tuple
        The arguments and the state; unchanged for a class without slots.
    """
    own, metaclass = vars(cls), type(cls)
    maker, name, bases, given, *rest = arguments
    if "__slots__" not in own or any(getattr(base, "__name__", "") == "NamedTuple" for base in bases):
        return arguments, state  # a named tuple has its slots from the function that makes it
    if metaclass.__module__ not in _PLAIN and importable(metaclass, metaclass.__qualname__):
        return arguments, state
    # Not ``cls.__slots__``: that is as it was written, which may be an iterator, and private names are mangled.
    # And only its own descriptors: a data class of Python 3.10 has one of the class that it was made from.
    members = [name for name, value in own.items() if _is_of(cls, value, MemberDescriptorType)]
    layout = [name for name in _LAYOUT if _is_of(cls, own.get(name), GetSetDescriptorType)]
    attributes, more = state
    attributes = {name: value for name, value in attributes.items() if name not in members}
    return (maker, name, bases, {**given, "__slots__": (*members, *layout)}, *rest), (attributes, more)


def _is_of(cls: type, value: Any, kind: type[Any]) -> bool:
    """Return whether a value is a descriptor of a class.

    Parameters
    ----------
    cls
        The class.
    value
        The value.
    kind
        The kind of descriptor.
    """
    return type(value) is kind and value.__objclass__ is cls
