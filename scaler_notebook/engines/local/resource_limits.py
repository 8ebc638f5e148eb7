"""What this process may use of the machine: cores, memory and processes, as control groups and affinity say.

One rule for all: the lowest limit counts, from our own control group upwards (versions 1 and 2). Where a container
shows us no more than its part of the tree, the top of that is ours.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

NO_LIMIT = 2**60  # bytes; version 1 writes a number beyond it for none
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


class Kills(NamedTuple):
    """How often the kernel's out-of-memory killer has struck.

    Parameters
    ----------
    number
        Since whenever; what counts is whether it changes.
    ours
        Are they kills in our control group alone? Otherwise they are those of the whole machine.
    """

    number: int
    ours: bool


class ControlGroup:
    """The control groups of this process; processes that it starts are in them too.

    Parameters
    ----------
    proc, mount
        Where the kernel shows its files; for tests.
    """

    def __init__(self, proc: Path = Path("/proc"), mount: Path = Path("/sys/fs/cgroup")) -> None:
        self._proc = proc
        self._memory_levels = tuple(_levels(proc, mount, "memory"))
        self._cpu_levels = tuple(_levels(proc, mount, "cpu"))
        self._pids_levels = tuple(_levels(proc, mount, "pids"))

    @property
    def memory_limit(self) -> int | None:
        """Bytes, the lowest limit from the group upwards; None if there is none."""
        names = ("memory.max", "memory.limit_in_bytes")
        limits = [_number(level / name) for level in self._memory_levels for name in names]
        return min((limit for limit in limits if limit is not None and limit < NO_LIMIT), default=None)

    @property
    def cpu_quota(self) -> float | None:
        """Cores, the lowest quota from the group upwards; None if there is none."""
        return min((quota for level in self._cpu_levels for quota in _quotas(level)), default=None)

    @property
    def processes_left(self) -> int | None:
        """How many processes may still be started, by the lowest limit from the group upwards; None if none is set."""
        found = [(_number(level / "pids.max"), _number(level / "pids.current")) for level in self._pids_levels]
        return min((most - now for most, now in found if most is not None and now is not None), default=None)

    @property
    def kills(self) -> Kills | None:
        """Kills for want of memory; None if the system does not count."""
        for level in self._memory_levels[:1]:  # a victim is counted in its own group, whose limit ever was reached
            for name in ("memory.events", "memory.oom_control"):
                count = _field(level / name, "oom_kill")
                if count is not None:
                    return Kills(count, ours=True)
        count = _field(self._proc / "vmstat", "oom_kill")
        return Kills(count, ours=False) if count is not None else None


def available_memory() -> int:
    """Give the bytes that this process and its like may use in all."""
    total: int = psutil.virtual_memory().total
    return min(total, ControlGroup().memory_limit or total)


def available_cores(group: ControlGroup | None = None) -> int:
    """Give the cores that this process may use, by its affinity and the CPU quota of its control groups."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = (group if group is not None else ControlGroup()).cpu_quota
    return max(1, min(affinity, round(quota) if quota is not None else affinity))


def thread_environment(workers: int) -> dict[str, str]:
    """Give the variables that share the cores between ``workers`` processes, where the user has not set them."""
    threads = str(max(1, available_cores() // workers))
    return {name: threads for name in THREAD_VARIABLES if name not in os.environ}


def _levels(proc: Path, mount: Path, controller: str) -> Iterator[Path]:
    """Yield the directory of our group of this controller, then those above it."""
    try:
        lines = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    of = {controllers: path for _, controllers, path in (line.split(":", 2) for line in lines if line.count(":") > 1)}
    names = next((names for names in of if controller in names.split(",")), None)
    if names is None:
        top, path = mount, of.get("", "/")
    else:  # version 1; the link of the controller's own name is not everywhere
        top, path = next((mount / each for each in (controller, names) if (mount / each).is_dir()), mount), of[names]
    directory = top / path.strip("/")
    if not directory.is_dir():  # the path is the host's, and we see no more of it than our container
        directory = top
    while True:
        yield directory
        if directory == top:
            return
        directory = directory.parent


def _quotas(directory: Path) -> Iterator[float]:
    """Yield quotas in cores: version 2 has ``cpu.max`` ("max 100000" or "150000 100000"), version 1 two files."""
    try:
        quota, period = (directory / "cpu.max").read_text().split()
        if quota != "max":
            yield int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        pass
    quota_us, period_us = (_number(directory / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    if quota_us is not None and quota_us > 0 and period_us:
        yield quota_us / period_us


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # "max"
        return None


def _field(file: Path, name: str) -> int | None:
    try:
        for line in file.read_text().splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    except (OSError, ValueError):
        pass
    return None
