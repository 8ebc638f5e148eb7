"""What a task on a worker tells its client while it runs, between the lines of its output.

Scaler's workers tell a client of a task's end, and of what it prints when that was asked for (``stream_output``): each
``write`` becomes one ``TaskLog``. So what else there is to say travels as a ``write`` of its own: an OSC sequence with
JSON in it, which a terminal would not show.
"""

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeAlias

from scaler_notebook.protocol.errors import ProtocolError
from scaler_notebook.protocol.messages import DisplayKind

BEGIN, END = "\x1b]scaler_notebook;", "\x07"


@dataclass(frozen=True, slots=True)
class StartedEvent:
    """Its code runs, in process ``pid`` of ``host``; it can be asked to stop by way of ``mailbox`` (hex, or empty)."""

    pid: int
    host: str
    mailbox: str = ""


@dataclass(frozen=True, slots=True)
class MailboxEvent:
    """From now on it is asked to stop by way of this one."""

    mailbox: str


@dataclass(frozen=True, slots=True)
class StoppedEvent:
    """It was asked to stop, and has: its process waits to be ended."""


@dataclass(frozen=True, slots=True)
class EndedEvent:
    """It has ended well, and its value stays at the cluster: an :class:`~.envelope.ResultHeader` as text."""

    ended: str


@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """As :class:`~scaler_notebook.protocol.messages.TaskProgress`."""

    done: float
    total: float
    note: str


@dataclass(frozen=True, slots=True)
class DisplayEvent:
    """As :class:`~scaler_notebook.protocol.messages.TaskDisplay`, bundle and metadata as JSON text."""

    kind: str
    display_id: str
    bundle: str
    metadata: str


InbandEvent: TypeAlias = StartedEvent | MailboxEvent | StoppedEvent | EndedEvent | ProgressEvent | DisplayEvent
_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (StartedEvent, MailboxEvent, StoppedEvent, EndedEvent, ProgressEvent, DisplayEvent)
}


def encode(event: InbandEvent) -> str:
    """As text, to be written at once."""
    return f"{BEGIN}{json.dumps([type(event).__name__, asdict(event)])}{END}"


def decode(text: str) -> InbandEvent | None:
    """The event that a piece of output is; None if it is output.

    Raises
    ------
    ProtocolError
        It begins like a event and is none.
    """
    if not text.startswith(BEGIN):
        return None
    try:
        name, values = json.loads(text.removeprefix(BEGIN).removesuffix(END))
        event: InbandEvent = _KINDS[name](**values)
        _check(event)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ProtocolError(f"a event of a task that cannot be read: {error}") from error
    return event


def _check(event: InbandEvent) -> None:
    for each in fields(event):
        value = getattr(event, each.name)
        if each.type is float and isinstance(value, int):
            float(value)  # a whole number, and no greater than there are floats
        elif not isinstance(value, each.type):  # type: ignore[arg-type]
            raise TypeError(f"{each.name} is a {type(value).__name__}")
    if isinstance(event, StartedEvent | MailboxEvent) and len(bytes.fromhex(event.mailbox)) not in (0, 32):
        raise ValueError(f"no mailbox: {event.mailbox!r}")
    if isinstance(event, DisplayEvent):
        DisplayKind(event.kind)
