"""Limits on what this process may use of the machine: cores, memory and processes, by control groups and affinity.

The lowest limit counts, from the process's own control group up to the root (versions 1 and 2). Where a container shows
only a part of the tree of groups, the top of that part is taken for the process's own group.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

NO_LIMIT = 2**60  # bytes; control groups of version 1 have a larger number where there is no limit
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


class Kills(NamedTuple):
    """A count of the out-of-memory killer's kills.

    Parameters
    ----------
    number
        The count, which begins at an unknown time: only a change has a meaning.
    ours
        Is this the count of this process's control group? Otherwise it is the whole machine's.
    """

    number: int
    ours: bool


class ControlGroup:
    """The control groups of this process, which the processes that it starts share.

    Parameters
    ----------
    proc
        The ``/proc`` file system; another one in tests.
    mount
        Where control groups are mounted; another directory in tests.
    """

    def __init__(self, proc: Path = Path("/proc"), mount: Path = Path("/sys/fs/cgroup")) -> None:
        self._proc = proc
        self._memory_levels = tuple(_levels(proc, mount, "memory"))
        self._cpu_levels = tuple(_levels(proc, mount, "cpu"))
        self._pids_levels = tuple(_levels(proc, mount, "pids"))

    @property
    def memory_limit(self) -> int | None:
        """The lowest limit of memory, in bytes; None if there is none."""
        names = ("memory.max", "memory.limit_in_bytes")
        limits = [_number(level / name) for level in self._memory_levels for name in names]
        return min((limit for limit in limits if limit is not None and limit < NO_LIMIT), default=None)

    @property
    def cpu_quota(self) -> float | None:
        """The lowest quota of CPU time, in cores; None if there is none."""
        return min((quota for level in self._cpu_levels for quota in _quotas(level)), default=None)

    @property
    def processes_left(self) -> int | None:
        """How many processes may still be started, by the lowest limit; None if there is none."""
        found = [(_number(level / "pids.max"), _number(level / "pids.current")) for level in self._pids_levels]
        return min((most - now for most, now in found if most is not None and now is not None), default=None)

    @property
    def kills(self) -> Kills | None:
        """The kills for want of memory so far; None if the system does not count."""
        for level in self._memory_levels[:1]:  # a victim counts in its own group, whichever group's limit was reached
            for name in ("memory.events", "memory.oom_control"):
                count = _field(level / name, "oom_kill")
                if count is not None:
                    return Kills(count, ours=True)
        count = _field(self._proc / "vmstat", "oom_kill")
        return Kills(count, ours=False) if count is not None else None


def available_memory() -> int:
    """Return the bytes of memory that all processes in this process's control groups may use in all."""
    import psutil  # here, because the kernel process, which reads limits too, does without

    total: int = psutil.virtual_memory().total
    return min(total, ControlGroup().memory_limit or total)


def available_cores(group: ControlGroup | None = None) -> int:
    """Return how many cores this process may use, by its affinity and the CPU quota of its control groups.

    Parameters
    ----------
    group
        The control groups; None for this process's.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = (group if group is not None else ControlGroup()).cpu_quota
    return max(1, min(affinity, round(quota) if quota is not None else affinity))


def thread_environment(workers: int) -> dict[str, str]:
    """Return the environment variables by which native libraries share the cores; none that the user has set.

    Parameters
    ----------
    workers
        How many processes share the cores.
    """
    threads = str(max(1, available_cores() // workers))
    return {name: threads for name in THREAD_VARIABLES if name not in os.environ}


def _levels(proc: Path, mount: Path, controller: str) -> Iterator[Path]:
    """Yield the directory of this process's group of a controller, then those of the groups above.

    Parameters
    ----------
    proc, mount
        As for :class:`ControlGroup`.
    controller
        ``memory``, ``cpu`` or ``pids``.
    """
    try:
        lines = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    of = {controllers: path for _, controllers, path in (line.split(":", 2) for line in lines if line.count(":") > 1)}
    names = next((names for names in of if controller in names.split(",")), None)
    if names is None:
        top, path = mount, of.get("", "/")
    else:  # version 1; not every system has a link with the controller's own name
        top, path = next((mount / each for each in (controller, names) if (mount / each).is_dir()), mount), of[names]
    directory = top / path.strip("/")
    if not directory.is_dir():  # the path is the host's, of which a container shows only a part
        directory = top
    while True:
        yield directory
        if directory == top:
            return
        directory = directory.parent


def _quotas(directory: Path) -> Iterator[float]:
    """Yield the CPU quota of a group in cores, if there is one.

    Version 2 has a file ``cpu.max`` ("max 100000" or "150000 100000", in microseconds), version 1 has two files.
    """
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
    """Return the number in a file; None if there is no file or no number."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # "max"
        return None


def _field(file: Path, name: str) -> int | None:
    """Return the number behind a name, in a file with a name and a number per line; None if there is none."""
    try:
        for line in file.read_text().splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    except (OSError, ValueError):
        pass
    return None
