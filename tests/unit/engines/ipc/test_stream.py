"""Batches of frames over a real socket: whole, in order, writable, and nothing but."""

import contextlib
import errno
import os
import resource
import signal
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psutil
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scaler_notebook.engines.local.ipc import framing
from scaler_notebook.engines.local.ipc.framing import (
    CHUNK,
    MAX_BATCH,
    MAX_DESCRIPTORS,
    MAX_FRAMES,
    MAX_UNCLAIMED,
    Assembler,
)
from scaler_notebook.engines.local.ipc.outbox import IOV, Outbox, send_blocking
from scaler_notebook.protocol.errors import ProtocolError
from scaler_notebook.protocol.messages import Buffer

PATIENCE = 10.0  # seconds
PATTERN = bytes(range(251)) * 20_000  # a shift by a buffer's size shows

Batch = list[bytes]


@contextlib.contextmanager
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair()
    with left, right:
        left.setblocking(False)
        right.setblocking(False)
        yield left, right


def frame(size: int, shift: int) -> bytes:
    return PATTERN[shift : shift + size]


def drain(sock: socket.socket, assembler: Assembler, into: list[list[Buffer]]) -> bool:
    """Read what is there; False at the end of the stream."""
    try:
        for _ in range(100_000):
            if not assembler.read(sock):
                return False
            into.extend(assembler.batches())
    except BlockingIOError:
        return True
    raise AssertionError("it reads and reads")


def push(data: bytes, steps: Iterator[int], receive: Callable[[], object], sock: socket.socket) -> None:
    """Send in pieces of the given sizes, and let the other side read after each of them."""
    rest = memoryview(data)
    while rest:
        piece = rest[: next(steps)]
        rest = rest[len(piece) :]
        while piece:
            with contextlib.suppress(BlockingIOError):
                piece = piece[sock.send(piece) :]
            receive()


def packed(batches: Sequence[Batch]) -> bytes:
    return b"".join(bytes(view) for batch in batches for view in framing.encode_batch(batch))


SIZES = st.one_of(
    st.sampled_from([0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5]), st.integers(0, 40), st.integers(0, 2_000_000)
)
BATCHES = st.lists(st.lists(st.builds(frame, SIZES, st.integers(0, 250)), min_size=1, max_size=5), max_size=4)
STEPS = st.lists(st.one_of(st.integers(1, 20), st.integers(1, 400_000)), min_size=1, max_size=6)


def endless(steps: list[int]) -> Iterator[int]:
    """The steps drawn, then large ones, so that megabytes do not go byte by byte."""
    yield from steps
    while True:
        yield max(*steps, 50_000)


@given(BATCHES, STEPS)
@example([[b""], [b"", b""]], [1])
@example([[b"x" * 5] * 3, [frame(CHUNK + 1, 3)], [b"", frame(2 * CHUNK, 1), b""]], [1] * 60)
def test_batches_arrive_whole_and_in_order_however_they_are_cut(batches: list[Batch], steps: list[int]) -> None:
    received: list[list[Buffer]] = []
    assembler = Assembler()
    with pair() as (left, right):
        push(packed(batches), endless(steps), lambda: drain(right, assembler, received), left)
        assert drain(right, assembler, received)
        assert received == batches
        left.close()
        assert not drain(right, assembler, received)
    for buffer in (buffer for batch in received for buffer in batch):
        assert isinstance(buffer, bytearray)  # writable: it becomes the memory of an array


def test_a_frame_is_not_given_before_it_is_complete() -> None:
    received: list[list[Buffer]] = []
    assembler = Assembler()
    data = packed([[b"head", frame(CHUNK + 100, 0)], [b"next"]])
    cut = len(data) - len(packed([[b"next"]]))
    with pair() as (left, right):
        push(data[: cut - 1], endless([1000]), lambda: drain(right, assembler, received), left)
        assert received == []
        left.send(data[cut - 1 : cut + 3])
        drain(right, assembler, received)
        assert [len(batch) for batch in received] == [2]
        left.send(data[cut + 3 :])
        drain(right, assembler, received)
    assert received == [[b"head", frame(CHUNK + 100, 0)], [b"next"]]


def test_the_rest_of_a_batch_is_no_batch_though_it_looks_like_one() -> None:
    received: list[list[Buffer]] = []
    assembler = Assembler()
    batch = [b"first", packed([[b"inner"]]) * 2]
    data = packed([batch])
    with pair() as (left, right):
        push(data, endless([len(data) - len(batch[1]) // 2]), lambda: drain(right, assembler, received), left)
    assert received == [batch]


def test_the_memory_of_one_frame_is_not_that_of_another() -> None:
    received: list[list[Buffer]] = []
    assembler = Assembler()
    large = frame(2 * CHUNK, 0)
    with pair() as (left, right):
        push(
            packed([[b"a" * 10, large, b"b" * 10]]), endless([30_000]), lambda: drain(right, assembler, received), left
        )
    ((first, second, third),) = received
    memoryview(second).cast("B")[:] = bytes(len(large))
    assert (first, third) == (b"a" * 10, b"b" * 10)


def test_what_was_received_stays_as_it_is_when_more_is_received() -> None:
    assembler = Assembler()
    received: list[list[Buffer]] = []
    with pair() as (left, right):
        for letter in b"abc":
            left.send(packed([[bytes([letter]) * 1000, b""]]))
            drain(right, assembler, received)
    assert received == [[b"a" * 1000, b""], [b"b" * 1000, b""], [b"c" * 1000, b""]]


@pytest.mark.parametrize("size", [0, 1, framing.SMALL_BATCH - 13, framing.SMALL_BATCH - 12, framing.SMALL_BATCH + 1])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_one_frame_of_any_kind_and_size_is_a_batch(kind: type, size: int) -> None:
    received: list[list[Buffer]] = []
    with pair() as (left, right):
        left.setblocking(True)
        send_blocking(left, [kind(frame(size, 3))])
        drain(right, Assembler(), received)
    assert received == [[frame(size, 3)]]


@pytest.mark.parametrize("cut", [2, 10, 40, CHUNK])
def test_the_end_of_the_stream_within_a_batch_gives_nothing(cut: int) -> None:
    received: list[list[Buffer]] = []
    assembler = Assembler()
    with pair() as (left, right):
        data = packed([[b"x" * 20, frame(3 * CHUNK, 0)]])[:cut]
        push(data, endless([20_000]), lambda: drain(right, assembler, received), left)
        left.close()
        assert not drain(right, assembler, received)
    assert received == []


# ---------------------------------------------------------------------- sending


@given(BATCHES)
@example([[frame(1_500_000, 7), b"", b"tail"], [b"next"]])
@example([[b"%d" % i for i in range(2 * IOV + 3)], [b""] * (IOV + 1)])
def test_an_outbox_keeps_what_the_socket_does_not_take(batches: list[Batch]) -> None:
    received: list[list[Buffer]] = []
    assembler = Assembler()
    with pair() as (left, right):
        left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        outbox = Outbox(left)
        unfinished = 0
        for batch in batches:
            outbox.put(batch)
            outbox.flush()  # nobody reads: most of it stays
        while not outbox.flush():
            unfinished += 1
            assert drain(right, assembler, received)
        drain(right, assembler, received)
        assert received == batches
        assert outbox.flush()
        with pytest.raises(BlockingIOError):
            right.recv(1)
        if sum(len(frame) for batch in batches for frame in batch) > 1_000_000:
            assert unfinished


def test_an_outbox_says_that_its_peer_is_gone() -> None:
    with pair() as (left, right):
        outbox = Outbox(left)
        outbox.put([b"x"])
        right.close()
        with pytest.raises(OSError):  # noqa: PT011  # which of its kinds differs between systems
            outbox.flush()


def test_a_peer_that_is_gone_is_no_signal() -> None:
    """A script for a pipeline sets SIGPIPE to its default, which would kill the script when its scheduler is gone."""
    signals: list[int] = []
    before = signal.signal(signal.SIGPIPE, lambda number, _: signals.append(number))
    try:
        with pair() as (left, right):
            right.close()
            for descriptors in (), files(1):
                outbox = Outbox(left)
                outbox.put([b"x"], descriptors)
                with pytest.raises(BrokenPipeError):
                    outbox.flush()
                outbox.close()
    finally:
        signal.signal(signal.SIGPIPE, before)
    assert signals == []


def test_a_large_frame_is_not_copied_to_be_sent() -> None:
    data = bytearray(b"x" * framing.SMALL_BATCH)
    _, *views = framing.encode_batch([data, b"", memoryview(data)])
    data[0:1] = b"y"  # a bytearray that is exported cannot be resized, but it can be written
    assert [bytes(view[:1]) for view in views] == [b"y", b"y"]


def test_a_view_of_wider_items_is_sent_as_its_bytes() -> None:
    words = memoryview(PATTERN[: 4 * 100_000]).cast("I")
    received: list[list[Buffer]] = []
    assembler = Assembler()
    with pair() as (left, right):
        left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        outbox = Outbox(left)
        outbox.put([words])
        while not outbox.flush():
            assert drain(right, assembler, received)
        drain(right, assembler, received)
    assert received == [[PATTERN[: 4 * 100_000]]]


def test_send_blocking_returns_when_the_peer_has_taken_everything() -> None:
    batch = [b"header", frame(3_000_000, 11), b"", b"tail"]
    received: list[list[Buffer]] = []
    left, right = socket.socketpair()
    with left, right:
        left.settimeout(PATIENCE)
        right.settimeout(PATIENCE)
        assembler = Assembler()

        def read() -> None:
            while assembler.read(right) and not received:
                received.extend(assembler.batches())

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        send_blocking(left, batch)
        left.shutdown(socket.SHUT_WR)
        reader.join(PATIENCE)
        assert not reader.is_alive()
    assert received == [batch]


# ---------------------------------------------------------------------- broken streams


def feed(data: bytes) -> list[list[Buffer]]:
    received: list[list[Buffer]] = []
    with pair() as (left, right):
        left.send(data)
        drain(right, Assembler(), received)
    return received


@pytest.mark.parametrize(
    "head",
    [
        struct.pack("<HI", 0, 0),
        struct.pack("<HI", 0, MAX_FRAMES + 1),
        struct.pack("<HI", MAX_DESCRIPTORS + 1, 1),
        b"\xff\xff\xff\xff\xff\xff",
        struct.pack("<HIQ", 0, 1, MAX_BATCH + 1),
        struct.pack("<HIQ", 0, 1, 2**64 - 1),
        struct.pack("<HIQQ", 0, 2, MAX_BATCH, 1),
        struct.pack("<HIQQ", 0, 2, 2**63, 2**63),
        packed([[b"fine"]]) + struct.pack("<HI", 0, 0),
    ],
    ids=lambda head: head.hex(),
)
def test_a_malformed_head_is_a_protocol_error(head: bytes) -> None:
    with pytest.raises(ProtocolError):
        feed(head)


@given(st.binary(max_size=60))
def test_random_bytes_are_batches_or_a_protocol_error(data: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(framing, "MAX_BATCH", 1 << 20)  # what may be declared, lest the test itself asks for it
        with contextlib.suppress(ProtocolError):
            for batch in feed(data):
                assert data.find(packed([[bytes(buffer) for buffer in batch]])[2:]) >= 0, (
                    "all but the number of descriptors, which did not come"
                )


def test_a_length_is_believed_only_as_far_as_bytes_come() -> None:
    """A task can write to our socket what it likes: fourteen bytes must not cost the memory that they announce."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(struct.pack("<HIQ", 0, 1, 1 << 39) + b"x" * 1000)
        assembler = Assembler()
        assert assembler.read(ours)
        assert list(assembler.batches()) == []
        theirs.sendall(b"y" * 1000)
        assert assembler.read(ours)
        frame = assembler._frames[-1]
        assert len(frame) < 1 << 20


def test_one_who_sends_nothing_costs_no_buffer() -> None:
    process = psutil.Process()
    before = process.memory_info().rss
    assemblers = [Assembler() for _ in range(400)]
    assert process.memory_info().rss - before < len(assemblers) * CHUNK / 4


def files(count: int) -> list[int]:
    """Descriptors of new files, each of which has its number in it."""
    made = [os.memfd_create("number", os.MFD_CLOEXEC) for _ in range(count)]
    for number, descriptor in enumerate(made):
        os.write(descriptor, bytes([number]))
    return made


def test_descriptors_are_counted_before_they_are_read() -> None:
    left, right = socket.socketpair()
    with left, right:
        right.setblocking(False)
        assembler = Assembler()
        with pytest.raises(BlockingIOError):
            assembler.count_descriptors(right)
        send_blocking(left, [b"one"], files(3))
        before = os.listdir("/proc/self/fd")
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        os.close(lowest := os.dup(0))
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 1, limits[1]))
        try:
            assert not assembler.count_descriptors(right)[1]
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert assembler.count_descriptors(right) == (3, True)
        assert os.listdir("/proc/self/fd") == before
        assert assembler.read(right)
        assert [*map(list, assembler.batches())] == [[b"one"]]
        assert numbers(assembler.take_descriptors()) == [0, 1, 2]


def numbers(descriptors: list[int]) -> list[int]:
    """The numbers in files; closes the descriptors."""
    found = [os.pread(descriptor, 1, 0)[0] for descriptor in descriptors]
    for descriptor in descriptors:
        os.close(descriptor)
    return found


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_descriptors_come_with_their_batch_however_much_is_read_at_once() -> None:
    before = open_descriptors()
    with pair() as (left, right):
        outbox, assembler = Outbox(left), Assembler()
        made = files(6)
        outbox.put([b"none"])
        outbox.put([b"one"], made[:1])
        outbox.put([frame(3 * CHUNK, 5), b"three"], made[1:4])
        outbox.put([b"none", b"again"])
        outbox.put([b"two"], made[4:])
        found: list[tuple[bytes, list[int]]] = []
        is_sent = False
        while not is_sent or len(found) < 5:
            is_sent = outbox.flush()
            with contextlib.suppress(BlockingIOError):
                assembler.read(right)
            for batch in assembler.batches():
                found.append((bytes(batch[-1]), numbers(assembler.take_descriptors())))
        assert found == [(b"none", []), (b"one", [0]), (b"three", [1, 2, 3]), (b"again", []), (b"two", [4, 5])]
        outbox.close()
        assembler.close()
    assert open_descriptors() == before


def test_descriptors_that_nobody_takes_and_those_that_are_not_sent_are_closed() -> None:
    before = open_descriptors()
    with pair() as (left, right):
        outbox, assembler = Outbox(left), Assembler()
        for count in (2, 1, 1):
            outbox.put([b"x"], files(count))
        assert outbox.flush()
        received: list[list[Buffer]] = []
        drain(right, assembler, received)
        assert len(received) == 3
        outbox.put([b"without"])
        assert outbox.flush()
        drain(right, assembler, received)
        assert assembler.take_descriptors() == [], "those of a batch before are not this one's"
        outbox.put([b"never sent"], files(2))
        outbox.close()
        assembler.close()
    assert open_descriptors() == before


def test_where_descriptors_find_no_room_the_batches_come_all_the_same() -> None:
    with pair() as (left, right):
        outbox, assembler = Outbox(left), Assembler()
        outbox.put([b"first"], files(3))
        outbox.put([b"second"], files(1))
        assert outbox.flush()
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = os.dup(right.fileno())  # the lowest number that is free
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
        try:
            assert assembler.read(right)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert [bytes(batch[0]) for batch in assembler.batches()] == [b"first"]
        assert assembler.take_descriptors() == []
        assert assembler.read(right)
        assert [bytes(batch[0]) for batch in assembler.batches()] == [b"second"]
        assert numbers(assembler.take_descriptors()) == [0]


def test_descriptors_without_a_batch_are_a_protocol_error() -> None:
    before = open_descriptors()
    with pair() as (left, right):
        assembler = Assembler()
        for number in range(MAX_UNCLAIMED + 1):
            [made] = files(1)
            socket.send_fds(left, [b"\0"], [made])
            os.close(made)
            with contextlib.nullcontext() if number < MAX_UNCLAIMED else pytest.raises(ProtocolError, match="no batch"):
                assembler.read(right)
        assembler.close()
    assert open_descriptors() == before


def test_descriptors_that_nobody_asked_for_are_closed_and_soon_a_protocol_error() -> None:
    before = open_descriptors()
    with pair() as (left, right):
        within = open_descriptors()
        assembler = Assembler(takes_descriptors=False)
        for number in range(MAX_UNCLAIMED + 1):
            made = files(3)
            socket.send_fds(left, [packed([[b"message"]])], made)
            for each in made:
                os.close(each)
            with contextlib.nullcontext() if number < MAX_UNCLAIMED else pytest.raises(ProtocolError, match="no batch"):
                assembler.read(right)
                assert list(assembler.batches()) == [[b"message"]]
        assert open_descriptors() == within
        assembler.close()
    assert open_descriptors() == before


@pytest.mark.parametrize("why", [errno.ETOOMANYREFS, errno.ENOBUFS, errno.ENOMEM], ids=errno.errorcode.get)
@pytest.mark.parametrize("blocking", [True, False])
def test_what_cannot_be_sent_just_now_is_sent_later(blocking: bool, why: int) -> None:
    """Where a user has as many descriptors on their way as there may be, or the system has no memory for a while.

    Nobody would ask for the message again.
    """
    refusals = iter([why] * 2)

    class Refusing(socket.socket):
        def sendmsg(self, *arguments: Any) -> int:
            for number in refusals:
                raise OSError(number, os.strerror(number))
            return super().sendmsg(*arguments)

    with pair() as (left, right):
        assembler, sender = Assembler(), Refusing(fileno=os.dup(left.fileno()))
        with sender:
            if blocking:
                send_blocking(sender, [b"message"], files(1))
            else:
                outbox = Outbox(sender)
                outbox.put([b"message"], files(1))
                assert [outbox.flush() for _ in range(3)] == [False, False, True]
        assert assembler.read(right)
        assert list(assembler.batches()) == [[b"message"]]
        assert numbers(assembler.take_descriptors()) == [0]
