"""The initializer of an executor, checked and pickled when the executor is made."""

from collections.abc import Callable, Iterable
from typing import Any

from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.messages import Initializer

from .call_pickling import pickle_call
from .call_text import call_text
from .checked_values import shown


def checked_initializer(initializer: Callable[..., object] | None, initargs: Iterable[Any]) -> Initializer | None:
    """Return an initializer as a message, pickled now: later changes of its arguments are not seen.

    Parameters
    ----------
    initializer
        What is called once in each process; None for nothing.
    initargs
        Its arguments.

    Raises
    ------
    TypeError
        The initializer cannot be called, or its arguments are no tuple of values.
    TaskSerializationError
        The initializer, or an argument, cannot be pickled.
    """
    if not isinstance(initargs, Iterable) or isinstance(initargs, str | bytes):
        raise TypeError(f"initargs is a tuple of the initializer's arguments, not {shown(initargs)}")
    if initializer is None:
        return None
    if not callable(initializer):
        raise TypeError(f"initializer must be a callable, not {shown(initializer)}")
    args = tuple(initargs)
    call = pickle_call(initializer, args, {})
    if call.inputs:
        raise TypeError("initargs hold futures or references of tasks; an initializer gets values that are there")
    function, arguments = payloads.copied(call.function), payloads.copied(call.arguments)
    return Initializer("", call_text(initializer, args, {}), function, arguments)
