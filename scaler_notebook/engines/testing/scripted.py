"""An engine within this process, for tests: it runs nothing, and a test says what happens to each task.

Every message goes through the codec of the wire, and every answer through the agent's own loop. So a test exercises the
whole client, as with an engine in other processes.
"""

from asyncio import AbstractEventLoop
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from scaler_notebook.engines.base import Deliver, Lost
from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.encoding.wire import CLIENT_CODEC, ENGINE_CODEC
from scaler_notebook.protocol.errors import EngineLostError, ProtocolError
from scaler_notebook.protocol.exceptions import failures
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
    TaskItem,
    TaskLog,
    TaskProgress,
)

from .agent_steps import AgentSteps
from .sent_messages import SentMessages
from .task_messages import TaskReference, displayed, failed, started, succeeded, task_id_of, worker_died


class MemoryEngine:
    """An engine that runs nothing by itself: a test says what happens to which task, and sees what the client sends.

    Tasks are named by their future, by any message about them, or by id. A method returns when the client has handled
    the message (at once if it is called on the agent's own thread), so that a test can look right away.

    Parameters
    ----------
    slots
        How many tasks the engine claims to run at the same time.
    capabilities
        The capabilities that the engine claims to have.

    Raises
    ------
    RuntimeError
        From every method that sends a message: no client is connected. One is from its first submit on, until it or the
        engine ends.
    TimeoutError
        From the same methods: the agent's thread is stuck.
    """

    def __init__(self, slots: int = 2, capabilities: Mapping[str, int] | None = None) -> None:
        self.slots = slots
        self.capabilities = capabilities or {}
        self.gpus: tuple[str, ...] | None = None
        self.limits_memory = self.scales = self.runs_here = False
        self.sends_items = self.can_pause = True
        self.address = "memory"
        self.sent = SentMessages()
        self.used = False  # a client has connected; an engine serves one
        self._steps = AgentSteps()
        self._cancel_requests: dict[str, bool] = {}  # the strongest unanswered request of each task

    # ------------------------------------------------------------------ what the agent calls

    def start(self) -> None:
        """Do nothing."""

    def connect(self, loop: AbstractEventLoop, deliver: Deliver, lost: Lost) -> None:
        """Connect from the agent's event loop.

        Parameters
        ----------
        loop
            The agent's loop.
        deliver
            Called with each batch of messages.
        lost
            Called with the reason when the engine ends.
        """
        self.used = True
        self._deliver, self._lost = deliver, lost
        self._steps.open(loop)

    def adopt(self, task: Task) -> tuple[Task, Task]:
        """Copy a task's buffers, and return the task to send, which also serves for another try."""
        task = replace(task, function=payloads.copied(task.function), arguments=payloads.copied(task.arguments))
        return task, task

    def adopt_object(self, object_id: str, content: Payload) -> Payload:
        """Copy an object's buffers, and return the content to send.

        Parameters
        ----------
        object_id
            The id of the object.
        content
            The pickled value.
        """
        return payloads.copied(content)

    def disown(self, name: str) -> None:
        """Do nothing: copies are freed with the messages that hold them."""

    def send(self, messages: Sequence[ClientMessage]) -> None:
        """Take a batch of messages from the client."""
        if self._steps.is_open:
            for message in CLIENT_CODEC.decode(_copied(CLIENT_CODEC.encode(messages))):
                self._receive(message)

    def close(self) -> None:
        """Disconnect."""
        self._steps.close()

    def join(self, timeout: float) -> bool:
        """Return True: nothing is left to wait for."""
        return True

    # ------------------------------------------------------------------ what happens to a task

    def start_task(self, which: TaskReference) -> None:
        """Start a task."""
        self.tell(started(task_id_of(which)))

    def finish(self, which: TaskReference, value: Any = None) -> None:
        """End a task with a value.

        Parameters
        ----------
        which
            The task.
        value
            The value, which is pickled as a task's result is.

        Raises
        ------
        Exception
            Whatever pickling the value raises.
        """
        self.tell(succeeded(task_id_of(which), value))

    def fail(self, which: TaskReference, error: BaseException) -> None:
        """End a task with an exception.

        Parameters
        ----------
        which
            The task.
        error
            The exception.
        """
        self.tell(failed(task_id_of(which), error))

    def worker_died(self, which: TaskReference, how: str = "task process 0 died: killed by SIGKILL") -> None:
        """End a task by the death of its process.

        Parameters
        ----------
        which
            The task.
        how
            The beginning of the error's message.
        """
        self.tell(worker_died(task_id_of(which), how))

    def log(self, which: TaskReference, text: str, stream: LogStream = LogStream.STDOUT) -> None:
        """Write text as a task.

        Parameters
        ----------
        which
            The task.
        text
            The text.
        stream
            The stream.
        """
        self.tell(TaskLog(task_id_of(which), stream, text))

    def display(
        self, which: TaskReference, bundle: Mapping[str, Any], metadata: Mapping[str, Any] | None = None
    ) -> None:
        """Display a MIME bundle as a task.

        Parameters
        ----------
        which
            The task.
        bundle
            The data by MIME type.
        metadata
            The metadata of the bundle.
        """
        self.tell(displayed(task_id_of(which), bundle, metadata))

    def progress(
        self,
        which: TaskReference,
        done: float,
        total: float = -1.0,
        note: str = "",
        rate: float = -1.0,
        unit: str = "",
    ) -> None:
        """Report progress as a task.

        Parameters
        ----------
        which
            The task.
        done
            How many steps are done.
        total
            How many steps there are; negative if unknown.
        note
            A few words for a person.
        rate
            How many steps are done in a second; negative if unknown.
        unit
            What a step is.
        """
        self.tell(TaskProgress(task_id_of(which), done, total, note, rate, unit))

    def give_item(self, which: TaskReference, item: Any) -> None:
        """Give an item as a task.

        Parameters
        ----------
        which
            The task.
        item
            The item, which is pickled.
        """
        self.tell(TaskItem(task_id_of(which), payloads.dump(item)))

    def confirm(
        self,
        which: TaskReference,
        answer: TaskCancelConfirmType = TaskCancelConfirmType.CANCELED,
        force: bool | None = None,
    ) -> None:
        """Answer a task's ``TaskCancel``, or withdraw the task unasked.

        Parameters
        ----------
        which
            The task.
        answer
            What became of the request.
        force
            The strength that is answered; by default that of the strongest unanswered request.
        """
        task_id = task_id_of(which)

        def answer_it() -> None:  # on the agent's thread: a request that was made before has arrived
            strongest = self._cancel_requests.pop(task_id, True)
            self._arrive(_frames(TaskCancelConfirm(task_id, answer, strongest if force is None else force)))

        self._steps.do(answer_it)

    def refuse(self, which: TaskReference, force: bool | None = None) -> None:
        """Answer a task's ``TaskCancel`` with ``CancelFailed``: the task still runs.

        Parameters
        ----------
        which
            The task.
        force
            The strength that is answered; by default that of the strongest unanswered request.
        """
        self.confirm(which, TaskCancelConfirmType.CANCEL_FAILED, force)

    def tell(self, *messages: EngineMessage) -> None:
        """Send messages of any kind, in one batch."""
        self.tell_frames(_frames(*messages))

    def tell_frames(self, frames: Sequence[Buffer]) -> None:
        """Send frames that need not be a message."""
        self._steps.do(lambda: self._arrive(frames))

    def die(self, error: BaseException | None = None) -> None:
        """Lose the engine, by default with an :class:`~scaler_notebook.EngineLostError`."""
        self._steps.do(lambda: self._end(error or EngineLostError("the engine died")))

    # ------------------------------------------------------------------ on the agent's thread

    def _receive(self, message: ClientMessage) -> None:
        if isinstance(message, TaskCancel):
            self._cancel_requests[message.task_id] = message.force or self._cancel_requests.get(message.task_id, False)
        self.sent.add(message)

    def _arrive(self, frames: Sequence[Buffer]) -> None:
        if not self._steps.is_open:
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
        if self._steps.is_open:
            self.close()
            self._lost(error)


def _frames(*messages: EngineMessage) -> list[Buffer]:
    return _copied(ENGINE_CODEC.encode(messages))


def _copied(frames: Sequence[Buffer]) -> list[Buffer]:
    """Return copies of frames, which can be written to, as if the frames had been sent."""
    return [bytearray(frame) for frame in frames]
