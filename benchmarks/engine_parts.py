"""The threads and processes of an executor's engine, by what each is for."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence

import psutil

from scaler_notebook import NotebookExecutor

from .cpu_clocks import Part

AGENT = "scaler_notebook agent"  # the name of its thread
IDLE = 0.003  # seconds of CPU that an idle engine and a caller that waits use in 0.3 s, at most


def nap() -> int:
    """Give the id of the task process, after long enough for every slot to have a task."""
    time.sleep(0.2)
    return os.getpid()


def find_parts(executor: NotebookExecutor) -> list[Part]:
    """Find the threads and processes of an executor's own engine; it is started if it has not been.

    Call it on the thread that submits. The executor is the only one of this process.
    """
    task_processes = run_on_each_slot(executor)
    (scheduler,) = {psutil.Process(each).ppid() for each in task_processes}
    others = {each.pid for each in psutil.Process(scheduler).children()} - task_processes
    caller, me = threading.get_native_id(), os.getpid()
    agent = next(each.native_id for each in threading.enumerate() if each.name == AGENT)
    assert agent is not None
    parts = [
        Part("caller's thread", (me,), frozenset((caller,))),
        Part("agent's thread", (me,), frozenset((agent,))),
        Part("other threads of the caller's process", (me,), None, frozenset((caller, agent))),
        Part("scheduler's main thread", (scheduler,), frozenset((scheduler,))),
        Part("other threads of the scheduler", (scheduler,), None, frozenset((scheduler,))),
        Part("task processes", tuple(sorted(task_processes))),
        Part("fork server and spare processes", tuple(sorted(others))),
    ]
    wait_until_idle(parts)
    return parts


def wait_until_idle(parts: Sequence[Part]) -> None:
    """Wait, 10 s at most, until no part has used a core for a while: new spare processes import what tasks may need."""
    end = time.monotonic() + 10
    used = -1.0
    while time.monotonic() < end:
        now = sum(part.usage().cpu for part in parts)
        if now - used < IDLE:
            return
        used = now
        time.sleep(0.3)


def run_on_each_slot(executor: NotebookExecutor) -> set[int]:
    """Have each slot run a task; gives the ids of the processes that did."""
    while True:
        naps = [executor.submit(nap) for _ in range(executor.n_workers)]
        found = {each.result() for each in naps}
        if len(found) == executor.n_workers:
            return found
