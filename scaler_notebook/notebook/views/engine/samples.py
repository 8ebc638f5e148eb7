"""The figures of an engine's processes, sample by sample."""

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

import psutil

KEPT = 60  # samples of each process


class Sample(NamedTuple):
    """The CPU of a process since the sample before, in percent of a core, and its resident memory in bytes."""

    cpu: float
    memory: int


class ProcessSamples:
    """The latest samples of each of some processes. What a task starts in processes of its own is not counted."""

    def __init__(self) -> None:
        self._processes: dict[int, psutil.Process] = {}
        self._samples: dict[int, deque[Sample]] = {}

    def take(self, pids: Iterable[int]) -> None:
        """Take a sample of each process; forget all others."""
        wanted = list(pids)
        self._processes = {pid: each for pid, each in self._processes.items() if pid in wanted}
        self._samples = {pid: self._samples.get(pid, deque(maxlen=KEPT)) for pid in wanted}
        for pid in wanted:
            try:
                process = self._processes.setdefault(pid, psutil.Process(pid))
                with process.oneshot():
                    sample = Sample(process.cpu_percent(), process.memory_info().rss)
            except psutil.Error:  # it has just ended, or is in another container
                continue
            self._samples[pid].append(sample)

    def of(self, pid: int) -> list[Sample]:
        """Return the samples of a process, the oldest first."""
        return list(self._samples.get(pid, ()))
