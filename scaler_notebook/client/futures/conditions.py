"""Waiting until something is true of futures: the one loop-free wait behind ``result``, ``cancel`` and the groups'."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any

from scaler_notebook.client.task_state.lifecycle import TaskLifecycle
from scaler_notebook.client.waiting.host import current_host
from scaler_notebook.client.waiting.signal import Signal
from scaler_notebook.protocol.states import FutureEvent, TaskState

Condition = Callable[[TaskLifecycle], bool]


def answered(future: TaskLifecycle) -> bool:
    """Is no cancel of it under way?"""
    return future.state is not TaskState.CANCELLING


def until(
    futures: Iterable[TaskLifecycle], condition: Condition, timeout: float | None, enough: Condition | None = None
) -> bool:
    """Wait until ``condition`` was true of each, at most ``timeout`` seconds; False if it was not.

    Parameters
    ----------
    enough
        The wait also ends when this is true of one of them.

    Raises
    ------
    KeyboardInterrupt
        The stop button or Ctrl-C; what happens to the tasks is their executors' policy.
    """
    signal = Signal()
    futures = list(futures)
    with stoppable(lambda: futures), _watched(futures, condition, enough, signal.set) as left:
        if left:
            current_host().wait(signal, timeout)
        return not left


async def until_async(
    futures: Iterable[TaskLifecycle],
    condition: Condition,
    timeout: float | None = None,
    enough: Condition | None = None,
) -> bool:
    """:func:`until` for coroutines. The stop button cancels the cell's coroutine; then the same policy holds."""
    loop = asyncio.get_running_loop()
    woken = asyncio.Event()

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody awaits us any more
            loop.call_soon_threadsafe(woken.set)

    with _watched(futures, condition, enough, wake) as left:
        try:
            if left:
                with current_host().lending():
                    await asyncio.wait_for(woken.wait(), timeout)
        except asyncio.TimeoutError:
            pass
        except asyncio.CancelledError:
            if current_host().stopped():
                follow_policy(left)
            raise
        return not left


@contextlib.contextmanager
def _watched(
    futures: Iterable[TaskLifecycle], condition: Condition, enough: Condition | None, tell: Callable[[], None]
) -> Iterator[set[TaskLifecycle]]:
    """Those of which ``condition`` has not been true yet; ``tell()`` is called when none is left, or one is enough."""
    watched = list(futures)
    left = set(watched)

    def look(future: TaskLifecycle) -> None:
        if condition(future):
            left.discard(future)
        if not left or (enough is not None and enough(future)):
            tell()

    try:
        for future in watched:
            future.watch(look)
            look(future)  # it may have changed before it was watched
        yield left
    finally:
        for future in watched:
            future.unwatch(look)


@contextlib.contextmanager
def stoppable(futures: Callable[[], Iterable["Future[Any]"]]) -> Iterator[None]:
    """Around a wait for these: when the stop button ends it, their executors' policy says what becomes of them."""
    try:
        yield
    except (KeyboardInterrupt, asyncio.CancelledError):  # the latter where a loop's callback waited
        follow_policy(futures())
        raise


def follow_policy(futures: Iterable["Future[Any]"]) -> None:
    """A wait for these was ended by the stop button: do with the unfinished what ``on_interrupt`` says."""
    unfinished = [future for future in futures if isinstance(future, TaskLifecycle) and not future.done()]
    for future in unfinished:
        if future.policy.on_interrupt == "cancel":
            future.handle(FutureEvent.CANCEL_REQUESTED, keep_result=True)
    asked = [future for future in unfinished if future.policy.on_interrupt == "ask"]
    if asked:
        current_host().offer_cancel(asked)
