"""Peers that break the protocol: other programs at the scheduler's socket, and tasks at their own process's."""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import resource
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgpack
import numpy as np
import psutil
import pytest
from raw_peers import DEEP, MALFORMED, NO_BATCH, Bystander, Stranger, a_task, scheduler_of
from waits import SAFETY, until_running, until_written

from scaler_notebook import (
    CancelReason,
    Client,
    EngineLostError,
    LocalCluster,
    NotebookExecutor,
    ProcessorDiedError,
    ProtocolError,
)
from scaler_notebook.engines.local.client import result_mapper
from scaler_notebook.engines.local.client.connection_file import find
from scaler_notebook.engines.local.ipc import messages
from scaler_notebook.engines.local.ipc.framing import encode_batch
from scaler_notebook.engines.local.ipc.memory.shared_memory import BadSegment, map_segments, open_segment, write_segment
from scaler_notebook.engines.local.ipc.memory.travelling import TRAVELS
from scaler_notebook.engines.local.ipc.outbox import Outbox
from scaler_notebook.engines.local.ipc.runtime_directory import process_namespace
from scaler_notebook.engines.local.ipc.transport import VARIABLE
from scaler_notebook.engines.testing import task_messages
from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.encoding.wire import CLIENT_CODEC
from scaler_notebook.protocol.messages import (
    Buffer,
    BuffersReceived,
    ClientDisconnect,
    ClientHello,
    EngineScale,
    EngineStatusRequest,
    ObjectCreate,
    Payload,
    SegmentRef,
    Task,
    TaskCancel,
    TaskCancelConfirm,
    TaskCancelConfirmType,
    TaskResult,
    TaskResultType,
    TaskWaits,
)
from scaler_notebook.task.task_end import TaskEnd
from scaler_notebook.testing import memory_executor


@pytest.fixture
def bystander(executor: NotebookExecutor, tmp_path: Path) -> Bystander:
    return Bystander(executor, tmp_path)


@pytest.fixture
def stranger(executor: NotebookExecutor, bystander: Bystander) -> Iterator[Stranger]:
    with contextlib.closing(Stranger(scheduler_of(executor).address)) as stranger:
        yield stranger


# ---------------------------------------------------------------- nothing at all


def test_however_many_are_silent_results_and_processes_have_descriptors(executor: NotebookExecutor) -> None:
    executor.submit(np.ones, 100_000).result(SAFETY)
    scheduler = scheduler_of(executor)
    few = 5 * psutil.Process(scheduler.pid).num_fds()
    before = resource.prlimit(
        scheduler.pid, resource.RLIMIT_NOFILE, (few, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    )
    try:
        with contextlib.ExitStack() as silent:
            for _ in range(few):
                silent.enter_context(contextlib.closing(Stranger(scheduler.address)))
            for number in range(5):
                assert executor.submit(np.full, 100_000, number).result(SAFETY).sum() == 100_000 * number
                running = executor.submit(time.sleep, 60)
                until_running(running)
                assert running.cancel(SAFETY)
        late = Stranger(scheduler.address)
        late.wait_until_read()
        late.close()
    finally:
        resource.prlimit(scheduler.pid, resource.RLIMIT_NOFILE, before)


# ---------------------------------------------------------------- no message at all


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_message_is_logged_and_nothing_else(
    name: str, executor: NotebookExecutor, bystander: Bystander, stranger: Stranger
) -> None:
    stranger.channel.send(MALFORMED[name])
    stranger.wait_until_read()  # it may go on
    assert "ERROR" in scheduler_of(executor).log_tail()
    bystander.check()


def test_what_is_good_in_a_bad_batch_counts_and_the_sender_hears_of_the_rest(
    bystander: Bystander, stranger: Stranger
) -> None:
    stranger.channel.send([msgpack.packb([[1, "bad"], [2, "good", True, 1.0], [99, "unknown"]])])
    heard = stranger.wait_until_read()
    assert TaskCancelConfirm("good", TaskCancelConfirmType.CANCEL_NOT_FOUND, True) in heard
    assert {m.task_id for m in heard if isinstance(m, TaskResult)} == {"bad", "unknown"}
    bystander.check()


@pytest.mark.parametrize(
    "text",
    [b"\xff" * 1000, bytes(1000), b"GET / HTTP/1.1\r\n\r\n", encode_batch([b"x"] * 3)[0][:20], b""],
    ids=["all bits", "zeros", "a web browser", "half a batch", "nothing"],
)
def test_a_connection_that_does_not_speak_our_protocol(
    text: bytes, executor: NotebookExecutor, bystander: Bystander
) -> None:
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(SAFETY)
        raw.connect(scheduler_of(executor).address.removeprefix("ipc://"))
        raw.sendall(text)
        raw.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            while raw.recv(1000):  # until it hangs up
                pass
    bystander.check()


def test_a_client_that_does_not_read_delays_nobody(executor: NotebookExecutor, bystander: Bystander) -> None:
    """What it is sent waits in the scheduler; others' messages do not."""
    with contextlib.closing(Stranger(scheduler_of(executor).address)) as deaf:
        asked = CLIENT_CODEC.encode([TaskCancel("nobody's", force=True)] * 1000)
        for _ in range(100):
            deaf.channel.send(asked)
        bystander.check()
        heard = 0
        while heard < 100_000:
            heard += len(deaf.hear())


# ---------------------------------------------------------------- messages that are none of the sender's business


def test_a_task_with_an_id_in_use(executor: NotebookExecutor, bystander: Bystander, stranger: Stranger) -> None:
    task_id = bystander.running.task_id
    stranger.say(a_task(task_id, os._exit, 1))
    (answer,) = stranger.wait_until_read()
    assert isinstance(answer, TaskResult), "its sender's future must not wait for ever"
    assert answer.outcome is TaskResultType.FAILED
    assert task_id in scheduler_of(executor).log_tail()
    bystander.check()


def test_a_malformed_message_about_somebody_elses_task(bystander: Bystander, stranger: Stranger) -> None:
    stranger.channel.send([msgpack.packb([[1, bystander.running.task_id, 5], [2, bystander.running.task_id, None]])])
    stranger.wait_until_read()
    bystander.check()


def test_a_cancel_of_somebody_elses_task(bystander: Bystander, stranger: Stranger) -> None:
    task_id = bystander.running.task_id
    stranger.say(TaskCancel(task_id, force=True, grace=0.0))
    assert stranger.wait_until_read() == [TaskCancelConfirm(task_id, TaskCancelConfirmType.CANCEL_NOT_FOUND, True)]
    bystander.check()


def test_the_goodbye_of_one_is_not_that_of_another(bystander: Bystander, stranger: Stranger) -> None:
    stranger.say(ClientDisconnect())
    stranger.say(ClientHello(os.getpid()))  # who has said goodbye is not heard before
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


# ---------------------------------------------------------------- processes and memory that are not what they are said


@pytest.mark.parametrize("pid", [2**40, 2**31, 0, -1])
def test_a_hello_of_no_process(pid: int, bystander: Bystander, stranger: Stranger) -> None:
    stranger.say(ClientHello(pid, 0, process_namespace()))
    stranger.wait_until_read()
    bystander.check()


def test_nobody_has_no_worker_or_a_billion(executor: NotebookExecutor, stranger: Stranger) -> None:
    workers = executor.n_workers
    stranger.say(EngineScale(0), EngineScale(-1), EngineScale(10**9))
    stranger.wait_until_read()
    status = executor.engine_status()
    assert status is not None
    assert status.slots == executor.n_workers == workers


def test_a_client_that_is_killed_before_its_hello_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over TCP, where the system does not say who it was."""
    monkeypatch.setenv(VARIABLE, "tcp")
    dead = subprocess.Popen(["true"])
    dead.wait()
    with LocalCluster(n_workers=1, address="tcp://127.0.0.1:0") as cluster, Client(cluster.get_address()) as client:
        found = find(cluster.get_address())
        assert found is not None
        with contextlib.closing(Stranger(found.endpoint, keys=found.keys)) as stranger:
            stranger.say(ClientHello(dead.pid, 0, process_namespace()), a_task("strange", time.sleep, 60))
            stranger.say(EngineStatusRequest())
            stranger.say(ClientHello(os.getpid(), 0, process_namespace()))  # who has gone is not heard before
            stranger.wait_until_read()
        assert client.submit(abs, -1).result(SAFETY) == 1, "the slot is free"


def test_over_a_unix_socket_a_client_is_who_the_system_says(executor: NotebookExecutor, stranger: Stranger) -> None:
    """Another's process number ends nothing of its own, and lends nobody's slot."""
    other = subprocess.Popen(["sleep", "60"])
    busy = executor.submit(time.sleep, 60)
    until_running(busy)
    home = int(busy.processor)
    stranger.say(ClientHello(other.pid, home, process_namespace()), a_task("strange", time.sleep, 60))
    stranger.say(TaskWaits(busy.task_id, True))
    stranger.wait_until_read()
    other.kill()
    other.wait()
    queued = executor.submit(time.sleep, 60)
    stranger.wait_until_read()
    status = executor.engine_status()
    assert status is not None
    assert status.queued == 2, "the stranger's goes on waiting, and no slot was lent"
    executor.cancel_all(SAFETY)
    assert queued.cancelled()
    stranger.say(ClientDisconnect())  # and its task ends


def test_clients_that_come_and_go_leave_nothing(executor: NotebookExecutor, bystander: Bystander) -> None:
    scheduler = psutil.Process(scheduler_of(executor).pid)
    before = scheduler.num_fds()
    for _ in range(20):
        with contextlib.closing(Stranger(scheduler_of(executor).address)) as stranger:
            stranger.say(ClientHello(os.getpid(), 0, process_namespace()))
            stranger.wait_until_read()
            stranger.say(ClientDisconnect())
    deadline = time.monotonic() + SAFETY
    while scheduler.num_fds() > before:
        assert time.monotonic() < deadline
        assert executor.submit(abs, -1).result(SAFETY) == 1
    bystander.check()


@pytest.fixture
def segments(executor: NotebookExecutor, tmp_path: Path) -> Iterator[dict[str, SegmentRef]]:
    """What is said to be a large buffer, and is none."""
    here, size = os.getpid(), 1_000_000
    os.mkfifo(tmp_path / "fifo")
    fifo = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)  # who opens it waits for one that writes
    short, unsealed = os.memfd_create("short"), os.memfd_create("unsealed")
    os.ftruncate(unsealed, size)
    found = {
        "a pipe": SegmentRef(here, fifo, size),
        "a short file": SegmentRef(here, short, size),
        "one that can be cut": SegmentRef(here, unsealed, size),
        "none": SegmentRef(here, 10**6, size),
        "an impossible number": SegmentRef(here, 2**40, size),
        "the scheduler's": SegmentRef(scheduler_of(executor).pid, 5, 10),
        "of no process": SegmentRef(2**40, 5, size),
        "of a negative size": SegmentRef(here, unsealed, -1),
    }
    yield found
    for descriptor in (fifo, short, unsealed):
        os.close(descriptor)


def test_memory_that_is_none(
    segments: dict[str, SegmentRef], executor: NotebookExecutor, bystander: Bystander, stranger: Stranger
) -> None:
    for name in ("a pipe", "a short file", "one that can be cut", "of a negative size"):
        with pytest.raises(BadSegment):
            open_segment(segments[name])
    for number, segment in enumerate(segments.values()):
        pickled = Payload(pickle.dumps(pickle.PickleBuffer(b""), 5, buffer_callback=lambda _: None), (segment,))
        function, arguments = payloads.dump(len), payloads.dump((b"",))
        stranger.say(ObjectCreate(f"strange-o{number}", pickled), Task(f"strange-{number}", function, replace(pickled)))
        stranger.say(Task(f"strange-o{number}", function, arguments))
        stranger.wait_until_read()
    bystander.check()
    assert executor.submit(abs, -1).result(SAFETY) == 1


def test_what_is_lent_to_one_client_is_not_taken_back_by_another(
    executor: NotebookExecutor, bystander: Bystander, stranger: Stranger, monkeypatch: pytest.MonkeyPatch
) -> None:
    map_it = map_segments

    def mapped(payload: Payload) -> Payload:
        if any(isinstance(buffer, SegmentRef) for buffer in payload.buffers):
            stranger.say(BuffersReceived(tuple(range(300))))  # while the result is lent, and not mapped yet
            stranger.wait_until_read()
        found: Payload = map_it(payload)
        return found

    monkeypatch.setattr(result_mapper, "map_segments", mapped)
    assert executor.submit(np.ones, 100_000).result(SAFETY).sum() == 100_000
    bystander.check()


def test_a_task_that_takes_the_place_of_somebody_elses_object(
    executor: NotebookExecutor, bystander: Bystander, stranger: Stranger
) -> None:
    reference = executor.send_object([1, 2, 3])
    assert executor.submit(len, reference).result(SAFETY) == 3, "the object is there first"
    waits = replace(a_task(reference.object_id, time.sleep, 0), retain=True)
    stranger.say(waits)
    stranger.wait_until_read()
    bystander.check()
    assert executor.submit(len, reference).result(SAFETY) == 3


@pytest.mark.parametrize("kind", ["an object", "the value of a task"])
def test_an_id_that_a_stranger_has_used_before_is_still_its_clients(
    kind: str, executor: NotebookExecutor, bystander: Bystander, stranger: Stranger
) -> None:
    """A value that has arrived is sent as an object under its task's id, to the tasks that need it."""
    done = executor.submit(abs, -2)
    assert done.result(SAFETY) == 2
    taken = ObjectCreate(done.task_id, payloads.dump("another"))
    stranger.say(taken if kind == "an object" else replace(a_task(done.task_id, abs, -3), retain=True))
    stranger.wait_until_read()
    assert executor.submit(abs, done).result(SAFETY) == 2
    bystander.check()


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
    return b"".join(encode_batch(frames))


WRITTEN: dict[str, bytes] = {
    "text": b"hello, is this stdout?\n",
    "zeros": bytes(1000),
    "more than a tebibyte": struct.pack("<HI2Q", 0, 2, 1 << 40, 1),
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
        os.write(fd, stream(*messages.WORKER_CODEC.encode([messages.Ready(pid or os.getpid())])))
    time.sleep(60)


@pytest.mark.parametrize("pid", [0, 2**22 + 1], ids=["its own", "one that no process has"])
def test_a_task_that_claims_to_be_ready_fails_alone(executor: NotebookExecutor, bystander: Bystander, pid: int) -> None:
    culprit = executor.submit(says_ready, pid)
    with pytest.raises(ProcessorDiedError):
        culprit.result(SAFETY)
    bystander.check()


def says_ended(seq: int) -> None:
    for fd in own_sockets():
        ended = messages.RunFinished(seq, TaskEnd.SUCCESS, Payload(b"no pickle"))
        os.write(fd, stream(*messages.WORKER_CODEC.encode([ended])))
    time.sleep(60)


def test_a_task_that_reports_the_end_of_another_run_changes_nothing(
    executor: NotebookExecutor, bystander: Bystander
) -> None:
    culprit = executor.submit(says_ended, 1000)
    until_running(culprit)
    assert culprit.cancel(SAFETY)
    assert culprit.cancel_reason is CancelReason.STOPPED
    bystander.check()


def claims_segments(kind: str) -> None:
    """Report the end of whatever run this is, with segments that are none."""
    short, fifo = os.memfd_create("short"), os.pipe()[0]
    size, scheduler = 1_000_000, os.getppid()
    refs, sent = {
        "the scheduler's": ([SegmentRef(scheduler, number, 1) for number in range(3, 40)], []),
        "none came": ([SegmentRef(TRAVELS, number, size) for number in range(3)], []),
        "one twice": ([SegmentRef(TRAVELS, 0, 1), SegmentRef(TRAVELS, 0, 1)], [write_segment(b"x")]),
        "a short file": ([SegmentRef(TRAVELS, 0, size)], [short]),
        "a pipe": ([SegmentRef(TRAVELS, 0, size)], [fifo]),
        "more than are named": ([SegmentRef(TRAVELS, 0, size)], [short, fifo, short, fifo]),
    }[kind]
    for number in own_sockets():
        outbox = Outbox(socket.socket(fileno=number))
        for seq in range(1, 100):
            ended = messages.RunFinished(seq, TaskEnd.SUCCESS, Payload(b"no pickle", tuple(refs)))
            outbox.put(messages.WORKER_CODEC.encode([ended]), [os.dup(each) for each in sent])
        outbox.flush()
    time.sleep(60)


@pytest.mark.parametrize(
    "kind", ["the scheduler's", "none came", "one twice", "a short file", "a pipe", "more than are named"]
)
def test_a_task_that_claims_segments_which_are_none_fails_alone(
    kind: str, executor: NotebookExecutor, bystander: Bystander
) -> None:
    scheduler = psutil.Process(scheduler_of(executor).pid)
    before = scheduler.num_fds()
    culprit = executor.submit(claims_segments, kind)
    with pytest.raises(ProcessorDiedError, match="could not be taken over"):
        culprit.result(SAFETY)
    bystander.check()
    assert executor.submit(lambda: np.ones(100_000)).result(SAFETY).sum() == 100_000
    deadline = time.monotonic() + SAFETY
    while scheduler.num_fds() > before:  # the process that took the culprit's place is there at once, or soon
        assert time.monotonic() < deadline, "descriptors that came with the message are still open"
        time.sleep(0.01)


@pytest.mark.parametrize("promised", [1000, 1 << 39])
def test_a_task_that_promises_more_than_it_sends_can_be_killed(
    executor: NotebookExecutor, bystander: Bystander, promised: int
) -> None:
    """What its process says afterwards is taken for what was promised, so that nobody can hear its end."""
    culprit = executor.submit(writes, struct.pack("<HIQ", 0, 1, promised) + bytes(500))
    until_running(culprit)
    scripted = psutil.Process(scheduler_of(executor).pid).memory_info().rss
    assert scripted < 500e6, "it believed the promise"
    assert culprit.cancel(SAFETY, grace=0.1)
    bystander.check()


def test_a_task_finds_no_other_socket(executor: NotebookExecutor) -> None:
    assert len(executor.submit(own_sockets).result(SAFETY)) == 1


# ---------------------------------------------------------------- engines that send nonsense


@pytest.mark.parametrize("name", NO_BATCH)
def test_an_engine_that_sends_nonsense_is_lost_and_the_next_submit_works(name: str) -> None:
    with memory_executor() as executor:
        futures = [executor.submit(abs, n) for n in range(3)]
        futures[2].request_cancel()
        executor.engine.tell_frames(NO_BATCH[name])
        for future in futures[:2]:
            with pytest.raises(EngineLostError, match="no message of ours"):
                future.result(SAFETY)
        assert futures[2].cancel_reason is CancelReason.DISCONNECTED
        after = executor.submit(abs, -1)
        executor.engine.finish(after, 1)
        assert after.result(SAFETY) == 1


@pytest.mark.parametrize("message", [[99], [18], [18, "Excellent"], [17, "Canceled", "yes"]], ids=str)
def test_a_malformed_message_of_an_engine_fails_its_own_future(message: list[object]) -> None:
    with memory_executor() as executor:
        bad, good = executor.submit(abs, 1), executor.submit(abs, 2)
        code, *fields = message
        executor.engine.tell_frames([msgpack.packb([[code, bad.task_id, *fields]])])
        with pytest.raises(ProtocolError, match="a bug in the engine"):
            bad.result(SAFETY)
        executor.engine.finish(good, 2)
        assert good.result(SAFETY) == 2


@pytest.mark.parametrize("outcome", TaskResultType)
@pytest.mark.parametrize("journal", [False, True])
def test_a_payload_that_does_not_load_fails_its_own_future(
    outcome: TaskResultType, journal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever watches: a journal, like a view, looks at a failure as soon as it arrives."""
    if journal:
        monkeypatch.setenv("SCALER_NOTEBOOK_LOG", str(tmp_path / "journal"))
    with memory_executor() as executor:
        bad, good = executor.submit(abs, 1), executor.submit(abs, 2)
        executor.engine.tell(
            TaskResult(bad.task_id, outcome, Payload(b"\xff no pickle")), task_messages.succeeded(good.task_id, 2)
        )
        assert good.result(SAFETY) == 2
        assert bad.exception(SAFETY) is not None
