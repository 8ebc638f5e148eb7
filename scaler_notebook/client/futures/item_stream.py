"""``ItemStream``: the future of a task whose items are read while it runs."""

from collections import deque
from collections.abc import AsyncGenerator, Generator
from typing import Any, Generic, TypeVar

from scaler_notebook.client.task_state.observed_task import ObservedTask
from scaler_notebook.client.waiting.host import current_host
from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.errors import TaskSerializationError
from scaler_notebook.protocol.future_events import FutureEvent
from scaler_notebook.protocol.messages import Payload, TaskItem
from scaler_notebook.task.calls.generator import AHEAD

from .conditions import wait_until, wait_until_async
from .future import ScalerFuture

T = TypeVar("T")

ALL = 2**62  # more items than there are


class ItemStream(ScalerFuture[int], Generic[T]):
    """The handle of a task that gives items before its end; made by :meth:`.NotebookExecutor.submit_stream`.

    ``for item in stream``, or ``async for``, gives each item as it arrives, once. The task is at most 16 items ahead of
    the loop: then it waits. When the loop is left before the items are at their end, by ``break`` or an exception, the
    task is cancelled; the stop button does to it what it does in any wait. What the task raises is raised by the loop,
    after the items before it.

    The value of the future is the number of items. Whatever waits for the end (``result()``, ``await``, ``wait``, the
    end of the executor, a task that has the stream as an argument) lets the task run to its end, and what nobody has
    read yet is kept here.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._items: deque[Payload] = deque()
        self._taken = 0  # items that were read
        self._told = 0  # of these, those that the task knows of

    @property
    def has_reader(self) -> bool:
        """Whether an item was read: then somebody decides when there were enough."""
        return self._taken > 0

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
        """Remove and return the next item, and tell the task of those that were read, some at a time."""
        if self.cancelled():
            self._items.clear()
        try:
            item = self._items.popleft()
        except IndexError:  # dropped, read by another thread, or not there yet
            return None
        self._taken += 1
        if self._taken - self._told >= AHEAD // 2:
            self._tell(self._taken)
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

    def _tell(self, count: int) -> None:
        """Tell the task that so many items were read, unless it has heard that, or needs it no more."""
        if count > self._told and not self.done() and self._session is not None:
            self._told = count
            self._session.send_items_taken(self.task_id, count)

    def run_to_end(self) -> None:
        """Let the task run to its end, however many of its items are read by then; these are kept here.

        Whatever waits for the end of this future does the same.
        """
        self._tell(ALL)

    # ------------------------------------------------------------------ what arrives

    def add_item(self, message: TaskItem) -> None:
        """Keep an item until it is read."""
        if not self.done():
            self._items.append(message.value)
            self.notify_watchers()

    def handle(self, event: FutureEvent) -> bool:
        """Apply an event by the state table; what was not read of a cancelled task is dropped."""
        changed = super().handle(event)
        if self.cancelled():
            self._items.clear()
        return changed


def _has_news(stream: ObservedTask) -> bool:
    """Return whether there is an item to read, or none to wait for."""
    return stream.done() or bool(stream._items)  # type: ignore[attr-defined]  # it is an ItemStream
