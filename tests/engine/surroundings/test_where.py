"""Where a running task is now: its stack and its flame graph, by each means, and what is said where there is none."""

from __future__ import annotations

import base64
import copy
import html
import itertools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kernel_environments import HOME, LIBRARIES, kernel_specs
from stubborn_tasks import begin
from waits import SAFETY, until_running, until_written

from scaler_notebook import NotebookExecutor
from scaler_notebook.client.task_state import stack
from scaler_notebook.engines.local.client.watching import signal_dump, stacks
from scaler_notebook.engines.local.client.watching.frames import OMITTED, CannotLook, SampledFrame, users_frames
from scaler_notebook.engines.local.worker.stack_dump import SIGNAL
from scaler_notebook.testing import memory_executor

SCOPE = Path("/proc/sys/kernel/yama/ptrace_scope")  # not 0: a process may trace its own descendants alone
DUMP = """\
[{"os_thread_id": 1, "frames": []},
 {"os_thread_id": %d, "frames": [{"name": "now", "filename": "mine.py", "line": 7},
                                 {"name": "run", "filename": "/any/scaler_notebook/task/runner.py", "line": 1},
                                 {"name": "main", "filename": "/any/scaler_notebook/else.py", "line": 2}]}]"""


def outer(wait: Callable[[], object]) -> None:
    inner(wait)


def inner(wait: Callable[[], object]) -> None:
    begin()
    wait()  # here it stays


def wait_for_ever() -> None:
    threading.Event().wait()


def spin() -> None:
    while True:
        pass


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one folder in which py-spy is looked for."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    return tmp_path


def put_py_spy(folder: Path, script: str) -> None:
    folder.joinpath("py-spy").write_text(f"#!/bin/sh\n{script}\n")
    folder.joinpath("py-spy").chmod(0o700)


@pytest.mark.parametrize("wait", [wait_for_ever, spin])
def test_without_py_spy_the_process_tells(wait: Callable[[], None], executor_of_one: NotebookExecutor) -> None:
    running = executor_of_one.submit(outer, wait)
    until_written(running, "begun")
    for _ in range(3):
        found = running.where()
        assert found.means == "faulthandler"
        assert [frame.function for frame in found.frames[:2]] == ["outer", "inner"]
    text = str(found)
    assert text.startswith(f"{running.call} in process {running.processor} is now here (innermost last):\n")
    assert f'File "{__file__}", line ' in text
    assert "\n    wait()  # here it stays\n" in text
    assert running.running()
    running.cancel()
    assert executor_of_one.submit(abs, -1).result(SAFETY) == 1


def test_a_process_that_still_prepares_a_call_is_looked_at_again(
    executor_of_one: NotebookExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = executor_of_one.submit(outer, wait_for_ever)
    until_written(running, "begun")
    before: Iterator[tuple[list[SampledFrame], str]] = iter([([], "py-spy")] * 3)
    sample = stacks.sample
    monkeypatch.setattr(stacks, "sample", lambda pid: next(before, None) or sample(pid))
    assert running.where().frames[0].function == "outer"
    monkeypatch.setattr(stack, "PATIENCE", 0)
    monkeypatch.setattr(stacks, "sample", lambda pid: ([], "py-spy"))
    assert running.where().frames == ()  # for ever, as with a value that loads for long
    running.cancel()


OURS = [SampledFrame("<string>", 1, "<module>"), SampledFrame("/any/scaler_notebook/engines/main.py", 1, "main")]
RUNNER = SampledFrame("/any/scaler_notebook/task/runner.py", 1, "run")
THEIRS = SampledFrame("/home/me/mine.py", 7, "__setstate__")
CLONE = "/home/me/scaler_notebook/"  # of ours, with its package in it
IN_CLONE = [SampledFrame(f"{CLONE}scaler_notebook/{file}", 1, "run") for file in ("engines/main.py", "task/runner.py")]
BESIDE = SampledFrame(f"{CLONE}notebooks/flights.py", 7, "delays")


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ([*OURS, SampledFrame(os.__file__, 1, "getcwd")], []),
        ([*OURS, SampledFrame("<frozen importlib._bootstrap>", 1, "_load"), THEIRS], [THEIRS]),
        ([*OURS, THEIRS, SampledFrame(os.__file__, 1, "walk")], [THEIRS, SampledFrame(os.__file__, 1, "walk")]),
        ([*OURS, RUNNER], []),
        ([*OURS, RUNNER, SampledFrame("<frozen importlib._bootstrap>", 1, "_load"), THEIRS], [THEIRS]),
        ([*OURS, RUNNER, SampledFrame(os.__file__, 1, "walk"), THEIRS], [SampledFrame(os.__file__, 1, "walk"), THEIRS]),
        ([*OURS, RUNNER, BESIDE], [BESIDE]),
        ([*IN_CLONE, BESIDE], [BESIDE]),
        ([IN_CLONE[0], BESIDE], [BESIDE]),
        ([OMITTED, SampledFrame(os.__file__, 1, "walk")], [OMITTED, SampledFrame(os.__file__, 1, "walk")]),
        ([OMITTED, RUNNER, THEIRS], [THEIRS]),
    ],
)
def test_what_a_process_does_for_itself_is_no_code_of_the_task(
    frames: list[SampledFrame], expected: list[SampledFrame]
) -> None:
    assert users_frames(frames) == expected


class Signals:
    """A value whose copy begins, and ends no more."""

    def __deepcopy__(self, memo: object) -> None:
        begin()
        wait_for_ever()


def test_of_a_deep_stack_the_process_tells_the_innermost_frames(executor_of_one: NotebookExecutor) -> None:
    def deep() -> None:
        value: object = Signals()
        for _ in range(100):
            value = [value]
        copy.deepcopy(value)

    running = executor_of_one.submit(deep)
    until_written(running, "begun")
    frames = running.where().frames
    assert frames[0] == OMITTED
    assert "__deepcopy__" in [frame.function for frame in frames]
    running.cancel()


def test_py_spy_is_preferred(path: Path, executor_of_one: NotebookExecutor) -> None:
    running = executor_of_one.submit(outer, wait_for_ever)
    until_running(running)
    put_py_spy(path, f"echo '{DUMP % int(running.processor)}'")
    found = running.where()
    assert (found.means, found.frames) == ("py-spy", (SampledFrame("mine.py", 7, "now"),))
    running.cancel()


@pytest.mark.parametrize(
    "script",
    [
        "echo 'Error: Permission Denied: Try running again with elevated permissions' >&2; exit 1",
        "echo 'Error: Failed to find python version from target process' >&2; exit 1",
        "echo '[]'",
    ],
)
def test_where_py_spy_fails_the_process_tells(script: str, path: Path, executor_of_one: NotebookExecutor) -> None:
    put_py_spy(path, script)
    running = executor_of_one.submit(outer, wait_for_ever)
    until_written(running, "begun")
    assert running.where().means == "faulthandler"
    running.cancel()


def test_a_signal_that_came_to_another_thread_is_sent_again(
    executor_of_one: NotebookExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it goes with one that comes while the main thread still dumps: no dump is made of that."""
    running = executor_of_one.submit(outer, wait_for_ever)
    until_written(running, "begun")
    send, turns = signal.pidfd_send_signal, itertools.count()
    monkeypatch.setattr(signal, "pidfd_send_signal", lambda *args: next(turns) % 2 == 0 and send(*args))
    for _ in range(3):
        assert running.where().frames[0].function == "outer"
    assert next(turns) > 6, "some were lost"
    running.cancel()


def test_what_is_said_where_nothing_can_be_seen(path: Path, executor_of_one: NotebookExecutor) -> None:
    def silent() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [SIGNAL])
        outer(wait_for_ever)

    put_py_spy(path, "echo 'Error: Operation not permitted (os error 1)' >&2; exit 1")
    running, queued = executor_of_one.submit(silent), executor_of_one.submit(abs, -1)
    until_written(running, "begun")
    with pytest.raises(RuntimeError, match=r"does not run yet"):
        queued.where()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(signal_dump, "PATIENCE", 0.01)
        with pytest.raises(RuntimeError) as said:
            running.where()
    assert "py-spy: the system does not let this process read another" in str(said.value)
    assert "faulthandler: its process has not answered within 0.01 s" in str(said.value)
    running.cancel()
    with pytest.raises(RuntimeError, match=r"has ended: there is nothing to look at"):
        running.where()


def test_a_process_that_has_given_the_signal_up_is_not_killed_by_it(executor_of_one: NotebookExecutor) -> None:
    def careless() -> None:
        signal.signal(SIGNAL, signal.SIG_DFL)
        outer(wait_for_ever)

    running = executor_of_one.submit(careless)
    until_written(running, "begun")
    with pytest.raises(RuntimeError, match="its code has taken the signal away"):
        running.where()
    assert running.running()
    running.cancel()


def test_no_signal_goes_to_a_process_that_runs_no_tasks() -> None:
    with subprocess.Popen(["/bin/sleep", "60"]) as stranger:
        with pytest.raises(CannotLook, match="is no task process"):
            signal_dump.main_threads_frames(stranger.pid)
        stranger.kill()
    with pytest.raises(CannotLook, match="cannot be reached: No such process"):
        signal_dump.main_threads_frames(stranger.pid)


def test_tasks_elsewhere_are_not_looked_at() -> None:
    with memory_executor() as executor:
        running = executor.submit(abs, -1)
        executor.engine.start_task(running)
        with pytest.raises(RuntimeError, match="only a task of an engine on this machine can be looked at"):
            running.where()


def test_a_flame_graph_shows_itself(path: Path, executor_of_one: NotebookExecutor) -> None:
    put_py_spy(path, """echo '<svg height="90"><text id="title">py-spy record</text>'"$*</svg>" >"$6" """)
    running = executor_of_one.submit(outer, wait_for_ever)
    until_running(running)
    graph = running.profile(3, rate=50)
    assert f"--duration 3 --rate 50 --pid {running.processor}</svg>" in graph.svg
    assert f'<text id="title">{html.escape(running.call)}</text>' in graph.svg
    frame = graph._repr_html_()
    assert "height:90px" in frame
    assert base64.b64encode(graph.svg.encode()).decode() in frame
    graph.save(str(path / "graph.svg"))
    assert path.joinpath("graph.svg").read_text() == graph.svg
    running.cancel()


def test_what_is_said_where_no_flame_graph_can_be_had(path: Path, executor_of_one: NotebookExecutor) -> None:
    running = executor_of_one.submit(outer, wait_for_ever)
    until_running(running)
    with pytest.raises(RuntimeError, match="cannot be profiled: py-spy is not installed: pip install"):
        running.profile()
    put_py_spy(path, "echo 'Permission Denied' >&2; exit 1")
    with pytest.raises(RuntimeError, match="cannot be profiled: the system does not let this process read another"):
        running.profile()
    for seconds, rate in ((0, 100), (0.5, 100), (1, -1)):
        with pytest.raises(ValueError, match="is a positive integer, not"):
            running.profile(seconds, rate)  # type: ignore[arg-type]
    running.cancel()
    with pytest.raises(RuntimeError, match="has ended"):
        running.profile()


@pytest.mark.matrix
@pytest.mark.timeout(900)
def test_the_real_py_spy() -> None:
    kernel_specs(LIBRARIES)  # makes the environment
    program = (
        "from scaler_notebook import NotebookExecutor; import time\n"
        "def slow(): time.sleep(60)\n"
        "ex = NotebookExecutor(n_workers=1); f = ex.submit(slow)\n"
        "while f.started_at is None: time.sleep(0.01)\n"
        "print(f.where().means); print(f.where()); print('slow' in f.profile(1).svg); f.cancel()"
    )
    python = HOME / LIBRARIES / "bin" / "python"
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, timeout=SAFETY, env=dict(os.environ))
    forbidden = os.geteuid() != 0 and SCOPE.exists() and SCOPE.read_text().strip() != "0"
    assert done.stdout.startswith(f"{'faulthandler' if forbidden else 'py-spy'}\nslow() in process "), done.stderr
    assert "in slow" in done.stdout
    if forbidden:
        assert "kernel.yama.ptrace_scope=0" in done.stderr
    else:
        assert done.stdout.endswith("True\n"), done.stderr
