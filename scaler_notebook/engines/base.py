"""What an engine is to the agent: somewhere to send messages, and a stream of messages back."""

from asyncio import AbstractEventLoop
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from scaler_notebook.protocol.messages import ClientMessage, EngineMessage, Payload, Task

Deliver = Callable[[Sequence[EngineMessage]], None]
Lost = Callable[[BaseException], None]


class Engine(Protocol):
    """One client's connection to something that runs tasks.

    ``start`` is called once, on any thread, and may block for seconds; everything else is called on the agent's
    thread and must not block.
    """

    def start(self) -> None:
        """Make the engine ready to be connected to.

        Raises
        ------
        EngineStartError
            It cannot be had; nothing is left running.
        """

    def connect(self, loop: AbstractEventLoop, deliver: Deliver, lost: Lost) -> None:
        """Connect from the agent's loop. ``lost`` is called at most once, after the last ``deliver``."""

    def adopt(self, task: Task) -> tuple[Task, Task | None]:
        """Take a task's buffers over, on the thread that submits it: what changes in them later is not seen.

        Gives the task to send, and the same for another try, which lives as long as somebody holds it (None if there
        can be none). What the engine itself keeps is freed when the task's last message has come, or by :meth:`close`.
        """

    def adopt_object(self, object_id: str, content: Payload) -> Payload:
        """The same for an object, on any thread: what to send of it."""

    def disown(self, name: str) -> None:
        """Free what was taken over for a task or an object, by its id: it is not going to be sent."""

    def send(self, messages: Sequence[ClientMessage]) -> None:
        """Queue a batch for the engine, in order."""

    def close(self) -> None:
        """Disconnect; an engine that this client started ends with everything it runs. Idempotent."""

    def join(self, timeout: float) -> bool:
        """Wait, on any thread, until what :meth:`close` ended is gone; False if that took longer."""

    @property
    def address(self) -> str:
        """Where another client reaches it, once it is started."""

    @property
    def slots(self) -> int:
        """How many tasks run at the same time; 0 if it does not tell."""

    @property
    def limits_memory(self) -> bool:
        """Does it enforce a task's ``memory_limit``?"""

    @property
    def capabilities(self) -> Mapping[str, int] | None:
        """What tasks may need, once it is started: how much of each there is in all; None if it does not tell."""
