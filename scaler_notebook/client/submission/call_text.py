"""How a call reads to a person: ``fit(DataFrame, alpha=0.5)``."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

MAX_TEXT = 40  # characters of one literal
MAX_CALL = 200  # characters of the whole
LITERALS = (int, float, bool, complex, str, bytes, type(None))


def describe_call(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """The call, with literals as they are and everything else by its type: a ``repr`` may be slow, or the user's."""
    parts = [_describe(arg) for arg in args]
    parts += [f"{name}={_describe(value)}" for name, value in kwargs.items()]
    text = for_browsers(f"{function_name(function)}({', '.join(parts)})")
    return text if len(text) <= MAX_CALL else text[: MAX_CALL - 2] + "…)"


def for_browsers(text: str) -> str:
    """The same without lone surrogates, which they do not take."""
    return text.encode(errors="backslashreplace").decode()


def function_name(function: Callable[..., Any]) -> str:
    """The name of a function, of a partial's function, or of a callable's class."""
    inner = getattr(function, "func", function)  # functools.partial
    name = getattr(inner, "__qualname__", None) or type(inner).__qualname__
    return str(name).removeprefix("<locals>.").rpartition("<locals>.")[2]


def _describe(value: Any) -> str:
    if type(value) not in LITERALS:
        return type(value).__name__
    if isinstance(value, str | bytes) and len(value) > MAX_TEXT:
        return repr(value[: MAX_TEXT - 1]) + "…"
    return repr(value)
