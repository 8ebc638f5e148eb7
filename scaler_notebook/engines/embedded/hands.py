"""What the scheduler's core is given: a task's record to keep, and hands to act with."""

from dataclasses import dataclass
from typing import Protocol

from ...protocol.messages import Capability, ClientContext, EngineMessage, Task
from .stages import Stage


class Hands(Protocol):
    """What the core may ask the world to do. Nothing here blocks or calls back into the core."""

    def tell(self, owner: bytes, message: EngineMessage) -> None:
        """Send a message to a client."""

    def suits(self, process: int, context: ClientContext | None) -> bool:
        """May a task that was submitted in ``context`` run there? Not if it imported modules that were edited since."""

    def run_task(self, process: int, seq: int, task: Task, context: ClientContext | None, last: bool) -> None:
        """Hand a task to an idle process; if it is not the last try, a failure's traceback is part of its output."""

    def interrupt(self, process: int, seq: int) -> None:
        """Ask a run to stop."""

    def kill(self, process: int) -> None:
        """Kill a process and all that it started."""


@dataclass(slots=True)
class Record:
    """One task, from its arrival to its last message."""

    task: Task
    owner: bytes
    context: ClientContext | None = None
    number: int = 0  # in the order of submission
    needs: tuple[Capability, ...] = ()  # without which it cannot run
    stage: Stage = Stage.QUEUED
    process: int = 0
    handed: int = 0  # how often, in this try
    failed: int = 0  # tries
    started: float = 0.0  # seconds since the epoch
    force: bool = False  # of the strongest request so far, for the answer; the table has stages for it

    @property
    def tries_left(self) -> bool:
        """May it fail once more?"""
        return self.failed < self.task.options.retries
