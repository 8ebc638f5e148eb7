"""An engine within this process, for tests: it runs nothing, and is told what happens to each task.

Every message goes through the wire's codec, and every answer through the agent's own loop: what is exercised is all of
the client, as with an engine in other processes.
"""

import json
import threading
import time
from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

from scaler_notebook.engines.base import Deliver, Lost
from scaler_notebook.protocol import failures, payloads
from scaler_notebook.protocol.errors import EngineLostError, ProtocolError
from scaler_notebook.protocol.messages import (
    Buffer,
    ClientMessage,
    EngineMessage,
    LogStream,
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
from scaler_notebook.protocol.wire import CLIENT_CODEC, ENGINE_CODEC
from scaler_notebook.task.display.summary import summary

PATIENCE = 5.0  # seconds that anything here waits unless told otherwise; all of it takes microseconds
OWN_FILES = (str(Path(__file__).parents[2]),)

M = TypeVar("M", bound=ClientMessage)
Step = Callable[[], None]


class HasTaskId(Protocol):
    """A future, or a message about a task."""

    @property
    def task_id(self) -> str: ...


TaskReference: TypeAlias = str | HasTaskId


def task_id_of(which: TaskReference) -> str:
    """The id of a task that is named by its future, by a message, or by the id itself."""
    return which if isinstance(which, str) else which.task_id


def started(task_id: str) -> TaskStarted:
    """The task runs."""
    return TaskStarted(task_id, "memory", time.time())


def succeeded(task_id: str, value: Any) -> TaskResult:
    """It returned ``value``. Raises what pickling the value raises."""
    return TaskResult(task_id, TaskResultType.SUCCESS, payloads.dump(value), summary=summary(value).unaccompanied())


def failed(task_id: str, error: BaseException) -> TaskResult:
    """It raised ``error``."""
    return TaskResult(task_id, TaskResultType.FAILED, payloads.dump(failures.capture(error, OWN_FILES)))


def displayed(task_id: str, bundle: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> TaskDisplay:
    """It displays a MIME bundle."""
    data, about = (json.dumps(dict(part or {})).encode() for part in (bundle, metadata))
    return TaskDisplay(task_id, Payload(data), Payload(about))


def worker_died(task_id: str, how: str) -> TaskResult:
    """The process that ran it died; ``how`` is the beginning of the error's message."""
    return TaskResult(task_id, TaskResultType.FAILED_WORKER_DIED, Payload(how.encode()))


class SentMessages:
    """What the client has sent, in order."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._all: list[ClientMessage] = []
        self._untaken: list[ClientMessage] = []

    def add(self, message: ClientMessage) -> None:
        """For the engine."""
        with self._condition:
            self._all.append(message)
            self._untaken.append(message)
            self._condition.notify_all()

    def all(self, kind: type[M]) -> list[M]:
        """Every message of a class that has arrived so far."""
        with self._condition:
            return [message for message in self._all if isinstance(message, kind)]

    def next(self, kind: type[M], timeout: float = PATIENCE) -> M:
        """The oldest message of a class that this method has not given yet; waits for it.

        Raises
        ------
        TimeoutError
            None came within ``timeout`` seconds.
        """

        def position() -> int:
            fits = (i for i, message in enumerate(self._untaken) if isinstance(message, kind))
            return next(fits, -1)

        with self._condition:
            if not self._condition.wait_for(lambda: position() >= 0, timeout):
                names = ", ".join(type(message).__name__ for message in self._all) or "nothing"
                raise TimeoutError(f"the client sent no {kind.__name__} within {timeout} s; what it sent: {names}")
            found = self._untaken.pop(position())
        assert isinstance(found, kind)
        return found


class MemoryEngine:
    """Runs nothing by itself: whoever holds it says what happens to which task, and sees what the client sends.

    Tasks are named by their future, by any message about them, or by id. A method returns when the client has
    handled what it was told (at once if it is called on the agent's own thread), so that a test can look right away.

    Parameters
    ----------
    slots
        How many tasks it claims to run at the same time.
    capabilities
        What it claims to have for them.

    Raises
    ------
    RuntimeError
        From every method that tells the client something: no client is connected. One is from its first submit on,
        until it or the engine ends.
    TimeoutError
        From the same: the agent's thread is stuck.
    """

    def __init__(self, slots: int = 2, capabilities: Mapping[str, int] | None = None) -> None:
        self.slots = slots
        self.capabilities = capabilities or {}
        self.limits_memory = False
        self.address = "memory"
        self.sent = SentMessages()
        self.used = False  # a client has connected; an engine serves one
        self._mutex = threading.Lock()
        self._loop: AbstractEventLoop | None = None
        self._steps: deque[tuple[Step, threading.Event]] = deque()
        self._cancel_requests: dict[str, bool] = {}  # the strongest cancel of a task that was not answered

    # ------------------------------------------------------------------ what the agent calls

    def start(self) -> None:
        pass

    def connect(self, loop: AbstractEventLoop, deliver: Deliver, lost: Lost) -> None:
        self.used = True
        self._thread = threading.current_thread()
        self._deliver, self._lost = deliver, lost
        self._loop = loop

    def adopt(self, task: Task) -> tuple[Task, Task]:
        task = replace(task, function=payloads.copied(task.function), arguments=payloads.copied(task.arguments))
        return task, task

    def adopt_object(self, object_id: str, content: Payload) -> Payload:
        return payloads.copied(content)

    def disown(self, name: str) -> None:
        """Nothing is kept."""

    def send(self, messages: Sequence[ClientMessage]) -> None:
        if self._loop is not None:
            for message in CLIENT_CODEC.decode(_copied(CLIENT_CODEC.encode(messages))):
                self._receive(message)

    def close(self) -> None:
        with self._mutex:
            self._loop = None
            steps, self._steps = self._steps, deque()
        for _, done in steps:
            done.set()

    def join(self, timeout: float) -> bool:
        return True

    # ------------------------------------------------------------------ what happens to a task

    def start_task(self, which: TaskReference) -> None:
        """It runs."""
        self.tell(started(task_id_of(which)))

    def finish(self, which: TaskReference, value: Any = None) -> None:
        """It returned ``value``, which is pickled as a task's result is; raises what that raises."""
        self.tell(succeeded(task_id_of(which), value))

    def fail(self, which: TaskReference, error: BaseException) -> None:
        """It raised ``error``."""
        self.tell(failed(task_id_of(which), error))

    def worker_died(self, which: TaskReference, how: str = "task process 0 died: killed by SIGKILL") -> None:
        """The process that ran it died."""
        self.tell(worker_died(task_id_of(which), how))

    def log(self, which: TaskReference, text: str, stream: LogStream = LogStream.STDOUT) -> None:
        """It wrote ``text``."""
        self.tell(TaskLog(task_id_of(which), stream, text))

    def display(
        self, which: TaskReference, bundle: Mapping[str, Any], metadata: Mapping[str, Any] | None = None
    ) -> None:
        """It displays a MIME bundle."""
        self.tell(displayed(task_id_of(which), bundle, metadata))

    def progress(self, which: TaskReference, done: float, total: float = -1.0, note: str = "") -> None:
        """It says how far it is."""
        self.tell(TaskProgress(task_id_of(which), done, total, note))

    def confirm(
        self,
        which: TaskReference,
        answer: TaskCancelConfirmType = TaskCancelConfirmType.CANCELED,
        force: bool | None = None,
    ) -> None:
        """Answer its ``TaskCancel``, or withdraw the task unasked.

        Parameters
        ----------
        answer
            What became of the request.
        force
            The strength that is answered; by default that of the strongest request outstanding.
        """
        task_id = task_id_of(which)

        def answer_it() -> None:  # on the agent's thread: a request that was made before has arrived
            asked = self._cancel_requests.pop(task_id, True)
            self._arrive(_frames(TaskCancelConfirm(task_id, answer, asked if force is None else force)))

        self._do(answer_it)

    def refuse(self, which: TaskReference, force: bool | None = None) -> None:
        """Answer its ``TaskCancel``: it still runs."""
        self.confirm(which, TaskCancelConfirmType.CANCEL_FAILED, force)

    def tell(self, *messages: EngineMessage) -> None:
        """Send messages of any kind, in one batch."""
        self.tell_frames(_frames(*messages))

    def tell_frames(self, frames: Sequence[Buffer]) -> None:
        """Send what may be no message at all."""
        self._do(lambda: self._arrive(frames))

    def die(self, error: BaseException | None = None) -> None:
        """The engine is lost; by default with an :class:`~scaler_notebook.EngineLostError`."""
        self._do(lambda: self._end(error or EngineLostError("the engine died")))

    # ------------------------------------------------------------------ on the agent's thread

    def _receive(self, message: ClientMessage) -> None:
        if isinstance(message, TaskCancel):
            self._cancel_requests[message.task_id] = message.force or self._cancel_requests.get(message.task_id, False)
        self.sent.add(message)

    def _arrive(self, frames: Sequence[Buffer]) -> None:
        if self._loop is None:
            return
        try:
            messages = ENGINE_CODEC.decode(frames, self._malformed)
        except ProtocolError as error:
            self._end(EngineLostError(f"the engine sent what is no message of ours ({error}): a bug in it"))
        else:
            self._deliver(messages)

    def _malformed(self, task_id: str, error: ProtocolError) -> None:
        problem = ProtocolError(f"the engine sent a malformed message about this task ({error}): a bug in the engine")
        self._deliver([failures.internal_failure(task_id, problem)])

    def _end(self, error: BaseException) -> None:
        if self._loop is not None:
            self.close()
            self._lost(error)

    def _work(self) -> None:
        if not self._steps:  # the engine was closed meanwhile
            return
        step, done = self._steps.popleft()
        try:
            step()
        finally:
            done.set()

    # ------------------------------------------------------------------ on any thread

    def _post(self, step: Step) -> threading.Event:
        done = threading.Event()
        with self._mutex:  # the loop is closed only after close() has been here
            if self._loop is None:
                raise RuntimeError(
                    "no client is connected: it is from its first submit on, until it or the engine ends"
                )
            self._steps.append((step, done))
            self._loop.call_soon_threadsafe(self._work)
        return done

    def _do(self, step: Step) -> None:
        done = self._post(step)
        if threading.current_thread() is not self._thread and not done.wait(PATIENCE):
            raise TimeoutError(f"the agent's thread did not take it within {PATIENCE} s: is it blocked?")


def _frames(*messages: EngineMessage) -> list[Buffer]:
    return _copied(ENGINE_CODEC.encode(messages))


def _copied(frames: Sequence[Buffer]) -> list[Buffer]:
    """As if they had been sent: in memory of their own, which can be written to."""
    return [bytearray(frame) for frame in frames]
