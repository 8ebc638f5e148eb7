"""Several clients of one engine on this machine, found by its address alone."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from open_files import open_files
from raw_peers import scheduler_of
from waits import SAFETY, until_running

from scaler_notebook import Client, EngineLostError, EngineStartError, NotebookExecutor
from scaler_notebook.engines.local.client import attached, connection_file
from scaler_notebook.engines.local.client.attached import ProcessWatch
from scaler_notebook.engines.local.ipc.runtime_directory import private_base
from scaler_notebook.engines.local.ipc.transport import VARIABLE


@pytest.mark.parametrize("transport", ["ipc", "tcp"])
def test_two_executors_share_an_engine(transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, transport)
    with NotebookExecutor(n_workers=2) as owner:
        assert owner.address.startswith(transport)
        with NotebookExecutor(owner.address) as guest:
            assert guest.n_workers == 2
            assert guest.submit(os.getppid).result(SAFETY) == owner.submit(os.getppid).result(SAFETY)
            running = guest.submit(time.sleep, 60)
            until_running(running)
            assert running.cancel()
        assert owner.submit(abs, -1).result(SAFETY) == 1, "the engine goes on when a guest leaves"


def test_a_guest_cannot_cancel_what_is_not_its_own(executor: NotebookExecutor) -> None:
    running = executor.submit(time.sleep, 60)
    until_running(running)
    with NotebookExecutor(executor.address) as guest:
        guest.submit(abs, -1).result(SAFETY)
        guest.cancel_all()
        assert not running.done()
    assert running.cancel()


def test_the_owners_end_is_told_to_guests() -> None:
    owner = NotebookExecutor(n_workers=1)
    with NotebookExecutor(owner.address) as guest:
        running = guest.submit(time.sleep, 60)
        until_running(running)
        owner.shutdown()
        with pytest.raises(EngineLostError, match="has ended"):
            running.result(SAFETY)
        with pytest.raises(EngineStartError, match="nobody answers"):
            guest.submit(abs, 1)


GUEST = """
import sys, time
from scaler_notebook import NotebookExecutor, TaskState
ex = NotebookExecutor(sys.argv[1])
fs = [ex.submit(time.sleep, 1000) for _ in range(5)]
while fs[0].state is TaskState.SUBMITTED: time.sleep(0.01)
print("up", flush=True)
time.sleep(1000)
"""


def test_what_a_killed_guest_left_is_cancelled(executor: NotebookExecutor) -> None:
    guest = subprocess.Popen([sys.executable, "-c", GUEST, executor.address], stdout=subprocess.PIPE, text=True)
    assert guest.stdout is not None
    assert guest.stdout.readline() == "up\n"
    guest.kill()
    guest.wait(SAFETY)
    guest.stdout.close()
    # Both slots and the queue were the guest's.
    assert executor.submit(abs, -1).result(SAFETY) == 1


NO_PIDFD = "import os\nif hasattr(os, 'pidfd_open'): del os.pidfd_open\n"


def test_a_killed_guest_is_noticed_where_nothing_tells_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on systems without descriptors of processes: the scheduler looks whether its clients are alive."""
    (tmp_path / "sitecustomize.py").write_text(NO_PIDFD)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with NotebookExecutor(n_workers=1) as executor:
        guest = subprocess.Popen([sys.executable, "-c", GUEST, executor.address], stdout=subprocess.PIPE, text=True)
        assert guest.stdout is not None
        assert guest.stdout.readline() == "up\n"
        guest.kill()
        guest.communicate()
        assert executor.submit(abs, -1).result(SAFETY) == 1, "the guest's tasks had the only slot and the queue"


@pytest.mark.parametrize("error", [AttributeError(), PermissionError(1, "not permitted"), OSError(38, "no such call")])
def test_the_end_of_an_engine_is_noticed_where_the_system_does_not_tell_of_it(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where Python is older, where a sandbox refuses descriptors of processes, and where the system has none."""

    def refuse(pid: int) -> int:
        raise error

    monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)
    with subprocess.Popen(["sleep", "1000"]) as process:
        watch = ProcessWatch(process.pid)
        try:
            assert not watch.is_over
            process.kill()
            process.wait(SAFETY)
            assert watch.wait(SAFETY)
        finally:
            watch.close()


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "tcp://10.0.0.1:8800", "nonsense"])
def test_what_is_no_address_is_refused_at_once(address: str) -> None:
    with pytest.raises(ValueError, match=r"no address|not this machine"):
        NotebookExecutor(address)


def test_an_address_and_a_number_of_workers_contradict_each_other() -> None:
    with pytest.raises(ValueError, match="workers already"):
        NotebookExecutor("tcp://127.0.0.1:1", n_workers=2)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "ipc:///nowhere/scheduler"])
def test_an_address_that_nobody_answers_is_one_clear_error(address: str) -> None:
    started = time.monotonic()
    with pytest.raises(EngineStartError, match="nobody answers"):
        NotebookExecutor(address).submit(abs, 1)
    assert time.monotonic() - started < SAFETY


def test_an_engine_that_hangs_is_one_clear_error(executor: NotebookExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attached, "ANSWER_TIMEOUT", 0.3)
    address = executor.address
    session = executor._session
    assert session is not None
    scheduler = session.engine.scheduler.pid  # type: ignore[attr-defined]
    os.kill(scheduler, signal.SIGSTOP)
    try:
        with pytest.raises(EngineStartError, match="does not answer"):
            NotebookExecutor(address).submit(abs, 1)
    finally:
        os.kill(scheduler, signal.SIGCONT)
    assert executor.submit(abs, -1).result(SAFETY) == 1


@pytest.mark.parametrize("connect", [lambda address: NotebookExecutor(address).submit(abs, 1), Client])
def test_another_version_of_python_is_refused_with_both_named(
    executor: NotebookExecutor, monkeypatch: pytest.MonkeyPatch, connect: Callable[[str], Any]
) -> None:
    address = executor.address
    monkeypatch.setattr(attached, "PYTHON", "3.99")
    here = "{}.{}".format(*sys.version_info)
    with pytest.raises(EngineStartError, match=rf"runs Python {here} and this process Python 3\.99: functions do not"):
        connect(address)
    monkeypatch.undo()
    assert NotebookExecutor(address).submit(abs, -1).result(SAFETY) == 1


def test_only_the_user_can_read_how_to_reach_an_engine(
    executor: NotebookExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor.submit(abs, -1).result(SAFETY)
    directory = Path(executor.address.removeprefix("ipc://")).parent
    assert directory.parent == private_base()
    assert directory.name.startswith(f"{os.getpid()}-")
    assert stat.S_IMODE(directory.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / "connection.json").stat().st_mode) == 0o600


def test_a_process_that_attaches_again_and_again_is_watched_once(executor: NotebookExecutor) -> None:
    address = executor.address
    session = executor._session
    assert session is not None
    scheduler = session.engine.scheduler.pid  # type: ignore[attr-defined]

    def watches() -> int:
        return sum("pidfd" in file for file in open_files(scheduler))

    counts = []
    for _ in range(4):
        with NotebookExecutor(address) as guest:
            assert guest.submit(abs, -1).result(SAFETY) == 1
            counts.append(watches())
    assert len(set(counts)) == 1, counts


LATE = """
import sys, time
import numpy
from scaler_notebook import NotebookExecutor, TaskState
ex = NotebookExecutor(sys.argv[1])
ex.submit(abs, -1).result()
print("attached", flush=True)
sys.stdin.readline()
path = sys.argv[2]
late = ex.submit(lambda: open(path, "w").close())
print("sent", flush=True)
time.sleep(1000)
"""


def test_what_a_dead_guest_had_sent_last_never_starts(executor: NotebookExecutor, tmp_path: Path) -> None:
    effect = tmp_path / "effect"
    arguments = [sys.executable, "-c", LATE, executor.address, str(effect)]
    guest = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert guest.stdin is not None
    assert guest.stdout is not None
    assert guest.stdout.readline() == "attached\n"
    os.kill(scheduler_pid(executor), signal.SIGSTOP)
    try:
        guest.stdin.write("go\n")
        guest.stdin.flush()
        assert guest.stdout.readline() == "sent\n"
        # It is on its way from the guest's agent: a thread of its own, so give it until the guest is gone.
        guest.kill()
        guest.communicate(timeout=SAFETY)
    finally:
        os.kill(scheduler_pid(executor), signal.SIGCONT)
    for _ in range(20):  # whatever was on its way has arrived before these are over
        assert executor.submit(abs, -1).result(SAFETY) == 1
    assert not effect.exists()


UNREAD = """
import os, signal, sys
import numpy
from scaler_notebook import NotebookExecutor
ex = NotebookExecutor(sys.argv[1])
def large():
    import time
    time.sleep(0.3)
    return numpy.ones(1_000_000)
future = ex.submit(large)
while future.state.value != "running": pass
print("running", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
"""


def test_what_a_dead_guest_did_not_take_is_freed(executor: NotebookExecutor) -> None:
    assert executor.submit(abs, -1).result(SAFETY) == 1

    def large_files() -> int:
        count = 0
        for link in Path(f"/proc/{scheduler_pid(executor)}/fd").iterdir():
            with contextlib.suppress(OSError):
                count += "memfd" in os.readlink(link) and link.stat().st_size >= 8_000_000
        return count

    guest = subprocess.Popen([sys.executable, "-c", UNREAD, executor.address], stdout=subprocess.PIPE, text=True)
    try:
        assert guest.stdout is not None
        assert guest.stdout.readline() == "running\n"
        deadline = time.monotonic() + SAFETY
        while large_files() == 0:
            assert time.monotonic() < deadline, "its result never came"
            time.sleep(0.01)
    finally:  # whatever fails: it has stopped itself, and would stay for ever
        guest.kill()
        guest.communicate(timeout=SAFETY)
    while large_files():
        assert time.monotonic() < deadline, "its result is kept"
        time.sleep(0.01)


def scheduler_pid(executor: NotebookExecutor) -> int:
    session = executor._session
    assert session is not None
    return int(session.engine.scheduler.pid)  # type: ignore[attr-defined]


@pytest.mark.parametrize("step", [-86_400.0, -6.0, 6.0, 86_400.0])
def test_an_engine_is_found_after_the_clock_was_set(
    step: float, executor: NotebookExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel moves the time of its boot along with the clock, and with it the starts of all processes."""
    address, booted, now = executor.address, psutil.boot_time(), time.time
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: booted + step)
    monkeypatch.setattr(time, "time", lambda: now() + step)
    found = connection_file.find(address)
    assert found is not None
    assert 0 <= connection_file.seconds_since(found.started) < 3600, "it runs since a moment of this test run"
    assert connection_file.start_of(found.pid + 2**22) == 0, "there is no such process"
    with NotebookExecutor(address) as guest:
        assert guest.submit(abs, -1).result(SAFETY) == 1


def test_a_forked_child_that_ends_takes_nothing_along(executor: NotebookExecutor) -> None:
    """Its copy of the scheduler looks ended to it: the scheduler is its parent's child."""
    child = multiprocessing.get_context("fork").Process(target=scheduler_of(executor).join, args=(0,))
    child.start()
    child.join(SAFETY)
    assert child.exitcode == 0
    assert connection_file.find(executor.address) is not None
    assert executor.submit(abs, -1).result(SAFETY) == 1
