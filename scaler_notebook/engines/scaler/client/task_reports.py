"""The messages to the client about its tasks at a cluster."""

import time
from collections.abc import Callable

from scaler_notebook.engines.scaler.wire import inband_events
from scaler_notebook.protocol.messages import (
    DisplayKind,
    EngineMessage,
    LogStream,
    Payload,
    TaskAttemptFailed,
    TaskCancelConfirm,
    TaskCancelConfirmType,
    TaskDisplay,
    TaskLog,
    TaskProgress,
    TaskStarted,
)

from .task_record import ScalerTaskRecord

Publish = Callable[[EngineMessage], None]


class TaskReports:
    """The reports of one client's tasks.

    Parameters
    ----------
    publish
        Called with each message for the client.
    """

    def __init__(self, publish: Publish) -> None:
        self._publish = publish

    def started(self, record: ScalerTaskRecord, event: inband_events.StartedEvent) -> None:
        """Report the start of a try.

        Parameters
        ----------
        record
            The task.
        event
            The start, as the task has reported it.
        """
        self._publish_start(record, f"{event.pid} on {event.host}")

    def presumed_start(self, record: ScalerTaskRecord) -> None:
        """Report the start of a task whose process has ended before it could report that itself."""
        record.tries += 1
        self._publish_start(record, "a worker")

    def _publish_start(self, record: ScalerTaskRecord, processor: str) -> None:
        self._publish(TaskStarted(record.task.task_id, processor, time.time(), record.tries))

    def failed_try(self, record: ScalerTaskRecord) -> None:
        """Report that a try of a task has failed, and another one follows."""
        self._publish(TaskAttemptFailed(record.task.task_id, record.tries))

    def text(self, record: ScalerTaskRecord, stream: LogStream, text: str) -> None:
        """Report text that a task has written.

        Parameters
        ----------
        record
            The task.
        stream
            The stream that the task wrote to.
        text
            The text.
        """
        self._publish(TaskLog(record.task.task_id, stream, text))

    def progress(self, record: ScalerTaskRecord, event: inband_events.ProgressEvent) -> None:
        """Report the progress of a task."""
        self._publish(TaskProgress(record.task.task_id, event.done, event.total, event.note, event.rate, event.unit))

    def display(self, record: ScalerTaskRecord, event: inband_events.DisplayEvent) -> None:
        """Report a display of a task."""
        bundle, metadata = Payload(event.bundle.encode()), Payload(event.metadata.encode())
        kind = DisplayKind(event.kind)
        self._publish(TaskDisplay(record.task.task_id, bundle, metadata, kind, event.display_id))

    def answer(self, record: ScalerTaskRecord, answer: TaskCancelConfirmType) -> None:
        """Answer the cancel request of a task."""
        killed = record.killed and record.ended is None and answer is TaskCancelConfirmType.CANCELED
        self._publish(TaskCancelConfirm(record.task.task_id, answer, record.force, killed=killed))

    def unknown(self, task_id: str, force: bool) -> None:
        """Answer the cancel request of a task that is not there.

        Parameters
        ----------
        task_id
            The id of the task.
        force
            The strength of the request.
        """
        self._publish(TaskCancelConfirm(task_id, TaskCancelConfirmType.CANCEL_NOT_FOUND, force))

    def cancelled_with(self, record: ScalerTaskRecord, origin: str) -> None:
        """Report that the cancel of an input has taken a task along.

        Parameters
        ----------
        record
            The task.
        origin
            The id of the input.
        """
        self._publish(TaskCancelConfirm(record.task.task_id, TaskCancelConfirmType.CANCELED, True, origin))
