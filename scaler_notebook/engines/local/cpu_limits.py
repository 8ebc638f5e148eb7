"""How many cores this process may use, and how task processes share them."""

import os
from collections.abc import Iterator
from pathlib import Path

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


def available_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores that this process may use: its affinity, and the CPU quota of its cgroup (a container's limit)."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([affinity, *_quotas(cgroup)]))


def _quotas(cgroup: Path) -> Iterator[int]:
    """Version 2 keeps ``cpu.max`` ("max 100000" or "150000 100000"), version 1 two files."""
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
        if quota != "max":
            yield max(1, round(int(quota) / int(period)))
    except (OSError, ValueError):
        pass
    try:
        microseconds = int((cgroup / "cpu/cpu.cfs_quota_us").read_text())
        if microseconds > 0:
            yield max(1, round(microseconds / int((cgroup / "cpu/cpu.cfs_period_us").read_text())))
    except (OSError, ValueError):
        pass


def thread_environment(workers: int) -> dict[str, str]:
    """BLAS and OpenMP threads = cores ÷ workers, where the user has not set them."""
    threads = str(max(1, available_cores() // workers))
    return {name: threads for name in THREAD_VARIABLES if name not in os.environ}
