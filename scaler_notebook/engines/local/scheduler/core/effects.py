"""The side effects that the scheduler's core decides on."""

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

from scaler_notebook.engines.local.ipc.messages import Input
from scaler_notebook.protocol.messages import ClientContext, EngineMessage, Payload, Task


class PrefetchedRun(NamedTuple):
    """A run that a process is handed ahead of time: its number, the task, and whether this is the last try."""

    seq: int
    task: Task
    last: bool


class Effects(Protocol):
    """Perform the side effects that the core decides on: send, run, interrupt, kill.

    Nothing here blocks, and nothing calls back into the core.
    """

    def send(self, owner: bytes, message: EngineMessage) -> None:
        """Send a message to a client.

        Parameters
        ----------
        owner
            The client.
        message
            The message.
        """

    def suits(self, process: int, context: ClientContext | None) -> bool:
        """Return whether a task of this context can run in a process: not if other modules of the user's were imported.

        Parameters
        ----------
        process
            The number of the process.
        context
            The client's settings and modules; None for none.
        """

    def run_task(
        self,
        process: int,
        seq: int,
        task: Task,
        context: ClientContext | None,
        last: bool,
        inputs: tuple[Input, ...],
    ) -> None:
        """Hand a task to an idle process.

        Parameters
        ----------
        process
            The number of the process.
        seq
            The number of the run, among the runs of the process.
        task
            The task.
        context
            The client's settings and modules when the task was submitted; None for none.
        last
            Is this the last try? The traceback of another try's failure is part of the task's output.
        inputs
            The values that the task depends on.
        """

    def prefetch(self, process: int, runs: Sequence[PrefetchedRun]) -> None:
        """Hand tasks to a process that still runs another one of the same client's context.

        Parameters
        ----------
        process
            The number of the process.
        runs
            The runs, in order.
        """

    def recall(self, process: int, after: int) -> Collection[int]:
        """Take back what was prefetched for a process and has not begun, and return the numbers of these runs.

        None of them ever begins; every other one has begun.

        Parameters
        ----------
        process
            The number of the process.
        after
            The number of the run that the process holds; that one is not taken back.
        """

    def assign_devices(self, process: int, names: tuple[str, ...]) -> None:
        """Have a process that has run nothing yet see these devices, and no others.

        Parameters
        ----------
        process
            The number of the process.
        names
            The names of the devices; none at all for a process that has begun with none yet.
        """

    def interrupt(self, process: int, seq: int) -> None:
        """Ask the run with number ``seq`` of a process to stop.

        Parameters
        ----------
        process
            The number of the process.
        seq
            The number of the run, among the runs of the process.
        """

    def tell_taken(self, process: int, seq: int, count: int) -> None:
        """Tell a run how many of its items were taken, in all.

        Parameters
        ----------
        process
            The number of the process.
        seq
            The number of the run, among the runs of the process.
        count
            How many.
        """

    def kill(self, process: int, others: Sequence[int] = ()) -> None:
        """Kill a process and all descendants.

        Parameters
        ----------
        process
            The number of the process.
        others
            Processes that are killed, too: only when they are gone, the process counts as gone.
        """

    def set_standing(self, count: int) -> None:
        """Set how many processes there are when no slot is lent. Those that are too many stay until they are killed."""

    def add_processes(self, extra: int) -> None:
        """Set the number of processes in addition to the standing ones: one for each slot that is lent."""

    def surplus(self) -> int:
        """Return by how many the processes exceed standing and additional ones; those being killed do not count."""

    def cpu_seconds(self, process: int) -> float:
        """Return the seconds of CPU that a process and its descendants have used.

        Parameters
        ----------
        process
            The number of the process.
        """

    def retain_payload(self, payload: Payload) -> Payload:
        """Return a payload with the same content, independent of the process that has sent it.

        Raises
        ------
        OSError
            That process is gone, or there is no memory left.
        """

    def release_payload(self, payload: Payload) -> None:
        """Free a payload that :meth:`retain_payload` gave, or the payload of a result that no client is sent."""
