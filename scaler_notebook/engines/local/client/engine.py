"""The client's side of the embedded engine: a zmq socket on the agent's loop, and a watch on the scheduler's life."""

import itertools
import logging
import math
import time
from abc import ABC, abstractmethod
from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace

import zmq

from scaler_notebook.engines.base import Deliver, Lost
from scaler_notebook.engines.local.ipc.memory.shared_memory import BadSegment, Segments, mapped
from scaler_notebook.engines.local.ipc.transport import Keys, connect
from scaler_notebook.engines.local.ipc.zmq_frames import received
from scaler_notebook.protocol import failures
from scaler_notebook.protocol.errors import EngineLostError, ProtocolError
from scaler_notebook.protocol.messages import (
    BuffersReceived,
    ClientMessage,
    EngineMessage,
    ObjectCreated,
    Payload,
    SegmentRef,
    Task,
    TaskCancelConfirm,
    TaskCancelConfirmType,
    TaskResult,
)
from scaler_notebook.protocol.payload_cache import Sender, shortened
from scaler_notebook.protocol.wire import CLIENT_CODEC, ENGINE_CODEC
from scaler_notebook.quantities import format_bytes

from .launcher import SchedulerProcess

ROOM_AGAIN = (0.1, 0.2, 0.5, 1.0, 2.0)  # seconds until a result for which there was no room is tried again
TURN = 0.01  # seconds for what has arrived, and then it is the turn of what else there is to do
LINGER = 500  # milliseconds for our last words, to a process on this machine

log = logging.getLogger(__name__)


def no_room(result: TaskResult, error: BaseException) -> MemoryError:
    """What a future fails with whose result has come to this machine, and cannot be had by this process."""
    size = sum(buffer.size for buffer in result.payload.buffers if isinstance(buffer, SegmentRef))
    return MemoryError(
        f"the task has ended, and its result of {format_bytes(size)} could not be taken over by this process "
        f"({type(error).__name__}: {error}): its descriptors (ulimit -n), its address space (ulimit -v) or the memory "
        "are used up. Close files or let go of results, and submit it again; or have the task return less."
    )


class _OnTheirWay:
    """Under which keys an object is on its way to the engine, and how often it has come there."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.arrived = 0


class SchedulerConnection(ABC):
    """A client's connection to a scheduler; what is missing to an engine is whose scheduler it is."""

    def __init__(self) -> None:
        self._socket: zmq.Socket[bytes] | None = None
        self._loop: AbstractEventLoop | None = None
        self._sender = Sender()
        self._segments = Segments()
        self._numbers = itertools.count()
        # Of objects, (id, key) and ids, from any thread; the rest is the agent's thread's, which never waits for those.
        self._adopted: deque[tuple[str, str]] = deque()
        self._disowned: deque[str] = deque()
        self._on_their_way: dict[str, _OnTheirWay] = {}  # of each object that the engine has not taken over, by id
        self._coming_back = False
        self._heard = False  # something has arrived since that was cleared
        self._returned: list[int] = []  # the engine's descriptors that we have mapped

    @abstractmethod
    def _endpoint(self) -> tuple[str, Keys | None]:
        """Where the scheduler is, and the keys to it."""

    @abstractmethod
    def _end_of_life(self) -> int:
        """A descriptor that becomes readable when the scheduler ends."""

    @abstractmethod
    def _lost_words(self) -> str:
        """What to tell the user then: what has happened, and what to do."""

    def connect(self, loop: AbstractEventLoop, deliver: Deliver, lost: Lost) -> None:
        self._loop, self._deliver, self._lost = loop, deliver, lost
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = LINGER
        self._socket.sndhwm = self._socket.rcvhwm = 0  # what is submitted is the user's decision; a bound would block
        connect(self._socket, *self._endpoint())
        self._fd = int(self._socket.getsockopt(zmq.FD))
        self._end = self._end_of_life()
        loop.add_reader(self._fd, self._drain)
        loop.add_reader(self._end, self._ended)

    def adopt(self, task: Task) -> tuple[Task, Task | None]:
        if not task.function.buffers and not task.arguments.buffers:
            return task, task
        task = self._segments.adopt(task)
        try:
            return task, replace(task, function=mapped(task.function), arguments=mapped(task.arguments))
        except (OSError, MemoryError):  # closed meanwhile: the task fails, and says so; or there is no room for both
            return task, None

    def adopt_object(self, object_id: str, content: Payload) -> Payload:
        # Under a key of its own each time: a value may be on its way to the engine more than once.
        key = f"{object_id} {next(self._numbers)}"
        self._adopted.append((object_id, key))
        return self._segments.adopt(Task(key, Payload(b""), content)).arguments

    def disown(self, name: str) -> None:
        self._segments.task_over(name)  # of a task; an object has keys
        if any(object_id == name for object_id, _ in self._adopted) or name in self._on_their_way:
            self._disowned.append(name)

    def _arrived(self, object_id: str) -> None:
        """One of those with this id; in which order they were sent nobody knows, so all are freed with the last."""
        while self._adopted:
            adopted, key = self._adopted.popleft()
            self._on_their_way.setdefault(adopted, _OnTheirWay()).keys.append(key)
        sent = self._on_their_way.get(object_id)
        if sent is None:
            log.error("the engine has an object %r that it was not sent: a bug in the engine", object_id)
            return
        sent.arrived += 1
        if sent.arrived == len(sent.keys):
            del self._on_their_way[object_id]
            for key in sent.keys:
                self._segments.task_over(key)

    def send(self, messages: Sequence[ClientMessage]) -> None:
        if self._socket is None:
            return
        while self._disowned:
            self._arrived(self._disowned.popleft())
        self._put(self._socket, messages)
        self._drain()  # the descriptor is edge-triggered: what came while we sent would never wake us

    def _put(self, socket: "zmq.Socket[bytes]", messages: Sequence[ClientMessage]) -> None:
        sender = self._sender
        try:
            frames = CLIENT_CODEC.encode([shortened(m, sender) if isinstance(m, Task) else m for m in messages])
        except Exception:
            self._sender = Sender()  # it believes sent what was not; the other end forgets its older memories first
            raise
        socket.send_multipart(frames, zmq.NOBLOCK, copy=len(frames) == 1)

    def _drain(self, everything: bool = False) -> None:
        """Take what has arrived; what keeps arriving must not keep back what we have to say, a cancel above all."""
        if self._socket is None or self._loop is None:
            return
        end = math.inf if everything else time.monotonic() + TURN
        for frames in received(self._socket, plain=1, writable=True):
            self._heard = True
            try:
                messages = ENGINE_CODEC.decode(frames, self._malformed)
            except ProtocolError as error:
                self._fail(EngineLostError(f"the engine sent what is no message of ours ({error}): a bug in it"))
                return
            self._deliver([m for m in map(self._received, messages) if m is not None])
            if self._socket is None:
                return
            if time.monotonic() > end:
                self._come_back(self._loop)
                break
        if self._returned:
            returned, self._returned = self._returned, []
            self._put(self._socket, [BuffersReceived(tuple(returned))])
            self._come_back(self._loop)

    def _come_back(self, loop: AbstractEventLoop) -> None:
        """Take more in a turn to come: one, however many ask for it."""
        if not self._coming_back:
            self._coming_back = True
            loop.call_soon(self._back)

    def _back(self) -> None:
        self._coming_back = False
        self._drain()

    def _malformed(self, task_id: str, error: ProtocolError) -> None:
        log.error("the engine sent a malformed message about task %r: %s", task_id, error)
        problem = ProtocolError(f"the engine sent a malformed message about this task ({error}): a bug in the engine")
        self._deliver([failures.our_fault(task_id, problem)])

    def _received(self, message: EngineMessage) -> EngineMessage | None:
        """Make a result independent of the engine before anybody hears of it; None if that is not to be had yet."""
        if isinstance(message, TaskResult):
            self._segments.task_over(message.task_id)
            return self._taken(message, 0)
        if isinstance(message, TaskCancelConfirm) and message.answer is not TaskCancelConfirmType.CANCEL_FAILED:
            self._segments.task_over(message.task_id)
        elif isinstance(message, ObjectCreated):
            self._arrived(message.object_id)
        return message

    def _taken(self, result: TaskResult, tried: int) -> TaskResult | None:
        """A result with its segments mapped. Where there is no room for them, they are tried again, then it fails."""
        lent = [b.descriptor for b in result.payload.buffers if isinstance(b, SegmentRef)]
        if not lent:
            return result
        try:
            taken = replace(result, payload=mapped(result.payload))
        except (OSError, MemoryError) as error:
            if isinstance(error, BadSegment):
                problem = f"its result is none that could be taken over ({error.strerror}): a bug in the engine"
                return failures.our_fault(result.task_id, ProtocolError(problem))
            if isinstance(error, FileNotFoundError | ProcessLookupError):
                log.warning("the result of %s is lost with the scheduler: %s", result.task_id, error)
                return None  # as its future is, in a moment
            if self._loop is not None and tried < len(ROOM_AGAIN):
                self._loop.call_later(ROOM_AGAIN[tried], self._take_again, result, tried + 1)
                return None
            taken = failures.our_fault(result.task_id, no_room(result, error))
        self._returned += lent
        return taken

    def _take_again(self, result: TaskResult, tried: int) -> None:
        if self._socket is None:
            return
        taken = self._taken(result, tried)
        if taken is not None:
            self._deliver([taken])
            self._drain()  # gives back what was lent

    def _ended(self) -> None:
        self._drain(everything=True)
        self._fail(EngineLostError(self._lost_words()))

    def _fail(self, error: EngineLostError) -> None:
        if self._socket is not None:
            self.close()
            self._lost(error)

    def close(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None and self._loop is not None:
            self._loop.remove_reader(self._fd)
            self._loop.remove_reader(self._end)
            socket.close()
            self._context.term()
            self._segments.close()


class EmbeddedEngine(SchedulerConnection):
    """The engine of one kernel: owns its scheduler. Implements :class:`~scaler_notebook.engines.base.Engine`.

    Parameters
    ----------
    slots
        How many tasks run at the same time.
    capabilities
        What they share.
    max_runs
        How many tasks a process runs before another takes its place; None: as many as come.
    """

    def __init__(self, slots: int, capabilities: Mapping[str, int], max_runs: int | None = None) -> None:
        super().__init__()
        self.slots = slots
        self.capabilities = capabilities
        self.limits_memory = True
        self.scheduler = SchedulerProcess(slots, capabilities, max_runs=max_runs)

    @property
    def address(self) -> str:
        return self.scheduler.address

    def start(self) -> None:
        self.scheduler.start()

    def _endpoint(self) -> tuple[str, Keys | None]:
        return self.scheduler.endpoint, self.scheduler.keys

    def _end_of_life(self) -> int:
        return self.scheduler.end_of_life()

    def _lost_words(self) -> str:
        return (
            "the scheduler process died; what it ran was stopped with it. Submit again: the executor starts a new "
            f"one.{self.scheduler.log_tail()}"
        )

    def close(self) -> None:
        self.scheduler.cut_lifeline()
        super().close()

    def join(self, timeout: float) -> bool:
        return self.scheduler.join(timeout)
