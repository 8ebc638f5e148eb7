"""What keeps arriving has its turns, and no more: what this side has to say is not kept back by it."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence

import pytest
import zmq
from waits import SAFETY

from scaler_notebook.agent.agent import Agent
from scaler_notebook.engines.embedded.engine import SchedulerConnection
from scaler_notebook.engines.embedded.transport import Keys
from scaler_notebook.protocol.messages import EngineMessage, EngineStatusRequest, LogStream, TaskLog
from scaler_notebook.protocol.wire import CLIENT_CODEC, ENGINE_CODEC


class Chatterbox:
    """In place of a scheduler: has always something to say, until it hears something other than a greeting."""

    def __init__(self, endpoint: str) -> None:
        self.heard: list[object] = []
        self.spoken = threading.Event()
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.linger = 0
        self._socket.sndhwm = 100
        self._socket.bind(endpoint)
        self._thread = threading.Thread(target=self._talk, daemon=True)
        self._thread.start()

    def _talk(self) -> None:
        if not self._socket.poll(SAFETY * 1000):
            return
        owner, *_ = self._socket.recv_multipart()
        frames = ENGINE_CODEC.encode([TaskLog("t", LogStream.STDOUT, "and so on")])
        end = time.monotonic() + SAFETY
        while not self._socket.poll(0):
            self._socket.send_multipart([owner, *frames])
            self.spoken.set()
            if time.monotonic() > end:
                return
        _, *frames = self._socket.recv_multipart()
        self.heard += CLIENT_CODEC.decode(frames, lambda task_id, error: None)

    def close(self) -> None:
        self._thread.join(2 * SAFETY)
        self._socket.close()
        self._context.term()


class Connection(SchedulerConnection):
    slots = 1

    def __init__(self, endpoint: str) -> None:
        super().__init__()
        self._address, (self._read, self._write) = endpoint, os.pipe()

    def _endpoint(self) -> tuple[str, Keys | None]:
        return self._address, None

    def _end_of_life(self) -> int:
        return self._read

    def _lost_words(self) -> str:
        return "lost"

    def close(self) -> None:
        super().close()
        for end in (self._read, self._write):
            os.close(end)


@pytest.fixture
def endpoint() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as directory:
        yield f"ipc://{directory}/socket"


def test_what_we_say_is_sent_while_the_engine_talks_faster_than_we_listen(endpoint: str) -> None:
    other = Chatterbox(endpoint)
    listening = threading.Event()

    def deliver(messages: Sequence[EngineMessage]) -> None:
        time.sleep(0.001)  # longer than it takes to say them
        listening.set()

    agent = Agent(Connection(endpoint), deliver, lambda error: None, lambda message, error: None)  # type: ignore[arg-type]
    agent.start()
    try:
        agent.post(EngineStatusRequest())
        assert listening.wait(SAFETY)
        asked = time.monotonic()
        agent.post(EngineStatusRequest())
        other._thread.join(2 * SAFETY)
        assert other.heard == [EngineStatusRequest()]
        assert time.monotonic() - asked < SAFETY / 2
    finally:
        agent.stop()
        other.close()
