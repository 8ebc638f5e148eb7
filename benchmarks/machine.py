"""The machine, the versions and the source that a figure belongs to."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]


def refuse_elsewhere() -> None:
    """End this process with a message if this is not Linux: what processes use is read from ``/proc``."""
    if sys.platform != "linux":
        raise SystemExit("this benchmark reads /proc, as Linux has it")


def describe_machine() -> dict[str, str]:
    """Describe the machine as it is now: processor, cores, memory, system, load and time."""
    return {
        "processor": _processor(),
        "cores": f"{os.cpu_count()}, of which this process may use {len(psutil.Process().cpu_affinity() or ())}",
        "memory": f"{psutil.virtual_memory().total / 1e9:.1f} GB",
        "system": f"{platform.system()} {platform.release()}",
        "load average": " ".join(f"{each:.2f}" for each in os.getloadavg()),
        "time": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "source": _source(),
    }


def installed_versions(distributions: Iterable[str]) -> dict[str, str]:
    """Give the versions of Python and of the distributions that are installed here, by name."""
    found = {"python": platform.python_version()}
    for name in distributions:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _source() -> str:
    """The commit of this directory, and whether its files differ from the commit's."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
