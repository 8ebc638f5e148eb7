"""``LocalCluster``: an engine at an address of one's choice, its clients, its end, and what is in its way."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from killed_schedulers import kill_scheduler
from ports import free_port
from waits import SAFETY, until_running

import scaler_notebook
from scaler_notebook import (
    CancelReason,
    CapabilityError,
    DisconnectedError,
    EngineLostError,
    EngineStartError,
    LocalCluster,
    NotebookExecutor,
)
from scaler_notebook.client import cluster as cluster_module
from scaler_notebook.client.session.session import Session
from scaler_notebook.engines.local.client import connection_file
from scaler_notebook.engines.local.ipc import runtime_directory

# What OpenGRIS Scaler 2.9's SchedulerClusterCombo takes.
SCALERS = (
    "n_workers address object_storage_address monitor_address per_worker_capabilities worker_io_threads "
    "scheduler_io_threads max_number_of_tasks_waiting heartbeat_interval_seconds client_timeout_seconds "
    "worker_timeout_seconds object_retention_seconds task_timeout_seconds death_timeout_seconds load_balance_seconds "
    "load_balance_trigger_times garbage_collect_interval_seconds trim_memory_threshold_bytes "
    "per_worker_task_queue_size hard_processor_suspend protected scaler_policy event_loop logging_paths logging_level "
    "logging_config_file worker_manager_id security_config"
)


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(n_workers=2, protected=False) as started:
        yield started


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place for engines of its own; short, for there are sockets in it."""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        monkeypatch.setenv("XDG_RUNTIME_DIR", directory)
        yield Path(directory)


def session_of(executor: NotebookExecutor) -> Session:
    executor.start()
    session = executor._session
    assert session is not None
    return session


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SAFETY
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.01)


def identity(path: Path) -> tuple[int, ...]:
    """Of a file that nobody has replaced or written; looking at it changes its time of access."""
    found = path.lstat()
    return found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns


# ---------------------------------------------------------------------- where it is


@pytest.mark.parametrize("wanted", [None, "tcp://127.0.0.1:0", "tcp://localhost", "tcp://127.0.0.1"])
def test_any_port(wanted: str | None) -> None:
    with LocalCluster(wanted, 1) as one, LocalCluster(wanted, 1) as other:
        assert one.address.startswith("tcp://127.0.0.1:")
        assert one.address != other.address
        for cluster in (one, other):
            with NotebookExecutor(cluster.get_address()) as client:
                assert client.submit(abs, -1).result(SAFETY) == 1


def test_a_chosen_port_is_free_again_at_once() -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    for _ in range(3):
        with LocalCluster(address, 1) as cluster, NotebookExecutor(address) as client:
            assert cluster.address == address
            assert client.submit(os.getppid).result(SAFETY) == cluster.scheduler_pid


def test_a_chosen_path(tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/engine"
    for _ in range(2):
        with LocalCluster(address, 1) as cluster, NotebookExecutor(address) as client:
            assert client.submit(os.getppid).result(SAFETY) == cluster.scheduler_pid
            assert (tmp_path / "engine").is_socket()
        assert list(tmp_path.iterdir()) == []


def test_a_path_that_is_too_long_for_a_socket_is_none_for_an_address(tmp_path: Path) -> None:
    directory = tmp_path / ("deep" * 40)
    directory.mkdir()
    address = f"ipc://{directory}/engine"
    with LocalCluster(address, 1), NotebookExecutor(address) as client:
        assert client.submit(abs, -1).result(SAFETY) == 1


@pytest.mark.parametrize(
    "address", ["tcp://10.0.0.1:8800", "tcp://example.org:8800", "tcp://0.0.0.0:8800", "tcp://*:1"]
)
def test_other_machines_need_a_cluster_engine(address: str) -> None:
    with pytest.raises(ValueError, match=r"one machine alone.*OpenGRIS Scaler.*scaler://"):
        LocalCluster(address)


@pytest.mark.parametrize(
    "address",
    [
        *("", "nonsense", "http://127.0.0.1:1", "ipc://relative", "ipc://", "ipc:///", "ipc:///a/"),
        *("tcp://127.0.0.1:70000", "tcp://127.0.0.1:port", "tcp://127.0.0.1:-1", "tcp://127.0.0.1:80/path"),
        *("tcp://me@127.0.0.1:8800", "tcp://127.0.0.1:8800?x", "ipc:///a\0b", "127.0.0.1:8800"),
    ],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    for make in (LocalCluster, NotebookExecutor):
        with pytest.raises(ValueError, match=r"no address|no port"):
            make(address)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1", "tcp://127.0.0.1:0"])
def test_a_client_needs_a_port(address: str) -> None:
    with pytest.raises(ValueError, match="no port"):
        NotebookExecutor(address)


def test_a_port_with_an_engine_is_refused(cluster: LocalCluster) -> None:
    with pytest.raises(EngineStartError, match="in use by another engine of yours"):
        LocalCluster(cluster.address)
    with NotebookExecutor(cluster.address) as client:
        assert client.submit(abs, -1).result(SAFETY) == 1


def test_a_port_of_another_program_is_refused() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(EngineStartError, match=f"port {port} cannot be had: another program uses it"):
            LocalCluster(f"tcp://127.0.0.1:{port}")


def test_a_path_with_an_engine_is_refused(tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/engine"
    with LocalCluster(address, 1) as cluster:
        with pytest.raises(EngineStartError, match="in use by another engine of yours"):
            LocalCluster(address)
        with NotebookExecutor(address) as client:
            assert client.submit(os.getppid).result(SAFETY) == cluster.scheduler_pid


@pytest.mark.parametrize("kind", ["file", "directory", "socket", "link"])
def test_a_path_with_something_else_is_refused_and_left_alone(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "engine"
    with contextlib.ExitStack() as stack:
        if kind == "file":
            path.write_text("precious")
        elif kind == "directory":
            path.mkdir()
        elif kind == "socket":
            stack.enter_context(socket.socket(socket.AF_UNIX)).bind(str(path))
        else:
            path.symlink_to(tmp_path / "elsewhere")
        before = identity(path)
        with pytest.raises(EngineStartError, match="no socket can be made"):
            LocalCluster(f"ipc://{path}")
        assert identity(path) == before


def test_a_path_in_no_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineStartError, match="No such file or directory"):
        LocalCluster(f"ipc://{tmp_path}/nowhere/engine")


def test_of_many_that_want_one_path_one_gets_it(tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/engine"
    started: list[LocalCluster] = []
    refused: list[EngineStartError] = []
    together = threading.Barrier(6)

    def start() -> None:
        together.wait(SAFETY)
        try:
            started.append(LocalCluster(address, 1))
        except EngineStartError as error:
            refused.append(error)

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SAFETY * 3)
    try:
        assert (len(started), len(refused)) == (1, 5)
        assert all("in use by another engine of yours" in str(error) for error in refused), refused
        with NotebookExecutor(address) as client:
            assert client.submit(os.getppid).result(SAFETY) == started[0].scheduler_pid
    finally:
        for cluster in started:
            cluster.shutdown()


# ---------------------------------------------------------------------- its parameters


def test_names_and_orders_of_scaler_are_understood() -> None:
    assert scaler_notebook.SchedulerClusterCombo is LocalCluster
    address = f"tcp://127.0.0.1:{free_port()}"
    with LocalCluster(1, address) as cluster:
        assert (cluster.address, cluster.n_workers) == (address, 1)
    with LocalCluster(1) as cluster:
        assert cluster.n_workers == 1
    own = {"n_workers", "address", "per_worker_capabilities", "protected"}
    ignored: dict[str, Any] = dict.fromkeys(set(SCALERS.split()) - own)
    with LocalCluster(n_workers=1, per_worker_capabilities={}, protected=True, **ignored) as cluster:
        assert cluster.is_running


@pytest.mark.parametrize(
    ("name", "hint"),
    [("n_worker", "n_workers"), ("workers", "n_workers"), ("protect", "protected"), ("event_lop", "event_loop")],
)
def test_an_unknown_name_is_refused_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(TypeError, match=f"no parameter '{name}'; did you mean {hint}"):
        LocalCluster(**{name: None})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="It has address, n_workers, per_worker_capabilities, "):
        LocalCluster(xyzzy=1)


@pytest.mark.parametrize(
    ("workers", "error"), [(-1, ValueError), (10**9, ValueError), (True, TypeError), (2.0, TypeError), ("2", TypeError)]
)
def test_a_wrong_number_of_workers(workers: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="n_workers is"):
        LocalCluster(n_workers=workers)


def test_capabilities_are_summed_over_the_workers() -> None:
    with LocalCluster(n_workers=2, per_worker_capabilities={"gpu": 1, "linux": -1}) as cluster:
        assert cluster.capabilities["gpu"] == 2
        with NotebookExecutor(cluster.address) as client:
            needs = {"gpu": 2, "linux": 1000}
            assert client.submit_verbose(abs, (-1,), capabilities=needs).result(SAFETY) == 1
            with pytest.raises(CapabilityError):
                client.submit_verbose(abs, (-1,), capabilities={"gpu": 3})
    with LocalCluster(n_workers=2, capabilities={"gpu": 1}) as cluster:
        assert cluster.capabilities == {"gpu": 1}
    with pytest.raises(ValueError, match="give one of them"):
        LocalCluster(per_worker_capabilities={"gpu": 1}, capabilities={"gpu": 1})
    with pytest.raises(ValueError, match="gpu"):
        LocalCluster(per_worker_capabilities={"gpu": -2})
    with pytest.raises(TypeError, match="capabilities"):
        LocalCluster(per_worker_capabilities=["gpu"])  # type: ignore[arg-type]


def test_without_workers_tasks_wait_and_can_be_cancelled(tmp_path: Path) -> None:
    effect = tmp_path / "effect"
    with LocalCluster(n_workers=0, per_worker_capabilities={"gpu": 1}) as cluster:
        with NotebookExecutor(cluster.address) as client:
            assert client.n_workers == 0
            futures = [client.submit(effect.write_text, "ran") for _ in range(3)]
            futures.append(client.submit_verbose(effect.write_text, ("ran",), capabilities={"gpu": 1}))
            status = client.engine_status()
            assert status is not None
            assert (status.queued, status.processes) == (4, ())
            assert client.cancel_all(SAFETY)
        assert {future.cancel_reason for future in futures} == {CancelReason.NEVER_STARTED}
    assert not effect.exists()


# ---------------------------------------------------------------------- its end


def test_shutdown_is_idempotent_from_any_thread(cluster: LocalCluster) -> None:
    threads = [threading.Thread(target=cluster.shutdown) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SAFETY)
        assert not thread.is_alive()
    cluster.shutdown()
    assert not cluster.is_running
    assert "ended" in repr(cluster)
    assert cluster.get_address().startswith("tcp://"), "its address is still known"
    assert connection_file.find(cluster.address) is None


def test_a_cluster_that_nobody_holds_ends() -> None:
    cluster = LocalCluster(n_workers=1)
    pid = cluster.scheduler_pid
    del cluster
    assert not psutil.pid_exists(pid)


def test_its_end_is_told_to_clients(cluster: LocalCluster) -> None:
    with NotebookExecutor(cluster.address) as client:
        running = client.submit(time.sleep, 60)
        until_running(running)
        cluster.shutdown()
        with pytest.raises(EngineLostError, match=f"{cluster.address} .*has ended"):
            running.result(SAFETY)
        with pytest.raises(EngineStartError, match="nobody answers"):
            client.submit(abs, 1)


@pytest.mark.parametrize("kind", ["tcp", "ipc"])
def test_a_killed_schedulers_clients_hear_of_it(kind: str, tmp_path: Path) -> None:
    address = f"tcp://127.0.0.1:{free_port()}" if kind == "tcp" else f"ipc://{tmp_path}/engine"
    with LocalCluster(address, 1) as cluster, NotebookExecutor(address) as client:
        running = client.submit(time.sleep, 60)
        queued = client.submit(abs, -1)
        until_running(running)
        pid = cluster.scheduler_pid
        kill_scheduler(cluster)
        assert not cluster.is_running
        for future in (running, queued):
            with pytest.raises(EngineLostError, match=rf"{address} \(process {pid}\)"):
                future.result(SAFETY)
        # The address is free again, although the killed one was not shut down.
        with LocalCluster(address, 1) as successor:
            assert client.submit(os.getppid).result(SAFETY) == successor.scheduler_pid
            cluster.shutdown()
            assert client.submit(abs, -1).result(SAFETY) == 1, "the successor's address is not the former's to remove"


def test_the_former_ones_end_leaves_the_link_of_the_next_alone(tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/engine"
    with LocalCluster(address, 1) as former:
        kill_scheduler(former)
        with LocalCluster(address, 1):
            former.shutdown()
            assert (tmp_path / "engine").is_socket()


OWNER = """
import sys, time
{first}
from scaler_notebook import LocalCluster
cluster = LocalCluster(sys.argv[1], 2)
print(cluster.address, cluster.scheduler_pid, flush=True)
{then}
"""


@contextlib.contextmanager
def owner(
    address: str, then: str = "time.sleep(1000)", first: str = ""
) -> Iterator[tuple[subprocess.Popen[str], str, int]]:
    """A process with a cluster; its address, and the scheduler's process."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER.format(first=first, then=then), address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        found, pid = process.stdout.readline().split()
        yield process, found, int(pid)
    finally:
        process.kill()
        process.communicate(timeout=SAFETY)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_dies_with_its_process(number: signal.Signals, tmp_path: Path) -> None:
    with owner(f"ipc://{tmp_path}/engine") as (process, address, pid), NotebookExecutor(address) as client:
        running = client.submit(time.sleep, 60)
        until_running(running)
        process.send_signal(number)
        with pytest.raises(EngineLostError, match=f"{address} "):
            running.result(SAFETY)
        until(lambda: not connection_file.process_lives(pid, connection_file.start_of(pid)), "the scheduler ends")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("first", ["", "from scaler_notebook import NotebookExecutor"])
def test_a_script_ends_its_cluster_after_its_tasks(first: str) -> None:
    """Whichever of the two was imported first: what is to happen at the exit runs in the reverse order."""
    then = (
        "from scaler_notebook import NotebookExecutor\n"
        "executor = NotebookExecutor(cluster.address, stream_output=False)\n"
        "executor.submit(lambda: (time.sleep(0.3), print('done', flush=True)))"
        ".add_done_callback(lambda future: print(future.logs.stdout.strip()))"
    )
    with owner("tcp://127.0.0.1:0", then, first) as (process, address, pid):
        output, _ = process.communicate(timeout=SAFETY)
        assert (process.returncode, output) == (0, "done\n")
        assert not psutil.pid_exists(pid)
        assert connection_file.find(address) is None


def test_a_forked_child_cannot_end_it(cluster: LocalCluster) -> None:
    child = os.fork()
    if child == 0:
        try:
            cluster.shutdown()
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert cluster.is_running
    with NotebookExecutor(cluster.address) as client:
        assert client.submit(abs, -1).result(SAFETY) == 1


def test_wait_until_it_ends(cluster: LocalCluster) -> None:
    assert not cluster.wait(0.01)
    os.kill(cluster.scheduler_pid, signal.SIGTERM)
    assert cluster.wait(SAFETY)
    assert not cluster.is_running
    assert cluster.problem == ""
    cluster.shutdown()
    assert cluster.wait(0)


def test_a_death_is_told_from_an_end(cluster: LocalCluster) -> None:
    kill_scheduler(cluster)
    assert "killed by SIGKILL" in cluster.problem


# ---------------------------------------------------------------------- shut down by a client


@pytest.mark.usefixtures("no_shared_executor")
def test_a_client_shuts_it_down(cluster: LocalCluster) -> None:
    pid = cluster.scheduler_pid
    with NotebookExecutor(cluster.address) as client, NotebookExecutor(cluster.address) as other:
        futures = [client.submit(time.sleep, 60), other.submit(time.sleep, 60)]
        for future in futures:
            until_running(future)
        session = session_of(client)
        session.requests.shutdown(SAFETY)
        assert not cluster.is_running
        assert not any(place.name.startswith(f"{os.getpid()}-") for place in runtime_directory.engine_directories())
        for future in futures:
            with pytest.raises(EngineLostError, match=str(pid)):
                future.result(SAFETY)
        with pytest.raises(DisconnectedError):
            session.requests.shutdown(SAFETY)


def test_a_protected_one_refuses() -> None:
    with LocalCluster(n_workers=1) as cluster, NotebookExecutor(cluster.address) as client:
        running = client.submit(time.sleep, 60)
        until_running(running)
        for _ in range(2):
            with pytest.raises(ValueError, match=f"{cluster.address} is protected"):
                session_of(client).requests.shutdown(SAFETY)
        assert cluster.is_running
        assert running.cancel()


def test_an_executors_own_engine_is_protected(executor: NotebookExecutor) -> None:
    with NotebookExecutor(executor.address) as guest:
        for client in (guest, executor):
            with pytest.raises(ValueError, match="is protected"):
                session_of(client).requests.shutdown(SAFETY)
        assert executor.submit(abs, -1).result(SAFETY) == 1


def test_who_leaves_while_it_ends_hears_that_nobody_knows(cluster: LocalCluster) -> None:
    with NotebookExecutor(cluster.address) as client:
        session = session_of(client)
        os.kill(cluster.scheduler_pid, signal.SIGSTOP)
        try:
            later = threading.Timer(0.2, session.close)
            later.start()
            with pytest.raises(DisconnectedError, match="left the engine"):
                session.requests.shutdown(SAFETY)
            later.join(SAFETY)
        finally:
            os.kill(cluster.scheduler_pid, signal.SIGCONT)


def test_one_that_hangs_is_a_timeout(cluster: LocalCluster) -> None:
    with NotebookExecutor(cluster.address) as client:
        session = session_of(client)
        os.kill(cluster.scheduler_pid, signal.SIGSTOP)
        try:
            with pytest.raises(TimeoutError, match="does not end within"):
                session.requests.shutdown(0.2)
        finally:
            os.kill(cluster.scheduler_pid, signal.SIGCONT)
        assert cluster.wait(SAFETY), "the request is still there when it goes on"


# ---------------------------------------------------------------------- connection files


def test_a_stale_connection_file_leads_nowhere(runtime: Path) -> None:
    """Its process is gone, is another one by now, or is not a scheduler of ours any more."""
    with LocalCluster(n_workers=1) as cluster:
        found = connection_file.find(cluster.address)
        assert found is not None
        (directory,) = runtime_directory.private_base().iterdir()
        kept = (directory / connection_file.NAME).read_bytes()
    stale = runtime_directory.private_base() / "1-stale"
    stale.mkdir()
    (stale / connection_file.NAME).write_bytes(kept)
    assert connection_file.read(stale) == found
    assert connection_file.find(found.address) is None
    other = kept.replace(f'"pid": {found.pid}'.encode(), f'"pid": {os.getpid()}'.encode())
    other = other.replace(str(found.started).encode(), str(found.started - 3600).encode())
    (stale / connection_file.NAME).write_bytes(other)
    assert connection_file.find(found.address) is None, "the number is another process's by now"
    with LocalCluster(found.address, 1) as successor, NotebookExecutor(found.address) as client:
        assert client.submit(os.getppid).result(SAFETY) == successor.scheduler_pid


def test_what_is_no_connection_file_is_passed_over(runtime: Path) -> None:
    bad = runtime_directory.private_base() / "1-bad"
    bad.mkdir()
    with LocalCluster(n_workers=1) as cluster:
        for text in ("", "{", "[]", "{}", '{"address": 1}', "null", "\0", '{"keys": 7}'):
            (bad / connection_file.NAME).write_text(text)
            assert cluster.address in [found.address for found in connection_file.engines()], text


def test_an_engine_is_found_whatever_the_variables_say(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that the system started and a terminal have different ones."""
    with monkeypatch.context() as elsewhere:
        elsewhere.delenv("XDG_RUNTIME_DIR")
        cluster = LocalCluster(n_workers=1)
    with cluster:
        assert runtime_directory.private_base().parent == runtime
        with NotebookExecutor(cluster.address) as client:
            assert client.submit(abs, -1).result(SAFETY) == 1


def test_a_directory_that_is_none_of_ours_is_not_read(runtime: Path) -> None:
    """Such as a link, which anybody can put there."""
    with LocalCluster(n_workers=1) as cluster:
        assert connection_file.find(cluster.address) is not None
        base = runtime_directory.private_base()
        base.rename(runtime / "elsewhere")
        base.symlink_to(runtime / "elsewhere")
        try:
            assert connection_file.find(cluster.address) is None
        finally:
            base.unlink()
            (runtime / "elsewhere").rename(base)


def test_a_stale_link_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "engine"
    for name in ("1-gone", "999999999-gone"):
        path.unlink(missing_ok=True)
        path.symlink_to(runtime_directory.private_base() / name / runtime_directory.SOCKET)
        with LocalCluster(f"ipc://{path}", 1):
            assert path.is_socket()


# ---------------------------------------------------------------------- several clients

GUEST = """
import sys, time
from scaler_notebook import NotebookExecutor, TaskState
ex = NotebookExecutor(sys.argv[1])
future = ex.submit(time.sleep, 1000)
while future.state is TaskState.SUBMITTED: time.sleep(0.01)
print("up", flush=True)
time.sleep(1000)
"""


def test_when_one_client_is_killed_the_others_tasks_go_on(cluster: LocalCluster) -> None:
    with NotebookExecutor(cluster.address) as survivor:
        mine = survivor.submit(lambda: (time.sleep(0.5), "done")[1])
        until_running(mine)
        guest = subprocess.Popen([sys.executable, "-c", GUEST, cluster.address], stdout=subprocess.PIPE, text=True)
        assert guest.stdout is not None
        assert guest.stdout.readline() == "up\n"
        status = survivor.engine_status()
        assert status is not None
        guest.kill()
        guest.communicate(timeout=SAFETY)
        assert mine.result(SAFETY) == "done"
        # What the killed one ran is gone too: both slots are there.
        both = [survivor.submit(time.sleep, 60) for _ in range(2)]
        for future in both:
            until_running(future)
        assert survivor.cancel_all(SAFETY)


def test_nothing_is_kept_of_clusters_that_have_ended() -> None:
    for _ in range(3):
        with LocalCluster(n_workers=0):
            pass
    assert not cluster_module._shutdowns
