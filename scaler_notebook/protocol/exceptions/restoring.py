"""The exception of a task in its client: made again from what the task has sent."""

from typing import Any

from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.errors import ProtocolError
from scaler_notebook.protocol.messages import Payload
from scaler_notebook.wording import with_article

from . import tracebacks
from .exception_parts import members_of, notes_of
from .failures import ExceptionLink, load_failure
from .tracebacks import FrameRecord


def restore(payload: Payload) -> BaseException:
    """Return the exception of a failed task as it was in the task: with its chain, notes, group members and traceback.

    Raises
    ------
    ProtocolError
        The payload holds something else.
    """
    failure = load_failure(payload)
    links = failure.links
    errors: list[BaseException | None] = [_loaded(link) for link in links]
    for link, error in zip(links, errors, strict=True):  # use a group's own members, not copies
        for member, number in zip(members_of(error) if error is not None else (), link.members, strict=False):
            if number >= 0:
                errors[number] = member
    for number in reversed(range(len(links))):  # members before their groups
        if errors[number] is None:
            errors[number] = _group_in_words(links[number], errors)
    boundary: tuple[FrameRecord, ...] = ()
    if failure.where:
        boundary = (FrameRecord(f"<{failure.where}>", 1, "<module>", 1),)
        tracebacks.cache_source(boundary[0].file, failure.call)
    in_group = {number for link in links for number in link.members}
    for number, link in enumerate(links):
        error = errors[number]
        assert error is not None
        _attach(error, link, errors, () if number in in_group else boundary)
    assert errors[0] is not None
    return errors[0]


def _loaded(link: ExceptionLink) -> BaseException | None:
    """Load the exception of a link; None for a group that has to be made from its members."""
    try:
        error = payloads.load(link.exception)
    except Exception as problem:  # its class does not exist on this side
        if link.members:
            return None
        return RuntimeError(f"{link.headline.strip()} (the exception itself cannot be loaded here: {problem})")
    if error is None and link.members:
        return None
    if not isinstance(error, BaseException):
        raise ProtocolError(f"an exception that is {with_article(type(error).__name__)}")
    return error


def _group_in_words(link: ExceptionLink, errors: list[BaseException | None]) -> BaseException:
    text = f"{link.headline.strip()} (the exception itself cannot be pickled or loaded)"
    members = [errors[number] for number in link.members if number >= 0]
    try:
        kind: Any = BaseExceptionGroup  # type: ignore[name-defined, unused-ignore]  # Python 3.11
        group: BaseException = kind(text, [member for member in members if member is not None])
    except (NameError, ValueError):  # Python 3.10, or no member is left
        return RuntimeError(text)
    return group


def _attach(
    error: BaseException, link: ExceptionLink, errors: list[BaseException | None], boundary: tuple[FrameRecord, ...]
) -> None:
    """Set the traceback, cause, context and notes of a restored exception.

    Parameters
    ----------
    error
        The exception.
    link
        The link that the exception was made from.
    errors
        The restored exceptions by the index of their link.
    boundary
        The extra frame in front of the traceback; empty for none.
    """
    # Past the exception's own __setattr__: an exception may be a frozen dataclass.
    attach = BaseException.__setattr__
    traceback = tracebacks.rebuilt((*boundary, *link.frames))
    attach(error, "__traceback__", traceback)
    cause, context = (errors[number] if number >= 0 else None for number in (link.cause, link.context))
    attach(error, "__cause__", cause)
    attach(error, "__context__", context)
    attach(error, "__suppress_context__", link.suppress_context)
    present = notes_of(error)
    missing = [note for note in link.notes if note not in present]
    if missing and hasattr(BaseException, "add_note") and not _in_words(error, link):
        attach(error, "__notes__", [*present, *missing])


def _in_words(error: BaseException, link: ExceptionLink) -> bool:
    """Return whether an exception is a substitute, whose text has the notes already."""
    try:
        return link.headline.strip() in str(error)
    except Exception:  # its own __str__ raises
        return False
