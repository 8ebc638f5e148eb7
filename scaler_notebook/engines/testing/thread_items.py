"""The items of a task that runs on a thread of this process, and how many of them were taken."""

import asyncio
import threading
from collections.abc import Callable

from scaler_notebook.protocol.messages import Payload


class ThreadItems:
    """The way of one task's items to its client.

    A running task is not stopped on threads, but one that waits for its reader is: that wait is our own code.

    Implements :class:`~scaler_notebook.task.current_task.ItemChannel`.
    """

    to_client: Callable[[Payload], object]  # sends an item; set before the task runs

    def __init__(self) -> None:
        self._taken = 0
        self._is_stopped = False
        self._changed = threading.Condition()

    def send(self, value: Payload) -> None:
        """Send an item."""
        self.to_client(value)

    def has_taken(self, count: int) -> bool:
        """Return whether so many items were taken, in all."""
        return self._taken >= count

    def wait(self, count: int) -> None:
        """Wait until so many items were taken, in all."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_stopped or self._taken >= count)
        if self._taken < count:
            raise KeyboardInterrupt

    async def wait_async(self, count: int) -> None:
        """Do as :meth:`wait`, in a coroutine."""
        try:
            await asyncio.to_thread(self.wait, count)
        except KeyboardInterrupt:
            raise asyncio.CancelledError from None

    def take(self, count: int) -> None:
        """Note that so many items were taken, in all."""
        with self._changed:
            self._taken = max(self._taken, count)
            self._changed.notify_all()

    def stop(self) -> None:
        """End the wait of the task, and every later one."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
