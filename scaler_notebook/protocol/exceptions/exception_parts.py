"""Taking exceptions apart, and making them again from the parts without running any code of their class.

Python pickles most exceptions as the call ``type(*args)``. Where a class has an ``__init__`` of its own, that call may
fail when it is loaded, or make another exception, with a text that was formatted twice. Here an empty exception is
made, and then given ``args``, attributes, slots and what C code stores in it.
"""

import builtins
import copyreg
from collections.abc import Iterator, Sequence
from types import BuiltinFunctionType, GetSetDescriptorType, MemberDescriptorType
from typing import Any

_OWN = vars(BaseException)  # past attributes of a class that have the same names
_GROUP: Any = getattr(builtins, "BaseExceptionGroup", None)  # Python 3.11
_NOT_STATE = {"args", "__dict__", "__weakref__", "__traceback__", "__context__", "__cause__", "__suppress_context__"}
# The object of an AttributeError may be anything, and huge: Python does not pickle it either.
_UNNAMED = (AttributeError, NameError, UnboundLocalError)  # pickled without the name by Python before 3.12
_NOT_SENT = {(AttributeError, "obj"), (_GROUP, "message"), (_GROUP, "exceptions")}


class PartFilter:
    """A filter that lets every part of an exception through; subclasses may not."""

    def expect(self, error: BaseException) -> None:
        """Note an exception whose parts are filtered next: one of the parts may refer to the exception."""

    def filter_part(self, owner: type, what: str, value: Any, needed: bool = False) -> tuple[Any, ...]:
        """Return what is pickled for a part: the value, a substitute, or nothing, as a tuple of one or no item.

        Parameters
        ----------
        owner
            The class of the exception.
        what
            The part as a person reads it, e.g. ``.args[0]``.
        value
            The value of the part.
        needed
            Whether something has to be returned.
        """
        return (value,)

    def member(self, error: BaseException) -> BaseException:
        """Return what is pickled for a member of a group."""
        return error


def pickles_itself(kind: type) -> bool:
    """Return whether a class of exceptions is Python's own, or defines how it is pickled."""
    if is_builtin(kind) or kind in copyreg.dispatch_table:
        return kind not in _UNNAMED
    own = (vars(each) for each in kind.__mro__ if each is not object and not is_builtin(each))
    return any("__reduce__" in names or "__reduce_ex__" in names for names in own)


def reduced(error: BaseException, part_filter: PartFilter) -> tuple[Any, ...]:
    """Return how :mod:`pickle` makes an exception, in the form of ``__reduce__``.

    The exception is made empty first, because its parts may refer to it.

    Parameters
    ----------
    error
        The exception.
    part_filter
        Filters the parts.
    """
    kind = type(error)
    part_filter.expect(error)
    args: tuple[Any, ...] | None = _OWN["args"].__get__(error)
    made_of: tuple[Any, ...] = ()
    if _GROUP is not None and issubclass(kind, _GROUP):
        message, members = (vars(_GROUP)[name].__get__(error) for name in ("message", "exceptions"))
        made_of = message, [part_filter.member(member) for member in members]
        if args is not None and len(args) == 2 and isinstance(args[1], Sequence) and tuple(args[1]) == members:
            args = None  # the constructor sets them
    if args is not None:
        args = tuple(part_filter.filter_part(kind, f".args[{n}]", arg, needed=True)[0] for n, arg in enumerate(args))
    attributes = {
        name: sifted
        for name, value in _OWN["__dict__"].__get__(error).items()
        for sifted in part_filter.filter_part(kind, f".{name}", value)
    }
    kept = [
        (owner, name, sifted)
        for owner, name, value in _slot_values(error)
        for sifted in part_filter.filter_part(kind, f".{name}", value)
    ]
    return _empty, (kind, *made_of), (args, attributes, kept), None, None, _fill


def is_builtin(kind: type) -> bool:
    """Return whether a class is one of Python's own exceptions."""
    return getattr(builtins, kind.__name__, None) is kind


def _slot_values(error: BaseException) -> Iterator[tuple[type, str, Any]]:
    """Yield what an exception has in slots and C structures: the class that defines the member, its name, its value."""
    for owner in type(error).__mro__:
        builtin = is_builtin(owner)
        kinds = (MemberDescriptorType, GetSetDescriptorType) if builtin else (MemberDescriptorType,)
        for name, member in vars(owner).items():
            if not isinstance(member, kinds) or name in _NOT_STATE or (owner, name) in _NOT_SENT:
                continue
            try:
                value = member.__get__(error, type(error))
            except Exception:  # the member has no value
                continue
            if value is not None or not builtin:  # as None, some builtin ones would print differently
                yield owner, name, value


def _empty(kind: type[BaseException], *made_of: Any) -> BaseException:
    """Make an exception of a class by the constructor of the nearest builtin base class."""
    base: Any = kind
    while not isinstance(vars(base).get("__new__"), BuiltinFunctionType):
        base = base.__base__
    error: BaseException = base.__new__(kind, *made_of)
    return error


def _fill(error: BaseException, parts: tuple[Any, Any, Any]) -> None:
    """Set the parts of an empty exception. Called by pickles."""
    args, attributes, kept = parts
    if args is not None:
        _OWN["args"].__set__(error, args)
    _OWN["__dict__"].__get__(error).update(attributes)
    for owner, name, value in kept:
        try:
            vars(owner)[name].__set__(error, value)
        except (AttributeError, TypeError):  # the member is read-only
            continue


def members_of(error: BaseException) -> tuple[BaseException, ...]:
    """Return the members of an exception group; none for any other exception."""
    try:
        members = getattr(error, "exceptions", None)  # of an ExceptionGroup
    except Exception:  # another class's property of that name raises
        return ()
    if isinstance(members, tuple) and all(isinstance(member, BaseException) for member in members):
        return members
    return ()


def notes_of(error: BaseException) -> tuple[object, ...]:
    """Return the notes of an exception (PEP 678)."""
    try:
        notes = getattr(error, "__notes__", ())
    except Exception:  # raised by a __getattr__ of its own
        return ()
    return tuple(notes) if isinstance(notes, list | tuple) else ()
