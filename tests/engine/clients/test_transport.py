"""How clients reach a scheduler: by a Unix socket, or where there are none by loopback TCP, with keys."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Iterator

import pytest
import zmq
from waits import SAFETY, until_running

from scaler_notebook import Client, EngineStartError, LocalCluster, NotebookExecutor
from scaler_notebook.engines.local.ipc.transport import VARIABLE, Keys, connect
from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.messages import Task
from scaler_notebook.protocol.wire import CLIENT_CODEC


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
