"""Calls that a pickle makes when it is loaded, in the order in which they were pickled."""

from collections.abc import Callable
from types import FunctionType
from typing import Any


class Call:
    """A call. Loaded, it is what the call returns.

    Parameters
    ----------
    function
        The function.
    arguments
        The arguments.
    """

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self._call


class LateCall:
    """A call that is not known before the pickler comes to it.

    Parameters
    ----------
    reduce
        Returns the call in the form of ``__reduce__``, when the pickler has come to it. Called with this object.
    """

    def __init__(self, reduce: "Callable[[LateCall], tuple[Any, ...]]") -> None:
        self._reduce = reduce

    def __reduce__(self) -> tuple[Any, ...]:
        return self._reduce(self)


# ---------------------------------------------------------------------- named in pickles


def no_state(_: object, __: object) -> None:
    """Do nothing with a state that consists of calls, which have been made. Called by pickles."""


def set_global(function: FunctionType, name: str, value: Any) -> None:
    """Set a global variable of a function. Called by pickles.

    Parameters
    ----------
    function
        The function.
    name, value
        The variable.
    """
    function.__globals__[name] = value


def set_closure_variable(function: FunctionType, index: int, value: Any) -> None:
    """Set a variable of a function's closure. Called by pickles.

    Parameters
    ----------
    function
        The function.
    index
        The index of the variable in the closure.
    value
        Its value.
    """
    assert function.__closure__ is not None
    function.__closure__[index].cell_contents = value
