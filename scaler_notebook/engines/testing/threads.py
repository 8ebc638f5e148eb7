"""An engine that runs tasks on threads of this process, for tests of notebook code."""

import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from scaler_notebook.engines.scheduling.dependencies import DependencyTracker
from scaler_notebook.protocol.messages import (
    ClientDisconnect,
    ClientMessage,
    ClientWithdraw,
    DisplayKind,
    EngineStatus,
    EngineStatusRequest,
    Initializer,
    ObjectCreate,
    ObjectDelete,
    Payload,
    Task,
    TaskCancel,
    TaskCancelConfirm,
    TaskCancelConfirmType,
    TaskDisplay,
    TaskResult,
    TaskResultType,
)
from scaler_notebook.task.current_task import CurrentTask
from scaler_notebook.task.runner import Call, TaskRunner, Transport

from .scripted import OWN_FILES, MemoryEngine


@dataclass(slots=True, eq=False)
class Record:
    """One task, from its arrival to its end."""

    task: Task
    owner: bytes = b""  # there is one client
    missing: int = 0  # dependencies that it waits for


class ThreadEngine(MemoryEngine):
    """Runs what is submitted, quick to start, and no more than that.

    What it cannot do: stop a running task (the task sees by :func:`~scaler_notebook.current_task` that it was asked,
    and the answer is ``CancelFailed`` at once, whatever the strength; queued tasks are taken back), keep a task's
    output with the task, run Python code on two cores, or heed priorities, retries, capabilities and hints.
    """

    def __init__(self, slots: int = 2, capabilities: Mapping[str, int] | None = None) -> None:
        super().__init__(slots, capabilities)
        self._queue: OrderedDict[str, Record] = OrderedDict()
        self._waiting: dict[str, Record] = {}  # for their inputs
        self._dependencies: DependencyTracker[Record] = DependencyTracker(_NoMemory())
        self._runner = TaskRunner(Transport(), OWN_FILES, of_thread=True)
        # Of running tasks, each with what its code sees of a cancel; changed on the agent's thread alone.
        self._threads: dict[str, tuple[threading.Thread, threading.Event]] = {}

    def close(self) -> None:
        super().close()
        self._queue.clear()
        self._waiting.clear()

    def join(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        threads = [thread for thread, _ in list(self._threads.values())]
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _receive(self, message: ClientMessage) -> None:
        super()._receive(message)
        match message:
            case Task():
                self._accept(Record(message))
            case ObjectCreate():
                self._dependencies.create(b"", message.object_id, message.content)
            case ObjectDelete():
                self._dependencies.delete(b"", message.object_ids)
            case TaskCancel():
                self._answer(message.task_id)
            case ClientWithdraw():
                for task_id in list(self._queue):
                    self._answer(task_id)
            case EngineStatusRequest():
                self.tell(EngineStatus(self.slots, len(self._queue)))
            case ClientDisconnect():
                self._queue.clear()
                self._waiting.clear()

    def _accept(self, record: Record) -> None:
        task = record.task
        unfinished = self._queue.keys() | self._waiting.keys() | self._threads.keys()
        lost = self._dependencies.add(record, unfinished.intersection(task.inputs))
        if lost:
            text = Payload("\n".join(lost).encode())
            self.tell(TaskResult(task.task_id, TaskResultType.MISSING_OBJECTS, text))
            return
        if task.keep:
            self._dependencies.expect(b"", task.task_id)
        (self._waiting if record.missing else self._queue)[task.task_id] = record
        self._dispatch()

    def _answer(self, task_id: str) -> None:
        if task_id in self._threads:
            self._threads[task_id][1].set()
            self.refuse(task_id)
            return
        record = self._queue.pop(task_id, None) or self._waiting.pop(task_id, None)
        if record is not None:
            self._dependencies.release(record)
            self.confirm(task_id)
            self._fail_dependants(TaskCancelConfirm(task_id, TaskCancelConfirmType.CANCELED, True, task_id))
        else:
            self.confirm(task_id, TaskCancelConfirmType.CANCEL_NOT_FOUND)

    def _fail_dependants(self, end: TaskResult | TaskCancelConfirm) -> None:
        """What needs the value of a task that has ended so ends so too."""
        for record in self._dependencies.fail(end.task_id):
            del self._waiting[record.task.task_id]
            self._dependencies.release(record)
            self.tell(replace(end, task_id=record.task.task_id))

    def _dispatch(self) -> None:
        while self._queue and len(self._threads) < self.slots:
            task_id, record = self._queue.popitem(last=False)
            self.start_task(task_id)
            name = f"scaler_notebook task {task_id}"
            # A daemon: a task that never ends must not keep the process from ending.
            asked = threading.Event()
            thread = threading.Thread(target=self._run, args=(record, asked), name=name, daemon=True)
            self._threads[task_id] = thread, asked
            thread.start()

    def _run(self, record: Record, asked: threading.Event) -> None:
        task = record.task

        def report(done: float, total: float, note: str) -> None:
            with contextlib.suppress(RuntimeError):
                self._post(lambda: self.progress(task.task_id, done, total, note))

        def publish(kind: DisplayKind, display_id: str, bundle: bytes, metadata: bytes) -> None:
            message = TaskDisplay(task.task_id, Payload(bundle), Payload(metadata), kind, display_id)
            with contextlib.suppress(RuntimeError):
                self._post(lambda: self.tell(message))

        name = task.options.name
        this_task = CurrentTask(task.task_id, name, asked.is_set, reporter=report, publisher=publish)
        given = self._dependencies.values_of(record)
        call = Call(task.task_id, name, task.function, task.arguments, given)
        finished, _ = self._runner.run(call, this_task, Initializer())
        outcome = TaskResultType.FAILED if finished.failure is not None else TaskResultType.SUCCESS
        result = TaskResult(task.task_id, outcome, finished.payload, summary=finished.summary.unaccompanied())

        def over() -> None:
            del self._threads[task.task_id]
            self._dependencies.release(record)
            self._hand_on(result, task.stays)
            self._dispatch()

        with contextlib.suppress(RuntimeError):  # the client has gone
            self._post(over)

    def _hand_on(self, result: TaskResult, stays: bool) -> None:
        if result.outcome is not TaskResultType.SUCCESS:
            self.tell(result)
            self._fail_dependants(replace(result, origin=result.task_id))
            return
        for record in self._dependencies.arrive(result.task_id, result.payload):
            self._queue[record.task.task_id] = self._waiting.pop(record.task.task_id)
        self.tell(replace(result, payload=Payload(b"")) if stays else result)


class _NoMemory:
    """What keeps the memory behind payloads where it is nobody else's."""

    def retain_payload(self, payload: Payload) -> Payload:
        return payload

    def release_payload(self, payload: Payload) -> None:
        """Garbage collection does."""
