"""A call as pickles, with errors that name what cannot be pickled."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from scaler_notebook.client.context.user_modules import USER_MODULES
from scaler_notebook.client.task_state.observed_task import NO_INPUTS, ObservedTask
from scaler_notebook.client.task_state.references import TaskInput, TaskInputs, collect_inputs
from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.errors import TaskSerializationError
from scaler_notebook.protocol.messages import Payload
from scaler_notebook.protocol.pickling import pickler
from scaler_notebook.protocol.pickling.proxies import proxies_in
from scaler_notebook.task import notebook_objects
from scaler_notebook.task.calls.chunk import ChunkCall
from scaler_notebook.task.calls.generator import GeneratorCall

from . import function_pickles
from .call_text import function_name

pickler.more_reducers.append(notebook_objects.reduce)


class PickledCall(NamedTuple):
    """A call, ready to be sent.

    Parameters
    ----------
    function
        The pickled function.
    arguments
        The pickled ``(args, kwargs)``.
    inputs
        The references and futures in the call, by id.
    proxies
        The proxies of managers in the call, to be held until its task has ended.
    """

    function: Payload
    arguments: Payload
    inputs: Mapping[str, TaskInput]
    proxies: tuple[Any, ...] = ()


def pickle_call(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> PickledCall:
    """Return a call as pickles.

    Parameters
    ----------
    fn
        What is called.
    args, kwargs
        Its positional arguments, and the others by name.

    Raises
    ------
    TaskSerializationError
        Something cannot be pickled; the message names the function or the argument, and the attribute in it.
    """
    USER_MODULES.refresh()
    with collect_inputs() as inputs:
        try:
            function = function_pickles.dump(fn)
        except Exception as error:
            raise payloads.serialization_error(f"the function {function_name(fn)}", fn, error) from error
        if inputs and not isinstance(fn.func if isinstance(fn, ChunkCall | GeneratorCall) else fn, partial):
            _refuse_futures(function_name(fn), inputs)
        arguments = _pickled_arguments(fn, args, kwargs)
        proxies = proxies_in(fn, function) + proxies_in((args, kwargs), arguments)
        return PickledCall(function, arguments, inputs, proxies)


class CallPickler:
    """Pickles calls of one function, which is pickled once, as it is at the first of them.

    Parameters
    ----------
    fn
        What is called.
    """

    def __init__(self, fn: Callable[..., Any]) -> None:
        self._fn = fn
        self._function: Payload | None = None

    def pickle(self, args: tuple[Any, ...]) -> PickledCall:
        """Return a call with these positional arguments, as :func:`pickle_call` does."""
        if self._function is None:
            call = pickle_call(self._fn, args, {})
            if not call.inputs and not call.proxies:  # else they may be in the function
                self._function = call.function
            return call
        if all(type(arg) in payloads.PLAIN for arg in args):  # these refer to nothing
            return PickledCall(self._function, payloads.dump_plain((args, {})), NO_INPUTS)
        with collect_inputs() as inputs:
            arguments = _pickled_arguments(self._fn, args, {})
            return PickledCall(self._function, arguments, inputs, proxies_in((args, {}), arguments))


def _refuse_futures(name: str, inputs: TaskInputs) -> None:
    """Raise a TaskSerializationError if a function refers to a future: its code would find a value there.

    Parameters
    ----------
    name
        The function's name, for the message.
    inputs
        The references and futures in the function, by id.
    """
    futures = [each.call or each.task_id for each in inputs.values() if isinstance(each, ObservedTask)]
    if futures:
        raise TaskSerializationError(
            f"the function {name} cannot be pickled: it refers to the future of {futures[0]}. Pass the future as an "
            "argument, where it stands for its value"
        )


def _pickled_arguments(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Payload:
    """Return the pickled ``(args, kwargs)``; the error names the argument that cannot be pickled.

    Parameters
    ----------
    fn
        What is called, for messages.
    args, kwargs
        The positional arguments, and the others by name.
    """
    try:
        return payloads.dump((args, kwargs))
    except Exception as error:
        name = function_name(fn)
        named = [(f"argument {i + 1}", value) for i, value in enumerate(args)]
        named += [(f"argument {key!r}", value) for key, value in kwargs.items()]
        for what, value in named:
            try:
                payloads.dump(value)
            except Exception as problem:
                raise payloads.serialization_error(f"{what} of {name}", value, problem) from error
        raise payloads.serialization_error(f"the arguments of {name}", (args, kwargs), error) from error
