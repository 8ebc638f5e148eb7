"""The outcome of a task that ended by itself: a value or an exception, unpickled on first use."""

import contextlib
import sys
from dataclasses import replace
from types import TracebackType
from typing import Any

from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.errors import InitializerError, MissingObjects, ProcessorDiedError, TaskSerializationError
from scaler_notebook.protocol.exceptions import failures, restoring
from scaler_notebook.protocol.frozen import frozen
from scaler_notebook.protocol.messages import NO_PROCESS_EXIT, Payload, ProcessExit, TaskResultType

if sys.version_info >= (3, 11):
    from typing import assert_never
else:
    from typing_extensions import assert_never

RAISED = {TaskResultType.FAILED, TaskResultType.FAILED_INITIALIZER}  # the payload is an exception and its text

# What was loaded first of each outcome that is being loaded now, and what the exception came with.
_loads: "dict[Outcome, tuple[tuple[Any, BaseException | None], tuple[TracebackType | None, BaseException | None]]]" = {}


@frozen
class Failure:
    """An exception in words.

    Parameters
    ----------
    headline
        The last line of its traceback.
    traceback
        The whole traceback.
    frames
        The frames of the traceback, outermost first.
    """

    headline: str
    traceback: str
    frames: tuple[failures.Frame, ...] = ()


class Outcome:
    """The outcome that a finished future holds.

    Parameters
    ----------
    kind
        How the task ended.
    payload
        The pickle, or text, that came with the end.
    call
        The call as a person reads it, for messages.
    origin
        The task whose failure this is, as a person reads it; empty if it is this task's own.
    death
        The exit cause of the task's process, if that has died.
    """

    __slots__ = (
        "_call",
        "_death",
        "_failure",
        "_kind",
        "_loaded",
        "_origin",
        "_payload",
        "_there",
        "lost",
        "retained_by_engine",
    )

    def __init__(
        self, kind: TaskResultType, payload: Payload, call: str, origin: str = "", death: ProcessExit = NO_PROCESS_EXIT
    ) -> None:
        self._kind = kind
        self._payload: Payload | None = payload
        self._call = call
        self._origin = origin
        # Whether the value was left with the engine, for other tasks.
        self.retained_by_engine = kind is TaskResultType.SUCCESS and not payload.data
        self.lost = False  # does nobody know how the task ended?
        self._death = death
        self._loaded: tuple[Any, BaseException | None] | None = None
        self._failure: Failure | None = None
        # The traceback and the context that the error came with.
        self._there: tuple[TracebackType | None, BaseException | None] = None, None

    @classmethod
    def of(cls, error: BaseException | None) -> "Outcome":
        """Return the outcome of a task whose end nobody knows: the engine is lost, and ``error`` says so."""
        outcome = cls(TaskResultType.FAILED, Payload(b""), "")
        outcome._loaded, outcome._payload = (None, error), None
        outcome.lost = True
        return outcome

    def load(self) -> tuple[Any, BaseException | None]:
        """Return ``(value, None)`` or ``(None, exception)``; unpickled by the thread that asks first, under no lock."""
        payload = self._payload
        if self._loaded is None and payload is not None:
            loaded = _unpickle(self._kind, payload, self._call, self._death)
            if self._origin and loaded[1] is not None:
                _add_note(loaded[1], f"It was raised by {self._origin}, whose value {self._call or 'this task'} needs.")
            if self._kind in RAISED:
                self._failure = _words(self._kind, payload)  # while the payload is there
            error = loaded[1]
            there = (error.__traceback__, error.__context__) if error is not None else (None, None)
            # Of two threads the first wins: all callers get the same object. Who finds no entry any more comes after
            # the winner, and finds what it has loaded.
            loaded, there = _loads.setdefault(self, (loaded, there))
            if self._loaded is None:
                self._there = there
                self._loaded, self._payload = loaded, None
            _loads.pop(self, None)
        assert self._loaded is not None
        return self._loaded

    def value(self) -> Any:
        """Return the value, or raise the exception, each time with the traceback and the context that it came with."""
        __tracebackhide__ = True  # IPython's convention: a traceback has the user's frames, not these
        value, error = self.load()
        if error is None:
            return value
        change = BaseException.__setattr__  # an exception may have a __setattr__ of its own
        traceback, context = self._there
        try:
            change(error, "__traceback__", traceback)
            change(error, "__context__", None)
            raise error
        finally:
            if context is not None:
                change(error, "__context__", context)  # instead of what this side was handling
            del error, traceback, context, self  # these and the traceback would keep each other alive

    @property
    def failed(self) -> bool:
        """Whether the outcome is an exception. A value that cannot be loaded here counts, once somebody has tried."""
        return self._kind is not TaskResultType.SUCCESS or (self._loaded is not None and self._loaded[1] is not None)

    def content(self) -> Payload:
        """Return the pickle of the value, to be sent on. Raises what pickling the value anew raises."""
        payload = self._payload
        return payload if payload is not None else payloads.dump(self.load()[0])

    @property
    def nbytes(self) -> int:
        """The size, in bytes, of a pickle that nobody has looked at yet; 0 afterwards."""
        payload = self._payload
        return payload.nbytes if payload is not None else 0

    @property
    def failure(self) -> Failure:
        """The exception in words; runs no code of the user's."""
        if self._failure is None:
            self._failure = self._in_words()
        return self._failure

    def _in_words(self) -> Failure:
        """Return the exception in words; loads it only if it came without words."""
        payload = self._payload
        if payload is not None and self._kind in RAISED:
            return _words(self._kind, payload)
        error = self.load()[1]
        if self._failure is not None:  # another thread has loaded it meanwhile
            return self._failure
        headline = f"{type(error).__name__}: {error}"
        return Failure(headline, headline)


def _words(kind: TaskResultType, payload: Payload) -> Failure:
    """Return an exception in words, from its payload.

    Parameters
    ----------
    kind
        How the task ended.
    payload
        The exception's pickle and text.
    """
    try:
        failure = Failure(*failures.summarize(payload))
        if kind is TaskResultType.FAILED_INITIALIZER:
            return replace(
                failure, headline=f"InitializerError: {_broken(failures.call_text(payload), failure.headline)}"
            )
        return failure
    except Exception as problem:  # a query never raises; result() raises the same
        headline = f"{type(problem).__name__}: {problem}"
        return Failure(headline, headline)


def missing_objects(payload: Payload) -> tuple[str, ...]:
    """Return the ids in the payload of a ``TaskResult(MISSING_OBJECTS)``."""
    return tuple(bytes(payload.data).decode(errors="replace").split("\n"))


def _add_note(error: BaseException, note: str) -> None:
    """Add a note to an exception, as ``BaseException.add_note`` does, which Python has from 3.11 on.

    Parameters
    ----------
    error
        The exception.
    note
        The note.
    """
    noted: Any = error
    with contextlib.suppress(Exception):  # an exception may have attributes of its own
        notes = getattr(noted, "__notes__", None)
        noted.__notes__ = [*notes, note] if isinstance(notes, list) else [note]


def _broken(initializer: str, headline: str) -> str:
    """Return why an executor is broken: its initializer has raised.

    Parameters
    ----------
    initializer
        The initializer's call, as a person reads it.
    headline
        What it has raised.
    """
    return (
        f"the initializer {initializer} raised {headline}. The executor takes no more tasks, and what it had not ended "
        "ends with this error: correct the initializer, and make a new executor."
    )


def _unpickle(
    kind: TaskResultType, payload: Payload, call: str, death: ProcessExit
) -> tuple[Any, BaseException | None]:
    """Return ``(value, None)`` or ``(None, exception)`` from a payload; never raises for what the payload holds.

    Parameters
    ----------
    kind
        How the task ended.
    payload
        What came with the end.
    call
        The call as a person reads it, for messages.
    death
        The exit cause of the task's process, if that has died.
    """
    try:
        match kind:
            case TaskResultType.SUCCESS:
                return (payloads.load(payload) if payload.data else None), None
            case TaskResultType.FAILED:
                return None, restoring.restore(payload)
            case TaskResultType.FAILED_INITIALIZER:
                broken = InitializerError(_broken(failures.call_text(payload), failures.summarize(payload)[0]))
                broken.__cause__ = restoring.restore(payload)
                return None, broken
            case TaskResultType.FAILED_WORKER_DIED:
                text = bytes(payload.data).decode(errors="replace")
                words = (
                    f"{text}. It ran {call or 'the task'}; no other task is affected, and a new process has its place."
                )
                exit_code = death.exit_code if death.exit_code >= 0 else None
                return None, ProcessorDiedError(words, exit_code, death.signal or None, death.out_of_memory)
            case TaskResultType.MISSING_OBJECTS:
                lost = missing_objects(payload)
                return None, MissingObjects(
                    f"{call or 'the task'} did not run: the engine does not have {', '.join(lost)}, which it needs "
                    "(cleared, or a value that was not kept); send it again",
                    lost,
                )
            case _:
                assert_never(kind)
    except (Exception, SystemExit) as problem:  # a result must not end this process
        error = TaskSerializationError(
            f"the result of {call or 'the task'} arrived and cannot be loaded in this process: "
            f"{type(problem).__name__}: {problem}. Is the module that defines it importable here?"
        )
        error.__cause__ = problem
        return None, error
