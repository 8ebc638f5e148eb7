"""What goes to a worker beside a task's function and arguments, and how a failure comes back."""

import io
import json
import pickle
import time
from dataclasses import asdict, dataclass
from typing import Any

from scaler_notebook.protocol.errors import ProtocolError
from scaler_notebook.protocol.messages import PreviewKind, ResultSummary, TaskFigures

CLOCKS_DIFFER = 0.5  # seconds; what a worker's clock may be ahead of ours


@dataclass(frozen=True, slots=True)
class TaskHeader:
    """The header of a task's packed arguments.

    Parameters
    ----------
    name
        The call as a person reads it.
    inputs
        The ids of its inputs, in the order in which their objects are given.
    retry_on
        As in :class:`~scaler_notebook.protocol.messages.TaskOptions`, in hex.
    omit_value
        As in :class:`~scaler_notebook.protocol.messages.Task`.
    client, initializer
        Those of :class:`~scaler_notebook.protocol.messages.Initializer`; the latter is its ``name``.
    """

    name: str
    inputs: list[str]
    retry_on: str = ""
    omit_value: bool = False
    client: str = ""
    initializer: str = ""

    def encode(self) -> bytes:
        """As bytes, for :meth:`decode`. Raises a ProtocolError if a field is of a wrong type."""
        try:
            return json.dumps(asdict(self)).encode()
        except (TypeError, ValueError) as error:
            raise ProtocolError(f"the task could not be sent to the cluster: {error}") from error

    @classmethod
    def decode(cls, data: bytes) -> "TaskHeader":
        """Raises a ``ValueError`` or ``TypeError`` if it is none."""
        return cls(**json.loads(data))


@dataclass(frozen=True, slots=True)
class ResultHeader:
    """The header of a packed value or failure: how the task ended, and its figures."""

    how: str
    started: float
    ended: float
    cpu: float
    peak_rss: int
    text: str = ""  # of the value's summary
    preview: str = PreviewKind.ON_REQUEST.value

    @classmethod
    def of(cls, figures: TaskFigures, how: str, summary: ResultSummary) -> "ResultHeader":
        """Those of a run."""
        kind = summary.unaccompanied().preview.value
        return cls(how, figures.started, figures.ended, figures.cpu, figures.peak_rss, summary.text, kind)

    def encode(self) -> bytes:
        """As bytes, for :meth:`decode`."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, data: bytes | str) -> "ResultHeader":
        """Raises a ProtocolError if it is none."""
        try:
            ended = cls(**json.loads(data))
            if not isinstance(ended.how, str):
                raise TypeError(f"how it ended is a {type(ended.how).__name__}")
            PreviewKind(ended.preview)
            times = float(ended.started), float(ended.ended), float(ended.cpu)
            return cls(ended.how, *times, int(ended.peak_rss), str(ended.text), ended.preview)
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise ProtocolError(f"the end of a task that cannot be read: {error}") from error

    def summary(self) -> ResultSummary:
        """Of the value."""
        return ResultSummary(self.text, PreviewKind(self.preview))

    def figures(self) -> TaskFigures:
        """By this machine's clock, if the worker's is evidently another."""
        ahead = self.ended - time.time()
        shift = ahead if ahead > CLOCKS_DIFFER else 0.0
        return TaskFigures(self.started - shift, self.ended - shift, self.cpu, self.peak_rss)


class TaskFailedError(Exception):
    """Raised to Scaler's worker, which so sees a failed task; it pickles it, and the client gets it.

    Parameters
    ----------
    blob
        The packed :class:`~scaler_notebook.protocol.failures.RemoteFailure`, with an :class:`ResultHeader`.
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
    """A traceback, and its frames: those of Scaler's own code are nobody's here."""

    def __new__(cls, *parts: Any) -> "_Nothing":
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        pass


_instead_of_tblib = {"unpickle_exception_with_attrs": _with_attributes, "unpickle_exception": _with_arguments}


class _RestrictedUnpickler(pickle.Unpickler):
    """Loads :class:`TaskFailedError` and the errors of Scaler itself, and runs no other code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == (TaskFailedError.__module__, TaskFailedError.__name__):
            return TaskFailedError
        if module in ("tblib", "tblib.pickling_support"):  # Scaler's workers pickle errors with it, tracebacks and all
            return _instead_of_tblib.get(name, _Nothing)
        if module in ("scaler.utility.exceptions", "builtins"):
            found = super().find_class(module, name)
            if isinstance(found, type) and issubclass(found, BaseException):
                return found
        raise pickle.UnpicklingError(f"{module}.{name}")


def failure(data: bytes) -> BaseException:
    """What a worker has pickled of a task that failed: :class:`TaskFailedError`, or an error of Scaler's own.

    Raises
    ------
    ProtocolError
        It is something else, whose code is not for us to run here.
    """
    try:
        error = _RestrictedUnpickler(io.BytesIO(data)).load()
    except Exception as problem:
        raise ProtocolError(f"the cluster tells of a failure that cannot be read: {problem}") from problem
    if not isinstance(error, BaseException) or (
        isinstance(error, TaskFailedError) and not isinstance(error.blob, bytes)
    ):
        raise ProtocolError(f"the cluster tells of a failure that is a {type(error).__name__}")
    return error
