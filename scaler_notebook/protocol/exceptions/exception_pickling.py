"""Pickling of exceptions: as their class defines it, or by parts, without the parts that cannot be pickled."""

import io
from collections.abc import Callable
from functools import partial
from typing import Any

from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.exceptions.exception_parts import PartFilter, is_builtin, pickles_itself, reduced
from scaler_notebook.protocol.frozen import frozen
from scaler_notebook.protocol.messages import Buffer, Payload
from scaler_notebook.protocol.pickling import pickler
from scaler_notebook.wording import with_article

MAX_TEXT = 1000  # characters of a placeholder
MAX_NAMED = 10  # omitted values that are named in the note

_ATOMS = (str, int, float, bool, bytes, type(None))


class ExceptionPicklingError(Exception):
    """No more than the text of an exception can be sent; the message says why."""


@frozen
class PickledException:
    """A pickled exception that is known to load.

    Parameters
    ----------
    payload
        The pickle.
    left_out
        Names of the values in the exception that cannot be sent, e.g. ``Refused.lock (a _thread.lock)``.
    """

    payload: Payload
    left_out: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """The note about omitted values, for a person; empty if none were omitted."""
        if not self.left_out:
            return ""
        more = len(self.left_out) - MAX_NAMED
        names = (*self.left_out[:MAX_NAMED], *([f"{more} more"] if more > 0 else ()))
        return f"[left out, for it cannot leave the process of the task: {', '.join(names)}]"


class Placeholder:
    """An object in the place of a value that cannot be pickled; it prints as the value did.

    Parameters
    ----------
    text
        The ``str`` of the value.
    representation
        The ``repr`` of the value.
    """

    def __init__(self, text: str, representation: str) -> None:
        self._text = text
        self._representation = representation

    def __repr__(self) -> str:
        return self._representation

    def __str__(self) -> str:
        return self._text


def pickle_exception(error: BaseException) -> PickledException:
    """Pickle an exception without its traceback, cause and context, and load the pickle once as a check.

    An exception whose class defines how it is pickled is pickled so, unless that fails, or changes the exception's text
    while pickling by parts does not. Values that cannot be pickled are omitted from the attributes; an argument is
    replaced by a :class:`Placeholder`, and so is an attribute that the exception's text needs.

    Raises
    ------
    ExceptionPicklingError
        The exception's class cannot be pickled or cannot be loaded.
    """
    ways: list[Callable[[BaseException], PickledException]] = [
        _in_parts,
        _without_unpicklable,
        partial(_without_unpicklable, stand_ins=True),
    ]
    ways.insert(0 if pickles_itself(type(error)) else len(ways), _as_class_defines)
    problem, pickles = "", False
    loads: PickledException | None = None
    for way in ways:
        packed = None
        try:
            packed = way(error)
            back = payloads.load(packed.payload)
            if not isinstance(back, BaseException):
                raise TypeError(f"it loads as {with_article(type(back).__name__)}")
        except BaseException as trouble:  # a __reduce__ may raise anything
            if packed is not None or not pickles:
                problem, pickles = f"{type(trouble).__name__}: {_text(trouble)}", packed is not None
            continue
        if _reads_alike(error, back) or type(back) is not type(error):
            return packed
        if loads is None and way is not _without_unpicklable:
            loads = packed
    if loads is not None:
        return loads
    raise ExceptionPicklingError(
        f"could be pickled, but not loaded: {problem}" if pickles else f"cannot be pickled: {problem}"
    )


def as_runtime_error(headline: str, why: ExceptionPicklingError) -> RuntimeError:
    """Return the RuntimeError that is sent in the place of an exception that cannot be pickled.

    Parameters
    ----------
    headline
        The exception's last lines, as Python prints them.
    why
        Why the exception cannot be pickled.
    """
    return RuntimeError(f"{headline.strip()} (the exception itself {why})")


def _as_class_defines(error: BaseException) -> PickledException:
    return PickledException(payloads.dump(error))


def _in_parts(error: BaseException) -> PickledException:
    return PickledException(_dump(error, error, PartFilter()))


def _without_unpicklable(error: BaseException, stand_ins: bool = False) -> PickledException:
    part_filter = _UnpicklableFilter(stand_ins)
    payload = _dump(error, error, part_filter)
    return PickledException(payload, tuple(part_filter.left_out))


def _survives_pickling(error: BaseException) -> bool:
    """Return whether an exception, pickled as its class defines, comes back unchanged."""
    kind = type(error)
    if is_builtin(kind) or not pickles_itself(kind):
        return is_builtin(kind)
    try:
        back = payloads.load(payloads.dump(error))
    except BaseException:  # a __reduce__ may raise anything
        return False
    return isinstance(back, BaseException) and (type(back) is not kind or _reads_alike(error, back))


def _reads_alike(error: BaseException, back: BaseException) -> bool:
    try:  # a __getattr__ of its own may need what was left out
        getattr(back, "__notes__", None)
    except Exception:
        return False
    return _text(back) == _text(error)


def _text(value: object, as_text: Callable[[object], str] = str) -> str:
    try:
        return as_text(value)[:MAX_TEXT]
    except Exception:
        return f"<{_name(type(value))}>"


def _name(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


class _UnpicklableFilter(PartFilter):
    """A filter that finds the parts of exceptions that cannot be pickled, for the exceptions of one pickle.

    Parameters
    ----------
    stand_ins
        Replace attributes that cannot be pickled by placeholders; otherwise omit them.
    """

    def __init__(self, stand_ins: bool = False) -> None:
        self.left_out: dict[str, None] = {}  # in order, each once
        self._stand_ins = stand_ins
        self._known: dict[int, tuple[Any, bool]] = {}  # the value is held, so that no other object gets its id

    def expect(self, value: Any) -> None:
        """Treat a value as picklable while its parts are looked at: one of them may refer to the value."""
        self._known[id(value)] = value, True

    def travels(self, value: Any) -> bool:
        """Return whether a value can be pickled and loaded."""
        if type(value) in _ATOMS:
            return True
        if id(value) not in self._known:
            self.expect(value)
            try:
                payloads.load(_dump(value, None, self))
            except BaseException:  # a __reduce__ may raise anything
                self._known[id(value)] = value, False
        return self._known[id(value)][1]

    def filter_part(self, owner: type, what: str, value: Any, needed: bool = False) -> tuple[Any, ...]:
        """Return the part, a placeholder or nothing, as :meth:`PartFilter.filter_part` describes."""
        if self.travels(value):
            return (value,)
        self.left_out[f"{owner.__name__}{what} ({with_article(_name(type(value)))})"] = None
        return (Placeholder(_text(value), _text(value, repr)),) if needed or self._stand_ins else ()

    def member(self, error: BaseException) -> BaseException:
        """Return the member of a group as it is pickled: itself, or a RuntimeError with its text."""
        if self.travels(error):
            return error
        headline = f"{_name(type(error))}: {_text(error)}"
        return as_runtime_error(headline, ExceptionPicklingError("cannot be pickled or loaded"))


class _Pickler(pickler.Pickler):
    """A pickler that takes exceptions apart and passes their parts through a filter.

    Parameters
    ----------
    file
        Receives the pickle.
    buffers
        Receives the out-of-band buffers.
    first
        An exception that is taken apart even if its class defines how it is pickled; None for none.
    part_filter
        Finds the parts that cannot be pickled.
    postpones
        As for :class:`.pickler.Pickler`.
    """

    def __init__(
        self,
        file: io.BytesIO,
        buffers: list[Buffer],
        first: BaseException | None,
        part_filter: PartFilter,
        postpones: bool,
    ) -> None:
        super().__init__(file, pickler.PROTOCOL, payloads.out_of_band(buffers), postpones=postpones)
        self._first = first
        self._sieve = part_filter

    def reducer_override(self, obj: Any) -> Any:
        """Reduce an exception to its parts, and leave everything else to the usual pickler."""
        if issubclass(type(obj), BaseException) and (obj is self._first or not _survives_pickling(obj)):
            return reduced(obj, self._sieve)
        return super().reducer_override(obj)


def _dump(value: Any, first: BaseException | None, part_filter: PartFilter) -> Payload:
    def dump(postpones: bool) -> Payload:
        buffers: list[Buffer] = []
        with io.BytesIO() as file:
            _Pickler(file, buffers, first, part_filter, postpones).dump(value)
            return Payload(file.getvalue(), tuple(buffers))

    return pickler.attempt(dump)
