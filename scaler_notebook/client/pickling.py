"""A call as pickles, with errors that name what cannot be one."""

from collections.abc import Callable
from typing import Any, NamedTuple

from ..protocol import payloads
from ..protocol.messages import Payload
from .describe import function_name
from .references import Noted, noted


class PickledCall(NamedTuple):
    """A call, ready to be sent: ``arguments`` is ``(args, kwargs)``, ``inputs`` what they refer to, by id."""

    function: Payload
    arguments: Payload
    inputs: Noted


def pickle_call(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> PickledCall:
    """A call as pickles.

    Raises
    ------
    TaskSerializationError
        The message names the function or the argument, and the attribute in it.
    """
    with noted() as inputs:
        return PickledCall(*_pickled(fn, args, kwargs), inputs)


def _pickled(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Payload, Payload]:
    name = function_name(fn)
    try:
        function = payloads.dump(fn)
    except Exception as error:
        raise payloads.serialization_error(f"the function {name}", fn, error) from error
    try:
        return function, payloads.dump((args, kwargs))
    except Exception as error:
        named = [(f"argument {i + 1}", value) for i, value in enumerate(args)]
        named += [(f"argument {key!r}", value) for key, value in kwargs.items()]
        for what, value in named:
            try:
                payloads.dump(value)
            except Exception as problem:
                raise payloads.serialization_error(f"{what} of {name}", value, problem) from error
        raise payloads.serialization_error(f"the arguments of {name}", (args, kwargs), error) from error
