"""Imports ahead of need: a process that waits for its first task imports what earlier tasks had to import.

A process whose task was stopped is always replaced. Without prewarming, the next task would wait for every import.
"""

import logging
import time

from scaler_notebook.engines.local.scheduler.core.core import Core

from .process_pool import ProcessPool

MAX_MODULES = 5_000  # of one client; further modules are not prewarmed
PATIENCE = 0.01  # seconds that a task waits for a running import; to start another process takes less

log = logging.getLogger(__name__)


class Prewarming:
    """The installed modules that each client's tasks have imported, and which processes have imported them."""

    def __init__(self) -> None:
        self._modules: dict[bytes, dict[str, None]] = {}  # by client, in the order in which they were needed
        self._sent: dict[int, tuple[bytes, int]] = {}  # by process: of which client it imports, and how many modules
        self._importing: dict[int, float] = {}  # by process: when it is killed because a task waits; 0.0: no task waits
        self._is_on = True

    def learn(self, pid: int, owner: bytes, modules: tuple[str, ...]) -> None:
        """Record what a run had to import.

        Parameters
        ----------
        pid
            The number of the process.
        owner
            The client of the task.
        modules
            The names of the modules.
        """
        self._sent.pop(pid, None)
        if modules:
            known = self._modules.setdefault(owner, {})
            for name in modules[: MAX_MODULES - len(known)]:
                known.setdefault(name)

    def prewarm_idle(self, core: Core, pool: ProcessPool) -> None:
        """Let processes that wait for their first task import modules, and stop as many as tasks wait for.

        Parameters
        ----------
        core
            Knows which processes and tasks wait.
        pool
            The processes.
        """
        if self._importing:
            self._reclaim(pool, core.overview.short_of)
        if not self._is_on or not self._modules or core.overview.has_queue:
            return
        for owner in self._modules.keys() - core.overview.contexts.keys():
            del self._modules[owner]
        owner, context = next(reversed(core.overview.contexts.items()), (b"", None))
        modules = self._modules.get(owner, {})
        if context is None or not modules:
            return
        for pid in core.overview.fresh:
            whose, told = self._sent.get(pid, (owner, 0))
            if whose == owner and told < len(modules):
                self._sent[pid] = owner, len(modules)
                self._importing[pid] = 0.0
                core.reserve(pid)
                pool[pid].set_context(context)
                pool[pid].prewarm(tuple(modules)[told:])

    @property
    def deadline(self) -> float | None:
        """When :meth:`prewarm_idle` has a process to kill, in monotonic seconds; None if it has none."""
        if not self._importing:
            return None
        return min((due for due in self._importing.values() if due), default=None)

    def _reclaim(self, pool: ProcessPool, count: int) -> None:
        """Stop imports in this many processes: each stops before the next module, or is killed and replaced."""
        now = time.monotonic()
        for place, (pid, due) in enumerate(list(self._importing.items())):
            if place >= count:
                self._importing[pid] = 0.0
            elif not due:
                self._importing[pid] = now + PATIENCE
                pool[pid].prewarm(())
            elif due <= now:
                del self._importing[pid]
                pool.kill(pid, why="a task waited for it while it imported")

    def ready(self, pid: int) -> None:
        """Note that a process has started, or has finished its imports."""
        self._importing.pop(pid, None)

    def died(self, pid: int) -> None:
        """Forget a process that has died. If it was importing, prewarming ends: its successors would die, too."""
        self._sent.pop(pid, None)
        if self._importing.pop(pid, None) is not None:
            self._is_on = False
            log.warning("process %d died while it imported what tasks had imported; no spare does so again", pid)
