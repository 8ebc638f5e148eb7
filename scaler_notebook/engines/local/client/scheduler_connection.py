"""A client's connection to a scheduler: a channel on the agent's loop, and a watch on the scheduler's life."""

import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from scaler_notebook.engines.base import Deliver, Lost
from scaler_notebook.engines.local.ipc.fd_limits import FreeDescriptors
from scaler_notebook.engines.local.ipc.memory.shared_memory import map_segments
from scaler_notebook.engines.local.ipc.transport import Keys
from scaler_notebook.protocol.encoding.wire import CLIENT_CODEC, ENGINE_CODEC
from scaler_notebook.protocol.errors import EngineLostError, EngineStartError, ProtocolError
from scaler_notebook.protocol.exceptions import failures
from scaler_notebook.protocol.messages import (
    BuffersReceived,
    ClientMessage,
    EngineMessage,
    ObjectCreated,
    Payload,
    Task,
    TaskCancelConfirm,
    TaskCancelConfirmType,
    TaskResult,
)
from scaler_notebook.protocol.payload_cache import Sender, shortened

from .channels.channel import Channel, open_channel
from .object_transfers import ObjectTransfers
from .result_mapper import ResultMapper
from .segments import ClientSegments

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

# Longest time, in seconds, that one loop iteration drains the socket, so that outgoing cancels are not starved.
DRAIN_TIME = 0.01
LINGER = 0.5  # seconds that the last messages take at most, to a process on this machine
DESCRIPTORS = 20  # that a start or an attachment takes at most, those included that are soon closed
END_PATIENCE = 1.0  # seconds between the end of a scheduler's channel and that of its process, at most

log = logging.getLogger(__name__)


class SchedulerConnection(ABC):
    """A client's connection to a scheduler; a subclass says which scheduler that is.

    With a subclass's ``start``, ``slots`` and so on this is an :class:`~scaler_notebook.engines.base.Engine`.
    """

    def __init__(self) -> None:
        self._channel: Channel | None = None
        self._loop: AbstractEventLoop | None = None
        self._results: ResultMapper | None = None  # from :meth:`connect` on
        self._sender = Sender()
        self._segments = ClientSegments()
        self._objects = ObjectTransfers(self._segments)
        self._drain_is_scheduled = False
        self._linger = LINGER
        self._has_received = False  # set by every message, cleared by a subclass that watches for silence

    @abstractmethod
    def _endpoint(self) -> tuple[str, Keys | None]:
        """Return the address of the scheduler's socket, and the keys to the socket if it needs any."""

    @abstractmethod
    def _end_descriptor(self) -> int:
        """Return a descriptor that becomes readable when the scheduler ends."""

    @abstractmethod
    def _loss_message(self) -> str:
        """Return what to tell the user when the scheduler has ended: what has happened, and what to do."""

    def _check_descriptors(self) -> None:
        """Check that this process can open what a connection takes; where that fails in the middle, nobody says why.

        Raises
        ------
        EngineStartError
            There are not enough descriptors left.
        """
        if FreeDescriptors().may_lack(DESCRIPTORS):
            raise EngineStartError(
                "this process may open hardly any more files (ulimit -n), and a connection to an engine takes some: "
                "close files, or let go of large results. Nothing was submitted."
            )

    def _closed_message(self) -> str:
        """Return what to tell the user when the scheduler has closed the connection, and goes on."""
        return "the engine has closed the connection: it could not take what this client sent, or has ended"

    def connect(self, loop: "AbstractEventLoop", deliver: Deliver, lost: Lost) -> None:
        """Connect to the scheduler's socket from the agent's event loop.

        Raises
        ------
        EngineLostError
            The scheduler has ended meanwhile.
        """
        self._loop, self._deliver, self._lost = loop, deliver, lost
        self._results = ResultMapper(loop, self._deliver_late)
        try:
            self._channel = open_channel(*self._endpoint())
        except OSError as error:
            raise EngineLostError(self._loss_message()) from error
        self._channel.watch(loop, self._drain)
        self._end = self._end_descriptor()
        loop.add_reader(self._end, self._ended)

    # ------------------------------------------------------------------ buffers of tasks and objects

    def adopt(self, task: Task) -> tuple[Task, Task | None]:
        """Take over a task's buffers, and return the task to send, and the one for another try, None without room."""
        if not task.function.buffers and not task.arguments.buffers:
            return task, task
        task = self._segments.adopt(task)
        try:
            function, arguments = map_segments(task.function, anew=True), map_segments(task.arguments, anew=True)
            return task, replace(task, function=function, arguments=arguments)
        except (OSError, MemoryError):  # no room for both; or closed meanwhile: then the task fails, and says so
            return task, None

    def adopt_object(self, object_id: str, content: Payload) -> Payload:
        """Take over an object's buffers, on any thread, and return the content to send."""
        return self._objects.adopt(object_id, content)

    def disown(self, name: str) -> None:
        """Free what was taken over for a task or object that will not be sent, by its id."""
        self._segments.release(name)
        self._objects.disown(name)

    # ------------------------------------------------------------------ sending

    def send(self, messages: Sequence[ClientMessage]) -> None:
        """Queue a batch of messages for the scheduler, in order; do nothing without a connection."""
        if self._channel is None:
            return
        self._objects.release_disowned()
        self._send(self._channel, messages)

    def _send(self, channel: Channel, messages: Sequence[ClientMessage]) -> None:
        """Encode and send a batch of messages."""
        sender = self._sender
        try:
            frames = CLIENT_CODEC.encode([shortened(m, sender) if isinstance(m, Task) else m for m in messages])
        except Exception:
            # The old sender takes payloads for sent that were not. With a new one, the scheduler's end forgets what it
            # has been sent before.
            self._sender = Sender()
            raise
        channel.send(frames)

    # ------------------------------------------------------------------ receiving

    def _drain(self, everything: bool = False) -> None:
        """Deliver what has arrived, for at most :data:`DRAIN_TIME` seconds unless ``everything`` is asked for."""
        channel, loop, results = self._channel, self._loop, self._results
        if channel is None or loop is None or results is None:
            return
        end = math.inf if everything else time.monotonic() + DRAIN_TIME
        try:
            for frames in channel.receive():
                self._has_received = True
                messages = ENGINE_CODEC.decode(frames, self._malformed)
                self._deliver([m for m in map(self._prepare_safely, messages) if m is not None])
                if self._channel is None:
                    return
                if time.monotonic() > end:
                    self._schedule_drain(loop)
                    break
        except ProtocolError as error:
            self._fail(EngineLostError(f"the engine sent what is no message of ours ({error}): a bug in it"))
            return
        except MemoryError:  # a read that is repeated again and again would end no future
            self._fail(EngineLostError("this process has no memory for what the engine sent, and has left the engine"))
            return
        if received := results.take_received():
            self._send(channel, [BuffersReceived(received)])
        if channel.has_ended and not everything:
            loop.call_later(END_PATIENCE, self._fail, EngineLostError(self._closed_message()))

    def _schedule_drain(self, loop: "AbstractEventLoop") -> None:
        """Drain the channel once more in a later iteration of the loop; several calls before that are one."""
        if not self._drain_is_scheduled:
            self._drain_is_scheduled = True
            loop.call_soon(self._drain_as_scheduled)

    def _drain_as_scheduled(self) -> None:
        self._drain_is_scheduled = False
        self._drain()

    def _malformed(self, task_id: str, error: ProtocolError) -> None:
        """Fail the task that a malformed message is about."""
        log.error("the engine sent a malformed message about task %r: %s", task_id, error)
        problem = ProtocolError(f"the engine sent a malformed message about this task ({error}): a bug in the engine")
        self._deliver([failures.internal_failure(task_id, problem)])

    def _prepare_safely(self, message: EngineMessage) -> EngineMessage | None:
        """Do as :meth:`_prepare`; a message with which that cannot be done costs its own task alone."""
        try:
            return self._prepare(message)
        except Exception as error:  # a bug of ours; if it passed, what has arrived behind this message would stay there
            log.exception("%s could not be taken over", type(message).__name__)
            if not isinstance(message, TaskResult):
                return message
            problem = f"its result could not be taken over ({type(error).__name__}: {error}): a bug of ours"
            return failures.internal_failure(message.task_id, ProtocolError(problem))

    def _prepare(self, message: EngineMessage) -> EngineMessage | None:
        """Release what a message ends the need for, and return the message to deliver; None if that comes later."""
        if isinstance(message, TaskResult):
            self._segments.release(message.task_id)
            return self._results.map(message) if self._results is not None else message
        if isinstance(message, TaskCancelConfirm) and message.answer is not TaskCancelConfirmType.CANCEL_FAILED:
            self._segments.release(message.task_id)
        elif isinstance(message, ObjectCreated):
            self._objects.arrived(message.object_id)
        return message

    def _deliver_late(self, result: TaskResult) -> None:
        """Deliver a result that was mapped at a later try."""
        self._deliver([result])
        self._drain()  # sends BuffersReceived

    # ------------------------------------------------------------------ the end

    def _ended(self) -> None:
        """Deliver what the scheduler sent before its end, then report the loss."""
        self._drain(everything=True)
        self._fail(EngineLostError(self._loss_message()))

    def _fail(self, error: EngineLostError) -> None:
        """Close the connection, and report the loss of the engine once."""
        if self._channel is not None:
            self.close()
            self._lost(error)

    def close(self) -> None:
        """Disconnect, and free the segments of tasks. Idempotent."""
        channel, self._channel = self._channel, None
        if channel is not None and self._loop is not None and self._results is not None:
            self._results.close()
            self._loop.remove_reader(self._end)
            channel.close(self._linger)
            self._segments.close()
