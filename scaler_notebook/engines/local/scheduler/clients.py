"""The scheduler's clients: their requests and answers, results that they have not taken, and end."""

import logging
import os
import selectors
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from scaler_notebook.engines.local.ipc.memory.shared_memory import close_segments
from scaler_notebook.engines.local.ipc.runtime_directory import process_namespace
from scaler_notebook.engines.local.ipc.transport import Keys
from scaler_notebook.protocol import capabilities, devices
from scaler_notebook.protocol.encoding.wire import CLIENT_CODEC, ENGINE_CODEC
from scaler_notebook.protocol.errors import CapabilityError, ProtocolError
from scaler_notebook.protocol.exceptions import failures
from scaler_notebook.protocol.messages import (
    BuffersReceived,
    ClientContext,
    ClientDisconnect,
    ClientHello,
    ClientMessage,
    ClientPause,
    ClientShutdown,
    ClientShutdownResponse,
    ClientWithdraw,
    EngineHello,
    EngineMessage,
    EngineScale,
    EngineStatusRequest,
    EngineTasksRequest,
    ItemsTaken,
    ObjectCreate,
    ObjectCreated,
    ObjectDelete,
    Payload,
    SegmentRef,
    Task,
    TaskCancel,
    TaskCancelConfirm,
    TaskCancelConfirmType,
    TaskResult,
    TaskWaits,
)
from scaler_notebook.protocol.payload_cache import Receiver, completed

from .client_processes import ClientProcesses
from .core.core import Core
from .listeners.listener import open_listener
from .outgoing_messages import OutgoingMessages
from .processes import process_tree
from .untaken_results import UntakenResults

MAX_SLOTS = 10_000  # more is a mistake
MAX_UNTAKEN = 256 << 20  # bytes of results that a client has not taken; then none of its queued tasks starts
MAX_DEPARTED = 10_000  # clients that are gone and remembered
# Longest time, in seconds, that one loop iteration receives from clients, so that task processes are not starved.
RECEIVE_TIME = 0.01

log = logging.getLogger(__name__)


def _check_buffers(payload: Payload) -> None:
    """Raise a ProtocolError if a payload names memory of the scheduler, which is another client's."""
    for buffer in payload.buffers:
        if isinstance(buffer, SegmentRef) and buffer.pid == os.getpid():
            raise ProtocolError("it names memory of the scheduler")


class Clients:
    """All clients of one scheduler, behind one socket.

    Parameters
    ----------
    core
        Decides about requests.
    hello
        The answer to a client that attaches.
    selector
        The scheduler's; a key's data is called without arguments when its file is ready.
    directory
        The directory for a Unix socket.
    keys
        The keys to a TCP socket; None for a Unix socket.
    port
        The port of a TCP socket; 0 for any free one.
    """

    def __init__(
        self,
        core: Core,
        hello: EngineHello,
        selector: selectors.BaseSelector,
        directory: str,
        keys: Keys | None,
        port: int = 0,
    ) -> None:
        self.on_shutdown: Callable[[], None] | None = None  # called for ClientShutdown; None: that is refused
        self.catch_up: Callable[[int], None]  # handles what a process has said; set before a client is served
        self._core = core
        self._hello = hello
        self._capabilities = capabilities.as_dict(hello.capabilities)
        self._selector = selector
        self._outgoing = OutgoingMessages(lambda: core.overview.has_queue)
        self._receivers: defaultdict[bytes, Receiver] = defaultdict(Receiver)
        self._processes = ClientProcesses(selector, self._gone)
        self._host_processes: dict[bytes, int] = {}  # of each client that attached, the process that it runs in
        self._untaken = UntakenResults()
        self._paused: set[bytes] = set()  # clients that have asked for it
        self._full: set[bytes] = set()  # clients that leave too much untaken
        self._departed: dict[bytes, None] = {}  # the last clients to go: their messages may still be on the way
        self._users: set[bytes] = set()  # clients that have sent tasks or objects, or said in which context they run
        self._listener = open_listener(directory, selector, self._disconnected, keys, port)

    @property
    def address(self) -> str:
        """The address that clients connect to."""
        return self._listener.address

    @property
    def has_more(self) -> bool:
        """Whether :meth:`exchange` has more to receive."""
        return self._listener.has_more

    def close(self) -> None:
        """Close all connections."""
        self._listener.close()

    @property
    def deadline(self) -> float | None:
        """When :meth:`check_processes` and :meth:`exchange` are due, in monotonic seconds; None if they are not."""
        due = self._processes.deadline, self._outgoing.deadline, self._listener.deadline
        return min((each for each in due if each is not None), default=None)

    def check_processes(self) -> None:
        """Find clients whose process has ended without a message."""
        self._processes.check()

    # ------------------------------------------------------------------ messages

    def send(self, owner: bytes, message: EngineMessage) -> None:
        """Send a message with the next :meth:`exchange`.

        The segments of a result stay open until the client has taken them.

        Parameters
        ----------
        owner
            The client.
        message
            The message.
        """
        if isinstance(message, TaskResult) and message.payload.buffers:
            if owner in self._departed:
                close_segments(message.payload)
                return
            self._untaken.add(owner, message.payload)
        self._outgoing.put(owner, message)

    def exchange(self) -> None:
        """Receive and send messages until there are none, or for :data:`RECEIVE_TIME` seconds."""
        now = time.monotonic()
        for owner in [each for each in self._full if not self._leaves_much_untaken(each)]:
            self._full.discard(owner)
            self._hold_or_go_on(owner)
        self._flush_if_due(now)
        end = now + RECEIVE_TIME
        while self._listener.has_more or self._listener.deadline is not None:
            with self._core.batch():
                self._receive(end)
            self._flush_if_due(now := time.monotonic())
            if now > end or not self._listener.has_more:
                break

    def _receive(self, end: float) -> None:
        """Receive and handle messages until ``end``, in monotonic seconds."""
        for owner, frames in self._listener.receive():
            try:
                messages = CLIENT_CODEC.decode(frames, partial(self._malformed, owner))
            except ProtocolError as error:
                log.error("a client sent what is no message of ours: %s", error)
                continue
            for message in messages:
                try:
                    self._serve(owner, message)
                except Exception as error:  # a bug of ours: the other messages are handled all the same
                    log.exception("a client's %s could not be handled", type(message).__name__)
                    if isinstance(message, Task):
                        self._malformed(owner, message.task_id, error)
                    elif isinstance(message, TaskCancel):  # the task goes on, as far as is known
                        still = TaskCancelConfirmType.CANCEL_FAILED
                        self.send(owner, TaskCancelConfirm(message.task_id, still, message.force))
            if time.monotonic() > end:
                return

    def _serve(self, owner: bytes, message: ClientMessage) -> None:
        """Handle a message of a client."""
        home = self._host_processes.get(owner, 0)
        if home and self._core.overview.has_more(home):
            self.catch_up(home)  # a task that speaks here has begun after the end of the one before it was said
        match message:
            case ClientHello():
                self._departed.pop(owner, None)
                self.send(owner, self._hello)
                self._watch(owner, message)
            case _ if owner in self._departed:
                pass
            case Task():
                self._submit(owner, message)
            case TaskCancel():
                self._core.cancel(owner, message)
            case ClientContext():
                self._users.add(owner)
                self._core.set_context(owner, message)
            case BuffersReceived():
                self._untaken.end(owner, message.descriptors)
            case ObjectCreate():
                self._create(owner, message)
            case ObjectDelete():
                self._core.delete(owner, message.object_ids)
            case TaskWaits():
                self._core.task_waits(home, message.task_id, message.waits)
            case ItemsTaken():
                self._core.items_taken(owner, message.task_id, message.count)
            case ClientWithdraw():
                self._core.withdraw(owner)
            case ClientPause():
                self._users.add(owner)
                (self._paused.add if message.paused else self._paused.discard)(owner)
                self._hold_or_go_on(owner)
            case EngineStatusRequest():
                self.send(owner, self._core.status())
            case EngineTasksRequest():
                self.send(owner, self._core.overview.unfinished())
            case EngineScale():
                self._scale(owner, message.slots)
            case ClientShutdown():
                self.send(owner, ClientShutdownResponse(self.on_shutdown is not None))
                if self.on_shutdown is not None:
                    self.on_shutdown()
            case ClientDisconnect():
                self._gone(owner)

    def _flush_if_due(self, now: float) -> None:
        """Send every queued message, unless all may wait longer than ``now``, in monotonic seconds."""
        due = self._outgoing.deadline
        if due is not None and due <= now:
            self.flush()

    def flush(self) -> None:
        """Send every queued message, and hold the queues of clients that do not take their results."""
        taken = self._outgoing.take()
        for owner, messages in taken.items():
            try:
                self._send_now(owner, messages)
            except Exception:  # one message cannot be encoded: the others are sent all the same
                for message in messages:
                    try:
                        self._send_now(owner, [message])
                    except Exception as error:
                        log.exception("%s could not be sent", type(message).__name__)
                        if isinstance(message, TaskResult):
                            self._send_now(owner, [failures.internal_failure(message.task_id, error)])
        for owner in taken.keys() & self._users - self._full:
            if self._leaves_much_untaken(owner):
                self._full.add(owner)
                self._hold_or_go_on(owner)

    def _send_now(self, owner: bytes, messages: list[EngineMessage]) -> None:
        """Send messages to a client in one batch."""
        self._listener.send(owner, ENGINE_CODEC.encode(messages))

    def _leaves_much_untaken(self, owner: bytes) -> bool:
        """Return whether results of a client wait here that would fill the memory if more were added."""
        return self._listener.unread(owner) + self._untaken.size(owner) > MAX_UNTAKEN

    def _hold_or_go_on(self, owner: bytes) -> None:
        """Start none of a client's queued tasks while it has paused them, or does not take results; else go on."""
        self._core.pause(owner, owner in self._paused or owner in self._full)

    def _scale(self, owner: bytes, slots: int) -> None:
        """Change how many tasks run at the same time, and tell all clients.

        Parameters
        ----------
        owner
            The client that asks for it, which need be no user of the engine's.
        slots
            How many.
        """
        if not 0 < slots <= MAX_SLOTS:
            raise ProtocolError(f"nobody can have {slots} workers")
        self._core.scale(slots)
        self._hello = replace(self._hello, slots=slots)
        told = self._core.status()
        for client in {owner} | self._users | self._host_processes.keys():
            self.send(client, told)

    def _submit(self, owner: bytes, task: Task) -> None:
        """Check a task, and queue it; a task that is malformed fails."""
        self._users.add(owner)
        try:
            task = completed(task, self._receivers[owner])
            if self._core.overview.owner(task.task_id) is not None or (
                task.retain and self._core.is_named(owner, task.task_id)
            ):
                raise ProtocolError("its id is in use")
            if task.function.buffers or task.arguments.buffers:
                _check_buffers(task.function)
                _check_buffers(task.arguments)
            options = task.options
            if options.capabilities or options.gpus:
                capabilities.check(options.capabilities, self._capabilities)
                devices.check(options.gpus, self._hello.gpus)
        except (ProtocolError, CapabilityError) as error:
            self._malformed(owner, task.task_id, error)
            return
        self._core.submit(owner, task, self._host_processes.get(owner, 0))

    def _create(self, owner: bytes, message: ObjectCreate) -> None:
        """Retain an object of a client, and confirm that."""
        self._users.add(owner)
        try:
            _check_buffers(message.content)
            self._core.create(owner, message.object_id, message.content)
        except (OSError, ProtocolError) as error:  # a task that names it gets a missing object
            log.error("the object %s could not be kept: %s", message.object_id, error)
        self.send(owner, ObjectCreated(message.object_id))

    def _malformed(self, owner: bytes, task_id: str, error: Exception) -> None:
        """Fail the task that a malformed message is about, unless it is an unfinished task of the same client."""
        log.error("a client sent a malformed message about task %r: %s", task_id, error)
        # A task of the sender's that is known here goes on, and its result is still to come.
        if task_id and self._core.overview.owner(task_id) != owner:
            problem = ProtocolError(f"the client sent a malformed message about this task ({error}): a bug in it")
            self.send(owner, failures.internal_failure(task_id, problem))

    # ------------------------------------------------------------------ the end of a client

    def _watch(self, owner: bytes, client: ClientHello) -> None:
        """Watch the process of a client that attaches: the client is gone when that process ends."""
        peer = self._listener.process_of(owner)
        pid = peer or client.pid
        home = client.home or pid
        if not peer or home == peer or process_tree.is_within(peer, home):
            self._host_processes[owner] = home
        try:
            self._processes.add(owner, pid)
        except ProcessLookupError:
            if client.namespace in (0, process_namespace()):  # killed before the hello was read
                self._gone(owner)

    def _disconnected(self, owner: bytes) -> None:
        """Forget a client whose connection has ended, unless the client has said goodbye before."""
        if owner not in self._departed:
            self._gone(owner)

    def _gone(self, owner: bytes) -> None:
        """Forget a client, end its tasks, and close the results that it has not taken."""
        self._departed[owner] = None
        while len(self._departed) > MAX_DEPARTED:
            del self._departed[next(iter(self._departed))]
        self._host_processes.pop(owner, None)
        self._processes.remove(owner)
        if owner in self._users:
            self._users.discard(owner)
            self._core.client_gone(owner)
        self._receivers.pop(owner, None)
        self._untaken.end_all(owner)
        self._paused.discard(owner)
        self._full.discard(owner)
