"""Events that a task on a worker sends to its client between the lines of its output.

Scaler's workers tell a client that a task has ended, and what it prints where that was asked for (``stream_output``):
each ``write`` becomes one ``TaskLog``. So anything else travels as a ``write`` of its own: an OSC sequence with JSON in
it, which a terminal would not show.
"""

import json
from dataclasses import asdict, fields
from typing import Any, TypeAlias

from scaler_notebook.protocol.errors import ProtocolError
from scaler_notebook.protocol.frozen import frozen
from scaler_notebook.protocol.messages import DisplayKind
from scaler_notebook.wording import with_article

BEGIN, END = "\x1b]scaler_notebook;", "\x07"


@frozen
class StartedEvent:
    """The task's code runs.

    Parameters
    ----------
    pid
        The process that runs the task.
    host
        The name of that process's machine.
    mailbox
        The mailbox for a cancel request (hex); empty if the task cannot be asked to stop.
    """

    pid: int
    host: str
    mailbox: str = ""


@frozen
class MailboxEvent:
    """A new mailbox for cancel requests replaces the former one, which was read."""

    mailbox: str


@frozen
class StoppedEvent:
    """The task was asked to stop, and has stopped; its process waits to be ended."""


@frozen
class EndedEvent:
    """The task has ended well, and its value stays at the cluster: a :class:`~.envelope.ResultHeader` as text."""

    ended: str


@frozen
class ProgressEvent:
    """The progress of the task, as in :class:`~scaler_notebook.protocol.messages.TaskProgress`."""

    done: float
    total: float
    note: str
    rate: float = -1.0
    unit: str = ""


@frozen
class DisplayEvent:
    """A display of the task, as in :class:`~scaler_notebook.protocol.messages.TaskDisplay`.

    Parameters
    ----------
    kind
        The value of a :class:`~scaler_notebook.protocol.messages.DisplayKind`.
    display_id
        IPython's id of the display; empty for none.
    bundle, metadata
        JSON texts.
    """

    kind: str
    display_id: str
    bundle: str
    metadata: str


InbandEvent: TypeAlias = StartedEvent | MailboxEvent | StoppedEvent | EndedEvent | ProgressEvent | DisplayEvent
_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (StartedEvent, MailboxEvent, StoppedEvent, EndedEvent, ProgressEvent, DisplayEvent)
}


def encode(event: InbandEvent) -> str:
    """Return an event as text, to be written in one piece."""
    return f"{BEGIN}{json.dumps([type(event).__name__, asdict(event)])}{END}"


def decode(text: str) -> InbandEvent | None:
    """Return the event that a piece of output is; None if it is ordinary output.

    Raises
    ------
    ProtocolError
        The text begins like an event and is none.
    """
    if not text.startswith(BEGIN):
        return None
    try:
        name, values = json.loads(text.removeprefix(BEGIN).removesuffix(END))
        event: InbandEvent = _KINDS[name](**values)
        _check(event)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ProtocolError(f"an in-band event of a task that cannot be read: {error}") from error
    return event


def _check(event: InbandEvent) -> None:
    """Raise unless the fields of an event have the annotated types and meaningful values."""
    for each in fields(event):
        value = getattr(event, each.name)
        if each.type is float and isinstance(value, int):
            float(value)  # raises for an integer that is too large for a float
        elif not isinstance(value, each.type):  # type: ignore[arg-type]
            raise TypeError(f"{each.name} is {with_article(type(value).__name__)}")
    if isinstance(event, StartedEvent | MailboxEvent) and len(bytes.fromhex(event.mailbox)) not in (0, 32):
        raise ValueError(f"no mailbox: {event.mailbox!r}")
    if isinstance(event, DisplayEvent):
        DisplayKind(event.kind)
