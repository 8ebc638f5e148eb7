"""What the scheduler's core is given: a task's record to keep, and hands to act with."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from scaler_notebook.engines.local.ipc.messages import Input
from scaler_notebook.protocol.messages import Capability, ClientContext, EngineMessage, Payload, Task

from .states import Stage


class Hands(Protocol):
    """What the core may ask the world to do. Nothing here blocks or calls back into the core."""

    def tell(self, owner: bytes, message: EngineMessage) -> None:
        """Send a message to a client."""

    def suits(self, process: int, context: ClientContext | None) -> bool:
        """May a task that was submitted in ``context`` run there? Not if it has modules that the task must not meet."""

    def run_task(
        self,
        process: int,
        seq: int,
        task: Task,
        context: ClientContext | None,
        last: bool,
        inputs: tuple[Input, ...],
    ) -> None:
        """Hand a task to an idle process; if it is not the last try, a failure's traceback is part of its output."""

    def interrupt(self, process: int, seq: int) -> None:
        """Ask a run to stop."""

    def kill(self, process: int, others: Sequence[int] = ()) -> None:
        """Kill a process and all that it started; it is gone when ``others``, which are killed too, are gone."""

    def lend(self, slots: int) -> None:
        """Have so many processes more than slots and spares: as many tasks wait for others."""

    def surplus(self) -> int:
        """How many processes there are more than that."""

    def retain(self, payload: Payload) -> Payload:
        """The same content, independent of whoever sent it. OSError if that process is gone, or nothing is left."""

    def free(self, payload: Payload) -> None:
        """A payload that :meth:`retain` gave, or that came with a result which nobody is told, is needed no more."""


@dataclass(slots=True, eq=False)
class Record:
    """One task, from its arrival to its last message."""

    task: Task
    owner: bytes
    context: ClientContext | None = None
    needs: tuple[Capability, ...] = ()  # without which it cannot run
    number: int = 0  # in the order of submission, those that tasks wait for before all others
    priority: int = 0  # its own, or its parent's if that is higher
    stage: Stage = Stage.QUEUED
    process: int = 0
    handed: int = 0  # how often, in this try
    failed: int = 0  # tries
    started: float = 0.0  # seconds since the epoch
    force: bool = False  # of the strongest request so far, for the answer; the table has stages for it
    missing: int = 0  # inputs that it waits for
    root: bytes = b""  # the client that is within no task, and has submitted it or what submitted it
    parent: "Record | None" = None  # as long as that runs
    depth: int = 0  # of nesting
    children: "dict[str, Record]" = field(default_factory=dict)  # unfinished tasks that it has submitted

    @property
    def tries_left(self) -> bool:
        """May it fail once more?"""
        return self.failed < self.task.options.retries

    @property
    def outlives(self) -> bool:
        """May its process die once more?"""
        return self.tries_left and self.task.options.retry_worker_died
