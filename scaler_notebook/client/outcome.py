"""What a task left: its value or exception, unpickled on first use, and what it wrote."""

from dataclasses import dataclass
from typing import Any

from typing_extensions import assert_never

from ..protocol import failures, payloads
from ..protocol.errors import ProcessorDiedError, RemoteTraceback, TaskSerializationError
from ..protocol.messages import Payload, TaskResultType


@dataclass(frozen=True, slots=True)
class Logs:
    """What a task wrote so far. Prints as both streams, one after the other."""

    stdout: str
    stderr: str

    def __str__(self) -> str:
        return self.stdout + self.stderr


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception in words: its last line, and the whole traceback."""

    headline: str
    traceback: str


def failure_of(outcome: TaskResultType | None, payload: Payload | None, error: BaseException | None) -> Failure:
    """The exception of a failed task in words, without loading the exception itself."""
    if error is None and payload is not None and outcome is TaskResultType.FAILED:
        try:
            return Failure(*failures.words(payload))
        except Exception as problem:  # a query never raises; who asks for the exception is told the same
            error = problem
    if error is None and payload is not None:
        _, error = unpickle(TaskResultType.FAILED_WORKER_DIED, payload, "")
    headline = f"{type(error).__name__}: {error}"
    cause = error.__cause__ if error is not None else None
    return Failure(headline, cause.text if isinstance(cause, RemoteTraceback) else headline)


def unpickle(outcome: TaskResultType, payload: Payload, call: str) -> tuple[Any, BaseException | None]:
    """``(value, None)`` or ``(None, exception)`` of a task that ended by itself; runs the user's code."""
    try:
        match outcome:
            case TaskResultType.SUCCESS:
                return payloads.load(payload), None
            case TaskResultType.FAILED:
                return None, failures.restore(payload)
            case TaskResultType.FAILED_WORKER_DIED:
                text = bytes(payload.data).decode(errors="replace")
                return None, ProcessorDiedError(
                    f"{text}. It ran {call or 'the task'}; no other task is affected, and a new process has its place."
                )
            case _:
                assert_never(outcome)
    except Exception as problem:
        error = TaskSerializationError(
            f"the result of {call or 'the task'} arrived and cannot be loaded in this process: "
            f"{type(problem).__name__}: {problem}. Is the module that defines it importable here?"
        )
        error.__cause__ = problem
        return None, error
