"""Processes that die: of a task, of the scheduler, of the kernel."""

from __future__ import annotations

import concurrent.futures
import errno
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from leaks import our_processes
from waits import SAFETY, until_running

from scaler_notebook import (
    EngineLostError,
    EngineStartError,
    NotebookExecutor,
    ProcessorDiedError,
    TaskState,
    WorkerDiedError,
)


def test_a_killed_task_process_fails_its_own_future_at_once(executor: NotebookExecutor) -> None:
    other = executor.submit(time.sleep, 0.5)
    victim = executor.submit(lambda: (print(os.getpid(), flush=True), time.sleep(60)))
    from waits import until_written

    until_written(victim, "\n")
    started = time.monotonic()
    os.kill(int(victim.logs.stdout), signal.SIGKILL)
    with pytest.raises(ProcessorDiedError, match="SIGKILL") as raised:
        victim.result(SAFETY)
    assert time.monotonic() - started < 2
    assert isinstance(raised.value, WorkerDiedError)
    assert other.result(SAFETY) is None
    assert executor.submit(abs, -1).result(SAFETY) == 1


def test_a_task_that_exits_says_so(executor: NotebookExecutor) -> None:
    future = executor.submit(os._exit, 7)
    with pytest.raises(ProcessorDiedError, match="exit status 7"):
        future.result(SAFETY)


def test_a_result_written_before_the_death_counts(executor: NotebookExecutor) -> None:
    def dies_later() -> str:
        import threading

        threading.Timer(0.2, os._exit, (1,)).start()
        return "written"

    for _ in range(5):
        assert executor.submit(dies_later).result(SAFETY) == "written"
        # The next task may meet the dying process; it must fail clearly or run, never hang.
        outcome = executor.submit(time.sleep, 0.1).exception(SAFETY)
        assert outcome is None or isinstance(outcome, ProcessorDiedError)


def test_what_a_task_started_dies_with_its_process(executor: NotebookExecutor) -> None:
    def task() -> None:
        print(subprocess.Popen(["sleep", "1000"]).pid, flush=True)
        os._exit(1)

    future = executor.submit(task)
    with pytest.raises(ProcessorDiedError):
        future.result(SAFETY)
    assert not Path(f"/proc/{int(future.logs.stdout)}").exists()


def test_a_dead_scheduler_fails_its_futures_and_the_next_submit_works(executor: NotebookExecutor) -> None:
    running, queued = executor.submit(time.sleep, 60), [executor.submit(time.sleep, 60) for _ in range(5)]
    until_running(running)
    session = executor._session
    assert session is not None
    os.kill(session.engine.scheduler.pid, signal.SIGKILL)  # type: ignore[attr-defined]
    started = time.monotonic()
    for future in [running, *queued]:
        with pytest.raises(EngineLostError, match="scheduler process died"):
            future.result(SAFETY)
    assert time.monotonic() - started < 2
    assert executor.submit(abs, -1).result(SAFETY) == 1


def test_a_dead_fork_server_is_replaced(executor: NotebookExecutor) -> None:
    executor.submit(abs, -1).result(SAFETY)
    session = executor._session
    assert session is not None
    scheduler = session.engine.scheduler.pid  # type: ignore[attr-defined]
    children = Path(f"/proc/{scheduler}/task/{scheduler}/children").read_text().split()
    # The fork server is the first child: it was there before any task process.
    os.kill(min(map(int, children)), signal.SIGKILL)
    for _ in range(4):  # more than there are processes ready
        assert isinstance(executor.submit(os._exit, 1).exception(SAFETY), ProcessorDiedError)
    assert executor.submit(abs, -1).result(SAFETY) == 1


def test_while_no_process_can_be_started_what_runs_goes_on_and_the_rest_waits(executor: NotebookExecutor) -> None:
    running = executor.submit(time.sleep, 60)
    until_running(running)
    session = executor._session
    assert session is not None
    scheduler = session.engine.scheduler.pid  # type: ignore[attr-defined]
    # Numbers that the scheduler's own descriptors have from its start to its end: what a process frees does not help.
    before = resource.prlimit(scheduler, resource.RLIMIT_NOFILE, (10, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    try:
        dying = [executor.submit(os._exit, 1) for _ in range(6)]  # more than there are processes
        assert isinstance(dying[0].exception(SAFETY), ProcessorDiedError)
        with pytest.raises(concurrent.futures.TimeoutError):
            dying[-1].exception(0.3)
        assert running.state is TaskState.RUNNING
    finally:
        resource.prlimit(scheduler, resource.RLIMIT_NOFILE, before)
    assert all(isinstance(each.exception(SAFETY), ProcessorDiedError) for each in dying)
    assert executor.submit(abs, -1).result(SAFETY) == 1
    assert running.cancel(SAFETY)


def test_results_with_descriptors_are_held_back_while_the_scheduler_has_no_room(executor: NotebookExecutor) -> None:
    running = [executor.submit(time.sleep, 60) for _ in range(2)]
    for each in running:
        until_running(each)  # for now on no process can be started
        assert each.cancel(SAFETY)
    session = executor._session
    assert session is not None
    scheduler = session.engine.scheduler.pid  # type: ignore[attr-defined]
    before = resource.prlimit(scheduler, resource.RLIMIT_NOFILE, (10, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    try:
        arrays = [executor.submit(np.full, 100_000, 2)]
        with pytest.raises(concurrent.futures.TimeoutError):
            arrays[0].exception(0.3)
        assert [executor.submit(abs, -n).result(SAFETY) for n in range(20)] == list(range(20)), "others go on"
        arrays += [executor.submit(np.full, 100_000, 2) for _ in range(5)]
        with pytest.raises(concurrent.futures.TimeoutError):
            arrays[-1].exception(0.2)
    finally:
        resource.prlimit(scheduler, resource.RLIMIT_NOFILE, before)
    assert [each.result(SAFETY).sum() for each in arrays] == [200_000] * 6


def test_a_result_is_not_held_back_where_there_is_room_for_its_own_descriptors(executor: NotebookExecutor) -> None:
    executor.submit(np.ones, 100_000).result(SAFETY)
    scheduler = executor._session.engine.scheduler.pid  # type: ignore[union-attr]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    few = max(int(number) for number in os.listdir(f"/proc/{scheduler}/fd")) + 30
    before = resource.prlimit(scheduler, resource.RLIMIT_NOFILE, (few, hard))
    try:
        assert [executor.submit(np.full, 100_000, n).result(SAFETY).sum() for n in range(5)] == [
            100_000 * n for n in range(5)
        ]
    finally:
        resource.prlimit(scheduler, resource.RLIMIT_NOFILE, before)


def test_more_processes_leave_descriptors_to_results(executor: NotebookExecutor) -> None:
    executor.submit(np.ones, 100_000).result(SAFETY)
    scheduler = executor._session.engine.scheduler.pid  # type: ignore[union-attr]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    few = max(int(number) for number in os.listdir(f"/proc/{scheduler}/fd")) + 30
    before = resource.prlimit(scheduler, resource.RLIMIT_NOFILE, (few, hard))
    try:
        executor.scale(20)
        arrays = [executor.submit(np.full, 100_000, 2) for _ in range(10)]
        assert [each.result(SAFETY).sum() for each in arrays] == [200_000] * 10
    finally:
        executor.scale(2)
        resource.prlimit(scheduler, resource.RLIMIT_NOFILE, before)


def test_a_task_whose_result_is_held_back_can_be_cancelled(executor: NotebookExecutor) -> None:
    executor.start()
    scheduler = executor._session.engine.scheduler.pid  # type: ignore[union-attr]
    before = resource.prlimit(scheduler, resource.RLIMIT_NOFILE, (10, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    try:
        array = executor.submit(np.ones, 100_000)
        with pytest.raises(concurrent.futures.TimeoutError):
            array.exception(0.2)
        assert array.cancel(SAFETY)
    finally:
        resource.prlimit(scheduler, resource.RLIMIT_NOFILE, before)
    assert array.cancelled()
    assert executor.submit(np.ones, 100_000).result(SAFETY).sum() == 100_000


KERNEL = """
import os, sys, time
from scaler_notebook import NotebookExecutor
ex = NotebookExecutor(n_workers=2)
def task():
    import subprocess
    subprocess.Popen(["sleep", "1000"])
    while True:
        sum(range(10**7))
fs = [ex.submit(task) for _ in range(4)]
while fs[1].state.value != "running":
    time.sleep(0.01)
holder = 0
{extra}
print("up", holder, flush=True)
time.sleep(1000)
"""


# A process of the user's that holds what the kernel has opened: Python knows nothing of this fork.
KEEPS_DESCRIPTORS = """
import ctypes
holder = ctypes.PyDLL(None).fork()
if not holder:
    time.sleep(1000)
"""
NO_PIDFD = "import os\nif hasattr(os, 'pidfd_open'): del os.pidfd_open\n"


@pytest.mark.parametrize(
    ("extra", "hidden"),
    [
        pytest.param("", "", id="alone"),
        pytest.param(KEEPS_DESCRIPTORS, "", id="with one that keeps descriptors", marks=pytest.mark.matrix),
        pytest.param(KEEPS_DESCRIPTORS, NO_PIDFD, id="where nothing tells of it", marks=pytest.mark.matrix),
    ],
)
def test_a_killed_kernel_leaves_no_process(
    extra: str,
    hidden: str,
    shared_processes: Callable[[], set[int]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "sitecustomize.py").write_text(hidden)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    before = our_processes()
    kernel = subprocess.Popen([sys.executable, "-c", KERNEL.format(extra=extra)], stdout=subprocess.PIPE, text=True)
    try:
        assert kernel.stdout is not None
        up, holder = kernel.stdout.readline().split()
        assert up == "up"
        assert len(our_processes() - before) >= 5
    finally:
        kernel.kill()
        kernel.wait(SAFETY)
        if kernel.stdout is not None:
            kernel.stdout.close()
    try:
        deadline = time.monotonic() + 5
        while left := our_processes() - before - shared_processes() - {int(holder)}:
            assert time.monotonic() < deadline, f"still there after 5 s: {left}"
            time.sleep(0.01)
    finally:
        if extra:
            os.kill(int(holder), signal.SIGKILL)


def test_a_scheduler_that_cannot_start_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    started = time.monotonic()
    with pytest.raises(EngineStartError, match="scheduler process ended at once"):
        NotebookExecutor(n_workers=1).submit(abs, 1)
    assert time.monotonic() - started < SAFETY


def test_no_place_for_the_socket_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scaler_notebook.engines.local.ipc import runtime_directory

    monkeypatch.setattr(tempfile, "gettempdir", lambda: "/proc")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/proc")
    monkeypatch.setattr(runtime_directory, "LAST_RESORT", "/proc")
    monkeypatch.setenv("HOME", "/proc")
    with pytest.raises(EngineStartError, match="no private directory"):
        NotebookExecutor(n_workers=1).submit(abs, 1)


def test_no_memory_for_a_process_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(EngineStartError, match=r"Cannot allocate memory.*This machine refuses it"):
        NotebookExecutor(n_workers=1).submit(abs, 1)
