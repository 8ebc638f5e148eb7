"""The scheduler's clients: their socket, what they ask for, what they are told, and what they leave behind.

Imported after the fork server has started and not before: libzmq's threads do not survive a fork.
"""

import logging
import os
import selectors
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial

import zmq

from scaler_notebook.engines.local.ipc.memory.shared_memory import close_all, free
from scaler_notebook.engines.local.ipc.runtime_directory import process_namespace
from scaler_notebook.engines.local.ipc.transport import Keys, bind
from scaler_notebook.engines.local.ipc.zmq_frames import received
from scaler_notebook.protocol import capabilities, failures
from scaler_notebook.protocol.errors import CapabilityError, ProtocolError
from scaler_notebook.protocol.messages import (
    BuffersReceived,
    ClientContext,
    ClientDisconnect,
    ClientHello,
    ClientMessage,
    ClientShutdown,
    ClientShutdownResponse,
    ClientWithdraw,
    EngineHello,
    EngineMessage,
    EngineStatusRequest,
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
from scaler_notebook.protocol.wire import CLIENT_CODEC, ENGINE_CODEC

from .client_processes import ClientProcesses
from .core.core import Core
from .processes import process_tree

MOST_DEPARTED = 10_000  # clients that have gone and are remembered
TURN = 0.01  # seconds for what clients say, and then it is the turn of tasks

log = logging.getLogger(__name__)


def _check_buffers(*payloads: Payload) -> None:
    """Raise a ProtocolError where a client names memory of the scheduler: that is another client's."""
    for payload in payloads:
        for buffer in payload.buffers:
            if isinstance(buffer, SegmentRef) and buffer.pid == os.getpid():
                raise ProtocolError("it names memory of the scheduler")


class Clients:
    """All clients of one scheduler, behind one socket.

    Parameters
    ----------
    core
        What they ask for goes there.
    hello
        What those who attach are told of it.
    selector
        The scheduler's; a key's data is called without arguments when its file is ready.
    directory
        Where the socket is made, unless there are keys.
    keys, port
        Of a TCP socket.
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
        self.on_shutdown: Callable[[], None] | None = None  # what a client's ClientShutdown does; None: it is refused
        self.waiting = False  # there may be more that nothing wakes us for
        self._core = core
        self._hello = hello
        self._capabilities = capabilities.as_dict(hello.capabilities)
        self._selector = selector
        self._outgoing: defaultdict[bytes, list[EngineMessage]] = defaultdict(list)
        self._receivers: defaultdict[bytes, Receiver] = defaultdict(Receiver)
        self._peers: dict[bytes, int] = {}  # of each client its process, as the system says it; 0 if it does not
        self._processes = ClientProcesses(selector, self._gone)
        self._homes: dict[bytes, int] = {}  # of each client that attached, the task process or other that it is in
        self._leased: dict[int, bytes] = {}  # descriptors of results that their client has not mapped yet
        self._departed: dict[bytes, None] = {}  # what they had sent may still be on its way; the latest
        self._context = zmq.Context()
        self._socket = socket = self._context.socket(zmq.ROUTER)
        socket.linger = 0
        socket.sndhwm = socket.rcvhwm = 0  # a bound would drop confirmations; memory is bounded by the tasks
        self.address = bind(socket, directory, keys, port)
        selector.register(int(socket.getsockopt(zmq.FD)), selectors.EVENT_READ, lambda: None)

    def close(self) -> None:
        """Receive and send nothing more."""
        self._socket.close()

    @property
    def deadline(self) -> float | None:
        """When :meth:`check_processes` must be called, in monotonic seconds; None: it need not be."""
        return self._processes.deadline

    def check_processes(self) -> None:
        """Look for clients that have died without a word."""
        self._processes.check()

    # ------------------------------------------------------------------ messages

    def send(self, owner: bytes, message: EngineMessage) -> None:
        """Send a message with the next :meth:`exchange`; the client has a lease of the memory behind a result."""
        if isinstance(message, TaskResult) and message.payload.buffers:
            if owner in self._departed:
                free(message.payload)
                return
            leased = [buffer.descriptor for buffer in message.payload.buffers if isinstance(buffer, SegmentRef)]
            self._leased.update(dict.fromkeys(leased, owner))
        self._outgoing[owner].append(message)

    def exchange(self) -> None:
        """Take what has arrived and send what is to be told, until there is neither, or for long enough.

        ``waiting`` says whether to come back without being woken.
        """
        # zmq's descriptor is edge-triggered: what came while we sent would never wake us.
        end = time.monotonic() + TURN
        while self._receive(end) or self._outgoing:
            self._flush()
            if self.waiting:
                break

    def _receive(self, end: float) -> bool:
        """Take what clients sent; True if there was anything."""
        got = self.waiting = False
        for frame, *frames in received(self._socket, plain=2, writable=False, peers=self._peers):
            got = True
            owner = bytes(frame)
            try:
                messages = CLIENT_CODEC.decode(frames, partial(self._malformed, owner))
            except ProtocolError as error:
                log.error("a client sent what is no message of ours: %s", error)
                continue
            for message in messages:
                try:
                    self._serve(owner, message)
                except Exception as error:  # a bug of ours is this message's trouble, and nobody else's
                    log.exception("a client's %s could not be handled", type(message).__name__)
                    if isinstance(message, Task):
                        self._malformed(owner, message.task_id, error)
                    elif isinstance(message, TaskCancel):  # it goes on, as far as anybody knows; and may be asked again
                        still = TaskCancelConfirmType.CANCEL_FAILED
                        self.send(owner, TaskCancelConfirm(message.task_id, still, message.force))
            if time.monotonic() > end:
                self.waiting = True
                break
        return got

    def _serve(self, owner: bytes, message: ClientMessage) -> None:
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
                self._core.move(owner, message)
            case BuffersReceived():
                self._take_back(owner, message.descriptors)
            case ObjectCreate():
                self._create(owner, message)
            case ObjectDelete():
                self._core.delete(owner, message.object_ids)
            case TaskWaits():
                home = self._homes.get(owner, 0)
                self._core.task_waits(home, message.task_id, message.waits)
            case ClientWithdraw():
                self._core.withdraw(owner)
            case EngineStatusRequest():
                self.send(owner, self._core.status())
            case ClientShutdown():
                self.send(owner, ClientShutdownResponse(self.on_shutdown is not None))
                if self.on_shutdown is not None:
                    self.on_shutdown()
            case ClientDisconnect():
                self._gone(owner)

    def _flush(self) -> None:
        mail, self._outgoing = self._outgoing, defaultdict(list)
        for owner, messages in mail.items():
            try:
                self._send_now(owner, messages)
            except Exception:  # one message that cannot be sent must not take the others along
                for message in messages:
                    try:
                        self._send_now(owner, [message])
                    except Exception as error:
                        log.exception("%s could not be sent", type(message).__name__)
                        if isinstance(message, TaskResult):
                            self._send_now(owner, [failures.our_fault(message.task_id, error)])

    def _send_now(self, owner: bytes, messages: list[EngineMessage]) -> None:
        frames = ENGINE_CODEC.encode(messages)
        self._socket.send_multipart([owner, *frames], zmq.NOBLOCK, copy=len(frames) == 1)

    def _submit(self, owner: bytes, task: Task) -> None:
        try:
            task = completed(task, self._receivers[owner])
            if self._core.owner(task.task_id) is not None or (task.keep and self._core.is_named(task.task_id)):
                raise ProtocolError("its id is in use")
            _check_buffers(task.function, task.arguments)
            capabilities.check(task.options.capabilities, self._capabilities)
        except (ProtocolError, CapabilityError) as error:
            self._malformed(owner, task.task_id, error)
            return
        self._core.submit(owner, task, self._homes.get(owner, 0))

    def _create(self, owner: bytes, message: ObjectCreate) -> None:
        try:
            _check_buffers(message.content)
            self._core.create(owner, message.object_id, message.content)
        except (OSError, ProtocolError) as error:  # who names it hears that it is missing
            log.error("the object %s could not be kept: %s", message.object_id, error)
        self.send(owner, ObjectCreated(message.object_id))

    def _malformed(self, owner: bytes, task_id: str, error: Exception) -> None:
        log.error("a client sent a malformed message about task %r: %s", task_id, error)
        # What is about a task of the sender's own that is held here goes on: its result is still to come.
        if task_id and self._core.owner(task_id) != owner:
            problem = ProtocolError(f"the client sent a malformed message about this task ({error}): a bug in it")
            self.send(owner, failures.our_fault(task_id, problem))

    # ------------------------------------------------------------------ their end

    def _watch(self, owner: bytes, client: ClientHello) -> None:
        """Watch the process of a client that attached: what it leaves behind ends with that."""
        peer = self._peers.get(owner, 0)
        pid = peer or client.pid
        home = client.home or pid
        if not peer or home == peer or process_tree.is_within(peer, home):
            self._homes[owner] = home
        try:
            self._processes.add(owner, pid)
        except ProcessLookupError:
            if client.namespace in (0, process_namespace()):  # it was killed before its hello was read
                self._gone(owner)

    def _gone(self, owner: bytes) -> None:
        self._departed[owner] = None
        while len(self._departed) > MOST_DEPARTED:
            del self._departed[next(iter(self._departed))]
        self._homes.pop(owner, None)
        self._peers.pop(owner, None)
        self._processes.remove(owner)
        self._core.client_gone(owner)
        self._receivers.pop(owner, None)
        self._take_back(owner, [descriptor for descriptor, client in self._leased.items() if client == owner])

    # ------------------------------------------------------------------ large results

    def _take_back(self, owner: bytes, descriptors: Iterable[int]) -> None:
        """End a client's leases of these descriptors; those that are leased to another client stay."""
        known = [descriptor for descriptor in descriptors if self._leased.get(descriptor) == owner]
        for descriptor in known:
            del self._leased[descriptor]
        close_all(known)
