"""The local engine's parts on their own: cores, trees of processes, pickles."""

import errno
import functools
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import Mock

import psutil
import pytest
from waits import SAFETY

from scaler_notebook.engines.local import resource_limits
from scaler_notebook.engines.local.ipc.messages import WORKER_CODEC, Ready
from scaler_notebook.engines.local.ipc.outbox import send_blocking
from scaler_notebook.engines.local.scheduler.processes import process_tree, task_process
from scaler_notebook.engines.local.scheduler.processes.fork_server import ProcessDescriptors, Spawn
from scaler_notebook.engines.local.scheduler.processes.process_pool import CannotStart, ProcessPool
from scaler_notebook.engines.local.scheduler.processes.task_process import TaskProcess
from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.errors import TaskSerializationError
from scaler_notebook.task.isolation import orphans

# ---------------------------------------------------------------------- cores


V2, V1 = "0::/\n", "3:cpu,cpuacct:/\n"
POD = "kubepods/pod1/main"


@pytest.mark.parametrize(
    ("group", "files", "expected"),
    [
        (V2, {}, 16),
        (V2, {"cpu.max": "max 100000\n"}, 16),
        (V2, {"cpu.max": "300000 100000\n"}, 3),
        (V2, {"cpu.max": "160000 100000\n"}, 2),
        (V2, {"cpu.max": "10000 100000\n"}, 1),
        (V2, {"cpu.max": "9900000 100000\n"}, 16),
        (V2, {"cpu.max": ""}, 16),
        (V2, {"cpu.max": "nonsense 100000"}, 16),
        (V2, {"cpu.max": "100000 0"}, 16),
        (f"0::/{POD}\n", {f"{POD}/cpu.max": "400000 100000"}, 4),
        (f"0::/{POD}\n", {f"{POD}/cpu.max": "max 100000", "kubepods/pod1/cpu.max": "200000 100000"}, 2),
        (f"0::/{POD}\n", {f"{POD}/cpu.max": "200000 100000", "kubepods/cpu.max": "600000 100000"}, 2),
        (f"0::/{POD}\n", {"cpu.max": "500000 100000"}, 5),  # the path is the host's
        (None, {"cpu.max": "500000 100000"}, 5),
        (V1, {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 16),
        (V1, {"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        (V1, {"cpu,cpuacct/cpu.cfs_quota_us": "400000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"}, 4),
        (V1, {"cpu/cpu.cfs_quota_us": "1000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        (V1, {"cpu/cpu.cfs_quota_us": "400000\n"}, 16),
        (f"3:cpu:/{POD}\n", {f"cpu/{POD}/cpu.cfs_quota_us": "500000", f"cpu/{POD}/cpu.cfs_period_us": "100000"}, 5),
    ],
    ids=str,
)
def test_the_quota_of_a_container_bounds_the_cores(
    group: str | None, files: dict[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    assert resource_limits.available_cores(control_group(tmp_path, group, files)) == expected


def control_group(place: Path, group: str | None, files: dict[str, str]) -> resource_limits.ControlGroup:
    """The group that /proc and these files describe."""
    for name, text in {
        **({"proc/self/cgroup": group} if group else {}),
        **{f"fs/{n}": t for n, t in files.items()},
    }.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    return resource_limits.ControlGroup(place / "proc", place / "fs")


def test_the_affinity_bounds_the_cores_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5}, raising=False)
    assert resource_limits.available_cores(control_group(tmp_path, V2, {"cpu.max": "800000 100000"})) == 2


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"pids.max": "max\n", "pids.current": "7\n"}, None),
        ({"pids.max": "100\n", "pids.current": "7\n"}, 93),
        ({f"{POD}/pids.max": "100", f"{POD}/pids.current": "7", "pids.max": "50", "pids.current": "40"}, 10),
    ],
    ids=str,
)
def test_the_processes_that_a_container_leaves(files: dict[str, str], expected: int | None, tmp_path: Path) -> None:
    assert control_group(tmp_path, f"0::/{POD}\n", files).processes_left == expected


def test_threads_are_shared_among_workers_unless_the_user_said_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in resource_limits.THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setattr(resource_limits, "available_cores", lambda: 9)
    assert resource_limits.thread_environment(4) == dict.fromkeys(resource_limits.THREAD_VARIABLES[1:], "2")
    assert set(resource_limits.thread_environment(20).values()) == {"1"}


# ---------------------------------------------------------------------- families of processes

# Starts the next of its line in a session of its own, from a thread that stays; unwinds when its stdin ends.
LINE = """
import os, subprocess, sys, threading
depth, source = int(sys.argv[1]), sys.argv[2]
below, heard, over = [], threading.Event(), threading.Event()
def start():
    command = [sys.executable, "-ISc", source, str(depth - 1), source]
    pipe = subprocess.PIPE
    child = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=True)
    below[:] = [child, child.stdout.readline()]
    heard.set()
    over.wait()
if depth:
    thread = threading.Thread(target=start)
    thread.start()
    heard.wait()
print(os.getpid(), below[1].strip() if depth else "", flush=True)
sys.stdin.read()
if depth:
    below[0].stdin.close()
    below[0].wait()
    over.set()
    thread.join()
"""


@pytest.mark.timeout(20)
def test_descendants_are_found_across_sessions_threads_and_generations() -> None:
    command = [sys.executable, "-ISc", LINE, "2", LINE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        pid, *line = map(int, process.stdout.readline().split())
        assert pid == process.pid
        assert len(line) == 2
        assert process_tree.descendants(pid) == line
        assert set(line) < set(process_tree.descendants(os.getpid()))
        assert all(process_tree.exists(descendant) for descendant in line)
        process.stdin.close()
        assert process.wait(10) == 0
    assert process_tree.descendants(pid) == []
    assert not any(process_tree.exists(descendant) for descendant in [pid, *line])


@pytest.mark.timeout(30)
def test_the_time_of_a_descendant_that_runs_is_counted() -> None:
    """A task that waits for a command that computes does not look like one that waits for another task."""
    before = process_tree.cpu_seconds(os.getpid())
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        while process_tree.cpu_seconds(busy.pid) < 0.3:
            time.sleep(0.01)
        used = process_tree.cpu_seconds(os.getpid()) - before
        busy.kill()
    assert round(used, 2) >= 0.3


def spawn(script: str, **options: Any) -> int:
    return os.posix_spawn("/bin/sh", ["sh", "-c", script], os.environ, **options)


@pytest.mark.timeout(10)
def test_killing_spares_nobody_of_the_group_and_is_harmless_when_they_are_gone() -> None:
    leader = spawn("exec sleep 60", setpgroup=0)
    member = spawn("exec sleep 60", setpgroup=leader)
    assert process_tree.group_exists(leader)
    process_tree.kill_group(leader)
    for pid in (leader, member):
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert not process_tree.group_exists(leader)
    process_tree.kill(leader)
    process_tree.kill_group(leader)


@pytest.mark.timeout(10)
def test_what_a_killed_process_had_started_is_remembered_when_it_is_killed_again() -> None:
    """As happens when its socket closes before its death is seen: its children are orphans then."""
    code = "import os, subprocess; subprocess.Popen(['sleep', '60'], start_new_session=True); print('up', flush=True)"
    parent = subprocess.Popen(
        [sys.executable, "-c", code + "; os.read(0, 1)"], stdin=-1, stdout=-1, start_new_session=True
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"up\n"
    with selectors.DefaultSelector() as selector:
        starter = Stillborn()
        process = TaskProcess(starter, selector, Mock())
        process.pid = parent.pid
        (child,) = process_tree.descendants(parent.pid)
        process.kill((), "it was to be stopped", False)
        parent.wait(SAFETY)
        process.kill((), "its socket was closed", False)
        assert process._lingering == [child]
        assert process.killed_for == "it was to be stopped"
        process.close()
        starter.close()
    parent.stdin.close()
    parent.stdout.close()
    deadline = time.monotonic() + SAFETY
    while is_there(child):
        assert time.monotonic() < deadline
        time.sleep(0.001)


class Stillborn:
    """Starts nothing; the test speaks for the process."""

    pid = 0

    def __init__(self) -> None:
        self.socks: list[socket.socket] = []
        self.lack: OSError | None = None  # what the system is short of
        self.forks: list[int] = []  # those without a number

    def has_started(self, pid: int) -> bool:
        return pid in self.forks

    def start(self, ends: ProcessDescriptors) -> None:
        if self.lack is not None:
            raise self.lack
        self.socks.append(socket.socket(fileno=os.dup(ends.sock)))

    def close(self) -> None:
        for sock in self.socks:
            sock.close()


def test_a_result_that_is_held_back_too_long_is_read_whatever_it_loses(monkeypatch: pytest.MonkeyPatch) -> None:
    starter = Stillborn()
    with selectors.DefaultSelector() as selector:
        process = TaskProcess(starter, selector, Mock())
        monkeypatch.setattr(task_process, "_free_descriptors", SimpleNamespace(may_lack=lambda number: True))
        send_blocking(starter.socks[0], WORKER_CODEC.encode([Ready(1)]), [os.open(os.devnull, os.O_RDONLY)])
        for _ in range(2):
            assert [*process.received()] == []
            assert process.held_back
            assert not selector.get_map(), "it would be asked again and again"
            process.flush()
        monkeypatch.setattr(task_process, "LONGEST_HOLD", -1.0)
        process.hold_back(False)
        assert [*process.received()] == [Ready(1)]
        process.close()
    starter.close()


def test_a_process_that_died_before_its_first_word_was_read_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    statuses = [(4_000_000, 9, None), (0, 0, None)]
    monkeypatch.setattr(os, "wait4", lambda pid, options: statuses.pop(0))
    starter = Stillborn()
    with selectors.DefaultSelector() as selector:
        pool = ProcessPool(1, starter, selector)  # no event may come of it
        pool.fill()
        pool.reap()
        send_blocking(starter.socks[0], WORKER_CODEC.encode([Ready(4_000_000)]))
        for key, _ in selector.select(SAFETY):
            key.data()
        assert len(starter.socks) == 2, "it was not replaced"
        assert not pool._processes
        for process in pool._starting:
            process.close()
    starter.close()


@pytest.mark.parametrize("is_numbered", [False, True])
def test_an_end_is_told_when_nothing_is_left_but_what_starts_meanwhile(
    is_numbered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What takes the dead process's place is a child already, and not ready yet."""
    dead, takes_its_place, left = 4_000_000, 4_000_001, 4_000_002
    statuses = [(dead, 9, SimpleNamespace(ru_maxrss=0))]
    children = [dead]
    killed: list[int] = []
    told: list[int] = []
    monkeypatch.setattr(os, "wait4", lambda pid, options: statuses.pop(0) if statuses else (0, 0, None))
    monkeypatch.setattr(orphans, "children", lambda pid=None: [] if pid else children)
    monkeypatch.setattr(process_tree, "kill", killed.append)
    starter = Stillborn()
    with selectors.DefaultSelector() as selector:
        pool = ProcessPool(1, starter, selector)
        pool.events = cast(Any, SimpleNamespace(ready=lambda _: None, died=lambda pid, *_: told.append(pid)))
        pool.fill()
        send_blocking(starter.socks[0], WORKER_CODEC.encode([Ready(dead)]))
        for key, _ in selector.select(SAFETY):
            key.data()
        pool.resize(2)
        (starting,) = pool._starting
        if is_numbered:
            starting.page.pid = takes_its_place
        else:
            starter.forks.append(takes_its_place)
        children[:] = [takes_its_place, left]
        pool.reap()
        assert killed == [left]
        assert told == [], "not before the orphan is gone"
        children.remove(left)
        pool.reap()
        assert killed == [left]
        assert told == [dead]
        for process in pool._starting:
            process.close()
    starter.close()


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM, errno.EMFILE])
def test_a_lack_that_passes_is_waited_for(number: int) -> None:
    """A limit on processes, memory, descriptors: what runs goes on, and what is missing is started when it can be."""
    told: list[int] = []
    starter = Stillborn()
    with selectors.DefaultSelector() as selector:
        pool = ProcessPool(1, starter, selector)
        pool.events = cast(Any, SimpleNamespace(ready=told.append))
        pool.fill()
        send_blocking(starter.socks[0], WORKER_CODEC.encode([Ready(4_000_000)]))
        for key, _ in selector.select(SAFETY):
            key.data()
        assert told == [4_000_000]
        starter.lack = OSError(number, os.strerror(number))
        pool.resize(2)
        first = pool.fill_at
        assert first is not None
        while pool.fill_at == first:  # it is tried again, later and later
            pool.fill()
        assert pool.fill_at is not None
        starter.lack = None
        while pool.fill_at is not None:
            pool.fill()
        assert len(starter.socks) == 2
        for process in (*pool._starting, *pool._processes.values()):
            process.close()
    starter.close()


def test_an_engine_that_has_never_had_a_process_ends_at_a_lack() -> None:
    starter = Spawn()
    with selectors.DefaultSelector() as selector, pytest.MonkeyPatch.context() as short:
        short.setattr(starter, "start", Mock(side_effect=OSError(errno.EAGAIN, "no process")))
        with pytest.raises(CannotStart, match=r"task processes cannot be started: .*no process"):
            ProcessPool(1, starter, selector).fill()


@pytest.mark.parametrize(("killed_for", "ready"), [("", [7]), ("a task waited for it", [])])
def test_a_process_that_was_killed_while_it_imported_is_ready_too_late(killed_for: str, ready: list[int]) -> None:
    told: list[int] = []
    with selectors.DefaultSelector() as selector:
        pool = ProcessPool(0, Spawn(), selector)
        pool.events = cast(Any, SimpleNamespace(ready=told.append))
        process = Mock(pid=7, importing=True, killed_for=killed_for)
        pool._receive(process, Ready(7))
    assert told == ready


def is_there(pid: int) -> bool:
    return process_tree.exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_a_zombie_exists_until_it_is_reaped() -> None:
    pid = spawn("exit 0")
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert process_tree.exists(pid)
    os.waitpid(pid, 0)
    assert not process_tree.exists(pid)


# ---------------------------------------------------------------------- what cannot be pickled


class Holder:
    """Anything with attributes."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def method(self) -> None:
        """Of no use but to be pickled with its object."""


def with_lock_in_closure() -> Callable[[], Any]:
    fine, lock = 1, threading.Lock()
    return lambda: (fine, lock)


GLOBAL_LOCK = threading.Lock()


def with_global() -> Any:
    return GLOBAL_LOCK


def by_value(function: Callable[..., Any]) -> Callable[..., Any]:
    """As what a notebook defines."""
    function.__module__ = "__main__"
    return function


def with_closure_and_global() -> Callable[[], Any]:
    fine = 1
    return lambda: (fine, GLOBAL_LOCK)


def loop() -> Holder:
    holder = Holder(fine=1)
    holder.itself = holder  # type: ignore[attr-defined]
    holder.lock = threading.Lock()  # type: ignore[attr-defined]
    return holder


def test_a_part_that_raises_when_it_is_looked_at_is_not_looked_into() -> None:
    class Proxy:
        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError("it stands for nothing")

    error = payloads.serialization_error("argument 'x' of f", [Proxy(), 1], RuntimeError("no"))
    assert str(error).startswith("argument 'x' of f cannot be pickled because of argument 'x' of f[0]")


def error_for(value: Any, what: str = "argument 'x' of f") -> TaskSerializationError:
    with pytest.raises(Exception) as caught:  # noqa: PT011  # the pickler's own kinds, whichever
        payloads.dump(value)
    error = payloads.serialization_error(what, value, caught.value)
    assert "cannot pickle '_thread.lock' object" in str(error)
    return error


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (Holder(fine=1, lock=threading.Lock()), ".lock (a _thread.lock)"),
        (Holder(model=Holder(cache={"a": 1, "b": [0, threading.Lock()]})), ".model.cache['b'][1] (a _thread.lock)"),
        ((1, {2: threading.Lock()}), "[1][2] (a _thread.lock)"),
        (with_lock_in_closure(), " → closure variable 'lock' (a _thread.lock)"),
        (by_value(with_global), " → global 'GLOBAL_LOCK' (a _thread.lock)"),
        (by_value(with_closure_and_global()), " → global 'GLOBAL_LOCK' (a _thread.lock)"),
        (loop(), ".lock (a _thread.lock)"),
        (Holder(lock=threading.Lock()).method, ".lock (a _thread.lock)"),
        (functools.partial(print, threading.Lock()), " (a _thread.lock)"),
    ],
    ids=["attribute", "nested", "tuple", "closure", "global", "closure and global", "cycle", "bound method", "partial"],
)
def test_the_error_names_the_attribute_that_cannot_be_pickled(value: Any, path: str) -> None:
    message = str(error_for(value))
    assert message.startswith("argument 'x' of f cannot be pickled because of argument 'x' of f")
    assert path in message


def test_a_value_that_is_itself_the_culprit_is_named_alone() -> None:
    message = str(error_for(threading.Lock()))
    assert message.startswith("argument 'x' of f cannot be pickled (a _thread.lock): cannot pickle")


def test_a_closure_variable_without_a_value_does_not_hide_the_error() -> None:
    lock = threading.Lock()

    def function() -> Any:
        return early, lock

    assert "'lock' (a _thread.lock)" in str(error_for(function))
    early = 1


def test_the_search_for_the_attribute_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = []

    class Counted:
        def __reduce__(self) -> Any:
            looked_at.append(self)
            return int, ()

    monkeypatch.setattr(payloads, "MAX_SEARCH", 50)
    value = [Counted() for _ in range(200)]
    error = payloads.serialization_error("it", value, TypeError("no"))
    assert str(error).startswith("it cannot be pickled (a builtins.list): no")
    assert len(looked_at) == 50
