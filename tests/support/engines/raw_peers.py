"""Somebody else at the scheduler's socket, somebody who must not notice, and what is no message."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgpack
from waits import SAFETY, until_running

from scaler_notebook import NotebookExecutor, TaskState
from scaler_notebook.engines.local.client.channels.channel import open_channel
from scaler_notebook.engines.local.client.launching.launcher import SchedulerProcess
from scaler_notebook.engines.local.ipc.transport import Keys
from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.encoding.wire import CLIENT_CODEC, ENGINE_CODEC
from scaler_notebook.protocol.messages import (
    Buffer,
    ClientMessage,
    EngineMessage,
    Task,
    TaskCancel,
    TaskCancelConfirm,
    TaskCancelConfirmType,
)


def scheduler_of(executor: NotebookExecutor) -> SchedulerProcess:
    session = executor._session
    assert session is not None
    scheduler = session.engine.scheduler  # type: ignore[attr-defined]
    assert isinstance(scheduler, SchedulerProcess)
    return scheduler


class Stranger:
    """Another program of the same user that has found the scheduler's socket."""

    def __init__(self, address: str, keys: Keys | None = None) -> None:
        self.channel = open_channel(address, keys)

    def close(self) -> None:
        self.channel.close(linger=SAFETY)

    def say(self, *messages: ClientMessage) -> None:
        self.channel.send(CLIENT_CODEC.encode(messages))

    def hear(self) -> list[EngineMessage]:
        """Wait for messages, and return all that have come."""
        heard: list[EngineMessage] = []
        while not heard:
            assert self.channel.wait(SAFETY), "nobody answers"
            heard = [message for frames in self.channel.receive() for message in ENGINE_CODEC.decode(frames)]
            assert heard or not self.channel.has_ended, "the connection was closed"
        return heard

    def wait_until_read(self) -> list[EngineMessage]:
        """Returns when the scheduler has dealt with all that was said; gives its answers."""
        heard: list[EngineMessage] = []
        self.say(TaskCancel("nobody's", force=True))
        while not any(isinstance(m, TaskCancelConfirm) and m.task_id == "nobody's" for m in heard):
            heard += self.hear()
        return heard[:-1]


def a_task(task_id: str, function: Any, *args: Any) -> Task:
    return Task(task_id, payloads.dump(function), payloads.dump((args, {})))


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


VALID = msgpack.packb([[2, "some task", True, 1.0]])
DEEP = b"\x91" * 100_000 + b"\x90"

NO_BATCH: dict[str, Sequence[Buffer]] = {
    "an empty message": [b""],
    "garbage": [b"\xc1\xff\x00garbage"],
    "text": [b"GET / HTTP/1.1\r\n\r\n"],
    "no array": [msgpack.packb({"task": 1})],
    "a number": [msgpack.packb(17)],
    "nested deeply": [DEEP],
    "10,000 frames of nothing": [msgpack.packb([]), *[b"x"] * 9_999],
}

MALFORMED: dict[str, Sequence[Buffer]] = {
    **NO_BATCH,
    "10,000 frames": [VALID, *[b"x"] * 9_999],
    "an unknown code": [msgpack.packb([[99, "some task"]])],
    "wrong types": [msgpack.packb([[2, 5, "yes", None]])],
    "missing fields": [msgpack.packb([[1, "some task"]])],
    "an engine's message": ENGINE_CODEC.encode([TaskCancelConfirm("t", TaskCancelConfirmType.CANCELED, True)]),
    "frames that are not there": [msgpack.packb([[1, "t", "c", [None, 3, b""], [None, 1, b""], [""]]])],
    "a good one before a bad one": [msgpack.packb([[2, "some task", True, 1.0], [2]])],
}
