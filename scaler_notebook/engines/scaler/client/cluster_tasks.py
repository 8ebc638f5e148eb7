"""All tasks that a client has at a cluster, moved by the table of :mod:`.states`. Used on the agent's thread."""

import asyncio
import logging
from dataclasses import replace
from typing import Any

from scaler_notebook.engines.scaler.wire import inband_events
from scaler_notebook.engines.scaler.wire.envelope import ResultHeader
from scaler_notebook.engines.scaler.wire.task_names import name_of
from scaler_notebook.engines.scheduling import task_events
from scaler_notebook.engines.scheduling.dependencies import DependencyTracker
from scaler_notebook.engines.scheduling.retry import backoff
from scaler_notebook.protocol.errors import EngineLostError, ProtocolError
from scaler_notebook.protocol.exceptions import failures
from scaler_notebook.protocol.messages import (
    Initializer,
    LogStream,
    ObjectCreated,
    Payload,
    Task,
    TaskCancel,
    TaskCancelConfirmType,
    TaskResult,
    TaskResultType,
)

from . import events
from .background_work import BackgroundWork
from .canceller import Canceller
from .connection.cluster_connection import ClusterConnection
from .events import ScalerEvent
from .object_store import ObjectStore
from .results import FetchedResult, fetch_result
from .states import TABLE, ScalerAction, ScalerStage
from .task_record import ScalerTaskRecord
from .task_reports import Publish, TaskReports

log = logging.getLogger(__name__)


class ClusterTasks:
    """The tasks of one client at a cluster.

    Parameters
    ----------
    connection
        The connection to the cluster.
    loop
        The agent's event loop.
    publish
        Called with each message for the client.
    """

    def __init__(self, connection: ClusterConnection, loop: asyncio.AbstractEventLoop, publish: Publish) -> None:
        self._connection, self._loop, self._publish = connection, loop, publish
        self._reports = TaskReports(publish)
        self._objects = ObjectStore(connection, loop)
        self._dependencies: DependencyTracker[ScalerTaskRecord] = DependencyTracker(self._objects)
        self._records: dict[str, ScalerTaskRecord] = {}
        self._by_name: dict[bytes, ScalerTaskRecord] = {}  # by the name of the try
        self._outgoing: asyncio.Queue[ScalerTaskRecord | tuple[str, Payload]] = asyncio.Queue()
        self._background = BackgroundWork(loop)
        self._canceller = Canceller(connection, loop, self._handle, self._background.start)
        self.initializer = Initializer()  # for tasks that are still to come

    @property
    def queued(self) -> int:
        """The number of tasks that have not started, as far as known."""
        return sum(not record.started for record in self._records.values())

    async def close(self) -> None:
        """End background work, without messages to the client."""
        for record in self._records.values():
            self._canceller.cancel_timers(record)
        await self._background.close()

    # ------------------------------------------------------------------ what the client says

    def accept(self, task: Task) -> None:
        """Accept a new task."""
        record = ScalerTaskRecord(task, self.initializer)
        lost = self._dependencies.add(record, self._records.keys() & set(task.inputs))
        if lost:
            text = Payload("\n".join(lost).encode())
            self._publish(TaskResult(task.task_id, TaskResultType.MISSING_OBJECTS, text))
            return
        self._records[task.task_id] = record
        if task.retain:
            self._dependencies.expect(b"", task.task_id)
        if not record.missing:
            self._handle(record, task_events.InputsAvailable())

    def cancel(self, request: TaskCancel) -> None:
        """Cancel a task. An unknown id is answered ``CancelNotFound``."""
        record = self._records.get(request.task_id)
        if record is None:
            self._reports.unknown(request.task_id, request.force)
            return
        record.cancel_requested, record.force, record.grace = True, request.force or record.force, request.grace
        self._handle(record, events.StopForced() if request.force else events.StopRequested())

    def withdraw(self) -> None:
        """Take back the tasks that have not started."""
        for record in list(self._records.values()):
            if record.stage is ScalerStage.AT_CLUSTER:
                self._canceller.withdraw(record)  # Scaler refuses if the task has started meanwhile
            elif record.stage in (ScalerStage.WAITING, ScalerStage.SENDING, ScalerStage.BACKING_OFF):
                self._handle(record, events.StopRequested())

    def create(self, object_id: str, content: Payload) -> None:
        """Store an object that tasks may name. Tasks that are accepted later follow the object to the cluster in order.

        Parameters
        ----------
        object_id
            The id of the object.
        content
            The pickled value.
        """
        self._outgoing.put_nowait((object_id, content))
        self._dependencies.expect(b"", object_id)

    def delete(self, object_ids: tuple[str, ...]) -> None:
        """Release objects that the client will not name again."""
        self._dependencies.delete(b"", object_ids)

    # ------------------------------------------------------------------ what the cluster says

    def receive(self, message: Any) -> None:
        """Handle a message of Scaler's about a task. A message about an unknown task is late, and ignored."""
        record = self._by_name.get(bytes(message.taskId))
        kinds = self._connection.messages
        if record is None:
            return
        if isinstance(message, kinds.TaskLog):
            try:
                self._on_output(record, message)
            except ProtocolError as error:
                log.warning("%s: %s", record.task.task_id, error)
        elif isinstance(message, kinds.TaskResult):
            record.result = message
            self._handle(record, events.ResultAvailable())
        elif isinstance(message, kinds.TaskCancelConfirm):
            answers = kinds.TaskCancelConfirmType
            answer = answers(message.cancelConfirmType.value)
            if answer == answers.canceled:
                self._handle(record, events.CancelConfirmed())
            elif answer == answers.cancelNotFound:
                self._handle(record, events.CancelNotFound())

    def _on_output(self, record: ScalerTaskRecord, message: Any) -> None:
        """Handle a piece of output: an in-band event of the task, or text."""
        try:
            event = inband_events.decode(message.content)
        except ProtocolError:  # output of the task that only looks like an event
            event = None
        match event:
            case None:
                kinds = self._connection.messages.TaskLog.LogType
                stream = LogStream.STDOUT if message.logType == kinds.stdout else LogStream.STDERR
                self._reports.text(record, stream, message.content)
            case inband_events.StartedEvent():
                record.mailbox, record.started = event.mailbox, True
                record.tries += 1
                self._handle(record, events.StartReported(event))
            case inband_events.MailboxEvent():
                record.mailbox = event.mailbox
            case inband_events.StoppedEvent():
                self._handle(record, events.StopReported())
            case inband_events.EndedEvent():
                record.ended = ResultHeader.decode(event.ended)
            case inband_events.ProgressEvent():
                self._reports.progress(record, event)
            case inband_events.DisplayEvent():
                self._reports.display(record, event)

    # ------------------------------------------------------------------ the table

    def _handle(self, record: ScalerTaskRecord, event: ScalerEvent) -> None:
        """Perform the action of the table for an event of a task."""
        before = record.stage
        action = TABLE.get((before, type(event)), ScalerAction.NOT_PERMITTED)
        if action.to:
            record.stage = action.to[0]
        match action, event:
            case ScalerAction.SEND, _:
                self._outgoing.put_nowait(record)
            case ((ScalerAction.ANNOUNCE | ScalerAction.ANNOUNCE_LATE), events.StartReported()):
                self._reports.started(record, event.start)
            case (
                (ScalerAction.ANNOUNCE_REQUEST_STOP | ScalerAction.ANNOUNCE_REQUEST_STOP_FORCE),
                events.StartReported(),
            ):
                self._reports.started(record, event.start)
                self._canceller.request_stop(record)
            case ((ScalerAction.RECALL | ScalerAction.RECALL_FORCE), _):
                self._canceller.recall(record)
            case ((ScalerAction.REQUEST_STOP | ScalerAction.REQUEST_STOP_FORCE), _):
                self._canceller.request_stop(record)
            case ((ScalerAction.REFUSE | ScalerAction.REFUSE_AT_CLUSTER), _):
                self._canceller.cancel_timers(record)
                record.cancel_requested = False
                self._reports.answer(record, TaskCancelConfirmType.CANCEL_FAILED)
                record.force = False
            case ScalerAction.END, _:
                record.killed = isinstance(event, task_events.GraceOver) and record.started
                self._canceller.force_end(record)
            case ScalerAction.FETCH, _:
                self._canceller.cancel_timers(record)
                self._background.start(self._fetch(record))
            case ScalerAction.BACK_OFF, _:
                self._back_off(record)
            case ScalerAction.DELIVER, events.ResultFetched():
                self._finish(record, event.result)
            case ScalerAction.PASS_ON, events.Unsendable():
                self._finish(record, event.result)
            case ScalerAction.PASS_ON, task_events.InputFailed():
                self._forget(record)
                self._publish(replace(event.result, task_id=record.task.task_id))
            case ScalerAction.WITHDRAW, task_events.InputCancelled():
                self._forget(record)
                self._reports.cancelled_with(record, event.origin)
            case ((ScalerAction.TAKE_BACK | ScalerAction.CONFIRM | ScalerAction.WITHDRAW), _):
                self._finish_cancelled(record, TaskCancelConfirmType.CANCELED)
            case ScalerAction.CONFIRM_ENDED, _:
                if not record.tries:
                    self._reports.presumed_start(record)
                self._finish_cancelled(record, TaskCancelConfirmType.CANCELED)
            case ScalerAction.NOT_FOUND, _:
                self._finish_cancelled(record, TaskCancelConfirmType.CANCEL_NOT_FOUND)
            case ScalerAction.LOSE, _:
                words = "Scaler has dropped its result: it ended while a cancel was on its way; retry() runs it again"
                self._finish(record, failures.internal_failure(record.task.task_id, RuntimeError(words)))
            case ((ScalerAction.NOTE | ScalerAction.IGNORE), _):
                pass
            case _:
                log.warning("%s: %s while %s", record.task.task_id, event.words, before.value)

    # ------------------------------------------------------------------ there and back

    async def send_all(self) -> None:
        """Store objects and send tasks, one after the other, for as long as the connection lives."""
        while True:
            what = await self._outgoing.get()
            if isinstance(what, tuple):
                await self._send_object(*what)
            elif what.stage is ScalerStage.SENDING:
                try:
                    await self._send_task(what)
                except ProtocolError as error:
                    self._handle(what, events.Unsendable(failures.internal_failure(what.task.task_id, error)))

    async def _send_object(self, name: str, content: Payload) -> None:
        object_id = await self._objects.put(content)
        self._publish(ObjectCreated(name))
        if self._dependencies.wanted(b"", name):
            self._arrive(name, object_id)
        else:
            self._objects.delete(object_id)

    async def _send_task(self, record: ScalerTaskRecord) -> None:
        """Store what a task needs, and send the task."""
        task, options = record.task, record.task.options
        given = self._dependencies.values_of(record)
        stored = await self._objects.store(record.stored, task, record.initializer, list(given))
        if record.stage is not ScalerStage.SENDING:  # the task was taken back meanwhile
            self._objects.release_task(record.stored)
            return
        objects = (*stored, *(bytes(value.data) for value in given.values()))
        record.name = name_of(task.task_id)
        record.ended = record.result = None
        record.mailbox, record.started = "", False
        self._by_name[record.name] = record
        capabilities = {needed.name: needed.amount for needed in options.capabilities}
        self._connection.send_task(record.name, objects, max(0, options.priority), capabilities)
        self._handle(record, events.Sent())

    async def _fetch(self, record: ScalerTaskRecord) -> None:
        """Fetch the end of a try, and handle it as a result or as a failure with tries left."""
        try:
            end = await fetch_result(record.task, record.result, record.ended, self._objects, self._connection)
        except EngineLostError:
            return  # reported by the connection's server
        except Exception as error:
            problem = ProtocolError(f"the cluster sent a malformed result of this task ({error!r})")
            ids = (bytes(each) for each in record.result.results)
            end = FetchedResult(failures.internal_failure(record.task.task_id, problem), next(ids, b""))
        died = end.message.outcome is TaskResultType.FAILED_WORKER_DIED
        try_again = record.task.options.retry_worker_died if died else end.to_retry
        try_again = try_again and not record.cancel_requested and record.failed < record.task.options.retries
        if not record.started and (try_again or died or record.failed):  # the try ended before it reported its start
            self._reports.presumed_start(record)
        if try_again:
            if end.words:
                self._reports.text(record, LogStream.STDERR, f"{end.words}\n")
            self._handle(record, events.FailureFetched())
        else:
            self._handle(record, events.ResultFetched(end.message))
        if end.message.outcome is TaskResultType.SUCCESS and self._dependencies.wanted(b"", record.task.task_id):
            self._arrive(record.task.task_id, end.object_id)
        elif end.object_id:
            self._objects.delete(end.object_id)

    def _back_off(self, record: ScalerTaskRecord) -> None:
        del self._by_name[record.name]
        record.failed += 1
        self._reports.failed_try(record)
        record.timers.append(
            self._loop.call_later(backoff(record.failed), self._handle, record, task_events.BackoffOver())
        )

    def _arrive(self, name: str, object_id: bytes) -> None:
        for record in self._dependencies.arrive(b"", name, Payload(object_id)):
            self._handle(record, task_events.InputsAvailable())

    # ------------------------------------------------------------------ its end

    def _finish(self, record: ScalerTaskRecord, end: TaskResult) -> None:
        """Forget a task that is over, report its result, and fail its dependants if there is no value."""
        self._forget(record)
        self._publish(end)
        if end.outcome is not TaskResultType.SUCCESS:
            failed = task_events.InputFailed(replace(end, origin=end.origin or end.task_id))
            for dependant in self._dependencies.fail(b"", end.task_id):
                self._handle(dependant, failed)

    def _finish_cancelled(self, record: ScalerTaskRecord, answer: TaskCancelConfirmType) -> None:
        """Forget a task that was cancelled, report that, and cancel its dependants."""
        self._forget(record)
        self._reports.answer(record, answer)
        cancelled = task_events.InputCancelled(record.task.task_id)
        for dependant in self._dependencies.fail(b"", record.task.task_id):
            self._handle(dependant, cancelled)

    def _forget(self, record: ScalerTaskRecord) -> None:
        record.stage = ScalerStage.OVER
        self._canceller.cancel_timers(record)
        del self._records[record.task.task_id]
        self._by_name.pop(record.name, None)
        self._dependencies.release(record)
        self._objects.release_task(record.stored)
