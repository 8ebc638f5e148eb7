"""``scaler-notebook doctor``: is there what is needed, and does it work?"""

import argparse
import os
import platform
import re
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from scaler_notebook.client.executor import NotebookExecutor
from scaler_notebook.engines.local.ipc.memory import shared_memory
from scaler_notebook.engines.local.ipc.output_records import anonymous_file
from scaler_notebook.engines.local.ipc.runtime_directory import private_base
from scaler_notebook.engines.local.resource_limits import ControlGroup, available_cores
from scaler_notebook.protocol.errors import EngineStartError
from scaler_notebook.protocol.states import CancelReason, TaskState

Level: TypeAlias = Literal["ok", "note", "wrong"]

PATIENCE = 30.0  # seconds for each step of the engine
MIN_FILES = 1024  # open files; below that large results of many arrays fail
MIN_PROCESSES = 200  # that the user may still start
MIN_SHM = 256 * 2**20  # bytes; matters only where there are no files in memory
OLDEST_PYTHON, NEWEST_PYTHON = (3, 10), (3, 13)

INSTALL = "pip install --upgrade 'scaler-notebook[notebook]'"
# The versions that pyproject.toml asks for; a test compares them.
NEEDED = {
    "pyzmq": "26",
    "msgpack": "1.0.8",
    "cloudpickle": "3.0",
    "nest-asyncio2": "1.7",
    "psutil": "5.9",
    "typing-extensions": "4.6",
}
WIDGETS = {"ipywidgets": "8.1", "anywidget": "0.9.18"}
KERNEL = "6.29.5"
FRONT_ENDS = {"jupyterlab": ("JupyterLab", "4.4"), "notebook": ("Notebook", "7.3"), "voila": ("Voilà", "0.5")}
LAB_EXTENSIONS = ("@jupyter-widgets/jupyterlab-manager", "anywidget")


class Finding(NamedTuple):
    """What a check has found.

    Parameters
    ----------
    level
        ``note`` is what may be meant so, or works less well.
    text
        What is there.
    advice
        What to do; empty for nothing.
    """

    level: Level
    text: str
    advice: str = ""


def run(options: argparse.Namespace) -> int:
    """Print every finding as soon as it is made."""
    wrong = 0
    for name, check in CHECKS.items():
        try:
            findings = list(check())
        except Exception as error:  # a check that fails says so, and the others go on
            findings = [Finding("wrong", f"the check failed: {type(error).__name__}: {error}")]
        for level, text, advice in findings:
            wrong += level == "wrong"
            print(f"{level:<6} {name:<12} {text}", flush=True)
            if advice:
                print(f"{'':<20}-> {advice}", flush=True)
    print(f"\n{wrong} thing{'s are' if wrong != 1 else ' is'} wrong" if wrong else "\nnothing is wrong")
    return 1 if wrong else 0


# ---------------------------------------------------------------------- what is installed


def python() -> Iterator[Finding]:
    """The interpreter, and what the engine needs."""
    here = f"Python {platform.python_version()} at {sys.executable}"
    if not OLDEST_PYTHON <= sys.version_info[:2] <= NEWEST_PYTHON or sys.implementation.name != "cpython":
        yield Finding("note", here, "CPython 3.10 to 3.13 is what this version is tested on")
    else:
        yield Finding("ok", here)
    for name, least in NEEDED.items():
        version = _version(name)
        if version is None or _older(version, least):
            yield Finding("wrong", f"{name} {version or 'is missing'}", f"pip install --upgrade '{name}>={least}'")


def clusters() -> Iterator[Finding]:
    """What speaks to clusters."""
    version, least = _version("opengris-scaler"), "2.9"
    if version is None:
        yield Finding("note", "no opengris-scaler: scaler:// clusters are not reached", "pip install opengris-scaler")
    elif _older(version, least):
        yield Finding("wrong", f"opengris-scaler {version}", f"pip install --upgrade 'opengris-scaler>={least}'")
    else:
        yield Finding("ok", f"opengris-scaler {version}, for scaler:// clusters")


def system() -> Iterator[Finding]:
    """The platform."""
    here = f"{platform.system()} {platform.release()}, {available_cores()} cores for this process"
    if sys.platform == "win32":
        yield Finding("wrong", here, "there is no Windows support yet; the Linux subsystem (WSL) works")
    elif sys.platform != "linux":
        yield Finding("note", here, "written for this system too, and tested on Linux alone")
    else:
        yield Finding("ok", here)


def kernel() -> Iterator[Finding]:
    """ipykernel, and the versions of it that are known to be bad."""
    version = _version("ipykernel")
    if version is None:
        yield Finding(
            "note",
            "ipykernel is not in this environment",
            f"for notebooks: {INSTALL}; plain scripts do not need it",
        )
    elif _older(version, KERNEL):
        yield Finding("wrong", f"ipykernel {version} is too old", INSTALL)
    elif _numbers(version)[:2] == (7, 0):
        yield Finding("wrong", f"ipykernel {version}: all of 7.0 is excluded", INSTALL)
    elif (7, 1) <= _numbers(version)[:2] < (7, 4):
        newest = sys.version_info >= (3, 11)
        yield Finding(
            "note",
            f"ipykernel {version}: up to 7.3 a request now and then stays unanswered"
            + ("" if newest else ", and 7.4 needs Python 3.11"),
            "pip install --upgrade 'ipykernel>=7.4'" if newest else "pip install 'ipykernel>=6.31,<7'",
        )
    elif _older(version, "7"):
        yield Finding(
            "ok",
            f"ipykernel {version}; buttons wait while a cell computes or sleeps by itself (7.4 has subshells for that, "
            "on Python 3.11 and newer)",
        )
    else:
        yield Finding("ok", f"ipykernel {version}")


def front_ends() -> Iterator[Finding]:
    """JupyterLab and its like, if they are here."""
    there = {title: (_version(name), least) for name, (title, least) in FRONT_ENDS.items()}
    found = {title: (version, least) for title, (version, least) in there.items() if version is not None}
    if not found:
        yield Finding(
            "note",
            "no JupyterLab, Notebook or Voilà in this environment",
            "as it should be if the kernel is started from elsewhere (VS Code, a hub); else: pip install jupyterlab",
        )
    for title, (version, least) in found.items():
        if _older(version, least):
            yield Finding("note", f"{title} {version}", f"{least} or newer is what this version is tested on")
        else:
            yield Finding("ok", f"{title} {version}")


def widgets() -> Iterator[Finding]:
    """What live cards and boards are made of, in Python and for the page."""
    bad = False
    for name, least in WIDGETS.items():
        version = _version(name)
        if version is None or _older(version, least):
            bad = True
            yield Finding("wrong", f"{name} {version or 'is missing'}", f"pip install --upgrade '{name}>={least}'")
    missing = [name for name in LAB_EXTENSIONS if not _has_lab_extension(name)]
    if missing and not bad:
        yield Finding(
            "note" if _version("jupyterlab") is None else "wrong",
            f"the page's part of {' and '.join(missing)} is not where this environment's JupyterLab looks",
            "pip install --force-reinstall jupyterlab_widgets anywidget, in the environment that runs JupyterLab; "
            "until then cards are static",
        )
    elif not bad:
        yield Finding("ok", ", ".join(f"{name} {_version(name)}" for name in WIDGETS))


def _has_lab_extension(name: str) -> bool:
    homes = [os.environ.get("JUPYTER_PATH", ""), sys.prefix, "/usr/local", "/usr", os.path.expanduser("~/.local")]
    roots = [*homes[0].split(os.pathsep), *(f"{home}/share/jupyter" for home in homes[1:])]
    return any((Path(root) / "labextensions" / name / "package.json").exists() for root in roots if root)


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    """``7.0.0a1`` is (7, 0, 0): what stands behind the numbers does not count here."""
    return tuple(map(int, re.match(r"\d+(?:\.\d+)*", version).group().split(".")))  # type: ignore[union-attr]


def _older(version: str | None, least: str) -> bool:
    return version is None or _numbers(version) < _numbers(least)


# ---------------------------------------------------------------------- what works


def engine() -> Iterator[Finding]:
    """Start one, run a task, stop another."""
    try:
        place = private_base()
    except EngineStartError as error:
        yield Finding("wrong", str(error))
        return
    began = time.perf_counter()
    with NotebookExecutor(n_workers=1) as executor:
        try:
            first = executor.submit(abs, -1).result(PATIENCE)
            started = time.perf_counter() - began
            began = time.perf_counter()
            again = executor.submit(abs, -1).result(PATIENCE)
            took = time.perf_counter() - began
            future = executor.submit(time.sleep, 10 * PATIENCE)
            deadline = time.monotonic() + PATIENCE
            while future.state is TaskState.SUBMITTED and time.monotonic() < deadline:
                time.sleep(0.001)
            began = time.perf_counter()
            cancelled = future.cancel(PATIENCE)
            stopped = time.perf_counter() - began
        except Exception as error:
            yield Finding(
                "wrong", f"{type(error).__name__}: {error}", f"is {place} writable, and is there memory for processes?"
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
            f"one that runs was stopped in {stopped * 1000:.1f} ms; sockets are in {place}",
        )


def memory_files() -> Iterator[Finding]:
    """Where large arrays are handed over."""
    os.close(anonymous_file("doctor"))
    if shared_memory.available():
        yield Finding("ok", "large arrays are shared in memory (memfd), whatever the size of /dev/shm")
    else:
        yield Finding(
            "note",
            "no files in memory (memfd_create) on this system: large arrays are copied through the sockets",
            "a newer kernel has them (Linux 3.17); everything works without, slower for arrays of megabytes",
        )


def limits() -> Iterator[Finding]:
    """How much the system lets us have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = hard != resource.RLIM_INFINITY and hard < MIN_FILES
    advice = f"ulimit -n {MIN_FILES}, or the container's limit" if few else ""
    shown = f"{_limit(soft)} open files, {_limit(hard)} for the engine"
    yield Finding("note" if few else "ok", shown, advice)
    left = _processes_left()
    text = "no limit on processes" if left is None else f"{left} more processes may be started"
    short = left is not None and left < MIN_PROCESSES
    yield Finding("note" if short else "ok", text, "ulimit -u, or the container's limit on pids" if short else "")
    if os.path.isdir("/dev/shm"):
        usage = shutil.disk_usage("/dev/shm")
        small = usage.free < MIN_SHM and not shared_memory.available()
        text = f"/dev/shm has {usage.free / 2**20:.0f} of {usage.total / 2**20:.0f} MB free"
        yield Finding("note" if small else "ok", text, "docker run --shm-size=1g" if small else "")


def _limit(value: int) -> str:
    return "unlimited" if value == resource.RLIM_INFINITY else str(value)


def _processes_left() -> int | None:
    """How many the user, or the container, may still start; None where nobody counts."""
    left = []
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if soft != resource.RLIM_INFINITY and os.getuid():  # the superuser's are not counted
        import psutil

        mine = sum(1 for process in psutil.process_iter(["uids"]) if _is_mine(process.info["uids"]))
        left.append(soft - mine)
    of_group = ControlGroup().processes_left
    if of_group is not None:
        left.append(of_group)
    return max(0, min(left)) if left else None


def _is_mine(uids: tuple[int, ...] | None) -> bool:
    return uids is not None and uids[0] == os.getuid()


CHECKS: dict[str, Callable[[], Iterator[Finding]]] = {
    "Python": python,
    "system": system,
    "kernel": kernel,
    "front end": front_ends,
    "widgets": widgets,
    "engine": engine,
    "clusters": clusters,
    "memory files": memory_files,
    "limits": limits,
}
