"""What keeps arriving has its turns, and no more: what this side has to say is not kept back by it."""

from __future__ import annotations

import contextlib
import itertools
import os
import selectors
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence

import pytest
from waits import SAFETY

from scaler_notebook.client.agent.client_agent import Agent
from scaler_notebook.engines.local.client import scheduler_connection
from scaler_notebook.engines.local.client.channels.unix_channel import UnixChannel
from scaler_notebook.engines.local.client.scheduler_connection import SchedulerConnection
from scaler_notebook.engines.local.ipc.transport import Keys
from scaler_notebook.engines.local.scheduler.listeners import unix_listener
from scaler_notebook.engines.local.scheduler.listeners.unix_listener import UnixListener
from scaler_notebook.protocol.encoding.wire import CLIENT_CODEC, ENGINE_CODEC
from scaler_notebook.protocol.messages import (
    Buffer,
    ClientMessage,
    ClientWithdraw,
    EngineMessage,
    EngineStatusRequest,
    LogStream,
    TaskLog,
)


class Chatterbox:
    """In place of a scheduler: when it was greeted it has always something to say, until it is asked how it is."""

    def __init__(self, directory: str) -> None:
        self.heard: list[ClientMessage] = []
        self._is_asked = False
        self._selector = selectors.DefaultSelector()
        self._listener = UnixListener(directory, self._selector, gone=lambda client: None)
        self.address = self._listener.address
        self._thread = threading.Thread(target=self._talk, daemon=True)
        self._thread.start()

    def _listen(self, seconds: float) -> bytes:
        for key, _ in self._selector.select(seconds):
            key.data()
        owner = b""
        for client, frames in self._listener.receive():
            owner = client
            messages = CLIENT_CODEC.decode(frames, lambda task_id, error: None)
            self._is_asked = self._is_asked or EngineStatusRequest() in messages
            self.heard += messages
        return owner

    def _talk(self) -> None:
        owner, end = b"", time.monotonic() + SAFETY
        while not owner and time.monotonic() < end:
            owner = self._listen(SAFETY)
        frames = ENGINE_CODEC.encode([TaskLog("t", LogStream.STDOUT, "and so on")])
        while not self._is_asked and time.monotonic() < end:
            self._listener.send(owner, frames)
            while self._listener._connections[owner].waits_for_room and time.monotonic() < end:
                self._listen(SAFETY)
            self._listen(0)

    def join(self) -> None:
        """Wait until it has nothing more to say."""
        self._thread.join(2 * SAFETY)

    def close(self) -> None:
        self.join()
        self._listener.close()
        self._selector.close()


class Connection(SchedulerConnection):
    slots = 1

    def __init__(self, endpoint: str) -> None:
        super().__init__()
        self._address, (self._read, self._write) = endpoint, os.pipe()

    def _endpoint(self) -> tuple[str, Keys | None]:
        return self._address, None

    def _end_descriptor(self) -> int:
        return self._read

    def _loss_message(self) -> str:
        return "lost"

    def close(self) -> None:
        super().close()
        for end in (self._read, self._write):
            os.close(end)


@pytest.fixture
def directory() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as directory:
        yield directory


class Lending(Connection):
    """All that it is sent was lent, and is given back."""

    def _prepare(self, message: EngineMessage) -> EngineMessage | None:
        assert self._results is not None
        self._results._received.append(1)
        return message


@pytest.mark.parametrize("kind", [Connection, Lending])
def test_what_we_say_is_sent_while_the_engine_talks_faster_than_we_listen(
    directory: str, kind: type[Connection], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(scheduler_connection, "DRAIN_TIME", 0.0)
    other, heard, enough = Chatterbox(directory), itertools.count(1), threading.Event()

    def deliver(messages: Sequence[EngineMessage]) -> None:
        time.sleep(0.0002)  # longer than it takes to say them
        if next(heard) == 2 * sys.getrecursionlimit():
            enough.set()

    def nothing(*_: object) -> None:
        pass

    agent = Agent(kind(other.address), nothing, deliver, nothing, nothing)  # type: ignore[arg-type]
    agent.start()
    try:
        agent.post(ClientWithdraw())
        assert enough.wait(SAFETY)
        asked = time.monotonic()
        agent.post(EngineStatusRequest())
        other.join()
        assert EngineStatusRequest() in other.heard
        assert time.monotonic() - asked < SAFETY / 2
        assert not caplog.records
    finally:
        agent.stop()
        other.close()


def test_who_reads_no_answer_is_not_listened_to_until_it_does(directory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the answers to one client take of the memory is bounded, however much it asks."""
    monkeypatch.setattr(unix_listener, "MAX_UNREAD", most := 1 << 20)
    answer: list[Buffer] = [bytes(1 << 16)]
    ended: list[bytes] = []
    with (
        selectors.DefaultSelector() as selector,
        contextlib.closing(UnixListener(directory, selector, gone=ended.append)) as listener,
    ):

        def serve() -> None:
            """Answer until nobody has anything to say, or to read."""
            while ready := selector.select(0):
                for key, _ in ready:
                    key.data()
                while listener.has_more:
                    for client, _ in listener.receive():
                        listener.send(client, answer)

        deaf, bystander = UnixChannel(listener.address), UnixChannel(listener.address)
        for _ in range(1000):
            deaf.send([b"a question"])
        bystander.send([b"a question"])
        serve()
        assert all(each.outbox.waiting <= most + (1 << 17) for each in listener._connections.values())
        assert len(list(bystander.receive())) == 1
        heard = 0
        while heard < 1000:
            assert deaf.wait(SAFETY)
            heard += len(list(deaf.receive()))
            serve()
        for _ in range(1000):
            deaf.send([b"a question"])
        serve()
        deaf.close(0.0)
        serve()
        assert len(ended) == 1, "its end was not noticed"
        bystander.close(0.0)
