"""The embedded engine's parts on their own: output, cores, families of processes, pickles and tracebacks."""

import functools
import os
import re
import signal
import subprocess
import sys
import threading
import traceback
import types
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler_notebook.engines.embedded import cores, family, output
from scaler_notebook.engines.embedded.output import MAX_TASK_OUTPUT, READ, OutputFile
from scaler_notebook.protocol import failures, payloads
from scaler_notebook.protocol.errors import ProtocolError, RemoteTraceback, TaskSerializationError

# ---------------------------------------------------------------------- output


@pytest.fixture
def file() -> Iterator[OutputFile]:
    opened = OutputFile()
    yield opened
    opened.close()


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=30), st.lists(st.integers(0, 120), max_size=8))
def test_text_is_whole_however_its_bytes_are_cut(text: str, cuts: list[int]) -> None:
    data, file = text.encode(), OutputFile()
    try:
        places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
        parts = []
        for start, end in zip(places, places[1:], strict=False):
            os.write(file.fd, data[start:end])
            parts.append(file.new_text())
            assert "".join(parts) == data[:end].decode(errors="ignore")
        assert file.new_text() == ""
    finally:
        file.close()


def test_a_character_across_two_reads_is_whole(file: OutputFile) -> None:
    text = "x" + "€" * READ
    os.write(file.fd, text.encode())
    assert file.new_text() == text


def test_what_is_no_utf8_is_replaced(file: OutputFile) -> None:
    os.write(file.fd, b"a\xffb")
    assert file.new_text() == "a�b"


def test_all_writers_append(file: OutputFile) -> None:
    os.write(file.fd, b"1")
    subprocess.run(["/bin/sh", "-c", "printf 2"], stdout=file.fd, check=True, timeout=10)
    os.write(file.fd, b"3")
    assert file.new_text() == "123"


def test_starting_over_forgets_what_was_not_read_and_half_a_character(file: OutputFile) -> None:
    os.write(file.fd, "old €".encode()[:-1])
    assert file.new_text() == "old "
    os.write(file.fd, b"unread")
    file.start_over()
    assert os.fstat(file.fd).st_size == 0
    os.write(file.fd, "€new".encode())
    assert file.new_text() == "€new"
    file.start_over()
    assert file.new_text() == ""


def test_output_beyond_the_bound_is_dropped_and_that_is_said_once(file: OutputFile) -> None:
    os.write(file.fd, b"x" * (MAX_TASK_OUTPUT - 1))
    assert len(file.new_text()) == MAX_TASK_OUTPUT - 1
    os.write(file.fd, b"y")
    assert file.new_text() == "y"  # the bound itself is not beyond it
    os.write(file.fd, b"z")
    assert file.new_text() == "\n[output beyond 16 MB is dropped]\n"
    os.write(file.fd, b"z")
    assert file.new_text() == ""
    file.start_over()
    os.write(file.fd, b"next task")
    assert file.new_text() == "next task"


def test_one_look_at_too_much_gives_the_beginning(file: OutputFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "MAX_TASK_OUTPUT", 4)
    os.write(file.fd, b"12345678")
    assert file.new_text() == "1234\n[output beyond 0 MB is dropped]\n"
    assert file.new_text() == ""


# ---------------------------------------------------------------------- cores


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 16),
        ({"cpu.max": "max 100000\n"}, 16),
        ({"cpu.max": "300000 100000\n"}, 3),
        ({"cpu.max": "160000 100000\n"}, 2),
        ({"cpu.max": "10000 100000\n"}, 1),
        ({"cpu.max": "9900000 100000\n"}, 16),
        ({"cpu.max": ""}, 16),
        ({"cpu.max": "nonsense 100000"}, 16),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 16),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        ({"cpu/cpu.cfs_quota_us": "1000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "400000\n"}, 16),
        ({"cpu.max": "max 1", "cpu/cpu.cfs_quota_us": "500000", "cpu/cpu.cfs_period_us": "100000"}, 5),
    ],
    ids=str,
)
def test_the_quota_of_a_container_bounds_the_cores(
    files: dict[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cores.available_cores(tmp_path) == expected


def test_the_affinity_bounds_the_cores_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpu.max").write_text("800000 100000")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5}, raising=False)
    assert cores.available_cores(tmp_path) == 2


def test_threads_are_shared_among_workers_unless_the_user_said_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in cores.THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setattr(cores, "available_cores", lambda: 9)
    assert cores.thread_environment(4) == dict.fromkeys(cores.THREAD_VARIABLES[1:], "2")
    assert set(cores.thread_environment(20).values()) == {"1"}


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
        assert family.descendants(pid) == line
        assert set(line) < set(family.descendants(os.getpid()))
        assert all(family.exists(descendant) for descendant in line)
        process.stdin.close()
        assert process.wait(10) == 0
    assert family.descendants(pid) == []
    assert not any(family.exists(descendant) for descendant in [pid, *line])


def spawn(script: str, **options: Any) -> int:
    return os.posix_spawn("/bin/sh", ["sh", "-c", script], os.environ, **options)


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("exit 0", ["by itself", "status 0 "]),
        ("exit 3", ["by itself", "status 3 "]),
        ("kill -KILL $$", ["SIGKILL", "out of memory?"]),
        ("kill -SEGV $$", ["SIGSEGV", "native code"]),
        ("kill -TERM $$", ["killed by SIGTERM"]),
        (f"kill -{signal.SIGRTMIN + 3} $$", [f"killed by signal {signal.SIGRTMIN + 3}"]),
    ],
)
def test_the_cause_of_a_death_is_told_in_words(script: str, words: list[str]) -> None:
    _, status = os.waitpid(spawn(script), 0)
    text = family.cause_of_death(status)
    assert all(word in text for word in words), text
    assert ("by itself" in text) == ("exit" in script)


@pytest.mark.timeout(10)
def test_killing_spares_nobody_of_the_group_and_is_harmless_when_they_are_gone() -> None:
    leader = spawn("read nothing", setsid=True)
    member = spawn("read nothing", setpgroup=leader) if sys.platform == "darwin" else 0
    assert family.group_exists(leader)
    family.kill_group(leader)
    _, status = os.waitpid(leader, 0)
    assert "SIGKILL" in family.cause_of_death(status)
    if member:
        os.waitpid(member, 0)
    assert not family.group_exists(leader)
    assert not family.exists(leader)
    family.kill(leader)
    family.kill_group(leader)


@pytest.mark.timeout(10)
def test_a_zombie_exists_until_it_is_reaped() -> None:
    pid = spawn("exit 0")
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert family.exists(pid)
    os.waitpid(pid, 0)
    assert not family.exists(pid)
