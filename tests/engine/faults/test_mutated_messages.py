"""Whatever arrives, at a scheduler or at a client: everybody else's tasks end right."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import selectors
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mutations import Mutator
from raw_peers import Bystander, Stranger, a_task, scheduler_of
from waits import SAFETY

from scaler_notebook import Client, LocalCluster, NotebookExecutor
from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.session.session import Session
from scaler_notebook.client.submission.call_pickling import pickle_call
from scaler_notebook.engines.local.client.connection_file import find
from scaler_notebook.engines.local.client.scheduler_connection import SchedulerConnection
from scaler_notebook.engines.local.ipc.transport import Keys
from scaler_notebook.engines.local.scheduler.listeners.unix_listener import UnixListener
from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.encoding.wire import CLIENT_CODEC, ENGINE_CODEC
from scaler_notebook.protocol.messages import (
    BuffersReceived,
    ClientContext,
    ClientDisconnect,
    ClientHello,
    ClientMessage,
    ClientPause,
    ClientWithdraw,
    DisplayKind,
    EngineMessage,
    EngineStatus,
    EngineStatusRequest,
    EngineTasks,
    EngineTasksRequest,
    ItemsTaken,
    LogStream,
    ObjectCreate,
    ObjectDelete,
    Payload,
    ResultSummary,
    SegmentRef,
    Task,
    TaskActivity,
    TaskAttemptFailed,
    TaskBrief,
    TaskCancel,
    TaskCancelConfirm,
    TaskCancelConfirmType,
    TaskDisplay,
    TaskItem,
    TaskLog,
    TaskNested,
    TaskOptions,
    TaskPreview,
    TaskProgress,
    TaskResult,
    TaskResultType,
    TaskStarted,
    TaskWaits,
)

CHUNK = 250  # messages between two looks at whether everything still goes

FEW_AND_MANY = [
    pytest.param(1_000, id="few"),
    pytest.param(1_000_000, id="a million", marks=[pytest.mark.matrix, pytest.mark.timeout(1800)]),
]


def said_to_schedulers(bystander: str) -> list[ClientMessage]:
    memory = SegmentRef(os.getpid(), 1, 100)
    return [
        a_task("mine", abs, -1),
        a_task(bystander, abs, -1),
        TaskCancel("mine", True),
        TaskCancel(bystander, True, 0.1),
        TaskWaits(bystander, True),
        ItemsTaken(bystander, 7),
        ObjectCreate("object", payloads.dump([1, 2, 3])),
        ObjectCreate("in memory", Payload(b"\x80\x05N.", (memory,))),
        ObjectDelete(("object", bystander)),
        ClientContext("/tmp", ("/tmp",), ("A=b",), "{}"),
        BuffersReceived((3, 4, 5, 17)),
        ClientHello(os.getpid(), os.getpid(), 1),
        EngineStatusRequest(),
        EngineTasksRequest(),
        ClientWithdraw(),
        ClientPause(True),
        ClientPause(False),
    ]


class Flood:
    """A stranger who sends mutated messages, and now and then comes back as another."""

    def __init__(self, address: str, keys: Keys | None, bystander: str) -> None:
        self._address, self._keys = address, keys
        self._seeds = said_to_schedulers(bystander)
        self._seed = random.SystemRandom().randrange(1 << 32)
        print(f"seed {self._seed}")
        self._mutator, self._rng = Mutator(self._seed), random.Random(self._seed)

    def send(self, number: int) -> None:
        """So many, of one stranger."""
        stranger = Stranger(self._address, self._keys)
        try:
            for _ in range(number):
                messages = self._rng.choices(self._seeds, k=self._rng.choice([1, 1, 1, 2, 4]))
                stranger.channel.send(self._mutator.mutated(CLIENT_CODEC.encode(messages)))
            stranger.say(ClientHello(os.getpid()))
            stranger.wait_until_read()
            stranger.say(ClientDisconnect())
        finally:
            stranger.close()


@pytest.mark.parametrize("number", FEW_AND_MANY)
def test_a_scheduler_that_hears_anything(number: int, tmp_path: Path) -> None:
    with NotebookExecutor(n_workers=2) as executor:
        executor.start()
        bystander = Bystander(executor, tmp_path)
        flood = Flood(scheduler_of(executor).address, None, bystander.running.task_id)
        for done in range(0, number, CHUNK):
            flood.send(CHUNK)
            executor.scale(2)  # of a million messages one may scale the engine, as any client may
            assert executor.submit(divmod, done, 7).result(SAFETY) == divmod(done, 7)
        directory = scheduler_of(executor)._directory
        assert directory is not None
        assert directory.log.stat().st_size < 50_000_000
        bystander.check()


@pytest.mark.parametrize("number", FEW_AND_MANY)
def test_a_cluster_that_hears_anything_from_who_may_enter(number: int, tmp_path: Path) -> None:
    with LocalCluster(n_workers=2, address="tcp://127.0.0.1:0") as cluster, Client(cluster.get_address()) as client:
        found = find(cluster.get_address())
        assert found is not None
        flood = Flood(found.endpoint, found.keys, client.submit(abs, -1).task_id)
        for done in range(0, number // 2, CHUNK):
            flood.send(CHUNK)
            cluster.scale(2)
            assert client.submit(divmod, done, 7).result(SAFETY) == divmod(done, 7)


# ---------------------------------------------------------------- at a client


class FakeScheduler(SchedulerConnection):
    """A client's connection to a test that says what a scheduler might."""

    slots, capabilities, address, gpus = 2, {}, "fake", ()  # type: ignore[var-annotated]
    limits_memory = sends_items = scales = can_pause = True
    runs_here = False

    def __init__(self, path: Path) -> None:
        super().__init__()
        path.mkdir()
        self._selector = selectors.DefaultSelector()
        self.listener = UnixListener(str(path), self._selector, gone=lambda client: None)
        self._life = os.pipe()

    def start(self) -> None:
        """It is there."""

    def join(self, timeout: float) -> bool:
        return True

    def _endpoint(self) -> tuple[str, Keys | None]:
        return self.listener.address, None

    def _end_descriptor(self) -> int:
        return self._life[0]

    def _loss_message(self) -> str:
        return "it is gone"

    def heard(self, future: ScalerFuture[Any]) -> bytes:
        """Receive until the task of a future has come, and return the client."""
        end = time.monotonic() + SAFETY
        while time.monotonic() < end:
            self.turn()
            for client, frames in self.listener.receive():
                if any(isinstance(m, Task) and m.task_id == future.task_id for m in CLIENT_CODEC.decode(frames)):
                    return client
        raise AssertionError("the task has not come")

    def turn(self) -> None:
        """Write what a client has room for, and note what it has sent."""
        for key, _ in self._selector.select(0.01):
            key.data()

    def end(self) -> None:
        self.listener.close()
        self._selector.close()
        for descriptor in self._life:
            os.close(descriptor)


@contextlib.contextmanager
def connected(path: Path) -> Iterator[tuple[Session, FakeScheduler]]:
    engine = FakeScheduler(path)
    session = Session(engine, lambda: None)
    session.open()
    try:
        yield session, engine
    finally:
        session.close()
        engine.end()


def said_to_clients(task_id: str) -> list[EngineMessage]:
    plain = Payload(b"{}")
    return [
        TaskStarted(task_id, "1", time.time()),
        TaskAttemptFailed(task_id, 1),
        TaskCancelConfirm(task_id, TaskCancelConfirmType.CANCELED, True),
        TaskCancelConfirm(task_id, TaskCancelConfirmType.CANCEL_FAILED, False),
        TaskResult(task_id, TaskResultType.SUCCESS, payloads.dump(1), summary=ResultSummary("1")),
        TaskResult(task_id, TaskResultType.SUCCESS, Payload(b"N.", (SegmentRef(os.getpid(), 1, 10),))),
        TaskResult(task_id, TaskResultType.FAILED, Payload(b"no pickle")),
        TaskResult(task_id, TaskResultType.MISSING_OBJECTS, Payload(b"x")),
        TaskLog(task_id, LogStream.STDOUT, "text"),
        TaskProgress(task_id, 1.0, 2.0, "note", 3.0, "batch"),
        TaskDisplay(task_id, plain, plain, DisplayKind.UPDATE, "id"),
        TaskPreview(task_id, plain),
        TaskItem(task_id, plain),
        TaskNested(task_id, (TaskBrief("n", "f()", TaskActivity.DONE, 1.0, 2.0, 3, task_id, 3.0),), 1),
        EngineStatus(2, 0, (1,), ("t",)),
        EngineTasks((TaskBrief("t", "f()", TaskActivity.RUNNING, 1.0, 2.0, 3),)),
    ]


@pytest.mark.parametrize("number", FEW_AND_MANY)
def test_a_client_that_hears_anything(
    number: int, tmp_path: Path, executor: NotebookExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    """What is a batch: each future ends or goes on, its queries answer, and the thread that listens lives."""
    caplog.set_level(logging.CRITICAL)  # each message that is refused is a line of the log
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    mutator, rng = Mutator(seed), random.Random(seed)
    with connected(tmp_path / "socket") as (session, engine):
        client, futures = b"", []
        for begun in range(0, number, CHUNK):
            future = submitted(session)
            futures.append(future)
            assert session.alive, f"lost before the chunk from {begun} on: {futures[-1].exception(0)!r}"
            client = engine.heard(future)
            seeds = said_to_clients(future.task_id)
            for _ in range(CHUNK):
                batch = ENGINE_CODEC.encode(rng.choices(seeds, k=rng.choice([1, 1, 2, 4])))
                engine.listener.send(client, mutator.mutated(batch, whole=True))
            # Waited for, so that no more than one chunk is ever on its way.
            last = submitted(session)
            engine.heard(last)
            right = TaskResult(last.task_id, TaskResultType.SUCCESS, payloads.dump(begun))
            engine.listener.send(client, ENGINE_CODEC.encode([right]))
            end = time.monotonic() + SAFETY
            while not last.done() and time.monotonic() < end:
                engine.turn()
            assert last.result(SAFETY) == begun
            assert session.alive, f"lost in the chunk from {begun} on"
            for each in (future.state, future.logs, future.displays, future.progress, repr(future), future.summary):
                assert each is not None or future.progress is None
    assert all(future.done() for future in futures)
    assert executor.submit(abs, -1).result(SAFETY) == 1


def submitted(session: Session) -> Any:
    future: ScalerFuture[Any] = ScalerFuture(session.new_id(), "abs(-1)", session)
    task = session.tasks.new_task(future, pickle_call(abs, (-1,), {}), TaskOptions("abs(-1)"))
    session.tasks.submit([(future, task)])
    return future
