"""What a task wrote and displayed, as it arrived."""

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..protocol.messages import DisplayKind, LogStream, TaskDisplay

Text: TypeAlias = tuple[LogStream, str]


@dataclass(frozen=True, slots=True)
class Logs:
    """What a task wrote so far. Prints as both streams, one after the other."""

    stdout: str
    stderr: str

    def __str__(self) -> str:
        return self.stdout + self.stderr


@dataclass(frozen=True, slots=True)
class Display:
    """Something that a task displays.

    Parameters
    ----------
    bundle
        By MIME type, as in a notebook's file: images are base64 text.
    metadata
        As in a notebook's file.
    display_id
        What it can be updated by; empty if it cannot.
    """

    bundle: Mapping[str, Any]
    metadata: Mapping[str, Any]
    display_id: str = ""


Piece: TypeAlias = Text | Display


class _Arrived:
    """A display that is decoded by whoever looks at it first: not on the agent's thread."""

    __slots__ = ("_display", "_message", "display_id")

    def __init__(self, message: TaskDisplay) -> None:
        self._message: TaskDisplay | None = message
        self._display: Display | None = None
        self.display_id = message.display_id

    def display(self) -> Display:
        message = self._message
        if self._display is None and message is not None:
            try:
                bundle, metadata = (json.loads(bytes(p.data)) for p in (message.bundle, message.metadata))
                if not isinstance(bundle, dict) or not isinstance(metadata, dict):
                    raise ValueError("no JSON objects")
            except ValueError as error:  # a query never raises
                bundle, metadata = {"text/plain": f"[a display that cannot be read: {error}]"}, {}
            self._display = Display(bundle, metadata, self.display_id)
            self._message = None
        assert self._display is not None
        return self._display


class Output:
    """Grows while the task runs, by the agent's thread; read by any. How large it can get is the engine's to bound."""

    __slots__ = ("_clear_on_next", "_shown", "_texts", "displayed")

    def __init__(self) -> None:
        self._texts: list[Text] = []  # all that it wrote
        self._shown: list[Text | _Arrived] = []  # what a notebook would show of it
        self._clear_on_next = False
        self.displayed = 0  # displays so far, whatever became of them

    def add(self, stream: LogStream, text: str) -> None:
        """Keep what it wrote."""
        self._clear_if_due()
        self._texts.append((stream, text))
        self._shown.append((stream, text))

    def add_display(self, message: TaskDisplay) -> None:
        """Keep what it displays, or do what the message says to what it has displayed."""
        self.displayed += message.kind is DisplayKind.SHOW
        match message.kind:
            case DisplayKind.SHOW | DisplayKind.UPDATE:
                self._clear_if_due()
                arrived = _Arrived(message)
                if message.display_id:  # all of the same id change, as in a notebook
                    self._shown = [arrived if _has_id(part, message.display_id) else part for part in self._shown]
                if message.kind is DisplayKind.SHOW:
                    self._shown.append(arrived)
            case DisplayKind.CLEAR:
                self._shown = []
            case DisplayKind.CLEAR_ON_NEXT:
                self._clear_on_next = True

    def _clear_if_due(self) -> None:
        if self._clear_on_next:
            self._clear_on_next, self._shown = False, []

    def logs(self) -> Logs:
        """All that it wrote, by stream."""
        parts = list(self._texts)
        out, err = ("".join(text for stream, text in parts if stream is wanted) for wanted in LogStream)
        return Logs(out, err)

    def texts(self, start: int) -> list[Text]:
        """What it wrote, in order, but for the first ``start`` pieces."""
        return self._texts[start:]

    def displays(self) -> tuple[Display, ...]:
        """Those that a notebook would show."""
        return tuple(part.display() for part in list(self._shown) if isinstance(part, _Arrived))

    def pieces(self) -> tuple[Piece, ...]:
        """Text and displays that a notebook would show, in order; no text follows another of the same stream."""
        return tuple(_joined(list(self._shown)))

    def tail(self, size: int) -> tuple[str, bool]:
        """The last ``size`` characters of the text among :meth:`pieces`, and whether there were more."""
        parts: list[str] = []
        length = 0
        for part in reversed(self._shown):
            if isinstance(part, _Arrived):
                continue
            parts.append(part[1])
            length += len(part[1])
            if length > size:
                break
        return "".join(reversed(parts))[-size:], length > size


def _has_id(part: Text | _Arrived, display_id: str) -> bool:
    return isinstance(part, _Arrived) and part.display_id == display_id


def _joined(parts: list[Text | _Arrived]) -> Iterator[Piece]:
    for stream, run in itertools.groupby(parts, lambda part: None if isinstance(part, _Arrived) else part[0]):
        if stream is None:
            yield from (part.display() for part in run if isinstance(part, _Arrived))
        else:
            yield stream, "".join(part[1] for part in run if not isinstance(part, _Arrived))
