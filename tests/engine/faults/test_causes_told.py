"""Causes of death as the client is told them: by the exit code, the signal, or the kernel's own kill for memory."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from waits import SAFETY

from scaler_notebook import NotebookExecutor, ProcessorDiedError


def kills_itself(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(60)


def closes_everything() -> None:
    os.closerange(3, 200)
    time.sleep(60)


ENDS: dict[str, tuple[Any, tuple[Any, ...], int | None, int | None, str]] = {
    "exits": (os._exit, (3,), 3, None, "exit status 3"),
    "a crash": (kills_itself, (signal.SIGSEGV,), None, signal.SIGSEGV, "a crash in native code"),
    "a kill": (kills_itself, (signal.SIGKILL,), None, signal.SIGKILL, "by SIGKILL, from outside"),
    "ours": (closes_everything, (), None, signal.SIGKILL, "its scheduler killed it: its task had closed the conn"),
}


@pytest.mark.parametrize("case", ENDS)
def test_the_error_has_the_exit_code_or_the_signal(executor: NotebookExecutor, case: str) -> None:
    fn, args, exit_code, number, words = ENDS[case]
    future = executor.submit(fn, *args)
    error = future.exception(SAFETY)
    assert isinstance(error, ProcessorDiedError)
    assert words in str(error)
    assert "no other task is affected" in str(error)
    assert (error.exit_code, error.signal, error.out_of_memory) == (exit_code, number, False)
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), vars(copy)) == (str(error), vars(error))
    figures = future.profiling_info()
    assert figures.memory_peak is not None
    assert figures.memory_peak > 1_000_000
    assert figures.cpu_time_s is None
    assert executor.submit(abs, -1).result(SAFETY) == 1


def test_who_needs_the_value_of_one_that_died_is_told_the_same(executor: NotebookExecutor) -> None:
    dependant = executor.submit(abs, executor.submit(os._exit, 7))
    error = dependant.exception(SAFETY)
    assert isinstance(error, ProcessorDiedError)
    assert error.exit_code == 7
    with pytest.raises(ValueError, match="never ran"):
        dependant.profiling_info()


LIMIT = 400_000_000  # bytes, for all of a small engine
SCRIPT = """
import os, sys
open(sys.argv[1] + "/cgroup.procs", "w").write(str(os.getpid()))
from scaler_notebook import NotebookExecutor
with NotebookExecutor(n_workers=1) as executor:
    for _ in range(2):
        future = executor.submit(bytearray, 1_000_000_000)
        error = future.exception(60)
        print(error.out_of_memory, error.exit_code, error.signal, future.profiling_info().memory_peak, error, sep="|")
    print(executor.submit_verbose(bytearray, (10**9,), retries=2, retry_on=OSError).exception(60).out_of_memory)
    print(executor.submit(abs, -1).result(60))
"""


@contextlib.contextmanager
def group_with_a_limit() -> Iterator[Path | None]:
    """A real control group, if we may make one."""
    group = None
    for mount, limit, swap in (
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"),
        ("/sys/fs/cgroup", "memory.max", "memory.swap.max"),
    ):
        directory = Path(mount, f"scaler_notebook_test_{os.getpid()}")
        with contextlib.suppress(OSError):
            directory.mkdir()
            try:
                (directory / limit).write_text(str(LIMIT))
                with contextlib.suppress(OSError):
                    (directory / swap).write_text(str(LIMIT) if "memsw" in swap else "0")
                (directory / "cgroup.procs").open("a").close()
                group = directory
                break
            except OSError:
                directory.rmdir()
    try:
        yield group
    finally:
        deadline = time.monotonic() + SAFETY
        while group is not None:
            try:
                group.rmdir()
                break
            except OSError:  # the last process leaves it a moment after its end
                assert time.monotonic() < deadline
                time.sleep(0.01)


with group_with_a_limit() as _possible:
    MAY_LIMIT = _possible is not None

if MAY_LIMIT:  # as root, where control groups can be written to; what kernels write is recorded above for the others

    def test_the_kernels_own_kill_is_told_as_what_it_is() -> None:
        with group_with_a_limit() as group:
            assert group is not None
            done = subprocess.run(
                [sys.executable, "-c", SCRIPT, str(group)], capture_output=True, text=True, timeout=6 * SAFETY
            )
        assert done.returncode == 0, done.stderr
        *told, retried, after = done.stdout.splitlines()
        assert (retried, after) == ("True", "1")
        for line in told:
            out_of_memory, exit_code, number, peak, words = line.split("|")
            assert (out_of_memory, exit_code, number) == ("True", "None", "9")
            assert 50_000_000 < int(peak) <= LIMIT
            assert "died: out of memory: the kernel killed it" in words
            assert "the limit of its control group is 400.0 MB" in words
