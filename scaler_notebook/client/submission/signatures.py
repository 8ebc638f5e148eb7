"""Checks of a call against its function's signature, where that can be told."""

import inspect
from collections.abc import Callable
from typing import Any

from .call_text import call_text


def check_signature(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raise a TypeError if the arguments do not fit a function's signature.

    Parameters
    ----------
    fn
        The function.
    args, kwargs
        Its positional arguments, and the others by name.
    """
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError):  # no function, which is refused later, or one without a signature
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{call_text(fn, args, kwargs)}: {error}; it takes {signature}") from None


def accepts(fn: Callable[..., Any], name: str) -> bool:
    """Return whether a function has a parameter of this name, or takes any keyword.

    Parameters
    ----------
    fn
        The function.
    name
        The name of the parameter.
    """
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):  # no signature: an unusual name is taken for an option
        return False
    return any(
        parameter.kind is parameter.VAR_KEYWORD
        or (parameter.name == name and parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD))
        for parameter in parameters
    )
