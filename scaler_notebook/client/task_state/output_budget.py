"""The output budget: how much of its tasks' output this process keeps in all; engines bound each task's."""

import threading
import weakref
from collections import deque
from typing import Protocol

from scaler_notebook import forks

MAX_OUTPUT = 256 * 1024 * 1024  # characters and bytes
KEPT = 64 * 1024  # characters of an output that are left when all are too large, of its begin and its end


class Trimmable(Protocol):
    """The output of one task, which can be trimmed."""

    @property
    def over(self) -> bool:
        """Whether the task has ended."""

    def trim(self, kept: int) -> int:
        """Keep so many characters, of begin and end together; return how many characters and bytes were dropped."""


class OutputBudget:
    """The outputs of this process: those of ended tasks are trimmed, the oldest first, when all together are too large.

    Parameters
    ----------
    most
        Characters and bytes in all.
    """

    def __init__(self, most: int = MAX_OUTPUT) -> None:
        self._most = most
        self._reset()
        forks.after_fork_in_child(self._reset)

    def _reset(self) -> None:
        """Forget all outputs: also in a forked child, where another thread may have held the mutex."""
        self._mutex = threading.Lock()
        self._held = 0
        self._gone: deque[int] = deque()  # sizes of outputs that are gone; filled by any thread
        self._outputs: dict[int, weakref.ref[Trimmable]] = {}  # the oldest first

    def add(self, output: Trimmable, size: int) -> None:
        """Count what an output has grown by; on an agent's thread.

        Parameters
        ----------
        output
            The output.
        size
            Characters and bytes that were added.
        """
        with self._mutex:
            self._outputs.setdefault(id(output), weakref.ref(output))
            self._held += size
            while self._gone:
                self._held -= self._gone.popleft()
            if self._held > self._most:
                self._cut()

    def forget(self, output: Trimmable, size: int) -> None:
        """Stop counting an output that is gone; called by a finalizer, perhaps within :meth:`add`.

        Parameters
        ----------
        output
            The output.
        size
            Characters and bytes that the output had.
        """
        self._gone.append(size)

    def _cut(self) -> None:
        """Trim outputs of ended tasks, the oldest first, until three quarters of the budget are left."""
        for key, reference in list(self._outputs.items()):
            output = reference()
            if output is not None and not output.over:
                continue  # its task still runs
            del self._outputs[key]
            if output is not None:
                self._held -= output.trim(KEPT)
            if self._held <= self._most * 3 // 4:
                return


budget = OutputBudget()
