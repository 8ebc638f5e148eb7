"""The scheduler process: one selectors loop between the clients' zmq socket and the task processes' raw sockets.

Started by :mod:`.launcher`, which writes one line of configuration to its stdin and keeps that pipe open: its end is
the end of the kernel, and of everything here.
"""

import contextlib
import json
import logging
import os
import resource
import selectors
import shutil
import signal
import socket
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypedDict

from ...protocol import failures
from ...protocol.addressing import Receiver, completed
from ...protocol.errors import ProtocolError
from ...protocol.messages import (
    Buffer,
    BuffersReceived,
    ClientContext,
    ClientDisconnect,
    ClientHello,
    EngineHello,
    EngineMessage,
    LogStream,
    Payload,
    SegmentRef,
    Task,
    TaskCancel,
    TaskLog,
)
from ...protocol.wire import CLIENT_CODEC, ENGINE_CODEC
from . import family
from .core import Core
from .inner import Ended
from .pool import Pool
from .segments import close_all, reopen
from .starting import Starter, best_starter
from .warmth import Warmth

if TYPE_CHECKING:
    import zmq

OUTPUT_INTERVAL = 0.05  # seconds between two looks at what running tasks have written
END_PATIENCE = 2.0  # seconds that killed processes get to vanish at the end

log = logging.getLogger(__name__)


class Config(TypedDict):
    """What the launcher writes, as JSON."""

    directory: str  # private, ours to remove
    slots: int
    spares: int
    kernel: int  # process id
    keys: dict[str, str] | None  # of a TCP socket


class Scheduler:
    """Owns the loop and the sockets, and lends its hands to :class:`~.core.Core`."""

    def __init__(self, config: Config, starter: Starter) -> None:
        self._config = config
        self._selector = selectors.DefaultSelector()
        self._core = Core(config["slots"], self)
        self._pool = Pool(config["slots"] + config["spares"], starter, self._selector, self)
        self._mail: defaultdict[bytes, list[EngineMessage]] = defaultdict(list)
        self._receivers: defaultdict[bytes, Receiver] = defaultdict(Receiver)
        self._guests: dict[int, set[bytes]] = {}  # by process: the clients in it that attached
        self._borrowed: set[int] = set()  # descriptors of results that the client has not mapped yet
        self._next_look = 0.0
        self._warmth = Warmth()
        self._over = False
        self._clients: zmq.Socket[bytes] | None = None

    # ------------------------------------------------------------------ life

    def start(self) -> str:
        """Start task processes, open the clients' socket; gives its address."""
        self._pool.fill()
        # After the fork server and not before: libzmq's threads do not survive a fork.
        import zmq

        from .transport import Keys, bind
        from .zmq_frames import received

        self._zmq, self._received = zmq, received
        self._context = zmq.Context()
        self._clients = clients = self._context.socket(zmq.ROUTER)
        clients.linger = 0
        clients.sndhwm = clients.rcvhwm = 0  # a bound would drop confirmations; memory is bounded by the tasks
        keys = self._config["keys"]
        address = bind(clients, self._config["directory"], Keys(**keys) if keys is not None else None)
        self._selector.register(int(clients.getsockopt(zmq.FD)), selectors.EVENT_READ, lambda: None)
        self._watch_kernel()
        self._watch_signals()
        return address

    def _watch_kernel(self) -> None:
        # The pipe alone is not enough: a subprocess of the user's may have inherited its other end.
        self._selector.register(0, selectors.EVENT_READ, self._finish)
        with contextlib.suppress(OSError, AttributeError):
            kernel = os.pidfd_open(self._config["kernel"])
            self._selector.register(kernel, selectors.EVENT_READ, self._finish)
        if os.getppid() != self._config["kernel"]:
            self._finish()

    def _watch_signals(self) -> None:
        self._woken, wake = socket.socketpair()
        self._woken.setblocking(False)
        wake.setblocking(False)
        self._wake = wake
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: self._finish())
        self._selector.register(self._woken, selectors.EVENT_READ, self._signalled)

    def _signalled(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._woken.recv(4096):
                pass
        self._pool.reap()

    def _finish(self) -> None:
        self._over = True

    def run(self) -> None:
        """Serve until the kernel is gone."""
        self._pool.reap()
        while not self._over:
            for key, _ in self._selector.select(self._timeout()):
                key.data()
            if self._pool.vanishing:
                self._pool.reap()
            self._core.tick(time.monotonic())
            self._look_at_output()
            self._warmth.spread(self._core, self._pool)
            # zmq's descriptor is edge-triggered: what came while we sent would never wake us.
            while self._receive() or self._mail:
                self._flush()

    def _timeout(self) -> float | None:
        due = [d for d in (self._core.next_deadline(),) if d is not None]
        if self._core.running:
            due.append(self._next_look)
        if self._pool.vanishing:
            due.append(time.monotonic() + 0.001)
        return max(0.0, min(due) - time.monotonic()) if due else None

    def end(self) -> None:
        """Kill everything and wait for it."""
        self._pool.kill_all()
        deadline = time.monotonic() + END_PATIENCE
        with contextlib.suppress(ChildProcessError):
            while time.monotonic() < deadline:
                for pid in family.descendants(os.getpid()):  # orphans of earlier tasks are ours too
                    family.kill(pid)
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
                time.sleep(0.001)
        if self._clients is not None:
            self._clients.close()

    # ------------------------------------------------------------------ clients

    def _receive(self) -> bool:
        """Take what clients sent; True if there was anything."""
        assert self._clients is not None
        got = False
        for owner, *frames in self._received(self._clients, plain=2, writable=False):
            got = True
            try:
                messages = CLIENT_CODEC.decode(frames, partial(self._malformed, bytes(owner)))
            except ProtocolError as error:
                log.error("a client sent what is no message of ours: %s", error)
                continue
            now, clock = time.monotonic(), time.time()
            for message in messages:
                match message:
                    case Task():
                        self._submit(bytes(owner), message, now, clock)
                    case TaskCancel():
                        self._core.cancel(bytes(owner), message, now)
                    case ClientContext():
                        self._core.move(bytes(owner), message)
                    case ClientHello():
                        self.tell(bytes(owner), EngineHello(self._config["slots"]))
                        self._watch_client(bytes(owner), message.pid)
                    case BuffersReceived():
                        self._give_back(message.descriptors)
                    case ClientDisconnect():
                        self._client_gone(bytes(owner))
        return got

    def _watch_client(self, owner: bytes, pid: int) -> None:
        """What a client that attached leaves behind ends with its process, whatever ends that."""
        if pid in self._guests:
            self._guests[pid].add(owner)
            return
        with contextlib.suppress(OSError, AttributeError):
            descriptor = os.pidfd_open(pid)

            def gone() -> None:
                self._selector.unregister(descriptor)
                os.close(descriptor)
                for guest in self._guests.pop(pid):
                    self._client_gone(guest)

            self._selector.register(descriptor, selectors.EVENT_READ, gone)
            self._guests[pid] = {owner}

    def _client_gone(self, owner: bytes) -> None:
        self._core.client_gone(owner)
        self._receivers.pop(owner, None)

    def _submit(self, owner: bytes, task: Task, now: float, clock: float) -> None:
        try:
            task = completed(task, self._receivers[owner])
        except ProtocolError as error:
            self._malformed(owner, task.task_id, error)
            return
        if self._core.owner(task.task_id) is not None:
            self._malformed(owner, task.task_id, ProtocolError("its id is in use"))
            return
        self._core.submit(owner, task, now, clock)

    def _malformed(self, owner: bytes, task_id: str, error: ProtocolError) -> None:
        log.error("a client sent a malformed message about task %r: %s", task_id, error)
        # What is about a task of the sender's own that is held here goes on: its result is still to come.
        if task_id and self._core.owner(task_id) != owner:
            problem = ProtocolError(f"the client sent a malformed message about this task ({error}): a bug in it")
            self.tell(owner, failures.our_fault(task_id, problem))

    def _flush(self) -> None:
        assert self._clients is not None
        mail, self._mail = self._mail, defaultdict(list)
        for owner, messages in mail.items():
            frames = ENGINE_CODEC.encode(messages)
            self._clients.send_multipart([owner, *frames], self._zmq.NOBLOCK, copy=len(frames) == 1)

    # ------------------------------------------------------------------ the core's hands

    def tell(self, owner: bytes, message: EngineMessage) -> None:
        self._mail[owner].append(message)

    def suits(self, process: int, context: ClientContext | None) -> bool:
        return self._pool.suits(process, context)

    def run_task(self, process: int, seq: int, task: Task, context: ClientContext | None) -> None:
        self._pool.start_output_over(process)
        self._pool.move(process, context)
        self._pool.run(process, seq, task.function, task.arguments)

    def interrupt(self, process: int, seq: int) -> None:
        self._pool.interrupt(process, seq)

    def kill(self, process: int) -> None:
        self._pool.kill(process)

    # ------------------------------------------------------------------ the pool's events

    def ready(self, pid: int) -> None:
        self._warmth.ready(pid)
        self._core.process_ready(pid, time.monotonic(), time.time())

    def ended_run(self, pid: int, ended: Ended) -> None:
        try:
            ended = replace(ended, payload=self._borrow(ended.payload))
        except OSError as error:
            log.error("the result of process %d could not be taken over: %s", pid, error)
            self._pool.kill(pid)  # dead already, most likely; either way its task fails, and says so
            return
        self._forward_output(pid)
        self._warmth.learn(pid, ended.modules)
        self._core.process_ended_run(pid, ended, time.monotonic(), time.time())

    def died(self, pid: int, how: str) -> None:
        self._forward_output(pid)
        self._warmth.died(pid)
        self._core.process_died(pid, how, time.monotonic(), time.time())

    # ------------------------------------------------------------------ large results

    def _borrow(self, payload: Payload) -> Payload:
        """Open what a process wrote, so that it outlives that process; OSError if it does not."""
        if not any(isinstance(buffer, SegmentRef) for buffer in payload.buffers):
            return payload
        buffers: list[Buffer | SegmentRef] = []
        for buffer in payload.buffers:
            if isinstance(buffer, SegmentRef):
                descriptor = reopen(buffer)
                self._borrowed.add(descriptor)
                buffer = SegmentRef(os.getpid(), descriptor, buffer.size)
            buffers.append(buffer)
        return replace(payload, buffers=tuple(buffers))

    def _give_back(self, descriptors: Iterable[int]) -> None:
        known = self._borrowed.intersection(descriptors)
        self._borrowed -= known
        close_all(known)

    # ------------------------------------------------------------------ output

    def _look_at_output(self) -> None:
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + OUTPUT_INTERVAL
            for pid in self._core.running:
                self._forward_output(pid)

    def _forward_output(self, pid: int) -> None:
        held = self._core.holder(pid)
        if held is None:
            return
        task_id, owner = held
        for stream, text in zip(LogStream, self._pool.new_output(pid), strict=True):
            if text:
                self.tell(owner, TaskLog(task_id, stream, text))


def main(config: Config) -> None:
    """Entry point of the scheduler process; never returns."""
    os.umask(0o077)
    with contextlib.suppress(OSError, ValueError):  # large results on their way take a descriptor each
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    status = 1
    try:
        starter = best_starter()
        scheduler = Scheduler(config, starter)
        try:
            hello = {"address": scheduler.start()}
        except Exception as error:
            hello = {"error": f"{type(error).__name__}: {error}"}
            raise
        finally:
            os.write(1, json.dumps(hello).encode() + b"\n")
        try:
            scheduler.run()
            shutil.rmtree(config["directory"], ignore_errors=True)  # after a crash its log is still wanted
            status = 0
        finally:
            scheduler.end()
    except Exception:
        log.exception("the scheduler ends")
    finally:
        logging.shutdown()
        sys.stderr.flush()
        os._exit(status)
