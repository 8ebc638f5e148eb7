"""Daemons that tasks start: whose they are is known, so a confirmed cancel leaves none, and touches nobody else's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from waits import SAFETY, until_written

from scaler_notebook import NotebookExecutor, ProcessorDiedError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="not tested: Linux's alone")


class Pipe:
    """A named pipe that stays open for as long as a daemon lives which has opened it."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = str(path)
        self._end = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def is_held(self) -> bool:
        """Does a process hold it?"""
        try:
            while os.read(self._end, 1 << 16):
                pass
        except BlockingIOError:
            return True
        return False

    def close(self) -> None:
        os.close(self._end)


@pytest.fixture
def pipes(tmp_path: Path) -> Iterator[list[Pipe]]:
    made = [Pipe(tmp_path / name) for name in "ab"]
    yield made
    for pipe in made:
        pipe.close()


@pytest.fixture
def executor() -> Iterator[NotebookExecutor]:
    ex = NotebookExecutor(n_workers=2, grace=0.5)
    yield ex
    ex.disconnect()


def by_setsid(path: str) -> None:
    subprocess.run(["sh", "-c", f"setsid sh -c 'exec 9>{path}; sleep 600' >/dev/null 2>&1 &"], check=True)


def by_a_double_fork(path: str) -> None:
    pid = os.fork()
    if pid == 0:
        os.setsid()
        if os.fork() == 0:
            os.open(path, os.O_WRONLY)
            os.closerange(0, 3)
            while True:
                signal.pause()
        os._exit(0)
    os.waitpid(pid, 0)


def by_a_chain(path: str) -> None:
    """Each process forks the next and ends at once."""
    if os.fork() == 0:
        os.setsid()
        os.open(path, os.O_WRONLY)
        os.closerange(0, 3)
        while True:
            if os.fork():
                os._exit(0)


DAEMONS = [by_setsid, by_a_double_fork, by_a_chain]


def starts(daemon: Callable[[str], None], path: str) -> None:
    daemon(path)
    os.close(os.open(path, os.O_WRONLY))
    print("started", flush=True)
    signal.pause()


def until_held(pipe: Pipe) -> None:
    """The daemon opens it by itself."""
    deadline = time.monotonic() + SAFETY
    while not pipe.is_held():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.mark.parametrize("force", [True, pytest.param(False, marks=pytest.mark.matrix)], ids=["force", "ask"])
@pytest.mark.parametrize("daemon", DAEMONS)
def test_a_confirmed_cancel_leaves_no_daemon_and_touches_no_other(
    executor: NotebookExecutor, pipes: list[Pipe], daemon: Callable[[str], None], force: bool
) -> None:
    first, second = pipes
    cancelled, other = (executor.submit(starts, daemon, pipe.path) for pipe in pipes)
    for future, pipe in ((cancelled, first), (other, second)):
        until_written(future, "started")
        until_held(pipe)
    assert cancelled.cancel(SAFETY, force=force)
    assert not first.is_held()
    assert second.is_held()
    assert other.cancel(SAFETY)
    assert not second.is_held()


@pytest.mark.parametrize(
    "daemon",
    [
        pytest.param(by_setsid, marks=pytest.mark.matrix),
        by_a_double_fork,
        pytest.param(by_a_chain, marks=pytest.mark.matrix),
    ],
)
def test_the_death_of_a_process_takes_its_daemons_along(
    executor: NotebookExecutor, pipes: list[Pipe], daemon: Callable[[str], None]
) -> None:
    def dies(daemon: Callable[[str], None], path: str) -> None:
        daemon(path)
        descriptor = os.open(path, os.O_WRONLY)
        os.close(descriptor)
        os.kill(os.getpid(), signal.SIGKILL)

    other = executor.submit(starts, by_a_double_fork, pipes[1].path)
    until_written(other, "started")
    until_held(pipes[1])
    assert isinstance(executor.submit(dies, daemon, pipes[0].path).exception(SAFETY), ProcessorDiedError)
    assert not pipes[0].is_held()
    assert pipes[1].is_held()


def test_what_goes_on_behind_a_task_is_named_once(executor: NotebookExecutor, pipes: list[Pipe]) -> None:
    future = executor.submit(by_setsid, pipes[0].path)
    future.result(SAFETY)
    until_held(pipes[0])
    assert future.logs.stderr.startswith("left running by the task, and goes on: process ")
    assert future.logs.stderr.count("\n") == 1
    assert not executor.submit(abs, 1).logs.stderr
    executor.shutdown()
    assert not pipes[0].is_held(), "the engine's end takes it along"


def test_orphans_that_have_ended_leave_no_zombies(executor: NotebookExecutor) -> None:
    def zombies() -> list[str]:
        import psutil

        return [child.status() for child in psutil.Process().children()]

    def leaves_orphans() -> int:
        for _ in range(20):
            subprocess.run(["sh", "-c", "(setsid true &)"], check=True)
        while set(zombies()) > {"zombie"}:  # one that still runs would be a reason to replace the process
            time.sleep(0.001)
        return os.getpid()

    with NotebookExecutor(n_workers=1) as alone:
        pid = alone.submit(leaves_orphans).result(SAFETY)
        alone.submit(subprocess.run, ["true"]).result(SAFETY)
        assert alone.submit(os.getpid).result(SAFETY) == pid
        assert "zombie" not in alone.submit(zombies).result(SAFETY)


def test_whoever_asks_how_a_child_ended_is_told(executor_of_one: NotebookExecutor) -> None:
    def leaves() -> int:
        kept: Any = sys.path_importer_cache  # any mapping of a module's: what is put into it stays in the process
        kept["a child"] = subprocess.Popen(["sh", "-c", "exit 3"])
        stat = Path(f"/proc/{kept['a child'].pid}/stat")
        while stat.read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.001)
        return os.getpid()

    def asks() -> tuple[int, int]:
        kept: Any = sys.path_importer_cache
        return os.getpid(), kept.pop("a child").wait()

    pid = executor_of_one.submit(leaves).result(SAFETY)
    assert executor_of_one.submit(asks).result(SAFETY) == (pid, 3)
