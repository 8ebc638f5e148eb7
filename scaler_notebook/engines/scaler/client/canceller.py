"""The steps by which a task at a cluster is cancelled: cancel requests, Scaler's cancels, and grace periods."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from scaler_notebook.engines.scheduling import task_events

from .connection.cluster_connection import ClusterConnection
from .events import ScalerEvent
from .task_record import ScalerTaskRecord

RECALL_AT_LEAST = 1.0  # seconds; a task that has not reported its start by then is not running
AGAIN, AGAIN_AT_MOST = 0.1, 2.0  # seconds until a cancel is sent again, first and longest; each time twice as long


class Canceller:
    """The canceller of a client's tasks. Used on the agent's thread.

    Parameters
    ----------
    connection
        The connection to the cluster.
    loop
        The agent's event loop.
    handle
        Called as ``handle(record, event)`` when a grace period is over.
    run_in_background
        Runs a coroutine.
    """

    def __init__(
        self,
        connection: ClusterConnection,
        loop: asyncio.AbstractEventLoop,
        handle: Callable[[ScalerTaskRecord, ScalerEvent], None],
        run_in_background: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._connection, self._loop = connection, loop
        self._handle, self._run_in_background = handle, run_in_background

    def recall(self, record: ScalerTaskRecord) -> None:
        """Cancel a task if it waits in a queue, repeatedly, and begin a grace period."""
        self.cancel_timers(record)
        self._cancel(record, False, AGAIN)
        self._grace(record, max(record.grace, RECALL_AT_LEAST))

    def withdraw(self, record: ScalerTaskRecord) -> None:
        """Cancel a task if it waits in a queue."""
        self._cancel(record, False)

    def request_stop(self, record: ScalerTaskRecord) -> None:
        """Store a running task's name in the mailbox of its process, and begin the grace period.

        Without a mailbox the task cannot be asked, and the grace period is over at once.
        """
        self.cancel_timers(record)
        if not record.mailbox:
            self._handle(record, task_events.GraceOver())
            return
        self._post(record, record.mailbox, AGAIN)
        self._grace(record, record.grace)

    def force_end(self, record: ScalerTaskRecord) -> None:
        """End a task's process, repeatedly."""
        self.cancel_timers(record)
        self._cancel(record, True, AGAIN)

    def cancel_timers(self, record: ScalerTaskRecord) -> None:
        """Cancel the timers of a task."""
        for timer in record.timers:
            timer.cancel()
        record.timers.clear()

    def _post(self, record: ScalerTaskRecord, mailbox: str, again: float) -> None:
        """Store the cancel request, repeatedly, until the task names a new mailbox: then it has read this one.

        Requests have been lost on busy machines. A second request does nothing, because a mailbox is read once.

        Parameters
        ----------
        record
            The task.
        mailbox
            The mailbox of the first request.
        again
            Seconds until the request is repeated.
        """
        if record.mailbox != mailbox:
            return
        self._run_in_background(self._connection.post(mailbox, record.name))
        record.timers.append(self._loop.call_later(again, self._post, record, mailbox, min(2 * again, AGAIN_AT_MOST)))

    def _grace(self, record: ScalerTaskRecord, seconds: float) -> None:
        record.timers.append(self._loop.call_later(seconds, self._handle, record, task_events.GraceOver()))

    def _cancel(self, record: ScalerTaskRecord, force: bool, again: float = 0.0) -> None:
        cancel = self._connection.messages.TaskCancel
        self._connection.send(
            cancel(taskId=self._connection.task_id(record.name), flags=cancel.TaskCancelFlags(force=force))
        )
        if again:
            longer = min(2 * again, AGAIN_AT_MOST)
            record.timers.append(self._loop.call_later(again, self._cancel, record, force, longer))
