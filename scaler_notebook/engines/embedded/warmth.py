"""Spares that are warm: a process that waits imports what others had to import for their tasks.

A process whose task was stopped is always replaced; without this the next task would pay for every import again.
"""

import logging

from .core import Core
from .pool import Pool

MAX_MODULES = 5_000  # names; what tasks import beyond it stays cold

log = logging.getLogger(__name__)


class Warmth:
    """What tasks have imported, and which processes have been told."""

    def __init__(self) -> None:
        self._modules: dict[str, None] = {}  # in the order in which they were needed
        self._told: dict[int, int] = {}  # by process that waits for its first task: how many of them
        self._importing: set[int] = set()
        self._on = True

    def learn(self, pid: int, modules: tuple[str, ...]) -> None:
        """A run in this process had to import these."""
        self._told.pop(pid, None)
        for name in modules[: MAX_MODULES - len(self._modules)]:
            self._modules.setdefault(name)

    def spread(self, core: Core, pool: Pool) -> None:
        """Have processes that wait for their first task import; stop them if a task waits for a process."""
        if core.has_queue:
            while self._importing:
                pool.warm(self._importing.pop(), ())
            return
        context = core.latest_context
        if not self._on or not self._modules or context is None:
            return
        for pid in core.fresh:
            told = self._told.get(pid, 0)
            if told < len(self._modules) and pool.suits(pid, context):
                self._told[pid] = len(self._modules)
                self._importing.add(pid)
                core.hold(pid)
                pool.move(pid, context)
                pool.warm(pid, tuple(self._modules)[told:])

    def ready(self, pid: int) -> None:
        """A process has started, or has done with importing."""
        self._importing.discard(pid)

    def died(self, pid: int) -> None:
        """A process is gone. If it died of an import that nobody had asked for, its successors must not."""
        self._told.pop(pid, None)
        if pid in self._importing:
            self._importing.discard(pid)
            self._on = False
            log.warning("process %d died while it imported what tasks had imported; no spare does so again", pid)
