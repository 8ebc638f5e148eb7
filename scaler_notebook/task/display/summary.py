"""Summaries of results in one line: the text of plain data, else type and shape.

No code of the value and no other code of the user's runs: a ``repr``, ``__len__`` or ``shape`` is asked for only of
types that come with Python, or from the libraries in :data:`LIBRARIES`.
"""

import array
import itertools
import sys
from collections import deque
from collections.abc import Iterable, Sized
from typing import Any

from scaler_notebook.protocol.messages import PreviewKind, ResultSummary
from scaler_notebook.protocol.twins import maker
from scaler_notebook.wording import counted

MAX_TEXT = 2_000  # characters
MAX_TYPE = 100  # characters of an array's dtype
MAX_SHORT = 1 << 64  # an integer up to this is short
MAX_BITS = 4_000  # bits of an integer that is written in full; Python refuses larger ones, or takes long

# By library, classes whose shape costs nothing to ask for. (A lazy frame has none.)
LIBRARIES = {
    "numpy": ("ndarray", "MaskedArray", "matrix", "recarray", "memmap"),
    "pandas": ("DataFrame", "Series", "Index", "RangeIndex", "MultiIndex", "DatetimeIndex"),
    "polars": ("DataFrame", "Series"),
    "pyarrow": ("Table", "RecordBatch"),
    "torch": ("Tensor",),
    "scipy": ("csr_matrix", "csc_matrix", "coo_matrix", "csr_array", "csc_array", "coo_array"),
    "xarray": ("Dataset", "DataArray"),
    "PIL": ("Image",),
    "matplotlib": ("Figure",),
}
# Classes that are previewed without being asked for, which takes milliseconds, whatever the size.
CHEAP = {("numpy", "ndarray"), ("pandas", "DataFrame"), ("pandas", "Series"), ("polars", "DataFrame")} | {
    ("polars", "Series"),
    ("PIL", "Image"),
    ("matplotlib", "Figure"),
}

_ATOMS = {bool, int, float, complex, str, bytes, type(None), type(Ellipsis), range}
_STANDARD = {
    "datetime": ("date", "datetime", "time", "timedelta"),
    "decimal": ("Decimal",),
    "fractions": ("Fraction",),
    "pathlib": ("PosixPath", "WindowsPath"),
    "uuid": ("UUID",),
}
_BRACKETS: dict[type, str] = {list: "[]", tuple: "()", set: "{}", frozenset: "{}", dict: "{}"}
# Classes whose own ``__len__`` is no code of the user's, for an object of a subclass either, and what it counts.
_UNITS: "dict[type[Sized], str]" = {
    **dict.fromkeys((list, tuple, set, frozenset, dict, range, deque, array.array), "item"),
    str: "character",
    bytes: "byte",
    bytearray: "byte",
}
_NONE = ResultSummary("", PreviewKind.NONE, "NoneType")
_new_summary = maker(ResultSummary)


class _NotPlain(Exception):
    """A part of the value has a type whose ``repr`` may be the user's code."""


def summary(value: Any) -> ResultSummary:
    """Return the summary of a result.

    Returns
    -------
    ResultSummary
        ``text`` is the value as Python writes it if that is plain data, cut after some 2,000 characters, and ``kind``
        its type and length; otherwise ``text`` is the type with its module's first part, and the length or shape.
        ``text`` is empty for None.
    """
    if value is None:
        return _NONE
    kind = type(value)
    if type(kind) is not type and not known(kind):  # a metaclass may run the user's code, e.g. to hash the class
        return ResultSummary(_sized(value), PreviewKind.ON_REQUEST)
    if kind in _ATOMS:
        return _new_summary(_atom(value), PreviewKind.NONE, _kind(value))
    if kind in _BRACKETS or _is_atom(value):
        writer = _Writer()
        try:
            return ResultSummary(_cut(writer.text(value), MAX_TEXT + 100), PreviewKind.NONE, _kind(value))
        except _NotPlain:
            return ResultSummary(_kind(value), PreviewKind.ON_REQUEST)
    library = known(kind)
    if not library:
        return ResultSummary(_sized(value), PreviewKind.ON_REQUEST)
    words = [f"{library}.{_name(kind)}", *_shape(value)]
    cheap = (library, _name(kind)) in CHEAP and _is_text_or_number(value)
    return ResultSummary(" ".join(words), PreviewKind.FOLLOWS if cheap else PreviewKind.ON_REQUEST)


def brief(value: Any, most: int) -> str:
    """Return a value in few words: the text of plain data, cut, else type and shape.

    Parameters
    ----------
    value
        The value.
    most
        How many characters, but for a few.
    """
    kind = type(value)
    if _is_atom(value):
        return _cut(_atom(value, most), most)
    if type(kind) is type and kind in _BRACKETS:
        try:
            return _cut(_Writer(most).text(value), most)
        except _NotPlain:
            return _kind(value)
    library = known(kind)
    return _cut(" ".join([f"{library}.{_name(kind)}", *_shape(value)]) if library else _sized(value), most)


def _kind(value: Any) -> str:
    """Return type and length of plain data."""
    kind = type(value)
    if kind in _BRACKETS or kind in (str, range):
        return _sized(value)
    if kind in _ATOMS:  # most results
        return kind.__name__
    return f"{_attribute(kind, '__module__').partition('.')[0]}.{_name(kind)}"


def _sized(value: Any) -> str:
    """Return the name of a value's type; with the length, or an array's shape, where the class below is a known one."""
    kind, ndarray = type(value), getattr(sys.modules.get("numpy"), "ndarray", None)
    if type(ndarray) is type and issubclass(kind, ndarray):
        shape, dtype = (getattr(ndarray, name).__get__(value) for name in ("shape", "dtype"))
        return " ".join([_name(kind), *_dimensions(shape), str(dtype)[:MAX_TYPE]])
    for base, unit in _UNITS.items():
        if issubclass(kind, base):
            try:
                return f"{_name(kind)} of {counted(base.__len__(value), unit)}"
            except OverflowError:  # a range
                break
    return _name(kind)


def known(kind: type) -> str:
    """Return the library in :data:`LIBRARIES` that a class is from; empty for any other class."""
    module, name = _attribute(kind, "__module__"), _name(kind)
    library = module.partition(".")[0]
    if name not in LIBRARIES.get(library, ()):
        return ""
    return library if getattr(sys.modules.get(module), name, None) is kind else ""


def _is_text_or_number(value: Any) -> bool:
    """Return whether an array or frame can be looked at without asking objects of the user's."""
    dtype = getattr(value, "dtype", None)
    dtypes = getattr(value, "dtypes", None)  # a frame's, by column
    kinds = [dtype] if dtype is not None else [*itertools.islice(dtypes, 200)] if isinstance(dtypes, Iterable) else []
    return all(getattr(each, "hasobject", False) is False or _holds_text(value) for each in kinds)


def _holds_text(value: Any) -> bool:
    """Return whether the objects at both ends, which are what a preview shows, are plain."""
    cut = getattr(value, "iloc", value)
    ends = [getattr(part, "values", part) for part in (cut[:60], cut[-60:])]
    return all(_is_atom(each) for part in ends for each in itertools.islice(part.flat, 10_000))


def _shape(value: Any) -> list[str]:
    """Return the words for the shape and dtype of a value of a known library."""
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    size = getattr(value, "size", None)  # a picture's width and height
    words = []
    if isinstance(shape, tuple) and all(type(each) is int for each in shape):
        words += _dimensions(shape)
    elif isinstance(size, tuple) and all(type(each) is int for each in size):
        words.append(" × ".join(map(str, size)))
    if dtype is not None:
        words.append(str(dtype)[:MAX_TYPE])
    return words


def _dimensions(shape: tuple[int, ...]) -> list[str]:
    """Return a shape in words."""
    return [" × ".join(f"{each:,}" for each in shape) if shape else "0-dimensional"]


def _name(kind: type) -> str:
    return _attribute(kind, "__name__")


def _attribute(kind: type, name: str) -> str:
    """Return an attribute of a class, past a metaclass that might answer in its place."""
    try:
        found = type.__dict__[name].__get__(kind)
    except AttributeError:
        return ""
    return found if type(found) is str else ""


def _is_atom(value: Any) -> bool:
    """Return whether a value is of a type whose ``repr`` is short and runs no code of the user's."""
    kind = type(value)
    if type(kind) is not type:
        return False
    if kind in _ATOMS:
        return True
    module, name = _attribute(kind, "__module__"), _name(kind)
    if getattr(sys.modules.get(module), name, None) is not kind:
        return False
    if module == "numpy":
        return issubclass(kind, sys.modules["numpy"].generic) and name not in ("object_", "void")
    return name in _STANDARD.get(module, ()) and getattr(value, "tzinfo", None) is None


class _Writer:
    """A writer of plain data as ``repr`` does.

    Parameters
    ----------
    most
        How many characters, but for the last part.
    """

    def __init__(self, most: int = MAX_TEXT) -> None:
        self._most = self._left = most
        self._within: set[int] = set()

    def text(self, value: Any) -> str:
        """Return the text of a value, or the part of it that fits.

        Raises
        ------
        _NotPlain
            A part of the value is not plain data.
        """
        kind = type(value)
        if self._left <= 0:
            return "…"
        self._left -= 4  # brackets and a comma; counted for an empty value too, because there may be very many
        if type(kind) is not type:
            raise _NotPlain
        if _is_atom(value):
            text = _atom(value, self._most)
            self._left -= len(text)
            return text
        brackets = _BRACKETS.get(kind)
        if brackets is None:
            raise _NotPlain
        if id(value) in self._within or len(self._within) > 50:
            return f"{brackets[0]}…{brackets[1]}"
        self._within.add(id(value))
        parts = self._parts(value)
        self._within.discard(id(value))
        if not value:
            return f"{kind.__name__}()" if kind in (set, frozenset) else brackets
        comma = "," if kind is tuple and len(value) == 1 else ""
        whole = f"{brackets[0]}{', '.join(parts)}{comma}{brackets[1]}"
        return f"frozenset({whole})" if kind is frozenset else whole

    def _parts(self, value: Any) -> list[str]:
        parts: list[str] = []
        for number, each in enumerate(value.items() if type(value) is dict else value):
            if self._left <= 0:
                return [*parts, f"… {len(value) - number:,} more"]
            if (kind := type(each)) is float or (kind is int and -MAX_SHORT < each < MAX_SHORT):  # as in most lists
                parts.append(text := repr(each))
                self._left -= len(text) + 4
                continue
            parts.append(f"{self.text(each[0])}: {self.text(each[1])}" if type(value) is dict else self.text(each))
        return parts


def _atom(value: Any, most: int = MAX_TEXT) -> str:
    """Return the text of a value that :func:`_is_atom`, or the part of it that fits.

    Parameters
    ----------
    value
        The value.
    most
        How many characters.
    """
    if type(value) is int and value.bit_length() > MAX_BITS:
        return f"an integer of {value.bit_length():,} bits"
    if type(value) in (str, bytes) and len(value) > most:
        return f"{value[:most]!r}…"
    return _cut(repr(value), most)


def _cut(text: str, most: int = MAX_TEXT) -> str:
    return text if len(text) <= most else f"{text[:most]}…"
