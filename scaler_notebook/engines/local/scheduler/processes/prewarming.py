"""Imports ahead of need: a process that waits for its first task imports what others had to import for theirs.

A process whose task was stopped is always replaced; without this the next task would pay for every import again.
"""

import logging
import time

from scaler_notebook.engines.local.scheduler.core.core import Core

from .process_pool import ProcessPool

MAX_MODULES = 5_000  # names of one client; what its tasks import beyond it stays cold
# Seconds that an import which has begun may hold a process while a task waits for one. Starting another takes less.
PATIENCE = 0.01

log = logging.getLogger(__name__)


class Prewarming:
    """What the tasks of each client have imported of what is installed, and which processes have been told."""

    def __init__(self) -> None:
        self._modules: dict[bytes, dict[str, None]] = {}  # by client, in the order in which they were needed
        self._told: dict[int, tuple[bytes, int]] = {}  # by process that waits for its first task: whose, how many
        self._importing: dict[int, float] = {}  # by process: when it is killed, for a task waits; 0.0: none does
        self._on = True

    def learn(self, pid: int, owner: bytes, modules: tuple[str, ...]) -> None:
        """A run for this client had to import these."""
        self._told.pop(pid, None)
        if modules:
            known = self._modules.setdefault(owner, {})
            for name in modules[: MAX_MODULES - len(known)]:
                known.setdefault(name)

    def spread(self, core: Core, pool: ProcessPool) -> None:
        """Have processes that wait for their first task import; have as many stop as tasks wait for a process."""
        if self._importing:
            self._give_up(pool, core.short_of)
        if not self._on or not self._modules or core.has_queue:
            return
        for owner in self._modules.keys() - core.contexts.keys():
            del self._modules[owner]
        owner, context = next(reversed(core.contexts.items()), (b"", None))
        modules = self._modules.get(owner, {})
        if context is None or not modules:
            return
        for pid in core.fresh:
            whose, told = self._told.get(pid, (owner, 0))
            if whose == owner and told < len(modules):
                self._told[pid] = owner, len(modules)
                self._importing[pid] = 0.0
                core.hold_back(pid)
                pool.move(pid, context)
                pool.warm(pid, tuple(modules)[told:])

    @property
    def deadline(self) -> float | None:
        """When :meth:`spread` has a process to kill, in monotonic seconds."""
        return min((due for due in self._importing.values() if due), default=None)

    def _give_up(self, pool: ProcessPool, count: int) -> None:
        """Free this many of the processes that import: each ends at its next module, or is replaced."""
        now = time.monotonic()
        for place, (pid, due) in enumerate(list(self._importing.items())):
            if place >= count:
                self._importing[pid] = 0.0
            elif not due:
                self._importing[pid] = now + PATIENCE
                pool.warm(pid, ())
            elif due <= now:
                del self._importing[pid]
                pool.kill(pid, why="a task waited for it while it imported")

    def ready(self, pid: int) -> None:
        """A process has started, or has done with importing."""
        self._importing.pop(pid, None)

    def died(self, pid: int) -> None:
        """A process is gone. If it died of an import that nobody had asked for, its successors must not."""
        self._told.pop(pid, None)
        if self._importing.pop(pid, None) is not None:
            self._on = False
            log.warning("process %d died while it imported what tasks had imported; no spare does so again", pid)
