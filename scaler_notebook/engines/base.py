"""The interface of an engine, as the agent uses it: messages are sent, and a stream of messages comes back."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from scaler_notebook.protocol.messages import ClientMessage, EngineMessage, Payload, Task

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

Deliver = Callable[[Sequence[EngineMessage]], None]
Lost = Callable[[BaseException], None]


class Engine(Protocol):
    """One client's connection to something that runs tasks.

    ``start`` is called once, on any thread, and may block for seconds. Everything else is called on the agent's thread
    and must not block, unless its own description names another thread.
    """

    def start(self) -> None:
        """Start the engine, or check that it can be connected to.

        Raises
        ------
        EngineStartError
            There is no such engine; nothing is left running.
        """

    def connect(self, loop: "AbstractEventLoop", deliver: Deliver, lost: Lost) -> None:
        """Connect from the agent's event loop.

        Parameters
        ----------
        loop
            The agent's loop.
        deliver
            Called on the loop with each batch of messages from the engine.
        lost
            Called at most once, after the last ``deliver``, with the reason why the engine is gone.
        """

    def adopt(self, task: Task) -> tuple[Task, Task | None]:
        """Take over a task's buffers, on the thread that submits the task: later changes of their content are not seen.

        The engine frees what it holds when the task's last message has come, or at :meth:`close`.

        Returns
        -------
        tuple of Task and (Task or None)
            The task to send, and the task to send for another try, which stays valid while somebody holds it; None if
            there can be no other try.
        """

    def adopt_object(self, object_id: str, content: Payload) -> Payload:
        """Take over an object's buffers, on any thread, and return the content to send.

        Parameters
        ----------
        object_id
            The id of the object.
        content
            The pickled value.
        """

    def disown(self, name: str) -> None:
        """Free what was taken over for a task or object that will not be sent, by its id."""

    def send(self, messages: Sequence[ClientMessage]) -> None:
        """Queue a batch of messages for the engine, in order."""

    def close(self) -> None:
        """Disconnect. An engine that this client started ends with everything that it runs. Idempotent."""

    def join(self, timeout: float) -> bool:
        """Wait, on any thread, until the connection and any engine ended by :meth:`close` are gone.

        Parameters
        ----------
        timeout
            The longest time to wait, in seconds.

        Returns
        -------
        bool
            False if the end took longer.
        """

    @property
    def address(self) -> str:
        """The address by which other clients reach the engine, once it is started."""

    @property
    def slots(self) -> int:
        """The number of tasks that run at the same time; 0 if the engine does not tell."""

    @property
    def limits_memory(self) -> bool:
        """Whether the engine enforces a task's ``memory_limit``."""

    @property
    def can_pause(self) -> bool:
        """Whether the engine can keep a client's tasks from starting."""

    @property
    def runs_here(self) -> bool:
        """Whether tasks run in processes of this machine, whose ids are the tasks' processors."""

    @property
    def sends_items(self) -> bool:
        """Whether the engine passes on items that a task gives before its end."""

    @property
    def scales(self) -> bool:
        """Whether a client can change the number of tasks that run at the same time."""

    @property
    def gpus(self) -> tuple[str, ...] | None:
        """The names of the devices that tasks may be given, once the engine is started; None if it gives none."""

    @property
    def capabilities(self) -> Mapping[str, int] | None:
        """The amount of each capability in all, once the engine is started; None if the engine does not tell."""
