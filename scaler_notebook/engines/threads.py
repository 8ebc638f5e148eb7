"""An engine that runs tasks on threads of this process, for tests of notebook code."""

import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping

from ..protocol import payloads
from ..protocol.messages import (
    ClientDisconnect,
    ClientMessage,
    DisplayKind,
    EngineStatus,
    EngineStatusRequest,
    Payload,
    Task,
    TaskCancel,
    TaskCancelConfirmType,
    TaskDisplay,
    TaskResult,
    TaskResultType,
)
from . import current_task
from .memory import MemoryEngine, failed


class ThreadEngine(MemoryEngine):
    """Runs what is submitted, quick to start, and no more than that.

    What it cannot do: stop a running task (the task sees by :func:`~scaler_notebook.current_task` that it was asked,
    and the answer is ``CancelFailed`` at once, whatever the strength; queued tasks are taken back), keep a task's
    output with the task, run Python code on two cores, or heed priorities, retries, capabilities and hints.
    """

    def __init__(self, slots: int = 2, capabilities: Mapping[str, int] | None = None) -> None:
        super().__init__(slots, capabilities)
        self._queue: OrderedDict[str, Task] = OrderedDict()
        # Of running tasks, each with what its code sees of a cancel; changed on the agent's thread alone.
        self._threads: dict[str, tuple[threading.Thread, threading.Event]] = {}

    def close(self) -> None:
        super().close()
        self._queue.clear()

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
                self._queue[message.task_id] = message
                self._dispatch()
            case TaskCancel():
                self._answer(message.task_id)
            case EngineStatusRequest():
                self.tell(EngineStatus(self.slots, len(self._queue)))
            case ClientDisconnect():
                self._queue.clear()

    def _answer(self, task_id: str) -> None:
        if task_id in self._threads:
            self._threads[task_id][1].set()
            self.refuse(task_id)
        elif self._queue.pop(task_id, None) is not None:
            self.confirm(task_id)
        else:
            self.confirm(task_id, TaskCancelConfirmType.CANCEL_NOT_FOUND)

    def _dispatch(self) -> None:
        while self._queue and len(self._threads) < self.slots:
            task_id, task = self._queue.popitem(last=False)
            self.start_task(task_id)
            name = f"scaler_notebook task {task_id}"
            # A daemon: a task that never ends must not keep the process from ending.
            asked = threading.Event()
            thread = threading.Thread(target=self._run, args=(task, asked), name=name, daemon=True)
            self._threads[task_id] = thread, asked
            thread.start()

    def _run(self, task: Task, asked: threading.Event) -> None:
        def report(done: float, total: float, note: str) -> None:
            with contextlib.suppress(RuntimeError):
                self._post(lambda: self.progress(task.task_id, done, total, note))

        def publish(kind: DisplayKind, display_id: str, bundle: bytes, metadata: bytes) -> None:
            message = TaskDisplay(task.task_id, Payload(bundle), Payload(metadata), kind, display_id)
            with contextlib.suppress(RuntimeError):
                self._post(lambda: self.tell(message))

        name = task.options.name
        this_task = current_task.CurrentTask(task.task_id, name, asked.is_set, reporter=report, publisher=publish)
        current_task.begin_here(this_task)
        try:
            value = payloads.call(task.function, task.arguments, name)
            result = TaskResult(task.task_id, TaskResultType.SUCCESS, value)
        except BaseException as error:  # SystemExit too: it is the task's, not the thread's
            result = failed(task.task_id, error)

        def over() -> None:
            del self._threads[task.task_id]
            self.tell(result)
            self._dispatch()

        with contextlib.suppress(RuntimeError):  # the client has gone
            self._post(over)
