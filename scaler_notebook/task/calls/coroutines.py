"""Coroutines in a task: what a call of an ``async def`` gives is run in an event loop of its own, which ends with it.

A cancel request reaches the coroutine as asyncio's own: a ``CancelledError`` where it waits.
:mod:`~scaler_notebook.task.interruption.interrupts` asks :func:`main_task` which asyncio task that is.
"""

import sys
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from scaler_notebook.task.current_task import current_task

if TYPE_CHECKING:
    import asyncio

_PLAIN = frozenset({type(None), bool, int, float, str, bytes, tuple, list, dict})  # what most calls give
_main_tasks: "WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[Any]]" = WeakKeyDictionary()


def completed(value: Any) -> Any:
    """Return what a call has given; of a coroutine, run it and return its value.

    What the coroutine leaves behind ends with its loop, as with ``asyncio.run``: asyncio tasks are cancelled and waited
    for, asynchronous generators are closed, and threads of the default executor are waited for. After a cancel those
    threads are left to the end of the process.

    Raises
    ------
    BaseException
        What the coroutine raises, with the coroutine's own traceback.
    """
    if type(value) in _PLAIN or not issubclass(type(value), Coroutine):
        return value
    import asyncio  # a task without coroutines needs none

    found, error = asyncio.run(_settled(value))
    if error is not None:
        try:
            raise error
        finally:
            del error  # the frame and the traceback would keep each other alive
    return found


def main_task(loop: "asyncio.AbstractEventLoop") -> "asyncio.Task[Any] | None":
    """Return the asyncio task of the coroutine for which a loop is run; None for another loop, or after its end."""
    task = _main_tasks.get(loop)
    return None if task is None or task.done() else task


async def _settled(coroutine: "Coroutine[Any, Any, Any]") -> tuple[Any, BaseException | None]:
    """Return the value of a coroutine and None, or None and its exception.

    The exception is returned, because a KeyboardInterrupt or a SystemExit that leaves an asyncio task breaks the loop,
    and any other one would pass through asyncio's frames.
    """
    asyncio = sys.modules["asyncio"]
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    _main_tasks[loop] = task
    try:
        return await coroutine, None
    except BaseException as error:
        if current_task().cancelled():
            loop.set_default_executor(_no_threads())  # instead of the one whose threads would be waited for
        return None, error


def _no_threads() -> Any:
    """Return a thread pool that has started no thread."""
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(1)
