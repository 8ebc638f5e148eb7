"""CPU time of threads, of this process and of others, as Linux accounts for each thread in ``/proc``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

TICK = 1 / os.sysconf("SC_CLK_TCK")


class Usage(NamedTuple):
    """What threads have used since they began."""

    cpu: float = 0.0  # seconds, exact to nanoseconds
    system: float = 0.0  # seconds of these in the kernel of the operating system, exact to a tick of 10 ms
    slices: int = 0  # how often a thread was given a core: a measure of wake-ups

    def plus(self, other: Usage) -> Usage:
        """Add another usage."""
        return Usage(self.cpu + other.cpu, self.system + other.system, self.slices + other.slices)

    def since(self, earlier: Usage) -> Usage:
        """Take an earlier usage away."""
        return Usage(self.cpu - earlier.cpu, self.system - earlier.system, self.slices - earlier.slices)


@dataclass(frozen=True)
class Part:
    """Threads whose usage is one figure.

    Parameters
    ----------
    name
        What a person reads.
    processes
        Process ids.
    only
        Thread ids; None for every thread of the processes.
    without
        Thread ids that are left out.
    """

    name: str
    processes: tuple[int, ...]
    only: frozenset[int] | None = None
    without: frozenset[int] = frozenset()

    def usage(self) -> Usage:
        """Read what the part's threads have used; a thread that has ended counts no more."""
        total = Usage()
        for process in self.processes:
            for thread in self._threads(process):
                with suppress(OSError):  # it has ended meanwhile
                    total = total.plus(thread_usage(process, thread))
        return total

    def _threads(self, process: int) -> Iterable[int]:
        try:
            there = {int(each) for each in os.listdir(f"/proc/{process}/task")}
        except OSError:
            return ()
        return (there if self.only is None else there & self.only) - self.without


def thread_usage(process: int, thread: int) -> Usage:
    """Read what a thread has used.

    Parameters
    ----------
    process
        A process id.
    thread
        The id of one of the process's threads, as Linux counts them.

    Raises
    ------
    OSError
        There is no such thread, or no such file in ``/proc``: this is not Linux.
    """
    task = Path(f"/proc/{process}/task/{thread}")
    nanoseconds, _, slices = map(int, (task / "schedstat").read_text().split())
    system_ticks = int((task / "stat").read_text().rpartition(")")[2].split()[12])
    return Usage(nanoseconds / 1e9, system_ticks * TICK, slices)
