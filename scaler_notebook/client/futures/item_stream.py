"""``ItemStream``: the future of a task whose items are read while it runs."""

import functools
import logging
from collections import deque
from collections.abc import AsyncGenerator, Generator
from typing import Any, Generic, TypeVar

from scaler_notebook.client.task_state.observed_task import ObservedTask
from scaler_notebook.client.waiting.host import current_host
from scaler_notebook.engines.local.resource_limits import available_memory
from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.errors import TaskSerializationError
from scaler_notebook.protocol.future_events import FutureEvent
from scaler_notebook.protocol.messages import Payload, TaskItem
from scaler_notebook.quantities import format_bytes
from scaler_notebook.task.calls.generator import AHEAD

from .conditions import wait_until, wait_until_async
from .future import ScalerFuture

T = TypeVar("T")

FAR = 1_000  # items that a task may be ahead whose end somebody waits for: as many as it takes not to hold it up
SHARE = 0.25  # of the memory that there is: so much of a stream is kept for its reader at most
OVERHEAD = 200  # bytes of a kept item beside its pickle

log = logging.getLogger(__name__)


@functools.cache
def most_kept() -> int:
    """Return how many bytes of items are kept of one stream, before its task waits for the reader all the same."""
    return int(available_memory() * SHARE)


class ItemStream(ScalerFuture[int], Generic[T]):
    """The handle of a task that gives items before its end; made by :meth:`.NotebookExecutor.submit_stream`.

    ``for item in stream``, or ``async for``, gives each item as it arrives, once. The task is at most 16 items ahead of
    the loop: then it waits. When the loop is left before the items are at their end, by ``break`` or an exception, the
    task is cancelled; the stop button does to it what it does in any wait. What the task raises is raised by the loop,
    after the items before it.

    The value of the future is the number of items. Whatever waits for the end (``result()``, ``await``, ``wait``, the
    end of the executor, a task that has the stream as an argument) lets the task run to its end, and what nobody has
    read yet is kept here: up to a quarter of the memory. Then the task waits for the reader again.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._items: deque[Payload] = deque()
        self._arrived = self._arrived_bytes = self._largest = 0  # on the agent's thread
        self._taken = self._taken_bytes = 0  # of what was read
        self._told = 0  # how many items the task knows of that it need not wait for
        self._runs_to_end = self._was_full = False

    def is_unread(self, since: int) -> bool:
        """Return whether nobody reads what the task gives, as far as can be told.

        Parameters
        ----------
        since
            How many items had been read before, for a while.
        """
        return self._taken == since and (since == 0 or bool(self._items))

    @property
    def items_read(self) -> int:
        """The number of items that were read so far."""
        return self._taken

    # ------------------------------------------------------------------ reading

    def __iter__(self) -> Generator[T, None, None]:
        __tracebackhide__ = True
        try:
            while self._items or not self.done():
                wait_until([self], _has_news, None)
                while (item := self._pop()) is not None:
                    yield self._loaded(item)
            self._get()  # raises, unless the task has come to its end
        except KeyboardInterrupt:
            raise  # the stop button: the policy decides what becomes of the task
        except BaseException:
            self.request_cancel_unfinished()
            raise

    async def __aiter__(self) -> AsyncGenerator[T, None]:
        __tracebackhide__ = True
        try:
            while self._items or not self.done():
                await wait_until_async([self], _has_news)
                while (item := self._pop()) is not None:
                    yield self._loaded(item)
            self._get()
        except BaseException:
            if not current_host().stopped():
                self.request_cancel_unfinished()
            raise

    def _pop(self) -> Payload | None:
        """Remove and return the next item."""
        if self.cancelled():
            self._items.clear()
        try:
            item = self._items.popleft()
        except IndexError:  # dropped, read by another thread, or not there yet
            return None
        self._taken += 1
        self._taken_bytes += item.nbytes + OVERHEAD
        self._tell_how_far()
        return item

    def _loaded(self, item: Payload) -> T:
        """Return an item.

        Raises
        ------
        TaskSerializationError
            The item cannot be loaded here.
        """
        try:
            value: T = payloads.load(item)
        except Exception as error:
            raise TaskSerializationError(
                f"an item of {self.call} arrived and cannot be loaded in this process: "
                f"{type(error).__name__}: {error}. Is the module that defines it importable here?"
            ) from error
        return value

    def _tell_how_far(self) -> None:
        """Tell the task of items that it need not wait for, some at a time: those that were read, or are kept here."""
        count = self._taken
        if self._runs_to_end and (room := most_kept() - self._kept_bytes) > 0:
            count = self._arrived + (min(FAR, room // (2 * self._largest)) if self._largest else 0)
        if count - self._told >= AHEAD // 2 and not self.done() and self._session is not None:
            self._told = count
            self._session.send_items_taken(self.task_id, count)

    @property
    def _kept_bytes(self) -> int:
        """The size of what has arrived and was not read."""
        return self._arrived_bytes - self._taken_bytes

    def run_to_end(self) -> None:
        """Let the task run to its end, however many of its items are read by then; these are kept here.

        Whatever waits for the end of this future does the same.
        """
        self._runs_to_end = True
        self._tell_how_far()

    # ------------------------------------------------------------------ what arrives

    def add_item(self, message: TaskItem) -> None:
        """Keep an item until it is read."""
        if self.done():
            return
        size = message.value.nbytes + OVERHEAD
        self._arrived, self._arrived_bytes = self._arrived + 1, self._arrived_bytes + size
        self._largest = max(self._largest, size)
        self._items.append(message.value)
        if self._runs_to_end:
            self._tell_how_far()
            self._say_if_full()
        self.notify_watchers()

    def _say_if_full(self) -> None:
        """Say once that the task has to wait for a reader, although somebody waits for its end."""
        if not self._was_full and self._kept_bytes >= most_kept():
            self._was_full = True
            log.warning(
                "scaler_notebook keeps %d items of %s that nobody has read (%s), and has it wait until some are. Read "
                "them before you wait for its end; one without an end is to be cancelled, by its cancel().",
                len(self._items),
                self.call,
                format_bytes(self._kept_bytes),
            )

    def handle(self, event: FutureEvent) -> bool:
        """Apply an event by the state table; what was not read of a cancelled task is dropped."""
        changed = super().handle(event)
        if self.cancelled():
            self._items.clear()
        return changed


def _has_news(stream: ObservedTask) -> bool:
    """Return whether there is an item to read, or none to wait for."""
    return stream.done() or bool(stream._items)  # type: ignore[attr-defined]  # it is an ItemStream
