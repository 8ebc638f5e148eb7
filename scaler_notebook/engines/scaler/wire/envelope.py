"""Headers that travel beside a task's arguments and results at a cluster, and the exception of a failed task."""

import io
import json
import pickle
import pickletools
import time
from dataclasses import asdict
from typing import Any

from scaler_notebook.protocol.errors import ProtocolError
from scaler_notebook.protocol.frozen import frozen
from scaler_notebook.protocol.messages import PreviewKind, ResultSummary, TaskFigures
from scaler_notebook.wording import with_article

CLOCKS_DIFFER = 0.5  # seconds; a worker's clock that is further ahead of this machine's is corrected


@frozen
class TaskHeader:
    """The header of a task's packed arguments.

    Parameters
    ----------
    name
        The call as a person reads it.
    inputs
        The ids of the task's inputs, in the order of the objects that hold them.
    retry_on
        As in :class:`~scaler_notebook.protocol.messages.TaskOptions`, in hex.
    omit_value
        As in :class:`~scaler_notebook.protocol.messages.Task`.
    client, initializer
        The fields ``client`` and ``name`` of :class:`~scaler_notebook.protocol.messages.Initializer`.
    """

    name: str
    inputs: list[str]
    retry_on: str = ""
    omit_value: bool = False
    client: str = ""
    initializer: str = ""

    def encode(self) -> bytes:
        """Return the header as bytes.

        Raises
        ------
        ProtocolError
            A field is of a wrong type.
        """
        try:
            return json.dumps(asdict(self)).encode()
        except (TypeError, ValueError) as error:
            raise ProtocolError(f"the task could not be sent to the cluster: {error}") from error

    @classmethod
    def decode(cls, data: bytes) -> "TaskHeader":
        """Return the header that :meth:`encode` has made bytes of.

        Raises
        ------
        ValueError, TypeError
            The bytes are no such header.
        """
        return cls(**json.loads(data))


@frozen
class ResultHeader:
    """The header of a packed value or failure: how the task ended, and what the run cost.

    Parameters
    ----------
    how
        The value of a :class:`~scaler_notebook.task.task_end.TaskEnd`.
    started, ended
        Seconds since the epoch, by the worker's clock.
    cpu
        CPU time in seconds.
    peak_rss
        The peak of resident memory in bytes.
    text, preview, kind
        The summary of the value.
    """

    how: str
    started: float
    ended: float
    cpu: float
    peak_rss: int
    text: str = ""
    preview: str = PreviewKind.ON_REQUEST.value
    kind: str = ""

    @classmethod
    def of(cls, figures: TaskFigures, how: str, summary: ResultSummary) -> "ResultHeader":
        """Make the header of a run.

        Parameters
        ----------
        figures
            What the run cost.
        how
            How the run ended.
        summary
            The summary of the value.
        """
        told = summary.unaccompanied()
        preview = told.preview.value
        return cls(how, figures.started, figures.ended, figures.cpu, figures.peak_rss, told.text, preview, told.kind)

    def encode(self) -> bytes:
        """Return the header as bytes."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, data: bytes | str) -> "ResultHeader":
        """Return the header that :meth:`encode` has made bytes of.

        Raises
        ------
        ProtocolError
            The bytes are no such header.
        """
        try:
            ended = cls(**json.loads(data))
            if not isinstance(ended.how, str):
                raise TypeError(f"how it ended is {with_article(type(ended.how).__name__)}")
            PreviewKind(ended.preview)
            times = float(ended.started), float(ended.ended), float(ended.cpu)
            return cls(ended.how, *times, int(ended.peak_rss), str(ended.text), ended.preview, str(ended.kind))
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise ProtocolError(f"the end of a task that cannot be read: {error}") from error

    def summary(self) -> ResultSummary:
        """Return the summary of the value."""
        return ResultSummary(self.text, PreviewKind(self.preview), self.kind)

    def figures(self) -> TaskFigures:
        """Return what the run cost, with times by this machine's clock if the worker's clock is clearly ahead."""
        ahead = self.ended - time.time()
        shift = ahead if ahead > CLOCKS_DIFFER else 0.0
        return TaskFigures(self.started - shift, self.ended - shift, self.cpu, self.peak_rss)


class TaskFailedError(Exception):
    """The failure of a task, raised to Scaler's worker. The worker pickles the exception, and the client gets it.

    Parameters
    ----------
    blob
        The packed :class:`~scaler_notebook.protocol.exceptions.failures.RemoteFailure`, with a :class:`ResultHeader`.
    words
        The last line of the failure, for the worker's log.
    """

    def __init__(self, blob: bytes, words: str = "") -> None:
        super().__init__(blob, words)
        self.blob = blob

    def __str__(self) -> str:
        return str(self.args[1])


def _with_attributes(kind: type[BaseException], attributes: dict[str, Any], *rest: Any) -> BaseException:
    return kind(*attributes.get("args", ()))


def _with_arguments(kind: type[BaseException], args: tuple[Any, ...], *rest: Any) -> BaseException:
    return kind(*args)


class _Nothing:
    """A stand-in for tracebacks and frames, which are those of Scaler's own code and are dropped."""

    def __new__(cls, *parts: Any) -> "_Nothing":
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        pass


_instead_of_tblib = {"unpickle_exception_with_attrs": _with_attributes, "unpickle_exception": _with_arguments}


class _RestrictedUnpickler(pickle.Unpickler):
    """An unpickler that loads :class:`TaskFailedError` and Scaler's own errors, and runs no other code."""

    def find_class(self, module: str, name: str) -> Any:
        """Return a class that may be loaded.

        Raises
        ------
        UnpicklingError
            The name is of anything else.
        """
        if (module, name) == (TaskFailedError.__module__, TaskFailedError.__name__):
            return TaskFailedError
        if module in ("tblib", "tblib.pickling_support"):  # Scaler's workers pickle errors with it, tracebacks and all
            return _instead_of_tblib.get(name, _Nothing)
        if module in ("scaler.utility.exceptions", "builtins"):
            found = super().find_class(module, name)
            if isinstance(found, type) and issubclass(found, BaseException):
                return found
        raise pickle.UnpicklingError(f"{module}.{name}")


def _check_bounds(data: bytes) -> None:
    """Refuse a pickle that names a length or a place in the memo beyond itself, for which memory would be allocated.

    Raises
    ------
    UnpicklingError, ValueError
        The pickle names a place, or a length, that it does not have.
    """
    for opcode, argument, _ in pickletools.genops(data):  # which refuses lengths
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > len(data):
            raise pickle.UnpicklingError(f"place {argument} of the memo")


def failure(data: bytes) -> BaseException:
    """Load the exception that a worker has pickled: a :class:`TaskFailedError`, or an error of Scaler's own.

    Raises
    ------
    ProtocolError
        The pickle is of something else, whose code must not run here.
    """
    try:
        _check_bounds(data)
        error = _RestrictedUnpickler(io.BytesIO(data)).load()
    except Exception as problem:
        raise ProtocolError(f"the cluster tells of a failure that cannot be read: {problem}") from problem
    if not isinstance(error, BaseException) or (
        isinstance(error, TaskFailedError) and not isinstance(error.blob, bytes)
    ):
        raise ProtocolError(f"the cluster tells of a failure that is {with_article(type(error).__name__)}")
    return error
