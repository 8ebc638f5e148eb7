"""The local engine of one kernel: a scheduler that the client has started, and its connection to the scheduler."""

from collections.abc import Mapping

from scaler_notebook.engines.local.ipc.transport import Keys

from .launching.launcher import SchedulerProcess
from .scheduler_connection import SchedulerConnection


class LocalEngine(SchedulerConnection):
    """The engine of one kernel, which owns its scheduler.

    Implements :class:`~scaler_notebook.engines.base.Engine`.

    Parameters
    ----------
    slots
        How many tasks run at the same time.
    capabilities
        How much there is of each capability in all, to be shared by the tasks that run.
    max_runs
        How many tasks a task process runs before another process takes its place; None for any number.
    gpus
        The names of the devices that tasks may be given.
    idle_timeout
        Seconds after which an idle task process goes, to come back on demand; None for never.
    """

    def __init__(
        self,
        slots: int,
        capabilities: Mapping[str, int],
        max_runs: int | None = None,
        gpus: tuple[str, ...] = (),
        idle_timeout: float | None = None,
    ) -> None:
        super().__init__()
        self.slots = slots
        self.capabilities = capabilities
        self.gpus = gpus
        self.limits_memory = self.sends_items = self.scales = self.can_pause = self.runs_here = True
        self.scheduler = SchedulerProcess(slots, capabilities, max_runs=max_runs, gpus=gpus, idle_timeout=idle_timeout)

    @property
    def address(self) -> str:
        """The address by which other clients reach the engine, once it is started."""
        return self.scheduler.address

    def start(self) -> None:
        """Start the scheduler process."""
        self._check_descriptors()
        self.scheduler.launch()
        import asyncio  # noqa: F401  # for the agent: loaded here, beside what the scheduler's process loads

        self.scheduler.complete_start()

    def _endpoint(self) -> tuple[str, Keys | None]:
        return self.scheduler.endpoint, self.scheduler.keys

    def _end_descriptor(self) -> int:
        return self.scheduler.end_descriptor()

    def _loss_message(self) -> str:
        return (
            "the scheduler process died; what it ran was stopped with it. Submit again: the executor starts a new "
            f"one.{self.scheduler.log_tail()}"
        )

    def _closed_message(self) -> str:
        return f"{super()._closed_message()}.{self.scheduler.log_tail()}"

    def close(self) -> None:
        """Disconnect, and end the scheduler with everything that it runs. Idempotent."""
        self.scheduler.cut_lifeline()
        super().close()

    def join(self, timeout: float) -> bool:
        """Wait until the scheduler is gone; after ``timeout`` seconds, kill the process and return False."""
        return self.scheduler.join(timeout)
