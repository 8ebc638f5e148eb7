"""The processes of one run, found by a mark in their environment, and what memory they have (Linux)."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import psutil

TRACKERS = 10.0  # seconds that resource trackers get to clean up
MARK = "BENCHMARK_RUN"  # the environment variable that every process of a run inherits


def marked_processes(mark: str) -> set[int]:
    """Give the ids of the processes that carry a mark in their environment."""
    entry = f"{MARK}={mark}".encode()
    found = set()
    for process in psutil.pids():
        with suppress(OSError):  # it has ended, or is another user's
            if entry in Path(f"/proc/{process}/environ").read_bytes().split(b"\0"):
                found.add(process)
    return found


def run_processes() -> set[int]:
    """Give the ids of this run's processes: those with the run's mark, and all that descends from this one."""
    me = psutil.Process()
    return {me.pid, *marked_processes(os.environ[MARK]), *(each.pid for each in me.children(recursive=True))}


def kill_all(processes: set[int]) -> None:
    """Kill processes; not this one, and none that cleans up after the others.

    Python's resource trackers, and loky's, unlink named semaphores when the last process that used them has ended.
    """
    for process in processes - {os.getpid()}:
        if not _is_tracker(process):
            with suppress(OSError):
                os.kill(process, signal.SIGKILL)


def end_run(mark: str) -> None:
    """Kill what is left of a run, and wait until the run's resource trackers have ended by themselves."""
    deadline = time.monotonic() + TRACKERS
    while (left := marked_processes(mark)) and time.monotonic() < deadline:
        kill_all(left)
        time.sleep(0.02)
    for process in left:
        with suppress(OSError):
            os.kill(process, signal.SIGKILL)


def _is_tracker(process: int) -> bool:
    try:
        return b"resource_tracker" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


def is_alive(process: int) -> bool:
    """Does a process run, or wait?"""
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def proportional_memory(processes: set[int]) -> float:
    """Give the megabytes (1e6 bytes) of processes in PSS: a page that several share counts once in all."""
    total = 0
    for process in processes:
        with suppress(OSError):
            for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total * 1024 / 1e6
