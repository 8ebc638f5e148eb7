"""``LocalCluster``: a local engine at an address that you choose, for clients in any of your processes."""

import atexit
import os
import threading
import weakref
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from scaler_notebook.engines.local.client import connection_file
from scaler_notebook.engines.local.client.addresses import checked
from scaler_notebook.engines.local.client.gpus import Gpus, resolve
from scaler_notebook.engines.local.client.launching.launcher import SchedulerProcess
from scaler_notebook.engines.local.client.request import ask
from scaler_notebook.engines.local.resource_limits import available_cores
from scaler_notebook.protocol.errors import EngineLostError
from scaler_notebook.protocol.messages import EngineScale, EngineStatus
from scaler_notebook.suggestions import did_you_mean
from scaler_notebook.task import top_level
from scaler_notebook.wording import counted

from .session.lifetime import END_PATIENCE
from .session.session import open_sessions
from .submission.checked_values import MAX_AMOUNT, MAX_WORKERS, checked_integer, checked_seconds, checked_workers
from .submission.options import checked_capabilities
from .waiting.host import current_host
from .waiting.uninterrupted import UninterruptedCall

# Parameters of OpenGRIS Scaler's SchedulerClusterCombo that tune what this cluster does not have.
IGNORED = frozenset(
    {
        "object_storage_address",
        "monitor_address",
        "worker_io_threads",
        "scheduler_io_threads",
        "max_number_of_tasks_waiting",
        "heartbeat_interval_seconds",
        "client_timeout_seconds",
        "worker_timeout_seconds",
        "object_retention_seconds",
        "task_timeout_seconds",
        "death_timeout_seconds",
        "load_balance_seconds",
        "load_balance_trigger_times",
        "garbage_collect_interval_seconds",
        "trim_memory_threshold_bytes",
        "per_worker_task_queue_size",
        "hard_processor_suspend",
        "scaler_policy",
        "event_loop",
        "logging_paths",
        "logging_level",
        "logging_config_file",
        "worker_manager_id",
        "security_config",
    }
)
OWN = ("address", "n_workers", "per_worker_capabilities", "capabilities", "gpus", "idle_timeout", "protected")
ANSWER_TIMEOUT = 5.0  # seconds; an engine that lives answers in a millisecond
UNLIMITED = -1  # Scaler's amount of a capability that is not counted
DEFAULT = "tcp://127.0.0.1:0"


class LocalCluster:
    """A scheduler and its task processes on this machine, without a client of its own.

    A cluster runs from its constructor on until :meth:`shutdown`, the end of ``with``, or the end of the process that
    made it, whatever ended that. Whoever of the same user knows :attr:`address` can use the cluster:
    ``NotebookExecutor(address)``; to others the address is useless.

    Parameters
    ----------
    address
        The address that the cluster is to have: ``"tcp://127.0.0.1:8800"``, ``"ipc:///short/path"``; port 0, or none at
        all, is any free port.
    n_workers
        How many tasks run at the same time; by default the cores that this process may use. With 0 tasks wait: they
        can be cancelled, and never start.
    per_worker_capabilities
        What each worker adds to what tasks may need, e.g. ``{"gpu": 1}``; -1 is as much as anybody asks for. Tasks
        share the sum.
    capabilities
        The sum itself, as :class:`~scaler_notebook.NotebookExecutor` takes it; in place of the former.
    gpus, idle_timeout
        As :class:`~scaler_notebook.NotebookExecutor` takes it.
    protected
        Refuse to be shut down by a client, as Scaler's does unless told otherwise.
    scaler_options
        The other parameters of OpenGRIS Scaler's ``SchedulerClusterCombo`` are taken and have no effect: there are no
        heartbeats, object servers or queues of workers here that they could tune. Its positional order, ``n_workers``
        before ``address``, is understood too.

    Raises
    ------
    TypeError, ValueError
        A parameter is not what it must be, or there is none of that name; the message says what to give.
    EngineStartError
        The address is in use, or this machine refuses to start the scheduler. Nothing of the cluster is left.
    """

    def __init__(
        self,
        address: str | int | None = None,
        n_workers: int | str | None = None,
        *,
        per_worker_capabilities: Mapping[str, int] | None = None,
        capabilities: Mapping[str, int] | None = None,
        gpus: Gpus | None = None,
        idle_timeout: float | None = None,
        protected: bool = True,
        **scaler_options: Any,
    ) -> None:
        for name in scaler_options:
            if name not in IGNORED:
                hint = did_you_mean(name, [*OWN, *IGNORED]) or f". It has {', '.join(OWN)}"
                raise TypeError(f"LocalCluster has no parameter {name!r}{hint}")
        if isinstance(address, int) and not isinstance(n_workers, int):
            address, n_workers = n_workers, address
        self._n_workers = _checked_workers(n_workers)
        if capabilities is not None and per_worker_capabilities is not None:
            raise ValueError("capabilities is the sum of per_worker_capabilities; give one of them")
        of_workers = _in_all(per_worker_capabilities, self._n_workers)
        self._capabilities = checked_capabilities(capabilities) or of_workers
        self._scheduler = SchedulerProcess(
            self._n_workers,
            self._capabilities,
            spares=min(1, self._n_workers),
            gpus=resolve(gpus),
            idle_timeout=checked_seconds("idle_timeout", idle_timeout) if idle_timeout is not None else None,
            address=checked(DEFAULT if address is None else address, serve=True),  # type: ignore[arg-type]
            owner="cluster",
            protected=bool(protected),
        )
        top_level.refuse_at_top_level()
        self._shutdown = _Shutdown(self._scheduler)
        start = UninterruptedCall(self._scheduler.start, "scaler_notebook start")
        try:
            start.wait()
            _shutdowns.add(self._shutdown)
        except BaseException:
            start.when_over(self._shutdown)
            raise
        # Not called at exit, where :func:`_at_exit` lets a script's tasks finish first.
        weakref.finalize(self, self._shutdown).atexit = False

    @property
    def address(self) -> str:
        """Where clients reach the cluster, the port included; also when it has ended."""
        return self._scheduler.address

    def get_address(self) -> str:
        """Return :attr:`address`, by Scaler's name."""
        return self.address

    @property
    def n_workers(self) -> int:
        """How many tasks run at the same time, unless a client has changed that."""
        return self._n_workers

    def scale(self, n_workers: int) -> None:
        """Change how many tasks run at the same time, as :meth:`.NotebookExecutor.scale` does.

        Raises
        ------
        TypeError, ValueError
            It is no such number.
        EngineLostError
            The cluster has ended, or does not answer.
        """
        wanted = checked_workers(n_workers)
        connection = connection_file.find(self.address)
        if connection is None or ask(connection, EngineScale(wanted), EngineStatus, ANSWER_TIMEOUT) is None:
            raise EngineLostError(f"the cluster at {self.address} has ended, or does not answer")
        self._n_workers = wanted

    @property
    def capabilities(self) -> dict[str, int]:
        """The amounts of what the cluster's tasks share, by name."""
        return dict(self._capabilities)

    @property
    def is_running(self) -> bool:
        """Whether the cluster's scheduler runs."""
        return self._scheduler.is_running

    @property
    def scheduler_pid(self) -> int:
        """The process id of the cluster's scheduler; 0 when it is shut down."""
        return self._scheduler.pid

    @property
    def problem(self) -> str:
        """Why the cluster has ended unasked, with the end of its log; empty otherwise, and once it is shut down."""
        return self._scheduler.problem()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the cluster has ended by itself, or by a client.

        Parameters
        ----------
        timeout
            Seconds; after them False.
        """
        return self._scheduler.wait(timeout)

    def shutdown(self) -> None:
        """End the cluster with everything it runs; returns when nothing of it is left. Idempotent, any thread.

        Its clients' unfinished tasks fail with an :class:`~scaler_notebook.EngineLostError` that names the cluster.
        """
        self._shutdown()

    def __enter__(self) -> "LocalCluster":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()

    def __repr__(self) -> str:
        state = counted(self._n_workers, "worker") if self.is_running else "ended"
        return f"<LocalCluster at {self.address}, {state}>"


SchedulerClusterCombo = LocalCluster


class _Shutdown:
    """The shutdown of a scheduler, done once. Does not hold the cluster, which may be garbage."""

    def __init__(self, scheduler: SchedulerProcess) -> None:
        self._scheduler = scheduler
        self._owner = os.getpid()
        self._mutex = threading.Lock()

    def __call__(self) -> None:
        """End the scheduler, and return when nothing of it is left."""
        if os.getpid() != self._owner:
            return  # a forked child has a copy of the object, and not of the cluster
        self._scheduler.cut_lifeline()
        with self._mutex:  # another caller waits for the same end
            self._scheduler.join(END_PATIENCE)
        _shutdowns.discard(self)


_shutdowns: "set[_Shutdown]" = set()


@atexit.register
def _at_exit() -> None:
    """End the clusters that are left, after a script's tasks have finished."""
    # The executors' own hook, which waits for the tasks, may be called after this one.
    if current_host().waits_at_exit:
        for session in open_sessions():
            session.lifetime.finish()
    for end in list(_shutdowns):
        end()


def _checked_workers(n_workers: Any) -> int:
    """Return a number of workers, by default one a core; TypeError or ValueError if it is none."""
    if n_workers is None:
        return available_cores()
    count = checked_integer("n_workers", n_workers)
    if not 0 <= count <= MAX_WORKERS:
        raise ValueError(f"n_workers is between 0 (tasks wait) and {MAX_WORKERS}, not {count}")
    return count


def _in_all(per_worker: Mapping[str, int] | None, workers: int) -> dict[str, int]:
    """Return how much of each capability all workers have together.

    Without workers as with one: tasks wait, and are not refused.

    Parameters
    ----------
    per_worker
        What each worker adds.
    workers
        How many workers there are.
    """
    if not isinstance(per_worker, Mapping):
        return checked_capabilities(per_worker)
    amounts = checked_capabilities({name: MAX_AMOUNT if n == UNLIMITED else n for name, n in per_worker.items()})
    return {name: min(MAX_AMOUNT, amount * max(1, workers)) for name, amount in amounts.items()}
