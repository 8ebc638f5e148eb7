"""Peers that break the protocol: other programs at the scheduler's socket, and tasks at their own process's."""

from __future__ import annotations

import contextlib
import math
import os
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgpack
import psutil
import pytest
import zmq
from waits import SAFETY, until_running, until_written

from scaler_notebook import CancelReason, NotebookExecutor, ProcessorDiedError, TaskState
from scaler_notebook.engines.embedded.inner import INNER_CODEC, End, Ended, Ready
from scaler_notebook.engines.embedded.launcher import SchedulerProcess
from scaler_notebook.engines.embedded.stream import pack
from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.messages import (
    Buffer,
    ClientDisconnect,
    ClientMessage,
    EngineMessage,
    Payload,
    Task,
    TaskCancel,
    TaskCancelConfirm,
    TaskCancelConfirmType,
)
from scaler_notebook.protocol.wire import CLIENT_CODEC, ENGINE_CODEC


def scheduler_of(executor: NotebookExecutor) -> SchedulerProcess:
    session = executor._session
    assert session is not None
    scheduler = session._engine.scheduler  # type: ignore[attr-defined]
    assert isinstance(scheduler, SchedulerProcess)
    return scheduler


class Stranger:
    """Another program of the same user that has found the scheduler's socket."""

    def __init__(self, address: str, kind: int = zmq.DEALER) -> None:
        self._context = zmq.Context()
        self.socket = self._context.socket(kind)
        self.socket.linger = 0
        self.socket.rcvtimeo = int(SAFETY * 1000)
        self.socket.connect(address)

    def close(self) -> None:
        self.socket.close()
        self._context.term()

    def say(self, *messages: ClientMessage) -> None:
        self.socket.send_multipart(CLIENT_CODEC.encode(messages))

    def hear(self) -> list[EngineMessage]:
        return ENGINE_CODEC.decode(self.socket.recv_multipart())

    def wait_until_read(self) -> list[EngineMessage]:
        """Returns when the scheduler has dealt with all that was said; gives its answers."""
        heard: list[EngineMessage] = []
        self.say(TaskCancel("nobody's", force=True))
        while not any(message.task_id == "nobody's" for message in heard):
            heard += self.hear()
        return heard[:-1]


def a_task(task_id: str, function: Any, *args: Any) -> Task:
    return Task(task_id, "stranger", payloads.dump(function), payloads.dump((args, {})))


def waits_for(path: str) -> str:
    with open(path) as pipe:
        return pipe.read()


class Bystander:
    """A running task of the good client, and one that is queued behind it."""

    def __init__(self, executor: NotebookExecutor, directory: Path) -> None:
        self._executor = executor
        self._pipe = directory / "pipe"
        os.mkfifo(self._pipe)
        self.running = executor.submit(waits_for, str(self._pipe))
        until_running(self.running)
        self.scheduler = scheduler_of(executor).pid

    def check(self) -> None:
        """Nothing has happened to it, and the next submit works."""
        assert self.running.state is TaskState.RUNNING
        assert self._executor.submit(abs, -1).result(SAFETY) == 1
        self._pipe.write_text("undisturbed")
        assert self.running.result(SAFETY) == "undisturbed"
        assert scheduler_of(self._executor).pid == self.scheduler, "it is another scheduler"


@pytest.fixture
def bystander(executor: NotebookExecutor, tmp_path: Path) -> Bystander:
    return Bystander(executor, tmp_path)


@pytest.fixture
def stranger(executor: NotebookExecutor, bystander: Bystander) -> Iterator[Stranger]:
    with contextlib.closing(Stranger(scheduler_of(executor).address)) as stranger:
        yield stranger


# ---------------------------------------------------------------- no message at all

VALID = msgpack.packb([[2, "some task", True, 1.0]])
DEEP = b"\x91" * 100_000 + b"\x90"

MALFORMED: dict[str, Sequence[bytes]] = {
    "an empty message": [b""],
    "garbage": [b"\xc1\xff\x00garbage"],
    "text": [b"GET / HTTP/1.1\r\n\r\n"],
    "no array": [msgpack.packb({"task": 1})],
    "a number": [msgpack.packb(17)],
    "unknown code": [msgpack.packb([[99, "some task"]])],
    "wrong types": [msgpack.packb([[2, 5, "yes", None]])],
    "missing fields": [msgpack.packb([[1, "some task"]])],
    "an engine's message": ENGINE_CODEC.encode([TaskCancelConfirm("t", TaskCancelConfirmType.CANCELED, True)]),
    "nested deeply": [DEEP],
    "10,000 frames": [VALID, *[b"x"] * 9_999],
    "frames that are not there": [msgpack.packb([[1, "t", "c", [None, 3, b""], [None, 1, b""], [""]]])],
    "a good one before a bad one": [msgpack.packb([[2, "some task", True, 1.0], [2]])],
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_message_is_logged_and_nothing_else(
    name: str, executor: NotebookExecutor, bystander: Bystander, stranger: Stranger
) -> None:
    stranger.socket.send_multipart(MALFORMED[name])
    assert stranger.wait_until_read() == [], "and the sender may go on"
    assert "no message of ours" in scheduler_of(executor).log_tail()
    bystander.check()


def test_a_connection_that_does_not_speak_zmq(executor: NotebookExecutor, bystander: Bystander) -> None:
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(SAFETY)
        raw.connect(scheduler_of(executor).address.removeprefix("ipc://"))
        raw.sendall(b"\xff" * 1000)
        with contextlib.suppress(ConnectionResetError):
            while raw.recv(1000):  # until it hangs up
                pass
    bystander.check()


def test_a_socket_of_another_kind(executor: NotebookExecutor, bystander: Bystander) -> None:
    scheduler = scheduler_of(executor)
    with contextlib.closing(Stranger(scheduler.address, zmq.REQ)) as stranger:
        stranger.say(TaskCancel("nobody's", force=True))  # an empty frame goes before it, so nobody answers
        deadline = time.monotonic() + SAFETY
        while "no message of ours" not in scheduler.log_tail():
            assert executor.submit(abs, -1).result(SAFETY) == 1  # a look now and then, with work in between
            assert time.monotonic() < deadline, "it was not even logged"
        bystander.check()


# ---------------------------------------------------------------- messages that are none of the sender's business


def test_a_task_with_an_id_in_use(executor: NotebookExecutor, bystander: Bystander, stranger: Stranger) -> None:
    stranger.say(a_task(bystander.running.task_id, os._exit, 1))
    assert stranger.wait_until_read() == []
    bystander.check()


def test_a_task_with_an_id_in_use_is_logged(
    executor: NotebookExecutor, bystander: Bystander, stranger: Stranger
) -> None:
    stranger.say(a_task(bystander.running.task_id, abs, 1))
    stranger.wait_until_read()
    assert bystander.running.task_id in scheduler_of(executor).log_tail()
    bystander.check()


def test_a_cancel_of_somebody_elses_task(bystander: Bystander, stranger: Stranger) -> None:
    task_id = bystander.running.task_id
    stranger.say(TaskCancel(task_id, force=True, grace=0.0))
    assert stranger.wait_until_read() == [TaskCancelConfirm(task_id, TaskCancelConfirmType.CANCEL_NOT_FOUND, True)]
    bystander.check()


def test_a_goodbye_in_somebody_elses_name(bystander: Bystander, stranger: Stranger) -> None:
    stranger.say(ClientDisconnect(bystander.running.task_id.partition("-")[0]))
    stranger.wait_until_read()
    bystander.check()


def test_a_stranger_that_vanishes_while_its_task_runs(bystander: Bystander, stranger: Stranger) -> None:
    stranger.say(a_task("strange", time.sleep, 0.2))
    stranger.wait_until_read()
    stranger.close()
    bystander.check()  # the next submit needs the slot that the result of nobody leaves


def stubborn() -> None:
    print("begun", flush=True)
    while True:
        with contextlib.suppress(KeyboardInterrupt):
            time.sleep(60)


@pytest.mark.parametrize("grace", [math.nan, math.inf, -math.inf, 1e300, -1.0], ids=str)
def test_a_cancel_with_an_impossible_grace_period(executor: NotebookExecutor, grace: float) -> None:
    """It is the sender's own affair: the grace periods of others end, and the scheduler neither ends nor spins."""
    mine = executor.submit(stubborn)
    until_written(mine, "begun")
    with contextlib.closing(Stranger(scheduler_of(executor).address)) as stranger:
        stranger.say(a_task("strange", time.sleep, 60), TaskCancel("strange", force=False, grace=grace))
        stranger.wait_until_read()
        assert mine.cancel(SAFETY)
        assert mine.cancel_reason is CancelReason.STOPPED


# ---------------------------------------------------------------- tasks that write to their own process's socket


def own_sockets() -> list[int]:
    """What a task finds that looks for sockets: its process's connection to the scheduler, and no other."""
    found = []
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{entry}").startswith("socket:"):
                found.append(int(entry))
    return found


def writes(data: bytes) -> None:
    for fd in own_sockets():
        os.write(fd, data)
    time.sleep(60)


def stream(*frames: Buffer) -> bytes:
    return b"".join(pack(frames))


WRITTEN: dict[str, bytes] = {
    "text": b"hello, is this stdout?\n",
    "zeros": bytes(1000),
    "more than a tebibyte": struct.pack("<I2Q", 2, 1 << 40, 1),
    "no msgpack": stream(b"\xc1garbage"),
    "an unknown code": stream(msgpack.packb([[99]])),
    "frames of no message": stream(msgpack.packb([]), b"x", b"y"),
    "nested deeply": stream(DEEP),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_task_that_writes_nonsense_to_its_socket_fails_alone(
    name: str, executor: NotebookExecutor, bystander: Bystander
) -> None:
    culprit = executor.submit(writes, WRITTEN[name])
    with pytest.raises(ProcessorDiedError):
        culprit.result(SAFETY)
    bystander.check()


def says_ready(pid: int) -> None:
    for fd in own_sockets():
        os.write(fd, stream(*INNER_CODEC.encode([Ready(pid or os.getpid())])))
    time.sleep(60)


@pytest.mark.parametrize("pid", [0, 2**22 + 1], ids=["its own", "one that no process has"])
def test_a_task_that_claims_to_be_ready_fails_alone(executor: NotebookExecutor, bystander: Bystander, pid: int) -> None:
    culprit = executor.submit(says_ready, pid)
    with pytest.raises(ProcessorDiedError):
        culprit.result(SAFETY)
    bystander.check()


def says_ended(seq: int) -> None:
    for fd in own_sockets():
        os.write(fd, stream(*INNER_CODEC.encode([Ended(seq, End.SUCCESS, Payload(b"no pickle"))])))
    time.sleep(60)


def test_a_task_that_reports_the_end_of_another_run_changes_nothing(
    executor: NotebookExecutor, bystander: Bystander
) -> None:
    culprit = executor.submit(says_ended, 1000)
    until_running(culprit)
    assert culprit.cancel(SAFETY)
    assert culprit.cancel_reason is CancelReason.STOPPED
    bystander.check()


@pytest.mark.parametrize("promised", [1000, 1 << 39])
def test_a_task_that_promises_more_than_it_sends_can_be_killed(
    executor: NotebookExecutor, bystander: Bystander, promised: int
) -> None:
    """What its process says afterwards is taken for what was promised, so that nobody can hear its end."""
    culprit = executor.submit(writes, struct.pack("<IQ", 1, promised) + bytes(500))
    culprit.grace = 0.1
    until_running(culprit)
    memory = psutil.Process(scheduler_of(executor).pid).memory_info().rss
    assert memory < 500e6, "it believed the promise"
    assert culprit.cancel(SAFETY)
    bystander.check()


def test_a_task_finds_no_other_socket(executor: NotebookExecutor) -> None:
    assert len(executor.submit(own_sockets).result(SAFETY)) == 1
