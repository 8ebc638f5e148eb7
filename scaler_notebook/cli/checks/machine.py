"""Checks of the machine: whether an engine works here, and how much the system lets us have."""

import os
import platform
import resource
import shutil
import sys
import time
from collections.abc import Iterator

from scaler_notebook.client.executor import NotebookExecutor
from scaler_notebook.engines.local.ipc.memory import shared_memory
from scaler_notebook.engines.local.ipc.output_records import anonymous_file
from scaler_notebook.engines.local.ipc.runtime_directory import private_base
from scaler_notebook.engines.local.resource_limits import ControlGroup, available_cores
from scaler_notebook.protocol.errors import EngineStartError
from scaler_notebook.protocol.states import CancelReason, TaskState
from scaler_notebook.wording import counted

from .finding import Finding

STEP_TIMEOUT = 30.0  # seconds for each step of the check of the engine
MIN_FILES = 1024  # open files; with fewer, large results of many arrays fail
MIN_PROCESSES = 200  # processes that the user may still start
MIN_SHM = 256 * 2**20  # bytes free in /dev/shm; matters only where there are no files in memory


def check_system() -> Iterator[Finding]:
    """Check the operating system, and count the cores that this process may use."""
    here = f"{platform.system()} {platform.release()}, {counted(available_cores(), 'core')} for this process"
    if sys.platform == "win32":
        yield Finding("wrong", here, "there is no Windows support yet; the Linux subsystem (WSL) works")
    elif sys.platform != "linux":
        yield Finding("note", here, "written for this system too, and tested on Linux alone")
    else:
        yield Finding("ok", here)


def check_engine() -> Iterator[Finding]:
    """Start an engine, run two tasks, and stop a third while it runs."""
    try:
        directory = private_base()
    except EngineStartError as error:
        yield Finding("wrong", str(error))
        return
    began = time.perf_counter()
    with NotebookExecutor(n_workers=1) as executor:
        try:
            first = executor.submit(abs, -1).result(STEP_TIMEOUT)
            started = time.perf_counter() - began
            began = time.perf_counter()
            again = executor.submit(abs, -1).result(STEP_TIMEOUT)
            took = time.perf_counter() - began
            future = executor.submit(time.sleep, 10 * STEP_TIMEOUT)
            deadline = time.monotonic() + STEP_TIMEOUT
            while future.state is TaskState.SUBMITTED and time.monotonic() < deadline:
                time.sleep(0.001)
            began = time.perf_counter()
            cancelled = future.cancel(STEP_TIMEOUT)
            stopped = time.perf_counter() - began
        except Exception as error:
            yield Finding(
                "wrong",
                f"{type(error).__name__}: {error}",
                f"is {directory} writable, and is there memory for processes?",
            )
            return
    if (first, again) != (1, 1):
        yield Finding("wrong", "a task gave a wrong result", "report it, please")
    elif not cancelled or future.cancel_reason is not CancelReason.STOPPED:
        yield Finding("wrong", f"a running task was not stopped: {future!r}", "report it, please")
    else:
        yield Finding(
            "ok",
            f"first result {started * 1000:.0f} ms after the start, a task takes {took * 1000:.1f} ms, "
            f"one that runs was stopped in {stopped * 1000:.1f} ms; sockets are in {directory}",
        )


def check_memory_files() -> Iterator[Finding]:
    """Check whether large arrays can be handed over in shared memory."""
    os.close(anonymous_file("doctor"))
    if shared_memory.available():
        yield Finding("ok", "large arrays are shared in memory (memfd), whatever the size of /dev/shm")
    else:
        yield Finding(
            "note",
            "no files in memory (memfd_create) on this system: large arrays are copied through the sockets",
            "a newer kernel has them (Linux 3.17); everything works without, slower for arrays of megabytes",
        )


def check_limits() -> Iterator[Finding]:
    """Check how many files and processes the system allows, and the size of ``/dev/shm``."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = hard != resource.RLIM_INFINITY and hard < MIN_FILES
    advice = f"ulimit -n {MIN_FILES}, or the container's limit" if few else ""
    shown = f"{_limit_text(soft)} open files, {_limit_text(hard)} for the engine"
    yield Finding("note" if few else "ok", shown, advice)
    left = _processes_left()
    text = (
        "no limit on processes" if left is None else f"{counted(left, 'more process', 'more processes')} may be started"
    )
    short = left is not None and left < MIN_PROCESSES
    yield Finding("note" if short else "ok", text, "ulimit -u, or the container's limit on pids" if short else "")
    if os.path.isdir("/dev/shm"):
        usage = shutil.disk_usage("/dev/shm")
        small = usage.free < MIN_SHM and not shared_memory.available()
        text = f"/dev/shm has {usage.free / 2**20:.0f} of {usage.total / 2**20:.0f} MB free"
        yield Finding("note" if small else "ok", text, "docker run --shm-size=1g" if small else "")


def _limit_text(value: int) -> str:
    """Write a resource limit for a person."""
    return "unlimited" if value == resource.RLIM_INFINITY else str(value)


def _processes_left() -> int | None:
    """Count the processes that the user, or the container, may still start; None where nobody counts."""
    left = []
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if soft != resource.RLIM_INFINITY and os.getuid():  # the superuser's are not counted
        import psutil

        mine = sum(1 for process in psutil.process_iter(["uids"]) if _is_of_this_user(process.info["uids"]))
        left.append(soft - mine)
    in_group = ControlGroup().processes_left
    if in_group is not None:
        left.append(in_group)
    return max(0, min(left)) if left else None


def _is_of_this_user(uids: tuple[int, ...] | None) -> bool:
    """Return whether a process with these user ids (real, effective, saved) belongs to the user of this process."""
    return uids is not None and uids[0] == os.getuid()
