"""A generator as a task: its items are sent as they come, and it waits when its reader does not keep up."""

import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.messages import Payload
from scaler_notebook.task.current_task import ItemChannel, current_task
from scaler_notebook.wording import with_article

AHEAD = 16  # items that are sent and not taken yet; with as many on the way the generator waits
RUNS, WAITS = "items", "items, and waits for its reader"  # followed by the last item
MAX_TEXT = 60  # characters of an item that are shown
INTERVAL = 0.02  # seconds after which there is another text in any case, as the scheduler looks
SHARE = 0.05  # of its time that a generator spends on these texts while it does not wait, if one takes no millisecond


class GeneratorCall:
    """The function of a stream of items: calls another function, and sends what the iterable gives that it returns.

    The value of the call is the number of items. A cancel reaches a generator where it stands, be that a ``yield``.

    Parameters
    ----------
    func
        A generator function, one of asynchronous generators, or any other function that returns an iterable.
    """

    def __init__(self, func: Callable[..., Any]) -> None:
        self.func = func
        # As what the task returns: set by the runner.
        self.returning: Callable[[], AbstractContextManager[None]] = nullcontext

    def __reduce__(self) -> Any:
        return GeneratorCall, (self.func,)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the number of items, or a coroutine that does.

        Raises
        ------
        TypeError
            What the function returns is not iterable.
        """
        channel = current_task().items
        if channel is None:
            raise RuntimeError("items are sent by a task of submit_stream alone")
        given = self.func(*args, **kwargs)
        if isinstance(given, AsyncIterable):
            return self._send_all_async(aiter(given), channel)
        if not isinstance(given, Iterable) and not hasattr(type(given), "__getitem__"):  # as iter() has it
            what = f"it returns {with_article(type(given).__name__)}, which is not iterable"
            if isinstance(given, Coroutine):
                given.close()  # or a warning would say that nobody has awaited it
                what = "it is a coroutine, an async def without yield"
            raise TypeError(f"{current_task().name} gives no items: {what}. submit() takes it")
        return self._send_all(iter(given), channel)

    def _send_all(self, items: Iterator[Any], channel: ItemChannel) -> int:
        """Send all items, and return how many there were."""
        count, advance, reports = 0, items.__next__, _Reports(channel)
        try:
            while True:
                try:
                    item = advance()
                except StopIteration:
                    return count
                count, advance = count + 1, items.__next__
                channel.send(self._pickled(count, item))
                try:
                    has_room = reports.report(count, item)
                    del item
                    if not has_room:
                        channel.wait(count - AHEAD + 1)
                except KeyboardInterrupt as error:
                    advance = partial(_throw, items, error)
        finally:
            if (close := getattr(items, "close", None)) is not None:
                close()

    async def _send_all_async(self, items: AsyncIterator[Any], channel: ItemChannel) -> int:
        """Send all items of an asynchronous iterator, and return how many there were."""
        import asyncio  # a task without coroutines needs none

        count, advance, reports = 0, items.__anext__, _Reports(channel)
        try:
            while True:
                try:
                    item = await advance()
                except StopAsyncIteration:
                    return count
                count, advance = count + 1, items.__anext__
                channel.send(self._pickled(count, item))
                try:
                    has_room = reports.report(count, item)
                    del item
                    if not has_room:
                        await channel.wait_async(count - AHEAD + 1)
                except asyncio.CancelledError as error:
                    advance = partial(_throw_async, items, error)
        finally:
            if (close := getattr(items, "aclose", None)) is not None:
                await close()

    def _pickled(self, count: int, item: Any) -> Payload:
        """Return an item as a pickle.

        Raises
        ------
        TaskSerializationError
            The item cannot be pickled; the message says which one it is.
        """
        try:
            with self.returning():
                return payloads.dump(item)
        except Exception as error:
            what = f"item {count} of {current_task().name}"
            raise payloads.serialization_error(what, item, error) from error


class _Reports:
    """The reports of one stream: how many items there are, and the last of those whose text was made.

    Parameters
    ----------
    channel
        Where the items are sent.
    """

    def __init__(self, channel: ItemChannel) -> None:
        self._channel = channel
        self._last = ""
        self._next_text = 0.0  # the time from which on there is another text

    def report(self, count: int, item: Any) -> bool:
        """Report an item that was sent, and return whether there is room for another.

        Parameters
        ----------
        count
            How many were sent.
        item
            The last one.
        """
        has_room = count < AHEAD or self._channel.has_taken(count - AHEAD + 1)
        began = time.perf_counter()
        if began >= self._next_text or not has_room:
            self._last = f"; item {count:,}: {_text(item)}"
            now = time.perf_counter()
            self._next_text = now + min((now - began) / SHARE, INTERVAL)
        current_task().report(count, None, (RUNS if has_room else WAITS) + self._last)
        return has_room


def _text(item: Any) -> str:
    """Return an item in a few characters, without running code of the user's."""
    from scaler_notebook.task.display.summary import brief  # in a task alone, where it is loaded anyway

    try:
        return brief(item, MAX_TEXT)
    except Exception:  # a thread of the task changes it meanwhile
        return "…"


def _throw(items: Any, error: BaseException) -> Any:
    """Raise an exception where a generator stands, and return what it yields if it goes on.

    Parameters
    ----------
    items
        The generator, or an iterator of another kind, which cannot be told.
    error
        The exception.
    """
    if not hasattr(items, "throw"):
        raise error
    return items.throw(error)


async def _throw_async(items: Any, error: BaseException) -> Any:
    """Do as :func:`_throw`, for an asynchronous generator.

    Parameters
    ----------
    items
        The generator, or an iterator of another kind, which cannot be told.
    error
        The exception.
    """
    if not hasattr(items, "athrow"):
        raise error
    return await items.athrow(error)
