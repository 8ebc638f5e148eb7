"""``scaler-notebook`` in a terminal: real processes, ended in every way there is."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from kernels import Kernel
from shared_kernels import SharedKernel
from waits import SAFETY, until_running

from scaler_notebook import EngineLostError, LocalCluster, NotebookExecutor
from scaler_notebook.cli import doctor, listing, user_engines
from scaler_notebook.cli.checks import machine, packages
from scaler_notebook.cli.checks.finding import Finding
from scaler_notebook.cli.command import main, parser
from scaler_notebook.engines.local.client import connection_file
from scaler_notebook.protocol.errors import EngineStartError

COMMAND = [sys.executable, "-m", "scaler_notebook"]
ADDRESS = re.compile(r"runs at (\S+)")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, as a terminal starts it."""
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=4 * SAFETY)


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The same in this process: for commands that only look and ask."""
    with (
        contextlib.redirect_stdout(io.StringIO()) as output,
        contextlib.redirect_stderr(io.StringIO()) as errors,
    ):
        status = main(arguments)
    return subprocess.CompletedProcess(arguments, status, output.getvalue(), errors.getvalue())


@contextlib.contextmanager
def foreground(*arguments: str, **settings: Any) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A cluster in the foreground, and its address."""
    process = subprocess.Popen(
        [*COMMAND, "cluster", "--workers", "2", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **settings,
    )
    try:
        assert process.stdout is not None
        found = ADDRESS.search(process.stdout.readline())
        assert found is not None
        yield process, found[1]
    finally:
        process.kill()
        process.communicate(timeout=SAFETY)


@contextlib.contextmanager
def detached(*arguments: str) -> Iterator[str]:
    """The address of a cluster that has left its terminal."""
    done = run("cluster", "--detach", "--workers", "2", *arguments)
    assert done.returncode == 0, done.stderr
    found = ADDRESS.search(done.stdout)
    assert found is not None
    owner = owner_of(found[1])
    try:
        yield found[1]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(owner, signal.SIGTERM)
        until(lambda: not psutil.pid_exists(owner), "it has ended")


def owner_of(address: str) -> int:
    connection = connection_file.find(address)
    assert connection is not None
    return connection.owner_pid


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SAFETY
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.01)


def document(*arguments: str) -> dict[str, Any]:
    """What a command prints for programs."""
    found = json.loads(call(*arguments, "--json").stdout)
    assert found["version"] == 1
    return dict(found)


def listed(address: str) -> dict[str, Any]:
    """What ``status --json`` says of one engine: there may be others' on this machine."""
    (found,) = [engine for engine in document("status")["engines"] if engine["address"] == address]
    return dict(found)


# ---------------------------------------------------------------------- cluster


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_cluster_in_the_foreground(number: signal.Signals) -> None:
    with foreground() as (process, address), NotebookExecutor(address) as client:
        running = client.submit(time.sleep, 60)
        until_running(running)
        process.send_signal(number)
        output, errors = process.communicate(timeout=SAFETY)
        assert (process.returncode, errors) == (0, "")
        assert output.splitlines()[-1] == "ended"
        with pytest.raises(EngineLostError, match=address):
            running.result(SAFETY)
        assert connection_file.find(address) is None


def test_what_nohup_ignores_stays_ignored() -> None:
    def ignore() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with foreground(preexec_fn=ignore) as (process, address), NotebookExecutor(address) as client:
        process.send_signal(signal.SIGHUP)
        assert client.submit(abs, -1).result(SAFETY) == 1
        process.send_signal(signal.SIGINT)
        assert process.wait(SAFETY) == 0


def test_a_killed_cluster_leaves_nothing(tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/engine"
    with foreground("--address", address) as (process, _), NotebookExecutor(address) as client:
        running = client.submit(time.sleep, 60)
        until_running(running)
        process.kill()
        with pytest.raises(EngineLostError, match=address):
            running.result(SAFETY)
    assert list(tmp_path.iterdir()) == []
    with foreground("--address", address), NotebookExecutor(address) as client:
        assert client.submit(abs, -1).result(SAFETY) == 1, "the address is free again"


def test_a_cluster_whose_scheduler_is_killed_says_so() -> None:
    with foreground() as (process, address):
        os.kill(listed(address)["pid"], signal.SIGKILL)
        _, errors = process.communicate(timeout=SAFETY)
        assert process.returncode == 1
        assert "the scheduler process was killed by SIGKILL" in errors


TERMINAL = "import pty, sys; pty.spawn(sys.argv[1:])"


@pytest.mark.parametrize("detach", [False, True])
def test_a_killed_terminal_takes_what_is_in_the_foreground_alone(detach: bool, tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/engine"
    command = [*COMMAND, "cluster", "--workers", "1", "--address", address, *(["--detach"] if detach else [])]
    if detach:
        # A shell that stays, as in a terminal that is still open.
        command = ["/bin/sh", "-c", f"{' '.join(command)}; exec sleep 1000"]
    leader, follower = pty.openpty()
    os.close(follower)
    terminal = subprocess.Popen(
        [sys.executable, "-c", TERMINAL, *command], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    try:
        until(lambda: connection_file.find(address) is not None, "the cluster is there")
        scheduler = connection_file.find(address)
        assert scheduler is not None
        terminal.kill()
        terminal.wait(SAFETY)
        if not detach:
            until(lambda: not scheduler.lives, "it ends with its terminal")
            until(lambda: list(tmp_path.iterdir()) == [], "its link is gone")
            return
        with NotebookExecutor(address) as client:
            assert client.submit(abs, -1).result(SAFETY) == 1
        assert call("stop", address).returncode == 0
        until(lambda: not psutil.pid_exists(scheduler.owner_pid), "its process ends too")
    finally:
        os.close(leader)
        terminal.kill()
        terminal.communicate(timeout=SAFETY)


def test_a_second_cluster_at_one_address_is_refused() -> None:
    with foreground() as (_, address), NotebookExecutor(address) as client:
        for done in (call("cluster", "--address", address), run("cluster", "--address", address, "--detach")):
            assert (done.returncode, done.stdout) == (1, "")
            assert f"the address {address} is in use by another engine of yours" in done.stderr
            assert "Traceback" not in done.stderr
        assert client.submit(abs, -1).result(SAFETY) == 1


def test_a_port_of_another_program_is_refused() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        for done in (call("cluster", "--address", address), run("cluster", "--address", address, "--detach")):
            assert (done.returncode, done.stdout) == (1, "")
            assert "another program uses it" in done.stderr


def test_options_reach_the_engine() -> None:
    arguments = ["--capability", "gpu=2", "--capability", "licence", "--protected"]
    arguments += ["--gpus", "a,b", "--idle-timeout", "60"]
    with detached(*arguments) as address, NotebookExecutor(address) as client:
        assert (client.n_workers, client.capabilities) == (2, {"gpu": 2, "licence": 1})
        status = client.engine_status()
        assert status is not None
        assert (client.gpus, status.idle_timeout) == (("a", "b"), 60)
        found = listed(address)
        assert (found["owner"], found["protected"], found["workers"]) == ("cluster", True, 2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "COMMAND"),
        (["clutser"], "invalid choice"),
        (["cluster", "--workers", "0"], "'0' is no number of workers"),
        (["cluster", "--workers", "two"], "'two' is no number of workers"),
        (["cluster", "--capability", "gpu=some"], "'gpu=some' is not like gpu=1"),
        (["cluster", "--capability", "gpu="], "'gpu=' is not like gpu=1"),
        (["cluster", "--capability", "gpu=0"], "the amount of the capability 'gpu' is between 1 and 2**31 - 1, not 0"),
        (["cluster", "--idle-timeout", "0"], "'0' is no number of seconds above 0"),
        (["cluster", "--detatch"], "--detatch"),
        (["stop"], "ADDRESS"),
        (["stop", "tcp://127.0.0.1:1", "--all"], "not allowed with"),
    ],
)
def test_mistakes_in_the_command_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("address", ["nonsense", "tcp://10.0.0.1:8800", "ipc://relative", "tcp://127.0.0.1:99999"])
def test_a_wrong_address_is_one_line(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["cluster", "--address", address], ["stop", address]):
        assert main(arguments) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("scaler-notebook: ")


# ---------------------------------------------------------------------- status and stop


def test_status_of_every_owner(shared_kernel: SharedKernel) -> None:
    script = (
        "import sys, time\nfrom scaler_notebook import NotebookExecutor\nex = NotebookExecutor(n_workers=1)\n"
        "print(ex.address, flush=True)\nfor _ in range(3): ex.submit(time.sleep, 1000)\n"
        "while ex.unfinished()[0].state.value != 'running': time.sleep(0.01)\nprint('up', flush=True)\ntime.sleep(1000)"
    )
    with shared_kernel.lent() as k, detached() as cluster, LocalCluster(n_workers=0, protected=False) as mine:
        notebook = k.run("from scaler_notebook import NotebookExecutor; ex = NotebookExecutor(n_workers=1); ex.address")
        notebooks = notebook.text.strip("'")
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            scripts = process.stdout.readline().strip()
            assert process.stdout.readline() == "up\n"
            owners = {address: listed(address)["owner"] for address in (notebooks, cluster, mine.address, scripts)}
            assert list(owners.values()) == ["notebook", "cluster", "cluster", "script"]
            found = listed(scripts)
            assert (found["workers"], found["running"], found["queued"]) == (1, 1, 2)
            assert found["owner_pid"] == process.pid
            assert 0 <= found["uptime"] < 60
            text = call("status").stdout
            assert re.search(rf"{re.escape(scripts)} +{found['pid']} +script \({process.pid}\) +1 +1 +2 +\d+ s", text)
            assert re.search(rf"{re.escape(mine.address)} .*\({os.getpid()}\) +0 +0 +0", text)
            # What is somebody's own is left alone.
            for address, what in ((notebooks, "notebook"), (scripts, "script")):
                refused = call("stop", address)
                assert refused.returncode == 1
                assert f"{address} is the own engine of the {what}" in refused.stderr
            ended = call("stop", scripts, "--force")
            assert (ended.returncode, ended.stdout) == (0, f"ended {scripts}, and 3 unfinished tasks with it\n")
            assert connection_file.find(scripts) is None
            assert connection_file.find(notebooks) is not None
        finally:
            process.kill()
            process.communicate(timeout=SAFETY)


def test_tasks_of_all_clients() -> None:
    with (
        LocalCluster(n_workers=1, protected=False) as cluster,
        NotebookExecutor(cluster.address) as one,
        NotebookExecutor(cluster.address) as other,
    ):
        try:
            check_tasks_of_all_clients(cluster.address, one, other)
        finally:
            assert call("stop", cluster.address).returncode == 0, "else the executors would wait for their tasks"


def check_tasks_of_all_clients(address: str, one: NotebookExecutor, other: NotebookExecutor) -> None:
    running = one.submit(time.sleep, 60)
    until_running(running)
    waiting = other.submit_verbose(time.sleep, [60], name="a name\nof two lines, " + "and long " * 10)
    until(lambda: len(document("tasks", address)["engines"][0]["tasks"]) == 2, "both are there")
    (engine,) = document("tasks", address)["engines"]
    assert (engine["address"], engine["omitted"]) == (address, 0)
    first, second = engine["tasks"]
    assert first == {
        "id": running.task_id,
        "call": "sleep",
        "state": "running",
        "submitted_at": first["submitted_at"],
        "started_at": first["started_at"],
        "pid": int(running.processor),
    }
    assert 0 <= first["started_at"] - first["submitted_at"] < SAFETY
    assert (second["id"], second["state"], second["started_at"]) == (waiting.task_id, "queued", None)
    lines = call("tasks", address).stdout.splitlines()
    assert any(re.search(rf"{running.task_id} +sleep +running +\d+ s", line) for line in lines)
    assert any(re.search(rf"{waiting.task_id} +a name of two lines, .*… +queued +\d+ s", line) for line in lines)


def test_nothing_to_show(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(user_engines, "engines", list)
    assert main(["status"]) == 0
    assert capsys.readouterr().out == "no engine of yours runs on this machine\n"
    assert main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"version": 1, "engines": []}
    assert main(["tasks"]) == 0
    assert capsys.readouterr().out == "no engine of yours runs on this machine\n"
    assert main(["tasks", "tcp://127.0.0.1:1"]) == 1
    assert "no engine of yours runs at tcp://127.0.0.1:1" in capsys.readouterr().err
    assert main(["stop", "--all"]) == 0
    assert capsys.readouterr().out == "no cluster of yours runs on this machine\n"
    assert main(["stop", "tcp://127.0.0.1:1"]) == 1
    assert "no engine of yours runs at tcp://127.0.0.1:1" in capsys.readouterr().err


def test_stop_ends_a_cluster_and_what_it_runs() -> None:
    with foreground() as (process, address), NotebookExecutor(address) as client:
        futures = [client.submit(time.sleep, 60) for _ in range(3)]
        until_running(futures[1])
        done = run("stop", address)
        assert (done.returncode, done.stdout) == (0, f"ended {address}, and 3 unfinished tasks with it\n")
        for future in futures:
            with pytest.raises(EngineLostError, match=address):
                future.result(SAFETY)
        output, errors = process.communicate(timeout=SAFETY)
        assert (process.returncode, errors) == (0, "")
        assert output.splitlines()[-1] == "ended"
        assert call("stop", address).returncode == 1, "it is gone"


def test_stop_all_ends_clusters_alone(
    executor: NotebookExecutor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process, for others' engines on this machine are none of the test's."""
    with LocalCluster(n_workers=1, protected=False) as one, LocalCluster(n_workers=1, protected=False) as other:
        own = executor.address
        ours = {own, one.address, other.address}
        everybodys = connection_file.engines
        monkeypatch.setattr(user_engines, "engines", lambda: [found for found in everybodys() if found.address in ours])
        assert main(["stop", "--all"]) == 0
        assert sorted(capsys.readouterr().out.splitlines()) == sorted(f"ended {c.address}" for c in (one, other))
        assert not one.is_running
        assert not other.is_running
        assert executor.submit(abs, -1).result(SAFETY) == 1
        assert main(["stop", "--all", "--force"]) == 0
        assert capsys.readouterr().out == f"ended {own}\n"


def test_the_name_of_a_script_may_be_no_utf_8(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    address = f"ipc://{tmp_path}/gone\udcff"
    found = connection_file.ConnectionInfo(address, address, os.getpid(), None, 1.0, "script", 7, "\udcff.py", True)
    monkeypatch.setattr(user_engines, "engines", lambda: [found])
    assert main(["status"]) == main(["status", "--json"]) == main(["tasks"]) == 0
    assert main(["stop", address]) == 1
    said = capsys.readouterr()
    assert "script \\udcff.py (7)" in said.out
    assert '"title": "\\\\udcff.py"' in said.out
    assert "the script \\udcff.py (process 7)" in said.err


def test_a_protected_cluster_needs_force(capsys: pytest.CaptureFixture[str]) -> None:
    with LocalCluster(n_workers=1, protected=True) as cluster:
        assert main(["stop", cluster.address]) == 1
        assert f"the cluster at {cluster.address} is protected" in capsys.readouterr().err
        assert cluster.is_running
        assert main(["stop", cluster.address, "--force"]) == 0
        assert not cluster.is_running


def test_one_that_hangs_is_shown_and_can_be_killed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(user_engines, "ANSWER_TIMEOUT", 0.2)
    monkeypatch.setattr(listing, "END_TIMEOUT", 0.2)
    with LocalCluster(n_workers=1, protected=False) as cluster:
        os.kill(cluster.scheduler_pid, signal.SIGSTOP)
        assert main(["status"]) == 0
        assert re.search(rf"{re.escape(cluster.address)} .* does not answer", capsys.readouterr().out)
        assert main(["status", "--json"]) == 0
        described = {found["address"]: found for found in json.loads(capsys.readouterr().out)["engines"]}
        assert described[cluster.address]["workers"] is None
        assert main(["tasks", cluster.address, "--json"]) == 0
        unknown = {"address": cluster.address, "tasks": None, "omitted": None}
        assert json.loads(capsys.readouterr().out) == {"version": 1, "engines": [unknown]}
        assert main(["stop", cluster.address]) == 1
        assert "does not end: it hangs; --force kills it" in capsys.readouterr().err
        assert main(["stop", cluster.address, "--force"]) == 0
        assert not cluster.is_running


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (60, "1 min"), (3599, "59 min"), (7500, "2 h 5 min"), (200_000, "2 d 7 h")],
)
def test_times_read_well(seconds: float, text: str) -> None:
    assert listing._uptime_text(seconds) == text


def test_a_reader_that_has_enough_is_no_error() -> None:
    with LocalCluster(n_workers=0, protected=False):
        process = subprocess.Popen([*COMMAND, "status"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        with process.stderr:
            assert process.stderr.read() == ""
        process.wait(SAFETY)


# ---------------------------------------------------------------------- notebooks on a cluster


def connected(k: Kernel, address: str) -> None:
    said = k.run(f"%load_ext scaler_notebook\n%scaler connect {address}")
    assert f"an engine with 2 workers runs at {address}" in said.text, said


@pytest.mark.matrix
def test_two_notebooks_share_a_cluster_and_one_is_killed(shared_kernel: SharedKernel, own_kernel: Kernel) -> None:
    victim = own_kernel
    with detached() as address, shared_kernel.lent() as survivor:
        connected(survivor, address)
        connected(victim, address)
        import_os = "import os, time; here = os.getpid()"
        survivor.run(import_os)
        victim.run(import_os)
        survivor.run("f = %scaler submit (time.sleep(2), os.getppid())[1]")
        victim.run("g = %scaler submit time.sleep(1000)\nwhile g.state.value != 'running': time.sleep(0.01)")
        assert listed(address)["running"] == 2
        os.kill(int(victim.run("here").text), signal.SIGKILL)
        assert survivor.run("f.result(20)").text == str(listed(address)["pid"])
        until(lambda: listed(address)["running"] == 0, "what the dead notebook ran is cancelled")
        survivor.run("f = %scaler submit time.sleep(1000)\nwhile f.state.value != 'running': time.sleep(0.01)")
        assert call("stop", address).returncode == 0
        assert "EngineLostError" in survivor.run("f.result(20)").error


# ---------------------------------------------------------------------- doctor


def findings(check: Callable[[], Iterator[Finding]]) -> list[tuple[str, str]]:
    return [(found.level, found.text) for found in check()]


def test_doctor_finds_this_environment_well() -> None:
    done = run("doctor")
    assert (done.returncode, done.stderr) == (0, "")
    for name in doctor.CHECKS:
        assert re.search(rf"^(ok|note) +{name} ", done.stdout, re.MULTILINE), name
    assert re.search(r"first result \d+ ms after the start, a task takes [\d.]+ ms, one that runs was", done.stdout)
    assert done.stdout.endswith("\nnothing is wrong\n")


@pytest.mark.parametrize(
    ("version", "level", "said"),
    [
        (None, "note", "not in this environment"),
        ("6.28.0", "wrong", "too old"),
        ("6.29.4", "wrong", "too old"),
        ("6.29.5", "ok", "6.29.5"),
        ("7.0.1", "wrong", "excluded"),
        ("7.0.0a1", "wrong", "excluded"),
        ("7.3.0", "note", "unanswered"),
        ("7.4.0", "ok", "7.4.0"),
        ("7.10.0", "ok", "7.10.0"),
    ],
)
def test_doctor_knows_kernels(version: str | None, level: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "_installed_version", lambda name: version)
    ((found, text),) = findings(packages.check_kernel)
    assert found == level
    assert said in text


@pytest.mark.parametrize(
    ("python", "advice"), [((3, 10, 13), "pip install 'ipykernel>=6.31,<7'"), ((3, 11, 0), "'ipykernel>=7.4'")]
)
def test_doctor_recommends_a_kernel_that_this_python_can_have(
    python: tuple[int, ...], advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "_installed_version", lambda name: "7.3.0")
    monkeypatch.setattr(sys, "version_info", python)
    (finding,) = packages.check_kernel()
    assert finding.advice.endswith(advice)
    assert ("7.4 needs Python 3.11" in finding.text) == (python < (3, 11))


@pytest.mark.parametrize(("version", "level"), [(None, "note"), ("1.9.2", "wrong"), ("2.9.0", "ok"), ("2.12", "ok")])
def test_doctor_knows_what_speaks_to_clusters(version: str | None, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "_installed_version", lambda name: version)
    ((found, text),) = findings(packages.check_clusters)
    assert (found, "opengris-scaler" in text) == (level, True)


def test_doctor_says_what_is_missing_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    versions = {"pyzmq": "25.1", "anywidget": None, "ipywidgets": "8.1.5", "jupyterlab": "4.0.1"}
    real = packages._installed_version
    monkeypatch.setattr(
        packages, "_installed_version", lambda name: versions.get(name, real(name)) if name in versions else real(name)
    )
    monkeypatch.setattr(machine, "_processes_left", lambda: 3)
    assert main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert re.search(r"^wrong +Python +pyzmq 25.1\n +-> pip install --upgrade 'pyzmq>=26'", said, re.MULTILINE)
    assert re.search(r"^wrong +widgets +anywidget is missing\n +-> pip install", said, re.MULTILINE)
    assert re.search(r"^note +front end +JupyterLab 4.0.1\n +-> 4.4 or newer", said, re.MULTILINE)
    assert re.search(r"^note +limits +3 more processes may be started\n +-> ulimit -u", said, re.MULTILINE)
    assert said.endswith("\n2 things are wrong\n")


def test_doctor_goes_on_after_a_check_that_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> Path:
        raise EngineStartError("no private directory for the engine's socket")

    def broken() -> None:
        raise RuntimeError("no such file")

    monkeypatch.setattr(machine, "private_base", refuse)
    monkeypatch.setattr(machine, "_processes_left", broken)
    assert main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert re.search("^wrong +engine +no private directory", said, re.MULTILINE)
    assert re.search("^wrong +limits +the check failed: RuntimeError: no such file", said, re.MULTILINE)


def test_doctor_finds_an_engine_that_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    ((level, text),) = findings(machine.check_engine)
    assert level == "wrong"
    assert "EngineStartError: the scheduler process could not be started" in text


def test_doctor_asks_for_what_the_package_asks_for() -> None:
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    core = re.search(r"\ndependencies = \[(.*?)\]", project, re.DOTALL)
    assert core is not None
    wanted = dict(re.findall(r'"([\w-]+)>=([\d.]+)"', core[1]))
    assert wanted == {**packages.NEEDED, **packages.WIDGETS}
    assert f'"ipykernel>={packages.KERNEL},!=7.0.*"' in project
    for name, (_, least) in packages.FRONT_ENDS.items():
        assert f'"{name}>={least}"' in project


# ---------------------------------------------------------------------- the command itself


def test_the_installed_command_is_this_one() -> None:
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    found = re.search(r'^scaler-notebook = "([\w.]+):(\w+)"$', project, re.MULTILINE)
    assert found is not None
    assert getattr(importlib.import_module(found[1]), found[2]) is main


def test_it_needs_no_jupyter() -> None:
    code = (
        "import sys\nfrom scaler_notebook.cli.command import main\nmain(['status'])\n"
        "wrong = {'IPython', 'ipykernel', 'ipywidgets', 'anywidget', 'traitlets', 'jupyter_core', 'tornado'}\n"
        "print(sorted(wrong & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=SAFETY)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_every_option_has_a_help_text() -> None:
    commands: Any
    (commands,) = [action for action in parser()._actions if action.choices]
    assert list(commands.choices or ()) == ["cluster", "status", "tasks", "stop", "mcp", "doctor"]
    for name, command in (commands.choices or {}).items():
        text = command.format_help()
        assert "Exit status" in text, name
        assert all(action.help for action in command._actions), name
        assert "--report" not in text
