"""Several futures at once: ``gather``, and coroutines that wait without blocking the event loop."""

from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION, Future, TimeoutError
from concurrent.futures._base import DoneAndNotDoneFutures
from typing import Any

from scaler_notebook.client.task_state.observed_task import ObservedTask
from scaler_notebook.wording import with_article

from .completion import check_return_when, wait
from .conditions import wait_until_async
from .future import ScalerFuture
from .group import FutureGroup


def gather(
    *futures: "Future[Any] | Iterable[Future[Any]]", timeout: float | None = None, return_exceptions: bool = False
) -> list[Any]:
    """Wait for futures, and return their values in order, as :func:`asyncio.gather` does in coroutines.

    Parameters
    ----------
    futures
        As arguments, or one iterable of them; any of :mod:`concurrent.futures`' kind.
    timeout
        Seconds; None waits for ever.
    return_exceptions
        Give what was raised in the place of a value, ``CancelledError`` for what was cancelled.

    Raises
    ------
    TimeoutError
        Not all of them ended in time.
    Exception
        What the first one to fail raised, or that it was cancelled. The others run on.
    """
    __tracebackhide__ = True
    wanted = _listed(futures)
    _, unfinished = wait(wanted, timeout, ALL_COMPLETED if return_exceptions else FIRST_EXCEPTION)
    if not return_exceptions:
        for future in wanted:
            if future not in unfinished:
                future.result(0)
    if unfinished:
        raise TimeoutError(f"{len(unfinished)} (of {len(wanted)}) futures unfinished after {timeout} s")
    return list(map(_value, wanted))


async def gather_async(
    *futures: "ScalerFuture[Any] | Iterable[ScalerFuture[Any]]",
    timeout: float | None = None,
    return_exceptions: bool = False,
) -> list[Any]:
    """Do as :func:`gather`, in a coroutine, for this package's futures.

    Parameters
    ----------
    futures, timeout, return_exceptions
        As for :func:`gather`.
    """
    __tracebackhide__ = True
    wanted = _ours(_listed(futures))
    enough = None if return_exceptions else _ended_badly
    await wait_until_async(wanted, ObservedTask.done, timeout, enough)
    if not return_exceptions:
        for future in filter(_ended_badly, wanted):
            future.result(0)  # raises
    unfinished = sum(not future.done() for future in wanted)
    if unfinished:
        raise TimeoutError(f"{unfinished} (of {len(wanted)}) futures unfinished after {timeout} s")
    return list(map(_value, wanted))


async def wait_async(
    fs: "Iterable[ScalerFuture[Any]]", timeout: float | None = None, return_when: str = ALL_COMPLETED
) -> "DoneAndNotDoneFutures[Any]":
    """Do as :func:`scaler_notebook.wait`, in a coroutine, for this package's futures.

    Parameters
    ----------
    fs, timeout, return_when
        As for :func:`scaler_notebook.wait`.
    """
    check_return_when(return_when)
    wanted = _ours(list(fs))
    enough = {ALL_COMPLETED: None, FIRST_COMPLETED: ObservedTask.done, FIRST_EXCEPTION: _failed}[return_when]
    await wait_until_async(wanted, ObservedTask.done, timeout, enough)
    done: set[Future[Any]] = {future for future in wanted if future.done()}
    return DoneAndNotDoneFutures(done, {future for future in wanted if future not in done})


async def as_completed_async(fs: "Iterable[ScalerFuture[Any]]") -> "AsyncIterator[ScalerFuture[Any]]":
    """Yield futures as they end, for ``async for``. Leaving the loop leaves the others alone."""
    async for future in FutureGroup(_ours(list(dict.fromkeys(fs)))):
        yield future


def _listed(futures: tuple[Any, ...]) -> list[Any]:
    """Return the futures that were given as arguments or as one iterable; TypeError for what is no future."""
    if len(futures) == 1 and not isinstance(futures[0], Future):
        futures = tuple(futures[0])
    for future in futures:
        if not isinstance(future, Future):
            raise TypeError(f"gather takes futures, or one iterable of them, not {with_article(type(future).__name__)}")
    return list(futures)


def _ours(futures: list[Any]) -> list[ScalerFuture[Any]]:
    """Return the futures; TypeError for one that is none of this package's."""
    for future in futures:
        if not isinstance(future, ScalerFuture):
            raise TypeError(f"only ScalerFutures are waited for here, not {with_article(type(future).__name__)}")
    return futures


def _value(future: "Future[Any]") -> Any:
    """Return the value of a future that is done, or what it raises."""
    try:
        return future.result(0)
    except BaseException as error:
        return error


def _failed(future: ObservedTask) -> bool:
    return future.failed


def _ended_badly(future: ObservedTask) -> bool:
    return future.failed or future.cancelled()
