"""The exception types, each of which says whose fault an error is.

A task's own exception is raised as itself. The types here are for everything that is not the task's fault.
"""

from concurrent.futures import BrokenExecutor, CancelledError
from pickle import PicklingError

from .states import CancelReason


class ProtocolError(Exception):
    """A peer sent something that the protocol does not allow: a bug in that peer, or a foreign program.

    The message is dropped, and nobody but its sender is affected.
    """


class EngineError(ConnectionError):
    """Base class of errors that concern the engine and not a task."""


class EngineStartError(EngineError):
    """The engine could not be started: this machine's fault (permissions, memory, a broken environment)."""


class DisconnectedError(EngineError):
    """The connection to the engine is over: this side has left it (``shutdown``, ``disconnect``, the kernel's end)."""


class EngineLostError(DisconnectedError):
    """The engine went away while it had tasks; nobody knows how far they got.

    A :class:`DisconnectedError`, because clients of OpenGRIS Scaler treat a lost engine so.
    """


class EngineTimeoutError(EngineLostError, TimeoutError):
    """The engine of a ``Client`` is lost: a TimeoutError too, which the client of OpenGRIS Scaler raises."""


class WorkerDiedError(BrokenExecutor):
    """The process that ran the task died. Only that task fails; the executor goes on with a new process."""


class ProcessorDiedError(WorkerDiedError):
    """A task process died under its task: killed, perhaps because memory ran out, crashed in native code, or exited.

    Parameters
    ----------
    message
        The text for a person: the likely cause, and what to do.
    exit_code
        The exit status of the process; None if a signal killed the process.
    signal
        The number of the signal; None if the process exited.
    out_of_memory
        Whether the process was killed because no memory was left. The message says "probably" where that is a guess.
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
    """The executor's initializer raised the cause of this error: the executor takes no more tasks."""


class CapabilityError(ValueError):
    """A task needs a capability that its engine does not have, or more of it than there is; nothing was submitted.

    Parameters
    ----------
    message
        The text for a person.
    capability
        The name of the capability.
    wanted, there
        The amount that the task needs, and the amount that the engine has in all.
    """

    def __init__(self, message: str, capability: str, wanted: int, there: int) -> None:
        super().__init__(message, capability, wanted, there)
        self.capability = capability
        self.wanted = wanted
        self.there = there

    def __str__(self) -> str:
        return str(self.args[0])


class MissingObjects(LookupError):
    """A task names objects that its engine does not have: they were cleared, or belong to another client.

    Parameters
    ----------
    message
        The text for a person.
    objects
        The ids of the objects. Send the objects again with ``send_object``.
    """

    def __init__(self, message: str, objects: tuple[str, ...] = ()) -> None:
        super().__init__(message, objects)
        self.objects = objects

    def __str__(self) -> str:
        return str(self.args[0])


class TaskSerializationError(TypeError, PicklingError):
    """A function, an argument or a result cannot be pickled; the message names which, and the attribute in it."""


class TaskCancelledError(CancelledError):
    """The task whose result was asked for is cancelled.

    Parameters
    ----------
    message
        The text for a person.
    reason
        How the task ended.
    """

    def __init__(self, message: str, reason: CancelReason) -> None:
        super().__init__(message, reason)
        self.reason = reason

    def __str__(self) -> str:
        return str(self.args[0])
