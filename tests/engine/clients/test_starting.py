"""How an engine starts: whatever the user's interpreter does at its start, and where there is no fork server."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path, PurePath

import pytest
import stubborn_tasks
from fault_injection import freeze, process_of, thaw
from raw_peers import scheduler_of
from waits import SAFETY, until_running

from scaler_notebook import EngineLostError, LocalCluster, NotebookExecutor, ProcessorDiedError
from scaler_notebook.engines.local.client.launching.launcher import SchedulerProcess


@pytest.fixture
def spawning(monkeypatch: pytest.MonkeyPatch) -> Iterator[NotebookExecutor]:
    monkeypatch.setenv("SCALER_NOTEBOOK_START_METHOD", "spawn")
    with NotebookExecutor(n_workers=2) as executor:
        yield executor
        executor.cancel_all()


def test_tasks_run_are_cancelled_and_die_alone(spawning: NotebookExecutor) -> None:
    assert spawning.submit(lambda x: x + 1, 1).result(SAFETY) == 2
    running = spawning.submit(time.sleep, 60)
    until_running(running)
    assert running.cancel()
    with pytest.raises(ProcessorDiedError):
        spawning.submit(os._exit, 1).result(SAFETY)
    assert spawning.submit(abs, -1).result(SAFETY) == 1


def test_processes_are_nobodys_copies(spawning: NotebookExecutor) -> None:
    def draw() -> tuple[int, int, float]:
        time.sleep(0.2)
        return os.getpid(), os.getsid(0), random.random()

    draws = [future.result(SAFETY) for future in [spawning.submit(draw) for _ in range(6)]]
    assert len({number for _, _, number in draws}) == 6
    assert all(pid == session for pid, session, _ in draws)


def test_processes_that_die_together_fail_both_of_their_tasks(spawning: NotebookExecutor) -> None:
    """The start of what takes the place of the first must not wait for the second in its scheduler's stead."""
    futures = [spawning.submit(stubborn_tasks.obeys) for _ in range(2)]
    pids = [process_of(future) for future in futures]
    scheduler = scheduler_of(spawning).pid
    freeze(scheduler)
    try:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
    finally:
        thaw(scheduler)
    for future in futures:
        assert isinstance(future.exception(SAFETY), ProcessorDiedError)
    assert spawning.submit(abs, -1).result(SAFETY) == 1


@pytest.fixture(params=["forkserver", "spawn"])
def start_method(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SCALER_NOTEBOOK_START_METHOD", request.param)
    return str(request.param)


SITE = {
    "prints": "print('from the site', flush=True)",
    "prints without an end of the line": "print('from the site', end='', flush=True)",
    "prints and does not flush": "print('from the site')",
    "prints what looks like ours": 'print(\'{"address": "nowhere"}\', flush=True)',
    "writes to the descriptor": "import os; os.write(1, b'from the site'); os.write(2, b'from the site')",
    "runs a program that prints": "import os; os.system('echo from the site')",
    "reads": "import sys; assert sys.stdin.read() == ''",
    "prints at its end": "import atexit; atexit.register(print, 'from the site', flush=True)",
    "prints at every import": """
import sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        print("importing", name, flush=True)
sys.meta_path.insert(0, Finder())""",
    "raises": "raise RuntimeError('from the site')",
}


OFTEN = ("prints", "runs a program that prints", "raises")


@pytest.mark.parametrize(
    "site", [pytest.param(site, marks=[] if site in OFTEN else pytest.mark.matrix) for site in SITE]
)
def test_what_a_sitecustomize_does_keeps_no_engine_from_starting(
    site: str, start_method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(SITE[site])
    for name in ("json", "signal", "selectors"):  # as they may lie beside a notebook, where PYTHONPATH is "."
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('it is not the one of the standard library')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with NotebookExecutor(n_workers=1) as executor:
        future = executor.submit(print, "from the task")
        future.result(SAFETY)
        assert "from the task\n" in future.logs.stdout
        if "import" not in site:
            assert future.logs.stdout == "from the task\n"


SIGNALS = {
    "SIGCHLD": {signal.SIGCHLD},
    "SIGINT and SIGTERM": {signal.SIGINT, signal.SIGTERM},
    "all": signal.valid_signals(),
}


@pytest.mark.parametrize(
    "which",
    [
        pytest.param("SIGCHLD", marks=pytest.mark.matrix),
        pytest.param("SIGINT and SIGTERM", marks=pytest.mark.matrix),
        "all",
    ],
)
def test_signals_that_are_blocked_at_its_start_arrive_in_it(which: str, start_method: str) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS[which])
    try:
        with NotebookExecutor(n_workers=1, grace=0.2) as executor:
            notices_deaths_and_cancels(executor)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_a_sigchld_that_is_ignored_at_its_start_arrives_in_it(start_method: str) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with NotebookExecutor(n_workers=1, grace=0.2) as executor:
            notices_deaths_and_cancels(executor)
    finally:
        signal.signal(signal.SIGCHLD, before)


def notices_deaths_and_cancels(executor: NotebookExecutor) -> None:
    assert executor.submit(signal.pthread_sigmask, signal.SIG_BLOCK, ()).result(SAFETY) == set()
    assert isinstance(executor.submit(os._exit, 3).exception(SAFETY), ProcessorDiedError)
    assert executor.submit(lambda: subprocess.run([sys.executable, "-c", "exit(4)"]).returncode).result(SAFETY) == 4
    stubborn = executor.submit(stubborn_tasks.obeys)
    until_running(stubborn)
    assert stubborn.cancel(SAFETY)
    assert executor.submit(abs, -1).result(SAFETY) == 1


class _Nowhere:
    def __fspath__(self) -> str:
        raise OSError("nowhere")


ODD = {
    "a path": PurePath("/somewhere"),
    "bytes": b"/somewhere",
    "None": None,
    "a number": 3,
    "an object": object(),
    "no UTF-8": "/not\udcff utf-8",
    "a null byte": "/nul\0",
    "a path that raises": _Nowhere(),
    "a list": ["/somewhere"],
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_entries_of_the_path_keep_no_engine_from_starting(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, ODD[kind]])
    with NotebookExecutor(n_workers=1) as executor:
        assert all(isinstance(each, str) for each in executor.submit(lambda: sys.path).result(SAFETY))


@pytest.mark.skipif(not Path("/proc/self/oom_score_adj").exists(), reason="not tested: Linux's alone")
def test_out_of_memory_tasks_are_taken_first(executor_of_two: NotebookExecutor) -> None:
    def score(pid: int | str = "self") -> int:
        return int(Path(f"/proc/{pid}/oom_score_adj").read_text())

    assert executor_of_two.submit(score).result(SAFETY) == 500
    assert executor_of_two.submit(score, os.getpid()).result(SAFETY) == score()
    assert score(scheduler_of(executor_of_two).pid) == score()


def test_a_directory_whose_name_is_no_utf8_is_no_place_for_a_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / os.fsdecode(b"a\xff")
    base.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))
    monkeypatch.chdir(base)
    with NotebookExecutor(n_workers=1) as executor:
        assert os.fsencode(executor.submit(os.getcwd).result(SAFETY)) == os.fsencode(base)
        assert executor.address.isascii()


WITH_THE_ENGINE = ("asyncio", "ssl")  # beside what the scheduler imports
LATER = ("zmq", "IPython", "numpy", "psutil", "difflib", "html", "importlib.metadata")
OF_CLUSTERS = "scaler_notebook.engines.scaler.client"


@pytest.mark.skipif(sys.platform != "linux", reason="not tested: Linux's alone")
def test_a_first_task_waits_for_no_import_that_it_has_no_use_for() -> None:
    script = f"""
import sys
from scaler_notebook import NotebookExecutor
with NotebookExecutor(n_workers=1) as executor:
    assert not sys.modules.keys() & {WITH_THE_ENGINE}
    assert executor.submit(abs, -1).result() == 1
print([name for name in {(*LATER, OF_CLUSTERS)} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=SAFETY)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_scheduler_whose_kernel_ends_before_it_has_started_leaves_nothing() -> None:
    scheduler = SchedulerProcess(1, {})
    scheduler.launch()
    process, directory, pipes = scheduler._process, scheduler._directory, scheduler._pipes
    assert process is not None
    assert directory is not None
    assert pipes is not None
    pipes.close()  # as the end of the kernel does
    assert process.wait(SAFETY) == 0
    assert not directory.path.exists()
    scheduler.join(SAFETY)


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_a_script_without_its_standard_streams_starts_an_engine(closed: tuple[int, ...], tmp_path: Path) -> None:
    """As a daemon, or behind ``>&-``: what it opens is given their numbers."""
    script = f"""
import os
from scaler_notebook import NotebookExecutor
for descriptor in {closed}: os.close(descriptor)
with NotebookExecutor(n_workers=1) as executor:
    found = executor.submit(lambda: (print("written"), os.system("echo by a subprocess"), 7)[-1])
    open("result", "w").write(repr((found.result(), found.logs.stdout)))
"""
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, timeout=SAFETY)
    assert (tmp_path / "result").read_text() == repr((7, "written\nby a subprocess\n"))


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """More open files than ``select`` has numbers for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2048:
        pytest.skip("this user may not have so many open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    yield
    for each in files:
        os.close(each)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_descriptors")
def test_who_has_a_thousand_files_open_starts_an_engine_and_attaches_to_one() -> None:
    with LocalCluster(n_workers=1) as cluster:
        with NotebookExecutor(address=cluster.address) as attached:
            assert attached.submit(abs, -1).result(SAFETY) == 1
        with NotebookExecutor(address=cluster.address) as attached:
            running = attached.submit(time.sleep, 60)
            until_running(running)
            cluster.shutdown()
            with pytest.raises(EngineLostError):
                running.result(SAFETY)
