"""Every task that a client has at a cluster: the table of :mod:`.states`, carried out. All on the agent's thread."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from scaler_notebook.engines.scaler.wire import inband_events
from scaler_notebook.engines.scaler.wire.envelope import Ended
from scaler_notebook.engines.scaler.wire.task_names import name_of
from scaler_notebook.engines.scheduling.dependencies import DependencyTracker
from scaler_notebook.engines.scheduling.retry import backoff
from scaler_notebook.protocol import failures
from scaler_notebook.protocol.errors import EngineLostError, ProtocolError
from scaler_notebook.protocol.messages import (
    DisplayKind,
    EngineMessage,
    Initializer,
    LogStream,
    ObjectCreated,
    Payload,
    Task,
    TaskCancel,
    TaskCancelConfirm,
    TaskCancelConfirmType,
    TaskDisplay,
    TaskLog,
    TaskProgress,
    TaskResult,
    TaskResultType,
    TaskStarted,
)

from .canceller import Asking
from .link import Link
from .object_store import Objects
from .results import End, end_of
from .states import TABLE, Action, Event, Stage
from .task_entry import Entry

log = logging.getLogger(__name__)

Say = Callable[[EngineMessage], None]


class Tasks:
    """Parameters are the wire, the agent's loop, and who takes what the client is told."""

    def __init__(self, link: Link, loop: asyncio.AbstractEventLoop, say: Say) -> None:
        self._link, self._loop, self._say = link, loop, say
        self._objects = Objects(link, loop)
        self._dependencies: DependencyTracker[Entry] = DependencyTracker(self._objects)
        self._entries: dict[str, Entry] = {}
        self._named: dict[bytes, Entry] = {}  # by Scaler's id
        self._leaving: asyncio.Queue[Entry | tuple[str, Payload]] = asyncio.Queue()
        self._begun: set[asyncio.Task[None]] = set()
        self._asking = Asking(link, loop, self._handle, self._begin)
        self.initializer = Initializer()  # of tasks that are still to come

    @property
    def queued(self) -> int:
        """How many have not started, as far as known."""
        return sum(not entry.begun for entry in self._entries.values())

    async def close(self) -> None:
        """End what is under way; nobody is told of it."""
        for entry in self._entries.values():
            self._asking.stop(entry)
        for work in self._begun:
            work.cancel()
        await asyncio.gather(*self._begun, return_exceptions=True)

    # ------------------------------------------------------------------ what the client says

    def accept(self, task: Task) -> None:
        """A new task."""
        entry = Entry(task, self.initializer)
        lost = self._dependencies.add(entry, self._entries.keys() & set(task.inputs))
        if lost:
            text = Payload("\n".join(lost).encode())
            self._say(TaskResult(task.task_id, TaskResultType.MISSING_OBJECTS, text))
            return
        self._entries[task.task_id] = entry
        if task.keep:
            self._dependencies.expect(b"", task.task_id)
        if not entry.missing:
            self._handle(entry, Event.INPUTS_THERE)

    def cancel(self, request: TaskCancel) -> None:
        """The client asks for the end of a task."""
        entry = self._entries.get(request.task_id)
        if entry is None:
            answer = TaskCancelConfirmType.CANCEL_NOT_FOUND
            self._say(TaskCancelConfirm(request.task_id, answer, request.force))
            return
        entry.asked, entry.force, entry.grace = True, request.force or entry.force, request.grace
        self._handle(entry, Event.CANCEL_FORCE if request.force else Event.CANCEL)

    def withdraw(self) -> None:
        """Take back what has not started."""
        for entry in list(self._entries.values()):
            if entry.stage is Stage.THERE:
                self._asking.withdraw(entry)  # what has started meanwhile goes on: Scaler refuses
            elif entry.stage in (Stage.WAITING, Stage.LEAVING, Stage.BACKING_OFF):
                self._handle(entry, Event.CANCEL)

    def create(self, object_id: str, content: Payload) -> None:
        """An object that tasks may name; they follow it to the cluster in order."""
        self._leaving.put_nowait((object_id, content))
        self._dependencies.expect(b"", object_id)

    def delete(self, object_ids: tuple[str, ...]) -> None:
        """The client names them no more."""
        self._dependencies.delete(b"", object_ids)

    # ------------------------------------------------------------------ what the cluster says

    def receive(self, message: Any) -> None:
        """A message of Scaler's about a task; what is about none that is known is late, and ignored."""
        entry = self._named.get(bytes(message.taskId))
        kinds = self._link.messages
        if entry is None:
            return
        if isinstance(message, kinds.TaskLog):
            try:
                self._on_output(entry, message)
            except ProtocolError as error:
                log.warning("%s: %s", entry.task.task_id, error)
        elif isinstance(message, kinds.TaskResult):
            entry.result = message
            self._handle(entry, Event.RESULT)
        elif isinstance(message, kinds.TaskCancelConfirm):
            answers = kinds.TaskCancelConfirmType
            answer = answers(message.cancelConfirmType.value)
            if answer == answers.canceled:
                self._handle(entry, Event.CANCELED)
            elif answer == answers.cancelNotFound:
                self._handle(entry, Event.NOT_FOUND)

    def _on_output(self, entry: Entry, message: Any) -> None:
        task_id = entry.task.task_id
        try:
            sign = inband_events.decode(message.content)
        except ProtocolError:  # the task's own, however much it looks like one
            sign = None
        match sign:
            case None:
                kinds = self._link.messages.TaskLog.LogType
                stream = LogStream.STDOUT if message.logType == kinds.stdout else LogStream.STDERR
                self._say(TaskLog(task_id, stream, message.content))
            case inband_events.Started():
                entry.mailbox, entry.begun = sign.mailbox, True
                entry.tries += 1
                self._handle(entry, Event.STARTED, sign)
            case inband_events.Mailbox():
                entry.mailbox = sign.mailbox
            case inband_events.Stopped():
                self._handle(entry, Event.STOPPED)
            case inband_events.Ended():
                entry.ended = Ended.decode(sign.ended)
            case inband_events.Progress():
                self._say(TaskProgress(task_id, sign.done, sign.total, sign.note))
            case inband_events.Display():
                bundle, metadata = Payload(sign.bundle.encode()), Payload(sign.metadata.encode())
                self._say(TaskDisplay(task_id, bundle, metadata, DisplayKind(sign.kind), sign.display_id))

    # ------------------------------------------------------------------ the table

    def _handle(self, entry: Entry, event: Event, what: Any = None) -> None:
        action = TABLE.get((entry.stage, event), Action.NOT_PERMITTED)
        if action.to:
            entry.stage = action.to[0]
        match action:
            case Action.SEND:
                self._leaving.put_nowait(entry)
            case Action.ANNOUNCE | Action.ANNOUNCE_LATE | Action.ANNOUNCE_ASK | Action.ANNOUNCE_WARN:
                self._announce(entry, what)
                if action in (Action.ANNOUNCE_ASK, Action.ANNOUNCE_WARN):
                    self._asking.ask(entry)
            case Action.RECALL | Action.RECALL_FORCE:
                self._asking.recall(entry)
            case Action.ASK | Action.WARN:
                self._asking.ask(entry)
            case Action.REFUSE | Action.REFUSE_THERE:
                self._asking.stop(entry)
                entry.asked = False
                self._answer(entry, TaskCancelConfirmType.CANCEL_FAILED)
                entry.force = False
            case Action.END:
                self._asking.end(entry)
            case Action.FETCH:
                self._asking.stop(entry)
                self._begin(self._fetch(entry))
            case Action.BACK_OFF:
                self._back_off(entry)
            case Action.DELIVER | Action.PASS_ON:
                self._over(entry, what)
            case Action.TAKE_BACK | Action.CONFIRM | Action.CONFIRM_ENDED | Action.WITHDRAW:
                if action is Action.CONFIRM_ENDED and not entry.tries:
                    self._presume_started(entry)
                kind = TaskCancelConfirmType.CANCELED
                end = what if what is not None else TaskCancelConfirm(entry.task.task_id, kind, entry.force)
                self._over(entry, end)
            case Action.NOT_FOUND:
                kind = TaskCancelConfirmType.CANCEL_NOT_FOUND
                self._over(entry, TaskCancelConfirm(entry.task.task_id, kind, entry.force))
            case Action.LOSE:
                words = "Scaler has dropped its result: it ended while a cancel was on its way; retry() runs it again"
                self._over(entry, failures.our_fault(entry.task.task_id, RuntimeError(words)))
            case Action.NOT_PERMITTED:
                log.warning("%s: %s while %s", entry.task.task_id, event.value, entry.stage.value)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._begun.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._begun.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.debug("not done: %r", task.exception())  # the wire broke, and whoever serves it tells of it

    def _announce(self, entry: Entry, sign: inband_events.Started) -> None:
        processor = f"{sign.pid} on {sign.host}"
        self._say(TaskStarted(entry.task.task_id, processor, time.time(), entry.tries))

    def _presume_started(self, entry: Entry) -> None:
        """Its process has ended before it could say so."""
        entry.tries += 1
        self._say(TaskStarted(entry.task.task_id, "a worker", time.time(), entry.tries))

    def _answer(self, entry: Entry, answer: TaskCancelConfirmType) -> None:
        self._say(TaskCancelConfirm(entry.task.task_id, answer, entry.force))

    # ------------------------------------------------------------------ there and back

    async def send_all(self) -> None:
        """Store what tasks need, and send them, one after the other; for as long as the wire is there."""
        while True:
            what = await self._leaving.get()
            if isinstance(what, tuple):
                await self._send_object(*what)
            elif what.stage is Stage.LEAVING:
                try:
                    await self._send_task(what)
                except ProtocolError as error:
                    self._handle(what, Event.UNSENDABLE, failures.our_fault(what.task.task_id, error))

    async def _send_object(self, name: str, content: Payload) -> None:
        object_id = await self._objects.put(content)
        self._say(ObjectCreated(name))
        if self._dependencies.wanted(name):
            self._arrive(name, object_id)
        else:
            self._objects.delete(object_id)

    async def _send_task(self, entry: Entry) -> None:
        task, options = entry.task, entry.task.options
        given = self._dependencies.values_of(entry)
        stored = await self._objects.store(entry.stored, task, entry.initializer, list(given))
        if entry.stage is not Stage.LEAVING:  # taken back meanwhile
            self._objects.let_go(entry.stored)
            return
        objects = (*stored, *(bytes(value.data) for value in given.values()))
        entry.name = name_of(task.task_id)
        entry.ended = entry.result = None
        entry.mailbox, entry.begun = "", False
        self._named[entry.name] = entry
        capabilities = {needed.name: needed.amount for needed in options.capabilities}
        self._link.send_task(entry.name, objects, max(0, options.priority), capabilities)
        self._handle(entry, Event.SENT)

    async def _fetch(self, entry: Entry) -> None:
        try:
            end = await end_of(entry.task, entry.result, entry.ended, self._objects, self._link)
        except EngineLostError:
            return  # whoever serves the wire tells of it
        except Exception as error:
            problem = ProtocolError(f"the cluster sent a malformed result of this task ({error!r})")
            ids = (bytes(each) for each in entry.result.results)
            end = End(failures.our_fault(entry.task.task_id, problem), next(ids, b""))
        died = end.message.outcome is TaskResultType.FAILED_WORKER_DIED
        again = entry.task.options.retry_deaths if died else end.to_retry
        again = again and not entry.asked and entry.failed < entry.task.options.retries
        if not entry.begun and (again or died or entry.failed):  # it ended before it was worth a sign, and counts
            self._presume_started(entry)
        if again:
            if end.words:
                self._say(TaskLog(entry.task.task_id, LogStream.STDERR, f"{end.words}\n"))
            self._handle(entry, Event.FAILED)
        else:
            self._handle(entry, Event.FETCHED, end.message)
        if end.message.outcome is TaskResultType.SUCCESS and self._dependencies.wanted(entry.task.task_id):
            self._arrive(entry.task.task_id, end.object_id)
        elif end.object_id:
            self._objects.delete(end.object_id)

    def _back_off(self, entry: Entry) -> None:
        del self._named[entry.name]
        entry.failed += 1
        entry.timers.append(self._loop.call_later(backoff(entry.failed), self._handle, entry, Event.BACKOFF_OVER))

    def _arrive(self, name: str, object_id: bytes) -> None:
        for entry in self._dependencies.arrive(name, Payload(object_id)):
            self._handle(entry, Event.INPUTS_THERE)

    # ------------------------------------------------------------------ its end

    def _over(self, entry: Entry, end: TaskResult | TaskCancelConfirm) -> None:
        self._forget(entry)
        self._say(end)
        if isinstance(end, TaskResult) and end.outcome is TaskResultType.SUCCESS:
            return
        origin = end.origin or end.task_id
        canceled = TaskCancelConfirmType.CANCELED
        told = (
            replace(end, origin=origin)
            if isinstance(end, TaskResult)
            else TaskCancelConfirm("", canceled, True, origin)
        )
        for dependant in self._dependencies.fail(end.task_id):  # each ends so too, as its own
            self._forget(dependant)
            self._say(replace(told, task_id=dependant.task.task_id))

    def _forget(self, entry: Entry) -> None:
        entry.stage = Stage.OVER
        self._asking.stop(entry)
        del self._entries[entry.task.task_id]
        self._named.pop(entry.name, None)
        self._dependencies.release(entry)
        self._objects.let_go(entry.stored)
