"""The choice of an executor's engine: one at an address, or one of its own."""

from collections.abc import Mapping

from scaler_notebook.engines.base import Engine
from scaler_notebook.engines.local.client import connection_file
from scaler_notebook.engines.local.client.attached import AttachedEngine
from scaler_notebook.engines.local.client.engine import LocalEngine
from scaler_notebook.engines.local.client.gpus import Gpus, resolve
from scaler_notebook.engines.local.resource_limits import available_cores
from scaler_notebook.engines.resolve import engine_at

from .session import nested
from .session.session import Session
from .submission.checked_values import MAX_AMOUNT, checked_count, checked_seconds
from .submission.options import checked_capabilities


class EngineChoice:
    """Which engine an executor uses, by the executor's options: the one at an address, or one of the executor's own.

    Without any option, in a task, that is the engine which runs the task.

    Parameters
    ----------
    address, n_workers, max_workers, max_tasks_per_child, gpus, idle_timeout, capabilities
        As :class:`~.executor.NotebookExecutor` has them.

    Attributes
    ----------
    address
        The address; None for an engine of the executor's own.
    workers, capabilities, gpus
        What an engine of the executor's own has; ``workers`` may be changed until the engine starts.

    Raises
    ------
    TypeError, ValueError
        An option is not what it must be, or does not go with an address.
    """

    def __init__(
        self,
        address: str | None,
        n_workers: int | None,
        max_workers: int | None,
        max_tasks_per_child: int | None,
        gpus: Gpus | None,
        idle_timeout: float | None,
        capabilities: Mapping[str, int] | None,
    ) -> None:
        n_workers, max_workers = _count("n_workers", n_workers), _count("max_workers", max_workers)
        if n_workers is not None and max_workers is not None and n_workers != max_workers:
            raise ValueError(f"n_workers={n_workers} and max_workers={max_workers} mean the same; give one")
        workers = n_workers if n_workers is not None else max_workers
        max_runs = _count("max_tasks_per_child", max_tasks_per_child)
        idle_timeout = None if idle_timeout is None else checked_seconds("idle_timeout", idle_timeout)
        decided_by_engine = {
            "has workers already; give an address or a number of workers": workers,
            "has its capabilities; give an address or capabilities": capabilities,
            "has the GPUs that it has; give an address or gpus": gpus,
            "decides on its processes; give an address or max_tasks_per_child": max_runs,
            "decides on its processes; give an address or idle_timeout": idle_timeout,
        }
        for problem, value in decided_by_engine.items():
            if address is not None and value is not None:
                raise ValueError(f"the engine at an address {problem}")
        self.gpus = resolve(gpus)
        self.capabilities = checked_capabilities(capabilities)
        if all(option is None for option in (address, *decided_by_engine.values())):
            address = nested.engine_address() or None
        if address is not None:
            if not isinstance(address, str):
                raise TypeError(f"address is a text, not {address!r:.60}; for workers, NotebookExecutor(n_workers=4)")
            engine_at(address)  # raises for an address that is none: now, not at the first submit
        self.address = address
        self.workers = workers if workers is not None else available_cores()
        self._max_runs = max_runs
        self._idle_timeout = idle_timeout

    def new_engine(self, before: Session | None) -> Engine:
        """Return the engine to use, not started yet.

        Parameters
        ----------
        before
            The session that the executor has had; None for none.
        """
        if self.address is not None:
            return engine_at(self.address)
        if before is not None and before.lifetime.is_inherited and connection_file.find(before.address) is not None:
            # In a forked child: the parent's engine, over a connection of the child's own.
            return AttachedEngine(before.address)
        return LocalEngine(self.workers, self.capabilities, self._max_runs, self.gpus, self._idle_timeout)


def _count(option: str, value: int | None) -> int | None:
    """Return a positive integer that fits a message, or None.

    Parameters
    ----------
    option
        The name of the option, for messages.
    value
        The value that was given.
    """
    return None if value is None else checked_count(option, value, MAX_AMOUNT)
