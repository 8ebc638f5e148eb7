"""An exception on its way from a task to its future: itself, and its traceback in a form that needs no code objects.

Source lines are looked up where the traceback is read: the notebook's cells are in the kernel's ``linecache`` and
nowhere else.
"""

import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from . import payloads
from .errors import ProtocolError, RemoteTraceback
from .messages import Payload, TaskResult, TaskResultType

Frame = tuple[str, int, str]  # file name, line number, function


@dataclass(frozen=True, slots=True)
class Link:
    """One exception of a chain: how it relates to the one before, where it was raised, and its last lines."""

    relation: str  # "", "cause" or "context"
    frames: tuple[Frame, ...]
    headline: str


@dataclass(frozen=True, slots=True)
class RemoteFailure:
    """A task's exception (pickled apart, for it may not load here) and the chain of its tracebacks, innermost first."""

    exception: Payload
    headline: str
    chain: tuple[Link, ...]


def describe(error: BaseException, own_files: tuple[str, ...]) -> RemoteFailure:
    """Take an exception apart for its journey.

    Parameters
    ----------
    error
        The exception, its ``__traceback__`` in place.
    own_files
        Prefixes of file names of ours; such frames before the task's first one are left out.
    """
    chain = tuple(_links(error, own_files))
    try:
        payload = payloads.dump(error)
        # An exception with an __init__ of its own pickles, and then does not load.
        if not isinstance(payloads.load(payload), BaseException):
            raise TypeError("it loads as something else")
    except Exception:
        substitute = RuntimeError(f"{_headline(error)} (the exception itself cannot be pickled)")
        payload = payloads.dump(substitute)
    return RemoteFailure(payload, _headline(error), chain)


def words(payload: Payload) -> tuple[str, str, tuple[Frame, ...]]:
    """``(last line, whole traceback, frames)`` of a failed task; the exception itself is not loaded.

    Raises
    ------
    ProtocolError
        If the payload holds something else.
    """
    failure = _failure(payload)
    return failure.headline, render(failure), _last_frames(failure)


def _failure(payload: Payload) -> RemoteFailure:
    failure = payloads.load(payload)
    if not isinstance(failure, RemoteFailure):
        raise ProtocolError(f"a failure that is a {type(failure).__name__}")
    return failure


def our_fault(task_id: str, error: Exception) -> TaskResult:
    """The result of a task that failed because a message about it was malformed: no fault of the task's."""
    payload = payloads.dump(describe(error, ()))
    return TaskResult(task_id, TaskResultType.FAILED, payload)


def restore(payload: Payload) -> BaseException:
    """The exception of a failed task, its remote traceback as ``__cause__``.

    Raises
    ------
    ProtocolError
        If the payload holds something else.
    """
    failure = _failure(payload)
    try:
        error = payloads.load(failure.exception)
    except Exception as problem:  # its class does not exist on this side
        error = RuntimeError(f"{failure.headline} (the exception itself cannot be loaded here: {problem})")
    if not isinstance(error, BaseException):
        raise ProtocolError(f"an exception that is a {type(error).__name__}")
    error.__cause__ = RemoteTraceback(render(failure), _last_frames(failure))
    return error


def _last_frames(failure: RemoteFailure) -> tuple[Frame, ...]:
    return failure.chain[-1].frames if failure.chain else ()


def render(failure: RemoteFailure) -> str:
    """The traceback as Python prints it."""
    relations = {
        "": "",
        "cause": "\nThe above exception was the direct cause of the following exception:\n\n",
        "context": "\nDuring handling of the above exception, another exception occurred:\n\n",
    }
    parts = []
    for link in failure.chain:
        parts.append(relations.get(link.relation, ""))
        if link.frames:
            parts.append("Traceback (most recent call last):\n")
            parts.extend(traceback.StackSummary.from_list([(*frame, None) for frame in link.frames]).format())
        parts.append(link.headline)
    return "".join(parts)


def _headline(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(type(error), error)).strip()


def _links(error: BaseException, own_files: tuple[str, ...]) -> Iterator[Link]:
    chain: list[tuple[BaseException, str]] = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        # "is None" throughout: an exception may be false, by a __len__ or a __bool__ of its own.
        caused = current.__cause__ is not None
        context = None if current.__suppress_context__ else current.__context__
        following = current.__cause__ if caused else context
        chain.append((current, "cause" if caused else "context" if following is not None else ""))
        current = following
    for link_error, link_relation in reversed(chain):
        frames = tuple(_frames(link_error.__traceback__, own_files))
        headline = "".join(traceback.format_exception_only(type(link_error), link_error))
        if hasattr(link_error, "exceptions"):  # a group, whose members Python alone can draw
            frames, headline = (), "".join(traceback.format_exception(link_error, chain=False))
        yield Link(link_relation, frames, headline)


def _frames(tb: TracebackType | None, own_files: tuple[str, ...]) -> Iterator[Frame]:
    while tb is not None and tb.tb_frame.f_code.co_filename.startswith(own_files):
        tb = tb.tb_next
    while tb is not None:
        code: Any = tb.tb_frame.f_code
        yield (code.co_filename, tb.tb_lineno, code.co_name)
        tb = tb.tb_next
