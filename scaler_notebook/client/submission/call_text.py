"""The call text of a task, how the call reads for a person: ``fit(DataFrame, alpha=0.5)``."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

MAX_TEXT = 40  # characters of one literal
MAX_CALL = 200  # characters of the whole
NO_KEYWORDS: Mapping[str, Any] = MappingProxyType({})
LITERALS = (int, float, bool, complex, str, bytes, type(None))


class CodeText(str):
    """A text of code that stands for a task which nobody has named; as a call's, it is for the task's own client."""

    __slots__ = ()


def call_text(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """Return a call as text, with literals as they are and every other argument by its type.

    No ``repr`` of the user's runs for that, which may be slow.

    Parameters
    ----------
    function
        What is called.
    args, kwargs
        Its positional arguments, and the others by name.
    """
    return text_with_arguments(function_name(function), args, kwargs)


def text_with_arguments(name: str, args: Sequence[Any], kwargs: Mapping[str, Any] = NO_KEYWORDS) -> str:
    """Return a call as text, as :func:`call_text`, of a function whose name is at hand.

    Parameters
    ----------
    name
        The name of what is called.
    args, kwargs
        Its positional arguments, and the others by name.
    """
    parts = [_argument_text(arg) for arg in args]
    if kwargs:
        parts += [f"{keyword}={_argument_text(value)}" for keyword, value in kwargs.items()]
    return shorten(for_browsers(f"{name}({', '.join(parts)})"), end="…)")


def shorten(text: str, length: int = MAX_CALL, end: str = "…") -> str:
    """Return a text, cut if it is too long.

    Parameters
    ----------
    text
        The text.
    length
        Characters that it may have.
    end
        What a text that was cut ends with, within its length.
    """
    return text if len(text) <= length else text[: length - len(end)] + end


def for_browsers(text: str) -> str:
    """Return a text with its lone surrogates escaped, which browsers do not take."""
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


def function_name(function: Callable[..., Any]) -> str:
    """Return the name of a function, of a partial's or a chunk's function, or of a callable's class."""
    inner = getattr(function, "func", function)
    name = getattr(inner, "__qualname__", None) or type(inner).__qualname__
    return str(name).removeprefix("<locals>.").rpartition("<locals>.")[2]


def _argument_text(value: Any) -> str:
    """Return a literal as it is, or the type of any other argument."""
    if type(value) not in LITERALS:
        return type(value).__name__
    if isinstance(value, str | bytes) and len(value) > MAX_TEXT:
        return repr(value[: MAX_TEXT - 1]) + "…"
    return repr(value)
