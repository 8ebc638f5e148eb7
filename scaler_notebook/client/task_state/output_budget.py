"""How much of what tasks have written this process keeps in all: a task's own output is bounded by its engine."""

import threading
import weakref
from collections import deque
from typing import Protocol

from scaler_notebook import forks

MOST = 256 * 1024 * 1024  # characters and bytes
KEPT = 64 * 1024  # characters of an output that are left when there is more than that in all: of its begin and its end


class Cuttable(Protocol):
    """The output of one task."""

    @property
    def over(self) -> bool:
        """Has the task ended?"""

    def cut(self, kept: int) -> int:
        """Keep so many characters, of begin and end together; gives how many characters and bytes less there are."""


class OutputBudget:
    """Knows the outputs of this process, and cuts those of ended tasks, the oldest first, when they are too much.

    Parameters
    ----------
    most
        Characters and bytes in all.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._begin_again()
        forks.after_fork_in_child(self._begin_again)

    def _begin_again(self) -> None:
        self._mutex = threading.Lock()
        self._held = 0
        self._gone: deque[int] = deque()  # sizes of outputs that nobody holds any more; filled from anywhere
        self._outputs: dict[int, weakref.ref[Cuttable]] = {}  # the oldest first

    def add(self, output: Cuttable, size: int) -> None:
        """An output has grown; on an agent's thread."""
        with self._mutex:
            self._outputs.setdefault(id(output), weakref.ref(output))
            self._held += size
            while self._gone:
                self._held -= self._gone.popleft()
            if self._held > self._most:
                self._cut()

    def forget(self, output: Cuttable, size: int) -> None:
        """An output is gone; from a finalizer, which may come within :meth:`add`."""
        self._gone.append(size)

    def _cut(self) -> None:
        for key, reference in list(self._outputs.items()):
            output = reference()
            if output is not None and not output.over:
                continue  # its task still runs
            del self._outputs[key]
            if output is not None:
                self._held -= output.cut(KEPT)
            if self._held <= self._most * 3 // 4:
                return


budget = OutputBudget()
