"""The unpickling of calls, in a process that a task has to itself."""

import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any, NamedTuple

from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.messages import Payload
from scaler_notebook.protocol.pickling.loading.unpickling_context import MAIN, UnpicklingContext
from scaler_notebook.task.bindings import Bindings
from scaler_notebook.task.isolation.patching import patches
from scaler_notebook.task.isolation.patching.attribute_stores import with_inner_code

from .kept_function import FunctionKeeper

_NO_CONTEXT = UnpicklingContext()


class LoadedCall(NamedTuple):
    """A function and its arguments, unpickled."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class CallLoader:
    """Unpickles the calls of one task after the other.

    Parameters
    ----------
    open_payload
        Returns a payload with buffers that can be read in this process.
    """

    def __init__(self, open_payload: Callable[[Payload], Payload]) -> None:
        self._open = open_payload
        self._functions = FunctionKeeper()
        self.context = _NO_CONTEXT  # of the task that runs

    def load_for_task(self, function: Payload, arguments: Payload, bindings: Bindings) -> LoadedCall:
        """Unpickle the call of a task, or its arguments if the function was kept, and note what its code may replace.

        Parameters
        ----------
        function, arguments
            Their pickles.
        bindings
            What the client's initializer has bound, which the function then finds.
        """
        keeper = None if bindings else self._functions
        kept = keeper.take(function) if keeper is not None else None
        if kept is None:
            self.context = UnpicklingContext()
            call = self.load(function, arguments, self.context, keeper)
            bindings.apply_to(self.context)
        else:
            self.context = kept.context
            call = self._with_arguments(kept.function, arguments, self.context)
        codes, namespaces = self.context.codes, self.context.namespaces()
        if type(call.function) is FunctionType and call.function.__code__ not in codes:  # of a module of the user's
            codes = [*codes, *with_inner_code(call.function.__code__)]
            namespaces = {**namespaces, call.function.__module__: call.function.__globals__}
        patches.watch(codes, namespaces, (call.function, *call.args, *call.kwargs.values()))
        return call

    def load(
        self, function: Payload, arguments: Payload, context: UnpicklingContext, keeper: FunctionKeeper | None = None
    ) -> LoadedCall:
        """Unpickle a function and its arguments, with a ``__main__`` of their own.

        Parameters
        ----------
        function, arguments
            Their pickles.
        context
            Where both are unpickled.
        keeper
            May keep the function.
        """
        sys.modules[MAIN] = context.main
        with context:
            target = payloads.load(self._open(function))
        if keeper is not None:
            keeper.note(function, target, context)
        return self._with_arguments(target, arguments, context)

    def _with_arguments(
        self, function: Callable[..., Any], arguments: Payload, context: UnpicklingContext
    ) -> LoadedCall:
        """Unpickle the arguments of a function.

        Parameters
        ----------
        function
            The function.
        arguments
            Their pickle.
        context
            Where the function was unpickled.
        """
        sys.modules[MAIN] = context.main
        with context:
            args, kwargs = payloads.load(self._open(arguments))
        return LoadedCall(function, args, kwargs)

    def forget_context(self) -> None:
        """Retain nothing of the task that has run."""
        self.context = _NO_CONTEXT
