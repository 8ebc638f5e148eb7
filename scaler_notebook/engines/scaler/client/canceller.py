"""How a task at a cluster is asked to stop, and made to: letters, Scaler's cancels, and how long each may take."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from .link import Link
from .states import Event
from .task_entry import Entry

RECALL_AT_LEAST = 1.0  # seconds; that a task has not said by then that it runs means that its code does not
AGAIN, AGAIN_AT_MOST = 0.1, 2.0  # seconds until a cancel is said again; each time twice as long


class Asking:
    """On the agent's thread.

    Parameters
    ----------
    handle
        Told when a grace period is over.
    begin
        Takes what is to be done meanwhile.
    """

    def __init__(
        self,
        link: Link,
        loop: asyncio.AbstractEventLoop,
        handle: Callable[[Entry, Event], None],
        begin: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._link, self._loop, self._handle, self._begin = link, loop, handle, begin

    def recall(self, entry: Entry) -> None:
        """Cancel it if it waits in a queue, again and again; a grace period begins."""
        self.stop(entry)
        self._cancel(entry, False, AGAIN)
        self._grace(entry, max(entry.grace, RECALL_AT_LEAST))

    def withdraw(self, entry: Entry) -> None:
        """Cancel it if it waits in a queue."""
        self._cancel(entry, False)

    def ask(self, entry: Entry) -> None:
        """Write a running task's name to the mailbox of its process, and begin the grace period.

        Without a mailbox nobody can be asked, and the grace period is over at once.
        """
        self.stop(entry)
        if not entry.mailbox:
            self._handle(entry, Event.GRACE_OVER)
            return
        self._post(entry, entry.mailbox, AGAIN)
        self._grace(entry, entry.grace)

    def end(self, entry: Entry) -> None:
        """End its process, again and again."""
        self.stop(entry)
        self._cancel(entry, True, AGAIN)

    def stop(self, entry: Entry) -> None:
        """Whatever was to come later does not."""
        for timer in entry.timers:
            timer.cancel()
        entry.timers.clear()

    def _post(self, entry: Entry, mailbox: str, again: float) -> None:
        """Write the letter, and again after ``again`` seconds, until the task names a new mailbox: it has read this.

        Letters have been lost on busy machines. One that comes twice does nothing: a mailbox is read once.
        """
        if entry.mailbox != mailbox:
            return
        self._begin(self._link.post(mailbox, entry.name))
        entry.timers.append(self._loop.call_later(again, self._post, entry, mailbox, min(2 * again, AGAIN_AT_MOST)))

    def _grace(self, entry: Entry, seconds: float) -> None:
        entry.timers.append(self._loop.call_later(seconds, self._handle, entry, Event.GRACE_OVER))

    def _cancel(self, entry: Entry, force: bool, again: float = 0.0) -> None:
        cancel = self._link.messages.TaskCancel
        self._link.send(cancel(taskId=self._link.task_id(entry.name), flags=cancel.TaskCancelFlags(force=force)))
        if again:
            longer = min(2 * again, AGAIN_AT_MOST)
            entry.timers.append(self._loop.call_later(again, self._cancel, entry, force, longer))
