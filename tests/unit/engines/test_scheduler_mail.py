"""What the scheduler does later or not at all, to save system calls: nothing is lost, held up or given to another."""

import dataclasses
import errno
import os
import selectors
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from waits import SAFETY

from scaler_notebook.engines.local.client.channels.channel import open_channel
from scaler_notebook.engines.local.ipc.output_pipes import encode_mark
from scaler_notebook.engines.local.ipc.output_records import KINDS, RECORD
from scaler_notebook.engines.local.ipc.transport import Keys
from scaler_notebook.engines.local.scheduler import clients
from scaler_notebook.engines.local.scheduler.clients import Clients
from scaler_notebook.engines.local.scheduler.core.core import Core
from scaler_notebook.engines.local.scheduler.core.state.pausable_queue import PausableQueue
from scaler_notebook.engines.local.scheduler.engine_effects import EngineEffects
from scaler_notebook.engines.local.scheduler.outgoing_messages import BRIEF, PATIENCE, OutgoingMessages
from scaler_notebook.engines.local.scheduler.task_output import TaskOutput
from scaler_notebook.protocol.encoding.wire import CLIENT_CODEC, ENGINE_CODEC
from scaler_notebook.protocol.messages import (
    BuffersReceived,
    ClientPause,
    DisplayKind,
    EngineHello,
    EngineMessage,
    EngineStatus,
    EngineStatusRequest,
    LogStream,
    Payload,
    SegmentRef,
    Task,
    TaskCancelConfirm,
    TaskCancelConfirmType,
    TaskDisplay,
    TaskFigures,
    TaskLog,
    TaskOptions,
    TaskResult,
    TaskResultType,
    TaskStarted,
)
from scaler_notebook.protocol.payload_cache import SMALLEST, Receiver, Sender, completed, shortened

# ---------------------------------------------------------------------- payloads that were sent before


def test_a_task_keeps_all_else_when_its_payloads_are_replaced() -> None:
    function, arguments = Payload(b"f" * SMALLEST), Payload(b"a" * SMALLEST)
    options = TaskOptions("name", 1, 2, 3.0, memory=4)
    sender, receiver = Sender(), Receiver()
    for number in range(3):
        task = Task(f"t-{number}", function, arguments, options, ("i",), True, True, "parent")
        sent = shortened(task, sender)
        assert bool(sent.function.data) is bool(sent.arguments.data) is (number == 0)
        whole = completed(sent, receiver)
        assert (whole.function.data, whole.arguments.data) == (function.data, arguments.data)
        assert dataclasses.replace(whole, function=function, arguments=arguments) == task


# ---------------------------------------------------------------------- results that wait for each other


VALUE = Payload(b"N.")


def result(task_id: str = "t", took: float = 0.0, payload: Payload = VALUE) -> TaskResult:
    return TaskResult(task_id, TaskResultType.SUCCESS, payload, TaskFigures(1000.0, 1000.0 + took))


def test_results_of_brief_tasks_wait_for_each_other_while_tasks_wait_for_a_slot() -> None:
    queue = ["a task"]
    messages, before = OutgoingMessages(lambda: bool(queue)), time.monotonic()
    assert messages.deadline is None
    messages.put(b"c", result("first"))
    due = messages.deadline
    assert due is not None
    assert before + PATIENCE <= due <= time.monotonic() + PATIENCE
    messages.put(b"d", result("second"))
    assert messages.deadline == due, "a later result does not prolong the wait of the first one"
    queue.clear()
    assert messages.deadline == 0.0, "a client that has no more tasks waits for this one"
    assert messages.take() == {b"c": [result("first")], b"d": [result("second")]}
    assert messages.deadline is None


@pytest.mark.parametrize(
    "urgent",
    [
        TaskStarted("u", "1", 0.0),
        TaskCancelConfirm("u", TaskCancelConfirmType.CANCELED, True),
        TaskLog("u", LogStream.STDOUT, "text"),
        EngineStatus(1, 0),
        TaskResult("u", TaskResultType.FAILED, Payload(b"")),
        result("u", took=BRIEF),
        result("u", took=-1.0),
        result("u", payload=Payload(b"", (SegmentRef(1, 2, 3),))),
    ],
    ids=lambda message: type(message).__name__,
)
def test_nothing_else_waits_and_the_order_stays(urgent: EngineMessage) -> None:
    messages = OutgoingMessages(lambda: True)
    messages.put(b"c", result("before"))
    messages.put(b"c", urgent)
    messages.put(b"c", result("behind"))
    assert messages.deadline == 0.0
    assert messages.take() == {b"c": [result("before"), urgent, result("behind")]}
    messages.put(b"c", result())
    assert messages.deadline != 0.0


# ---------------------------------------------------------------------- what clients send meanwhile


class Loop:
    """The scheduler's clients, and one of them, without the scheduler's loop.

    Parameters
    ----------
    directory
        The directory for a Unix socket.
    keys
        The keys to a TCP socket; None for a Unix socket.
    """

    def __init__(self, directory: Path, keys: Keys | None) -> None:
        self.selector = selectors.DefaultSelector()
        core = Core(1, Mock(), {})
        self.clients = Clients(core, EngineHello(1), self.selector, str(directory), keys)
        self.peer = open_channel(self.clients.address, keys)

    def ask(self) -> None:
        self.peer.send(CLIENT_CODEC.encode([EngineStatusRequest()]))

    def turn(self) -> None:
        for key, _ in self.selector.select(0.01):
            key.data()

    def answers(self, count: int) -> list[EngineMessage]:
        """Let the scheduler's clients exchange messages until the peer has got so many."""
        end, found = time.monotonic() + SAFETY, list[EngineMessage]()
        while len(found) < count:
            assert time.monotonic() < end
            self.turn()
            self.clients.exchange()
            found += [message for frames in self.peer.receive() for message in ENGINE_CODEC.decode(frames)]
        return found


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Loop]:
    loop = Loop(tmp_path, None)
    yield loop
    loop.peer.close(0.0)
    loop.clients.close()
    loop.selector.close()


def test_what_has_arrived_before_a_send_is_received_after_it(loop: Loop) -> None:
    loop.ask()
    assert [type(each) for each in loop.answers(1)] == [EngineStatus]
    (client,) = loop.clients._listener._connections  # type: ignore[attr-defined]
    loop.ask()
    loop.clients.send(client, TaskStarted("t", "1", 0.0))
    assert [type(each) for each in loop.answers(2)] == [TaskStarted, EngineStatus]


def test_after_an_exception_the_rest_is_received(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    loop.ask()
    loop.ask()
    with monkeypatch.context() as patched:
        patched.setattr(CLIENT_CODEC, "decode", Mock(side_effect=RuntimeError("a bug of ours")))
        loop.turn()
        loop.turn()
        with pytest.raises(RuntimeError):
            loop.clients.exchange()
    assert [type(each) for each in loop.answers(1)] == [EngineStatus]


def test_a_client_whose_connection_ends_is_gone(loop: Loop) -> None:
    loop.peer.send(CLIENT_CODEC.encode([Task("t", Payload(b""), Payload(b""))]))
    loop.ask()
    (status,) = loop.answers(1)
    assert isinstance(status, EngineStatus)
    assert status.queued == 1
    loop.peer.close(0.0)
    end = time.monotonic() + SAFETY
    while loop.clients._core.overview.status().queued:
        assert time.monotonic() < end
        loop.turn()
        loop.clients.exchange()


@pytest.fixture
def queued(loop: Loop) -> PausableQueue:
    """The scheduler's queue, with a task of the client's."""
    loop.peer.send(CLIENT_CODEC.encode([Task("t", Payload(b""), Payload(b""))]))
    loop.ask()
    loop.answers(1)
    return loop.clients._core.state.queue


def test_the_queue_of_a_client_that_takes_no_results_waits_until_it_does(loop: Loop, queued: PausableQueue) -> None:
    """Nor is it started by that where the client has paused it meanwhile."""
    (client,) = loop.clients._listener._connections  # type: ignore[attr-defined]
    lent = os.open(os.devnull, os.O_RDONLY)
    segment = SegmentRef(os.getpid(), lent, clients.MAX_UNTAKEN + 1)
    loop.clients.send(client, result(payload=Payload(b"N.", (segment,))))
    loop.answers(1)
    assert (len(queued), queued.kept) == (0, 1)
    loop.peer.send(CLIENT_CODEC.encode([ClientPause(True), BuffersReceived((lent,))]))
    loop.ask()
    loop.answers(1)
    loop.clients.exchange()
    assert (len(queued), queued.kept) == (0, 1)
    loop.peer.send(CLIENT_CODEC.encode([ClientPause(False)]))
    loop.ask()
    loop.answers(1)
    assert (len(queued), queued.kept) == (1, 0)


def test_the_queue_of_a_client_that_reads_nothing_waits_until_it_does(
    loop: Loop, queued: PausableQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "MAX_UNTAKEN", 1 << 20)
    (client,) = loop.clients._listener._connections  # type: ignore[attr-defined]
    loop.clients.send(client, result(payload=Payload(bytes(4 << 20))))
    loop.clients.flush()
    assert (len(queued), queued.kept) == (0, 1)
    loop.answers(1)
    loop.clients.exchange()
    assert (len(queued), queued.kept) == (1, 0)


def test_a_client_that_refuses_its_answers_is_gone_and_nothing_is_kept_for_it(loop: Loop) -> None:
    loop.ask()
    loop.answers(1)
    peer: Any = loop.peer
    peer._sock.shutdown(socket.SHUT_RD)
    loop.ask()
    end = time.monotonic() + SAFETY
    while loop.clients._listener._connections:  # type: ignore[attr-defined]
        assert time.monotonic() < end
        loop.turn()
        loop.clients.exchange()


def test_a_client_that_cannot_be_watched_is_told_so(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no room for another watch: it would wait for ever for an answer."""
    with monkeypatch.context() as patched:
        patched.setattr(loop.selector, "register", Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
        loop.turn()
    list(loop.peer.receive())
    assert loop.peer.has_ended


def test_without_descriptors_clients_wait_until_there_are_some(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loop.ask()
    loop.answers(1)
    listener: Any = loop.clients._listener
    refused = Mock(accept=Mock(side_effect=OSError(errno.EMFILE, "Too many open files")))
    sock, other = listener._sock, open_channel(loop.clients.address, None)
    refused.fileno = sock.fileno
    with monkeypatch.context() as patched:
        patched.setattr(listener, "_sock", refused)
        loop.turn()
    assert "tried again" in caplog.text
    assert loop.clients.deadline is not None
    other.send(CLIENT_CODEC.encode([EngineStatusRequest()]))
    end = time.monotonic() + SAFETY
    while not other.wait(0):
        assert time.monotonic() < end
        loop.turn()
        loop.clients.exchange()
    other.close(0.0)


# ---------------------------------------------------------------------- the output that nobody has written


@pytest.fixture
def output() -> Iterator[TaskOutput]:
    output = TaskOutput()
    yield output
    output.close_write_ends()
    output.close()


def record(mark: int, body: bytes) -> bytes:
    return RECORD.pack(KINDS.index(DisplayKind.SHOW), 0, len(body), 2, mark) + body + b"{}"


def test_what_is_written_to_one_stream_alone_is_found(output: TaskOutput) -> None:
    for fd, stream in zip(output.fds, LogStream, strict=False):
        assert list(output.new_messages("t", False)) == []
        os.write(fd, b"text")
        assert list(output.new_messages("t", False)) == [TaskLog("t", stream, "text")]


def test_a_record_without_its_marks_is_found(output: TaskOutput) -> None:
    os.write(output.fds[2], record(0, b'{"text/plain": "1"}'))
    (display,) = output.new_messages("t", False)
    assert isinstance(display, TaskDisplay)


def test_what_stood_behind_a_mark_is_forwarded_at_the_end(output: TaskOutput) -> None:
    os.write(output.fds[0], b"before" + encode_mark(0) + b"behind")
    assert list(output.new_messages("t", False)) == [TaskLog("t", LogStream.STDOUT, "before")]
    assert list(output.new_messages("t", True)) == [TaskLog("t", LogStream.STDOUT, "behind")]


def test_displays_that_waited_are_forwarded_at_the_end(output: TaskOutput) -> None:
    for mark in range(2):
        os.write(output.fds[2], record(mark, b'"' + b"x" * 30_000_000 * (1 - mark) + b'"'))
        shown = list(output.new_messages("t", False))
        assert len(shown) == 1 - mark  # after a large one, a small one waits
    assert len(list(output.new_messages("t", True))) == 1


@pytest.mark.parametrize("number", range(3), ids=["stdout", "stderr", "records"])
def test_what_is_written_between_two_tasks_is_of_neither(output: TaskOutput, number: int) -> None:
    for _ in range(2):  # a process that has not been looked at since its last task, and one that has
        os.write(output.fds[number], record(0, b'"late"') if number == 2 else b"late")
        output.reset()
        assert list(output.new_messages("t", True)) == []
        os.write(output.fds[0], b"text")
        assert list(output.new_messages("t", True)) == [TaskLog("t", LogStream.STDOUT, "text")]


def test_what_was_read_and_not_forwarded_is_discarded_too(output: TaskOutput) -> None:
    os.write(output.fds[0], b"before" + encode_mark(0) + b"behind")
    assert list(output.new_messages("t", False)) == [TaskLog("t", LogStream.STDOUT, "before")]
    output.reset()
    assert list(output.new_messages("t", True)) == []


RESULT = TaskResult("id", TaskResultType.SUCCESS, Payload(b""))
CONFIRMATION = TaskCancelConfirm("id", TaskCancelConfirmType.CANCELED, False)


@pytest.mark.parametrize("end", [RESULT, CONFIRMATION])
@pytest.mark.parametrize("times", [0, 1, 2])
def test_the_end_of_a_task_gets_to_its_client_whatever_happens(times: int, end: EngineMessage) -> None:
    sent: list[EngineMessage] = []
    problems = [RuntimeError("a bug of ours")] * times

    def post(owner: bytes, message: EngineMessage) -> None:
        if problems:
            raise problems.pop()
        sent.append(message)

    effects = EngineEffects(Mock(), 1)
    effects.post = post
    effects.send(b"client", end)
    (told,) = sent
    if times < 2:
        assert told is end
    else:
        assert isinstance(told, TaskResult)
        assert (told.task_id, told.outcome) == ("id", TaskResultType.FAILED)
    problems.append(RuntimeError("a bug of ours"))
    with pytest.raises(RuntimeError):
        effects.send(b"client", EngineHello(2))  # what ends no task may be lost
