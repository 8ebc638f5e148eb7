"""Waits until something is true of futures: the one wait behind ``result``, ``cancel`` and those of groups."""

import contextlib
from collections.abc import Callable, Iterable, Iterator

from scaler_notebook.client.task_state.observed_task import ObservedTask
from scaler_notebook.client.waiting.host import current_host
from scaler_notebook.client.waiting.signal import Signal
from scaler_notebook.protocol.states import TaskState

from .interrupt_policy import apply_interrupt_policy, apply_policy_on_interrupt

Condition = Callable[[ObservedTask], bool]


def is_answered(future: ObservedTask) -> bool:
    """Whether no cancel of a future is under way."""
    return future.state is not TaskState.CANCELLING


def wait_until(
    futures: Iterable[ObservedTask], condition: Condition, timeout: float | None, enough: Condition | None = None
) -> bool:
    """Wait until ``condition`` was true of each future; return False if it was not, within the time.

    Parameters
    ----------
    futures
        The futures.
    condition
        Called with a future, after each of its changes, until it returns True once.
    timeout
        Seconds; None waits for ever.
    enough
        The wait also ends when this is true of one of the futures.

    Raises
    ------
    KeyboardInterrupt
        The stop button or Ctrl-C; what happens to the tasks is their executors' policy.
    """
    signal = Signal()
    futures = list(futures)
    with apply_policy_on_interrupt(lambda: futures), _watch_until(futures, condition, enough, signal.set) as left:
        if left:
            current_host().wait(signal, timeout)
        else:
            current_host().run_end_calls()
        return not left


async def wait_until_async(
    futures: Iterable[ObservedTask],
    condition: Condition,
    timeout: float | None = None,
    enough: Condition | None = None,
) -> bool:
    """Wait as :func:`wait_until` does, in a coroutine, which the stop button cancels: the same policy holds.

    Parameters
    ----------
    futures, condition, timeout, enough
        As for :func:`wait_until`.
    """
    import asyncio  # not at the head of the module: it is loaded while the engine starts

    loop = asyncio.get_running_loop()
    woken = asyncio.Event()

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody awaits this any more
            loop.call_soon_threadsafe(woken.set)

    with _watch_until(futures, condition, enough, wake) as left:
        try:
            if left:
                with current_host().release_slot():
                    await asyncio.wait_for(woken.wait(), timeout)
        except asyncio.TimeoutError:
            pass
        except asyncio.CancelledError:
            if current_host().stopped():
                apply_interrupt_policy(left)
            raise
        current_host().run_end_calls()
        return not left


async def wait_or_cancel_async(
    futures: Iterable[ObservedTask], request_cancel: Callable[[], object], enough: Condition | None = None
) -> None:
    """Wait in a coroutine until tasks have ended; cancel them if the coroutine is cancelled.

    The stop button, too, cancels the coroutine: then the executors' policy decides.

    Parameters
    ----------
    futures
        The futures of the tasks.
    request_cancel
        Asks for the end of the tasks.
    enough
        The wait also ends when this is true of one of the futures.
    """
    __tracebackhide__ = True
    import asyncio  # as in wait_until_async

    try:
        await wait_until_async(futures, ObservedTask.done, enough=enough)
    except asyncio.CancelledError:
        if not current_host().stopped():
            request_cancel()
        raise


@contextlib.contextmanager
def _watch_until(
    futures: Iterable[ObservedTask], condition: Condition, enough: Condition | None, notify: Callable[[], None]
) -> Iterator[set[ObservedTask]]:
    """Watch futures, and yield those whose ``condition`` has not been true yet: a set that shrinks.

    Parameters
    ----------
    futures
        The futures to watch.
    condition
        What has to be true of each of them once.
    enough
        What has to be true of one of them for the watch to be over early; None for nothing.
    notify
        Called when none is left, or one is enough, by the thread that changed the future; must not block.
    """
    watched = list(futures)
    left = set(watched)

    def look(future: ObservedTask) -> None:
        if condition(future):
            left.discard(future)
        if not left or (enough is not None and enough(future)):
            notify()

    if condition is ObservedTask.done:
        for future in watched:
            future.run_to_end()
    try:
        for future in watched:
            future.watch(look)
            look(future)  # the future may have changed before it was watched
        yield left
    finally:
        for future in watched:
            future.unwatch(look)
