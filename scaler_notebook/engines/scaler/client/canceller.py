"""How a task at a cluster is asked to stop, and made to: letters, Scaler's cancels, and how long each may take."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from .cluster_connection import ClusterConnection
from .states import ScalerEvent
from .task_record import ScalerTaskRecord

RECALL_AT_LEAST = 1.0  # seconds; that a task has not said by then that it runs means that its code does not
AGAIN, AGAIN_AT_MOST = 0.1, 2.0  # seconds until a cancel is said again; each time twice as long


class Canceller:
    """On the agent's thread.

    Parameters
    ----------
    handle
        Told when a grace period is over.
    run_in_background
        Takes what is to be done meanwhile.
    """

    def __init__(
        self,
        connection: ClusterConnection,
        loop: asyncio.AbstractEventLoop,
        handle: Callable[[ScalerTaskRecord, ScalerEvent], None],
        run_in_background: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._connection, self._loop, self._handle, self._run_in_background = (
            connection,
            loop,
            handle,
            run_in_background,
        )

    def recall(self, record: ScalerTaskRecord) -> None:
        """Cancel it if it waits in a queue, again and again; a grace period begins."""
        self.stop(record)
        self._cancel(record, False, AGAIN)
        self._grace(record, max(record.grace, RECALL_AT_LEAST))

    def withdraw(self, record: ScalerTaskRecord) -> None:
        """Cancel it if it waits in a queue."""
        self._cancel(record, False)

    def ask(self, record: ScalerTaskRecord) -> None:
        """Write a running task's name to the mailbox of its process, and run_in_background the grace period.

        Without a mailbox nobody can be asked, and the grace period is over at once.
        """
        self.stop(record)
        if not record.mailbox:
            self._handle(record, ScalerEvent.GRACE_OVER)
            return
        self._post(record, record.mailbox, AGAIN)
        self._grace(record, record.grace)

    def end(self, record: ScalerTaskRecord) -> None:
        """FetchedResult its process, again and again."""
        self.stop(record)
        self._cancel(record, True, AGAIN)

    def stop(self, record: ScalerTaskRecord) -> None:
        """Whatever was to come later does not."""
        for timer in record.timers:
            timer.cancel()
        record.timers.clear()

    def _post(self, record: ScalerTaskRecord, mailbox: str, again: float) -> None:
        """Write the letter, and again after ``again`` seconds, until the task names a new mailbox: it has read this.

        Letters have been lost on busy machines. One that comes twice does nothing: a mailbox is read once.
        """
        if record.mailbox != mailbox:
            return
        self._run_in_background(self._connection.post(mailbox, record.name))
        record.timers.append(self._loop.call_later(again, self._post, record, mailbox, min(2 * again, AGAIN_AT_MOST)))

    def _grace(self, record: ScalerTaskRecord, seconds: float) -> None:
        record.timers.append(self._loop.call_later(seconds, self._handle, record, ScalerEvent.GRACE_OVER))

    def _cancel(self, record: ScalerTaskRecord, force: bool, again: float = 0.0) -> None:
        cancel = self._connection.messages.TaskCancel
        self._connection.send(
            cancel(taskId=self._connection.task_id(record.name), flags=cancel.TaskCancelFlags(force=force))
        )
        if again:
            longer = min(2 * again, AGAIN_AT_MOST)
            record.timers.append(self._loop.call_later(again, self._cancel, record, force, longer))
