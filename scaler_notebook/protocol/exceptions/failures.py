"""The exception of a task on the way to the task's future: with its chain, its notes and its tracebacks.

Each exception of the chain is pickled separately. One that cannot be pickled or loaded is replaced by its text, and no
other is affected. :mod:`.restoring` makes the exceptions again.
"""

import traceback
from collections import deque
from collections.abc import Iterator
from dataclasses import replace

from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.errors import ProtocolError
from scaler_notebook.protocol.frozen import frozen
from scaler_notebook.protocol.messages import Payload, TaskResult, TaskResultType
from scaler_notebook.wording import with_article

from . import exception_pickling, tracebacks
from .exception_parts import members_of, notes_of
from .tracebacks import FrameRecord

Frame = tuple[str, int, str]  # file name, line number, function

MAX_CHAIN = 50  # exceptions that follow from each other; the middle of a longer chain is omitted
MAX_EXCEPTIONS = 100  # in all, members of groups included; others come without tracebacks, or not at all


@frozen
class ExceptionLink:
    """One exception of a chain; refers to others by their index in :attr:`RemoteFailure.links`, -1 for none.

    Parameters
    ----------
    exception
        The exception, pickled separately because it may not load.
    headline
        The last lines, as Python prints them, notes included.
    frames
        The frames of the traceback, outermost first.
    notes
        The notes (PEP 678).
    cause, context
        The indexes of ``__cause__`` and ``__context__``.
    suppress_context
        The value of ``__suppress_context__``.
    members
        The indexes of the members, if the exception is a group.
    drawn
        The text of a group with its members, as Python draws them; empty for any other exception.
    """

    exception: Payload
    headline: str
    frames: tuple[FrameRecord, ...]
    notes: tuple[str, ...] = ()
    cause: int = -1
    context: int = -1
    suppress_context: bool = False
    members: tuple[int, ...] = ()
    drawn: str = ""


@frozen
class RemoteFailure:
    """The exception of a task, which is the first link, and the exceptions that it is chained to.

    Parameters
    ----------
    links
        The exceptions.
    where
        The text of an extra frame in front of the task's frames, e.g. ``task 3f2a1b-4 in process 12345``; empty for
        none.
    call
        The source line that this extra frame shows, e.g. ``fit(model, X)``.
    """

    links: tuple[ExceptionLink, ...]
    where: str = ""
    call: str = ""


# ---------------------------------------------------------------------- in the task


def capture(error: BaseException, own_files: tuple[str, ...], where: str = "", call: str = "") -> RemoteFailure:
    """Take an exception apart for sending.

    Parameters
    ----------
    error
        The exception, with its ``__traceback__``.
    own_files
        Prefixes of this package's file names; frames of such files are omitted before the task's first frame.
    where, call
        The extra frame, as in :class:`RemoteFailure`.
    """
    try:
        return RemoteFailure(_links(error, own_files), where, call)
    except Exception as problem:  # raised by the exception's own code: a property, __getattribute__
        words = f"{type(error).__name__} (the exception itself cannot be described: {type(problem).__name__})"
        frames = tracebacks.frame_records(vars(BaseException)["__traceback__"].__get__(error), own_files)
        link = ExceptionLink(payloads.dump(RuntimeError(words)), f"RuntimeError: {words}\n", frames)
        return RemoteFailure((link,), where, call)


def _links(error: BaseException, own_files: tuple[str, ...]) -> tuple[ExceptionLink, ...]:
    """Return the links of an exception, its causes, contexts and group members, up to the limits."""
    shortcut = _shortcut(error)
    found = [error]
    numbers = {id(error): 0}

    def number(other: BaseException | None) -> int:
        if other is None:
            return -1
        if id(other) not in numbers:
            if len(found) >= MAX_EXCEPTIONS:
                return -1
            numbers[id(other)] = len(found)
            found.append(other)
        return numbers[id(other)]

    links = []
    for one in found:  # number() appends to the list
        cause, context, skipped = one.__cause__, one.__context__, 0
        if one is shortcut[0]:
            before, after, skipped = shortcut[1:]
            cause, context = (after if other is before else other for other in (cause, context))
        link = _link(one, own_files)
        if skipped:
            note = f"[… {skipped} exceptions of this chain are left out …]"
            link = replace(link, notes=(*link.notes, note), headline=f"{link.headline}{note}\n")
        # The cause first, then the members: the bound cuts what is of the least interest.
        cause_number, context_number = number(cause), number(context)
        members = tuple(number(member) for member in members_of(one))
        suppressed = one.__suppress_context__
        links.append(
            replace(link, cause=cause_number, context=context_number, members=members, suppress_context=suppressed)
        )
    return tuple(links)


def _shortcut(error: BaseException) -> tuple[BaseException | None, BaseException | None, BaseException | None, int]:
    """Find what is omitted of a chain that is too long.

    Returns
    -------
    tuple
        The exception whose successor is replaced, that successor, the exception in its place, and how many are omitted.
    """
    chain: list[BaseException] = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        chain.append(current)
        # "is None" throughout: an exception may define __len__ or __bool__, and be false.
        current = current.__cause__ if current.__cause__ is not None else current.__context__
    if len(chain) <= MAX_CHAIN:
        return None, None, None, 0
    half = MAX_CHAIN // 2
    return chain[half - 1], chain[half], chain[-half], len(chain) - 2 * half


def _link(error: BaseException, own_files: tuple[str, ...]) -> ExceptionLink:
    """Return one exception as a link, without references to others."""
    headline = _headline(error)
    notes = tuple(map(str, notes_of(error)))
    try:
        packed = exception_pickling.pickle_exception(error)
        payload = packed.payload
        if packed.note:
            headline, notes = f"{headline}{packed.note}\n", (*notes, packed.note)
    except exception_pickling.ExceptionPicklingError as why:
        payload = payloads.dump(None if members_of(error) else exception_pickling.as_runtime_error(headline, why))
    return ExceptionLink(
        payload,
        headline,
        tracebacks.frame_records(error.__traceback__, own_files),
        notes=notes,
        drawn="".join(traceback.format_exception(type(error), error, error.__traceback__, chain=False))
        if members_of(error)
        else "",
    )


def _headline(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception_only(type(error), error))
    except Exception:  # before 3.13 one that has no notes, and a __getattr__ that raises something else
        return f"{type(error).__name__}: {error}\n"


def internal_failure(task_id: str, error: BaseException) -> TaskResult:
    """Return the result of a task that failed without a fault of its own, e.g. because of a malformed message.

    Parameters
    ----------
    task_id
        The task's id.
    error
        The exception that the future raises.
    """
    payload = payloads.dump(capture(error, ()))
    return TaskResult(task_id, TaskResultType.FAILED, payload)


# ---------------------------------------------------------------------- in words


def summarize(payload: Payload) -> tuple[str, str, tuple[Frame, ...]]:
    """Return the last line, the whole traceback, and the frames of a failed task, without loading its exception.

    Raises
    ------
    ProtocolError
        The payload holds something else.
    """
    failure = load_failure(payload)
    first = failure.links[0]
    return first.headline.strip(), render(failure), tuple(frame[:3] for frame in first.frames)


def call_text(payload: Payload) -> str:
    """Return the text of the call that failed.

    Raises
    ------
    ProtocolError
        The payload holds something else.
    """
    return load_failure(payload).call


def load_failure(payload: Payload) -> RemoteFailure:
    """Return the failure in the payload of a task's result; its exceptions are still pickled.

    Raises
    ------
    ProtocolError
        The payload holds something else.
    """
    failure = payloads.load(payload)
    if not isinstance(failure, RemoteFailure) or not failure.links:
        raise ProtocolError(f"a failure that is {with_article(type(failure).__name__)}")
    return failure


def render(failure: RemoteFailure) -> str:
    """Return the traceback as Python prints it."""
    parts: deque[str] = deque()
    seen: set[int] = set()
    number = 0
    while number >= 0 and number not in seen:
        seen.add(number)
        link = failure.links[number]
        parts.appendleft("".join(_lines(link)))
        number, relation = link.cause, "\nThe above exception was the direct cause of the following exception:\n\n"
        if number < 0 and not link.suppress_context:
            number = link.context
            relation = "\nDuring handling of the above exception, another exception occurred:\n\n"
        if number >= 0 and number not in seen:
            parts.appendleft(relation)
    return "".join(parts)


def _lines(link: ExceptionLink) -> Iterator[str]:
    if link.drawn:
        yield link.drawn
        return
    if link.frames:
        yield "Traceback (most recent call last):\n"
        yield from traceback.StackSummary.from_list([(*frame[:3], None) for frame in link.frames]).format()
    yield link.headline
