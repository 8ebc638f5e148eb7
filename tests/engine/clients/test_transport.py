"""How clients reach a scheduler: by a Unix socket, or where there are none by loopback TCP, with keys."""

from __future__ import annotations

import contextlib
import errno
import socket
import time
from collections.abc import Iterator

import psutil
import pytest
import zmq
from waits import SAFETY, until_running

from scaler_notebook import Client, EngineStartError, LocalCluster, NotebookExecutor
from scaler_notebook.engines.local.ipc.tcp import curve
from scaler_notebook.engines.local.ipc.tcp.curve import connect
from scaler_notebook.engines.local.ipc.transport import VARIABLE, Keys
from scaler_notebook.engines.local.scheduler.listeners.connection_limit import MAX_CONNECTIONS
from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.encoding.wire import CLIENT_CODEC
from scaler_notebook.protocol.messages import Task


@pytest.fixture
def over_tcp(monkeypatch: pytest.MonkeyPatch) -> Iterator[NotebookExecutor]:
    monkeypatch.setenv(VARIABLE, "tcp")
    with NotebookExecutor(n_workers=1) as executor:
        yield executor
        executor.cancel_all()


def test_tasks_run_and_are_cancelled_over_tcp(over_tcp: NotebookExecutor) -> None:
    assert over_tcp.submit(abs, -1).result(SAFETY) == 1
    future = over_tcp.submit(time.sleep, 60)
    until_running(future)
    assert future.cancel()


def scheduler_of(executor: NotebookExecutor) -> tuple[str, Keys]:
    executor.submit(abs, -1).result(SAFETY)
    session = executor._session
    assert session is not None
    process = session.engine.scheduler  # type: ignore[attr-defined]
    assert process.address.startswith("tcp://127.0.0.1:")
    return process.address, process.keys


@pytest.mark.parametrize("who", ["no keys", "foreign keys", "the right server key alone"])
def test_nobody_else_gets_in(over_tcp: NotebookExecutor, who: str) -> None:
    address, keys = scheduler_of(over_tcp)
    strangers = Keys.new()
    theirs = {
        "no keys": None,
        "foreign keys": strangers,
        "the right server key alone": Keys(keys.server_public, "", strangers.client_public, strangers.client_secret),
    }[who]
    task = Task("stranger", payloads.dump(abs), payloads.dump(((-1,), {})))
    with zmq.Context() as context, context.socket(zmq.DEALER) as stranger:
        stranger.linger = 0
        if theirs is None:
            stranger.connect(address)
        else:
            connect(stranger, address, theirs)
        stranger.send_multipart(CLIENT_CODEC.encode([task]))
        # The right client's round trip bounds how long the stranger's would have taken.
        for _ in range(20):
            assert over_tcp.submit(abs, -1).result(SAFETY) == 1
        assert stranger.poll(200) == 0, "a stranger was answered"


def test_the_right_keys_get_in(over_tcp: NotebookExecutor) -> None:
    """Else the test above would prove nothing."""
    address, keys = scheduler_of(over_tcp)
    task = Task("friend", payloads.dump(abs), payloads.dump(((-1,), {})))
    with zmq.Context() as context, context.socket(zmq.DEALER) as friend:
        friend.linger = 0
        connect(friend, address, keys)
        friend.send_multipart(CLIENT_CODEC.encode([task]))
        assert friend.poll(int(SAFETY * 1000))


def test_what_is_larger_than_a_stranger_may_send_travels_in_pieces(over_tcp: NotebookExecutor) -> None:
    text = bytes(range(256)) * 20_000
    assert over_tcp.submit(bytes.upper, text).result(SAFETY) == text.upper()


def raw_connection(address: str) -> socket.socket:
    host, port = address.removeprefix("tcp://").split(":")
    connection = socket.create_connection((host, int(port)))
    connection.settimeout(SAFETY)
    return connection


def until_closed(connection: socket.socket) -> None:
    """Wait until the other side has closed a connection."""
    with contextlib.suppress(ConnectionError):
        while connection.recv(4096):
            pass


GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"CURVE".ljust(20, b"\0") + bytes(32)  # of ZMTP 3.0
LONG_COMMAND = b"\x06" + (10**9).to_bytes(8, "big")  # and its length


def test_a_stranger_cannot_make_the_scheduler_take_memory(over_tcp: NotebookExecutor) -> None:
    address, _ = scheduler_of(over_tcp)
    with contextlib.closing(raw_connection(address)) as stranger:
        stranger.sendall(GREETING + LONG_COMMAND)
        with pytest.raises(ConnectionError):
            stranger.sendall(bytes(10**9))
    assert over_tcp.submit(abs, -1).result(SAFETY) == 1


def test_a_flood_of_connections_ends_nothing(over_tcp: NotebookExecutor) -> None:
    address, _ = scheduler_of(over_tcp)
    future = over_tcp.submit(time.sleep, 60)
    until_running(future)
    scheduler = psutil.Process(over_tcp._session.engine.scheduler.pid)  # type: ignore[union-attr]
    before = scheduler.num_fds()
    with contextlib.ExitStack() as flood:
        strangers = [flood.enter_context(raw_connection(address)) for _ in range(MAX_CONNECTIONS + 100)]
        for each in strangers[MAX_CONNECTIONS:]:
            until_closed(each)
        assert scheduler.num_fds() <= before + MAX_CONNECTIONS
        assert future.cancel(SAFETY)
        assert over_tcp.submit(abs, -1).result(SAFETY) == 1


def test_who_does_not_authenticate_in_time_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curve, "HANDSHAKE_TIME", 50)
    with zmq.Context() as context, context.socket(zmq.ROUTER) as clients:
        curve.limit_strangers(clients)
        port = clients.bind_to_random_port("tcp://127.0.0.1")
        with contextlib.closing(raw_connection(f"tcp://127.0.0.1:{port}")) as silent:
            until_closed(silent)


def test_nothing_listens_at_the_port_that_an_address_names() -> None:
    with LocalCluster(n_workers=1) as cluster, Client(cluster.get_address()) as client:
        port = int(cluster.get_address().removeprefix("tcp://127.0.0.1:"))
        with socket.socket() as stranger:
            assert stranger.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
        assert client.submit(abs, -1).result(SAFETY) == 1
        with pytest.raises(EngineStartError, match=f"the address tcp://127.0.0.1:{port} is in use"):
            LocalCluster(cluster.get_address(), n_workers=1)
    with LocalCluster(f"tcp://127.0.0.1:{port}", n_workers=1) as again, Client(again.get_address()) as client:
        assert client.submit(abs, -1).result(SAFETY) == 1, "it is free again"


def test_a_port_of_another_programs_is_refused() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(EngineStartError, match="another program uses it"):
            LocalCluster(address, n_workers=1)
