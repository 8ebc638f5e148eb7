"""What can go wrong, each type saying whose fault it is.

A task's own exception is raised as itself; the types here are for everything that is not the task's fault.
"""

from concurrent.futures import BrokenExecutor, CancelledError
from pickle import PicklingError

from .states import CancelReason


class ProtocolError(Exception):
    """A peer sent something that the protocol does not allow: a bug in that peer, or not a peer of ours at all.

    The message is dropped and its sender alone is affected.
    """


class EngineError(ConnectionError):
    """What has to do with the engine, not with a task."""


class EngineStartError(EngineError):
    """The engine could not be started: this machine's fault (permissions, memory, a broken environment)."""


class DisconnectedError(EngineError):
    """The connection to the engine is over: this side has left it (``shutdown``, ``disconnect``, the kernel's end)."""


class EngineLostError(DisconnectedError):
    """The engine went away while it had tasks; nobody knows how far they got.

    A :class:`DisconnectedError`, as it is to clients of OpenGRIS Scaler.
    """


class EngineTimeoutError(EngineLostError, TimeoutError):
    """The lost engine of a ``Client``: a TimeoutError too, which is what the client of OpenGRIS Scaler raises."""


class WorkerDiedError(BrokenExecutor):
    """The process that ran the task died. Only that task fails; the executor goes on with a new process."""


class ProcessorDiedError(WorkerDiedError):
    """A task process died under its task: killed, perhaps because memory ran out, crashed in native code, or exited.

    Parameters
    ----------
    message
        What a person reads: the likely cause, and what to do.
    exit_code
        What it exited with; None if a signal killed it.
    signal
        The number of that signal; None if it exited.
    out_of_memory
        Was it killed because no memory was left? The message says "probably" where that is a guess.
    """

    def __init__(
        self, message: str, exit_code: int | None = None, signal: int | None = None, out_of_memory: bool = False
    ) -> None:
        super().__init__(message, exit_code, signal, out_of_memory)
        self.exit_code = exit_code
        self.signal = signal
        self.out_of_memory = out_of_memory

    def __str__(self) -> str:
        return str(self.args[0])


class InitializerError(BrokenExecutor):
    """The executor's initializer raised, which is the cause of this error: the executor takes no more tasks."""


class CapabilityError(ValueError):
    """A task needs a capability that its engine does not have, or more of it than there is; nothing was submitted."""

    def __init__(self, message: str, capability: str, wanted: int, there: int) -> None:
        super().__init__(message, capability, wanted, there)
        self.capability = capability
        self.wanted = wanted
        self.there = there

    def __str__(self) -> str:
        return str(self.args[0])


class MissingObjects(LookupError):
    """A task names objects that its engine does not have: they were cleared, or are another client's.

    ``objects`` has their ids. Send them again with ``send_object``.
    """

    def __init__(self, message: str, objects: tuple[str, ...] = ()) -> None:
        super().__init__(message, objects)
        self.objects = objects

    def __str__(self) -> str:
        return str(self.args[0])


class TaskSerializationError(TypeError, PicklingError):
    """A function, an argument or a result cannot be pickled; the message names which, and the attribute in it."""


class TaskCancelledError(CancelledError):
    """Somebody cancelled the task whose result was asked for; ``reason`` says how it ended."""

    def __init__(self, message: str, reason: CancelReason) -> None:
        super().__init__(message, reason)
        self.reason = reason

    def __str__(self) -> str:
        return str(self.args[0])
