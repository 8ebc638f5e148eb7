"""What the system says of memory: the limit that holds for us, and how often it has killed because there was none left.

A control group's files where there are some (Linux; version 1 and 2), the machine's figures otherwise.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

NO_LIMIT = 2**60  # bytes; version 1 writes a number beyond it for none


class Kills(NamedTuple):
    """How often the kernel's out-of-memory killer has struck.

    Parameters
    ----------
    number
        Since whenever; what counts is whether it changes.
    ours
        Of processes of our control group alone; otherwise of any on this machine.
    """

    number: int
    ours: bool


class MemoryGroup:
    """The control group of this process as far as memory is concerned; processes that we start are in it too.

    Parameters
    ----------
    proc, mount
        Where the kernel shows its files; for tests.
    """

    def __init__(self, proc: Path = Path("/proc"), mount: Path = Path("/sys/fs/cgroup")) -> None:
        self._proc = proc
        self._levels = tuple(_levels(proc, mount))

    @property
    def limit(self) -> int | None:
        """Bytes, the lowest limit from the group upwards; None if there is none."""
        limits = [_number(level / name) for level in self._levels for name in ("memory.max", "memory.limit_in_bytes")]
        return min((limit for limit in limits if limit is not None and limit < NO_LIMIT), default=None)

    @property
    def kills(self) -> Kills | None:
        """None if the system does not count."""
        for level in self._levels[:1]:  # a victim is counted in its own group, whose limit ever was reached
            for name in ("memory.events", "memory.oom_control"):
                count = _field(level / name, "oom_kill")
                if count is not None:
                    return Kills(count, ours=True)
        count = _field(self._proc / "vmstat", "oom_kill")
        return Kills(count, ours=False) if count is not None else None


def available_memory() -> int:
    """Bytes that this process and its like may use in all: the machine's, or what its control group leaves of it."""
    total: int = psutil.virtual_memory().total
    return min(total, MemoryGroup().limit or total)


def _levels(proc: Path, mount: Path) -> Iterator[Path]:
    """The directory of our group, then those above it."""
    try:
        lines = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        return
    of = {controllers: path for _, controllers, path in (line.split(":", 2) for line in lines if line.count(":") > 1)}
    old = next((path for controllers, path in of.items() if "memory" in controllers.split(",")), None)
    top, path = (mount / "memory", old) if old is not None else (mount, of.get("", "/"))
    directory = top / path.strip("/")
    if not directory.is_dir():  # the path is the host's, and we see no more of it than our container
        directory = top
    while True:
        yield directory
        if directory == top:
            return
        directory = directory.parent


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
