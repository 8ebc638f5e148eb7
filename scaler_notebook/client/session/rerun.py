"""The call of a task, made again in this process: for the debugger, which cannot look into a task process."""

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.submission.serializer import Serialized
from scaler_notebook.client.task_state.references import TaskInput
from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.messages import Payload
from scaler_notebook.protocol.pickling.loading.unpickling_context import LocalCallContext
from scaler_notebook.task import inputs
from scaler_notebook.task.calls.generator import GeneratorCall

Fetch = Callable[[TaskInput], ScalerFuture[Any]]


def local_call(future: ScalerFuture[Any], fetch: Fetch) -> Callable[[], Any]:
    """Return a function that makes a future's call in this process, with the arguments as they were at the submit.

    The function returns the call's value. It does not hold the future, which a traceback would keep alive.

    Parameters
    ----------
    future
        The future.
    fetch
        Has a task give back the object of a reference.

    Raises
    ------
    RuntimeError
        The arguments are gone.
    LookupError
        The call is a node of a graph, and needs a value that was kept for the graph alone.
    Exception
        What one of its inputs has raised.
    """
    __tracebackhide__ = True  # IPython's convention: the debugger shows the user's frames, not these
    task = future.task
    if task is None:
        raise RuntimeError(f"the arguments of {future.call or future.task_id} are gone; make the call itself")
    given = {name: _content(what, fetch) for name, what in future.inputs.items()}
    with inputs.given_on_thread(given), LocalCallContext():
        function = payloads.load(payloads.copied(task.function))
        args, kwargs = payloads.load(payloads.copied(task.arguments))
    if isinstance(function, GeneratorCall):
        function = function.func  # the caller reads the items

    def make() -> Any:
        __tracebackhide__ = True
        with inputs.given_on_thread(given), _no_running_loop():
            value = function(*args, **kwargs)
            if inspect.iscoroutine(value):
                import asyncio  # a call without coroutines needs none

                value = asyncio.run(value)
        return value.restored() if isinstance(value, Serialized) else value

    return make


def _content(needed: TaskInput, fetch: Fetch) -> Payload:
    """Return the pickled value of an input, with memory of its own; wait for it if need be.

    Parameters
    ----------
    needed
        A future, or the reference to an object that the engine has.
    fetch
        Has a task give back the object of a reference.
    """
    __tracebackhide__ = True
    source = needed if isinstance(needed, ScalerFuture) else fetch(needed)
    source.result()  # raises what the input has raised
    return payloads.copied(source.content())


@contextlib.contextmanager
def _no_running_loop() -> Iterator[None]:
    """Hide the loop that runs this cell: a task has none around it, and its ``asyncio.run`` would be refused."""
    import asyncio  # loaded with the future's engine

    loop = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        yield
    finally:
        asyncio._set_running_loop(loop)
        if loop is not None:
            asyncio.set_event_loop(loop)  # ``asyncio.run`` leaves none
