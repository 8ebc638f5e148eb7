"""An engine that runs tasks on threads of this process, for tests of notebook code."""

import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from scaler_notebook.engines.scheduling.dependencies import DependencyTracker
from scaler_notebook.protocol.messages import (
    ClientDisconnect,
    ClientMessage,
    ClientWithdraw,
    DisplayKind,
    EngineStatus,
    EngineStatusRequest,
    Initializer,
    ItemsTaken,
    ObjectCreate,
    ObjectDelete,
    Payload,
    Task,
    TaskCancel,
    TaskCancelConfirm,
    TaskCancelConfirmType,
    TaskDisplay,
    TaskItem,
    TaskResult,
    TaskResultType,
)
from scaler_notebook.task.current_task import CurrentTask
from scaler_notebook.task.runner import TaskCall, TaskRunner, Transport

from .scripted import MemoryEngine
from .task_messages import OWN_FILES
from .thread_items import ThreadItems


@dataclass(slots=True, eq=False)
class ThreadTaskRecord:
    """One task, from its arrival to its end."""

    task: Task
    owner: bytes = b""  # there is one client
    missing: int = 0  # dependencies that the task waits for
    cancel_requested: threading.Event = field(default_factory=threading.Event)
    items: ThreadItems = field(default_factory=ThreadItems)


class ThreadEngine(MemoryEngine):
    """An engine that runs tasks on threads: quick to start, and limited.

    The engine cannot: stop a running task (the task sees by :func:`~scaler_notebook.current_task` that it was asked,
    and the answer is ``CancelFailed`` at once, whatever the strength; queued tasks are taken back), keep a task's
    output with the task, run Python code on two cores, lend the slot of a task that waits, or heed priorities, retries,
    capabilities and hints. A generator that waits for its reader is stopped by a cancel all the same.

    Parameters
    ----------
    slots
        How many tasks run at the same time.
    capabilities
        The capabilities that the engine claims to have.
    """

    def __init__(self, slots: int = 2, capabilities: Mapping[str, int] | None = None) -> None:
        super().__init__(slots, capabilities)
        self.can_pause = False
        self._queue: OrderedDict[str, ThreadTaskRecord] = OrderedDict()
        self._waiting: dict[str, ThreadTaskRecord] = {}  # tasks that wait for inputs
        self._dependencies: DependencyTracker[ThreadTaskRecord] = DependencyTracker(_NoMemory())
        self._runner = TaskRunner(Transport(), OWN_FILES, per_thread=True)
        # Running tasks, each with its thread; changed on the agent's thread alone.
        self._threads: dict[str, tuple[threading.Thread, ThreadTaskRecord]] = {}

    def close(self) -> None:
        """Disconnect, and drop the tasks that have not started."""
        super().close()
        self._queue.clear()
        self._waiting.clear()
        for _, record in list(self._threads.values()):
            record.items.stop()

    def join(self, timeout: float) -> bool:
        """Wait until the running tasks have ended; return False if that took longer than ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        threads = [thread for thread, _ in list(self._threads.values())]
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _receive(self, message: ClientMessage) -> None:
        super()._receive(message)
        match message:
            case Task():
                self._accept(ThreadTaskRecord(message))
            case ObjectCreate():
                self._dependencies.create(b"", message.object_id, message.content)
            case ObjectDelete():
                self._dependencies.delete(b"", message.object_ids)
            case TaskCancel():
                self._answer(message.task_id)
            case ItemsTaken():
                record = self._find(message.task_id)
                if record is not None:
                    record.items.take(message.count)
            case ClientWithdraw():
                for task_id in list(self._queue):
                    self._answer(task_id)
            case EngineStatusRequest():
                self.tell(EngineStatus(self.slots, len(self._queue)))
            case ClientDisconnect():
                self._queue.clear()
                self._waiting.clear()

    def _accept(self, record: ThreadTaskRecord) -> None:
        """Queue a task, or let it wait for its inputs."""
        task = record.task
        unfinished = self._queue.keys() | self._waiting.keys() | self._threads.keys()
        lost = self._dependencies.add(record, unfinished.intersection(task.inputs))
        if lost:
            text = Payload("\n".join(lost).encode())
            self.tell(TaskResult(task.task_id, TaskResultType.MISSING_OBJECTS, text))
            return
        if task.retain:
            self._dependencies.expect(b"", task.task_id)
        (self._waiting if record.missing else self._queue)[task.task_id] = record
        self._dispatch()

    def _find(self, task_id: str) -> ThreadTaskRecord | None:
        """Return the record of an unfinished task; None if there is none."""
        if task_id in self._threads:
            return self._threads[task_id][1]
        return self._queue.get(task_id) or self._waiting.get(task_id)

    def _answer(self, task_id: str) -> None:
        """Answer a cancel request: take a queued task back, refuse for a running one."""
        if task_id in self._threads:
            _, running = self._threads[task_id]
            running.cancel_requested.set()
            running.items.stop()
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
        """End the tasks that depend on a task that has ended without a value, in the same way."""
        for record in self._dependencies.fail(b"", end.task_id):
            del self._waiting[record.task.task_id]
            self._dependencies.release(record)
            self.tell(replace(end, task_id=record.task.task_id))

    def _dispatch(self) -> None:
        """Start queued tasks on threads while there are slots."""
        while self._queue and len(self._threads) < self.slots:
            task_id, record = self._queue.popitem(last=False)
            self.start_task(task_id)
            name = f"scaler_notebook task {task_id}"
            # A daemon: a task that never ends must not keep the process from ending.
            record.items.to_client = partial(self._give_item, task_id)
            thread = threading.Thread(target=self._run, args=(record,), name=name, daemon=True)
            self._threads[task_id] = thread, record
            thread.start()

    def _give_item(self, task_id: str, value: Payload) -> None:
        """Send an item of a task, on the task's thread."""
        with contextlib.suppress(RuntimeError):  # the client has gone
            self._steps.post(lambda: self.tell(TaskItem(task_id, value)))

    def _run(self, record: ThreadTaskRecord) -> None:
        """Run a task on the calling thread, and report the end on the agent's thread."""
        task = record.task

        def report(done: float, total: float, note: str, rate: float, unit: str) -> None:
            with contextlib.suppress(RuntimeError):
                self._steps.post(lambda: self.progress(task.task_id, done, total, note, rate, unit))

        def publish(kind: DisplayKind, display_id: str, bundle: bytes, metadata: bytes) -> None:
            message = TaskDisplay(task.task_id, Payload(bundle), Payload(metadata), kind, display_id)
            with contextlib.suppress(RuntimeError):
                self._steps.post(lambda: self.tell(message))

        name = task.options.name
        this_task = CurrentTask(
            task.task_id, name, record.cancel_requested.is_set, reporter=report, publisher=publish, items=record.items
        )
        given = self._dependencies.values_of(record)
        call = TaskCall(task.task_id, name, task.function, task.arguments, given)
        finished, _ = self._runner.run(call, this_task, Initializer())
        outcome = TaskResultType.FAILED if finished.failure is not None else TaskResultType.SUCCESS
        result = TaskResult(task.task_id, outcome, finished.payload, summary=finished.summary.unaccompanied())

        def over() -> None:
            del self._threads[task.task_id]
            self._dependencies.release(record)
            self._finish(result, task.omit_value)
            self._dispatch()

        with contextlib.suppress(RuntimeError):  # the client has gone
            self._steps.post(over)

    def _finish(self, result: TaskResult, omit_value: bool) -> None:
        if result.outcome is not TaskResultType.SUCCESS:
            self.tell(result)
            self._fail_dependants(replace(result, origin=result.task_id))
            return
        for record in self._dependencies.arrive(b"", result.task_id, result.payload):
            self._queue[record.task.task_id] = self._waiting.pop(record.task.task_id)
        self.tell(replace(result, payload=Payload(b"")) if omit_value else result)


class _NoMemory:
    """A payload store that does nothing: payloads are ordinary objects of this process."""

    def retain_payload(self, payload: Payload) -> Payload:
        return payload

    def release_payload(self, payload: Payload) -> None:
        """Leave the memory to garbage collection."""
