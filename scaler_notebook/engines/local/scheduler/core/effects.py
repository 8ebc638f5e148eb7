"""What the scheduler's core may have the world do."""

from collections.abc import Sequence
from typing import Protocol

from scaler_notebook.engines.local.ipc.messages import Input
from scaler_notebook.protocol.messages import ClientContext, EngineMessage, Payload, Task


class Effects(Protocol):
    """Perform the side effects that the core decides on: send, run, interrupt, kill.

    Nothing here blocks, and nothing calls back into the core.
    """

    def send(self, owner: bytes, message: EngineMessage) -> None:
        """Send a message to a client."""

    def suits(self, process: int, context: ClientContext | None) -> bool:
        """May a task that was submitted in ``context`` run there? Not if it would meet modules of other tasks."""

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
            How many runs the process has been given, this one included.
        task
            The task.
        context
            What surrounded the task's submit.
        last
            Is this the last try? Else the traceback of a failure is part of the task's output.
        inputs
            The values that the task depends on.
        """

    def interrupt(self, process: int, seq: int) -> None:
        """Ask the run ``seq`` of a process to stop."""

    def kill(self, process: int, others: Sequence[int] = ()) -> None:
        """Kill a process and all that it started; it is gone when ``others``, which are killed too, are gone."""

    def add_processes(self, extra: int) -> None:
        """Have ``extra`` processes beyond slots and spares: as many tasks wait for tasks of their own."""

    def surplus(self) -> int:
        """Give how many processes there are beyond all those."""

    def retain(self, payload: Payload) -> Payload:
        """Give the same content, independent of whoever sent it.

        Raises
        ------
        OSError
            That process is gone, or there is no memory left.
        """

    def free(self, payload: Payload) -> None:
        """Free a payload that :meth:`retain` gave, or that came with a result which no client is sent."""
