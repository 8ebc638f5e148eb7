"""The output of a task: what it wrote and displayed, as it arrived."""

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Any, TypeAlias, TypeVar

from scaler_notebook.protocol.frozen import frozen
from scaler_notebook.protocol.messages import DisplayKind, LogStream, Payload, TaskDisplay

from . import output_budget

NO_METADATA = Payload(b"{}")

Text: TypeAlias = tuple[LogStream, str]


@frozen
class Logs:
    """The text that a task has written so far. Printed, both streams follow one another."""

    stdout: str
    stderr: str

    def __str__(self) -> str:
        return self.stdout + self.stderr


@frozen
class Display:
    """A display of a task.

    Parameters
    ----------
    bundle
        By MIME type, as in a notebook's file: images are base64 text.
    metadata
        As in a notebook's file.
    display_id
        The id by which it can be updated; empty if it cannot.
    """

    bundle: Mapping[str, Any]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    display_id: str = ""


Piece: TypeAlias = Text | Display


class _LazyDisplay:
    """A display that is decoded by whoever looks at it first, and not on the agent's thread."""

    __slots__ = ("_what", "size")

    def __init__(self, message: TaskDisplay) -> None:
        self._what: TaskDisplay | Display = message
        self.size = message.bundle.nbytes  # in bytes, as it came

    def display(self) -> Display:
        """Return the decoded display."""
        what = self._what
        if isinstance(what, TaskDisplay):
            self._what = what = decoded(what.bundle, what.metadata, what.display_id)
        return what


class _DisplaySlot:
    """A position among the output, whose content changes when its display is updated."""

    __slots__ = ("content",)

    def __init__(self, content: _LazyDisplay) -> None:
        self.content = content

    def display(self) -> Display:
        """Return the decoded display that is in this position now."""
        return self.content.display()


class Output:
    """The output of one task, written by the agent's thread, read by any. The engine bounds how large it can get."""

    __slots__ = (
        "__weakref__",
        "_clear_on_next",
        "_places",
        "_shown",
        "_size",
        "_texts",
        "displayed",
        "over",
        "rewrites",
    )

    def __init__(self) -> None:
        self.over = False  # whether the task has ended
        self._size = 0  # of all that is kept, in characters and bytes
        self._texts: list[Text] = []  # all text
        self._shown: list[Text | _DisplaySlot] = []  # what a notebook would show
        self._places: dict[str, list[_DisplaySlot]] = {}  # the slots among them, by display id
        self._clear_on_next = False
        self.displayed = 0  # how many displays came, those that were cleared included
        self.rewrites = 0  # how often text that was shown has been cleared, or cut

    def add(self, stream: LogStream, text: str) -> None:
        """Keep text that the task has written.

        Parameters
        ----------
        stream
            The stream that the task has written to.
        text
            The text.
        """
        self._clear_if_due()
        self._texts.append((stream, text))
        self._shown.append((stream, text))
        self._account(len(text))

    def add_display(self, message: TaskDisplay) -> None:
        """Keep what the task displays, or do what the message says to earlier displays."""
        self.displayed += message.kind is DisplayKind.SHOW
        if message.kind is DisplayKind.SHOW:
            self._account(message.bundle.nbytes)
        match message.kind:
            case DisplayKind.SHOW | DisplayKind.UPDATE:
                self._clear_if_due()
                content = _LazyDisplay(message)
                for place in self._places.get(message.display_id, ()):  # all displays of an id change, as in a notebook
                    place.content = content
                if message.kind is DisplayKind.SHOW:
                    self._shown.append(arrived := _DisplaySlot(content))
                    if message.display_id:
                        self._places.setdefault(message.display_id, []).append(arrived)
            case DisplayKind.CLEAR:
                self._clear()
            case DisplayKind.CLEAR_ON_NEXT:
                self._clear_on_next = True

    def _account(self, size: int) -> None:
        """Count characters or bytes that came, and tell the budget."""
        self._size += size
        output_budget.budget.add(self, size)

    def __del__(self) -> None:
        output_budget.budget.forget(self, getattr(self, "_size", 0))  # no size if an interrupt came within __init__

    def trim(self, kept: int) -> int:
        """Keep ``kept`` characters of text, half from the begin and half from the end, and small displays.

        On an agent's thread, once the task has ended.

        Returns
        -------
        int
            How many characters and bytes were dropped.
        """
        before = sum(len(text) for _, text in self._texts)
        if before > kept:
            self._texts = _cut(self._texts, kept, before)
            shown = sum(len(part[1]) for part in self._shown if not isinstance(part, _DisplaySlot))
            if shown > kept:
                self.rewrites += 1
                self._shown = _cut(self._shown, kept, shown)
        left = sum(len(text) for _, text in self._texts) + self._trim_displays(kept)
        less, self._size = self._size - left, left
        return less

    def _trim_displays(self, kept: int) -> int:
        """Drop displays beyond ``kept`` bytes, and leave a note in their place; return how many bytes are left."""
        left = dropped = 0
        note: _DisplaySlot | None = None
        shown: list[Text | _DisplaySlot] = []
        for part in self._shown:
            if isinstance(part, _DisplaySlot):
                size = part.content.size
                if left + size > kept:
                    dropped += size
                    if note is None:
                        shown.append(note := _DisplaySlot(part.content))
                    continue
                left += size
            shown.append(part)
        if note is not None:
            note.content = _note(dropped)
            self._shown, self._places = shown, {}
        return left

    def _clear_if_due(self) -> None:
        """Clear what is shown, if the task has asked for that at its next output."""
        if self._clear_on_next:
            self._clear_on_next = False
            self._clear()

    def _clear(self) -> None:
        """Clear what is shown."""
        self.rewrites += 1  # first: whoever reads this, and then the text, takes no new text for the old one's end
        self._shown, self._places = [], {}

    def logs(self) -> Logs:
        """Return all text, by stream."""
        parts = list(self._texts)
        out, err = ("".join(text for stream, text in parts if stream is wanted) for wanted in LogStream)
        return Logs(out, err)

    def displays(self) -> tuple[Display, ...]:
        """Return the displays that a notebook would show."""
        return tuple(part.display() for part in list(self._shown) if isinstance(part, _DisplaySlot))

    def pieces(self) -> tuple[Piece, ...]:
        """Return text and displays that a notebook would show, in order; no text follows another of the same stream."""
        return tuple(_joined(list(self._shown)))

    def tail(self, size: int) -> tuple[str, bool]:
        """Return the last ``size`` characters of the text among :meth:`pieces`, and whether there were more."""
        parts: list[str] = []
        length = 0
        for part in reversed(self._shown):
            if isinstance(part, _DisplaySlot):
                continue
            parts.append(part[1])
            length += len(part[1])
            if length > size:
                break
        return "".join(reversed(parts))[-size:], length > size


def _note(size: int) -> _LazyDisplay:
    """Return what is in the place of displays of ``size`` bytes that are not kept."""
    text = f"[displays of {size:,} bytes are not kept: what the tasks of this session have written is too much]"
    return _LazyDisplay(TaskDisplay("", Payload(json.dumps({"text/plain": text}).encode()), NO_METADATA))


P = TypeVar("P", Text, "Text | _DisplaySlot")


def _cut(parts: list[P], kept: int, size: int) -> list[P]:
    """Return the parts without the middle of their text, and with a note in its place.

    Parameters
    ----------
    parts
        Text and displays.
    kept
        How many characters of text are kept.
    size
        How many characters of text the parts have.
    """
    note = f"\n[{size - kept:,} characters are not kept: what the tasks of this session have written is too much]\n"
    found: list[Any] = []
    seen, said = 0, False
    for part in parts:
        if isinstance(part, _DisplaySlot):
            found.append(part)
            continue
        stream, text = part
        begin, seen = seen, seen + len(text)
        head, tail = text[: max(0, kept // 2 - begin)], text[max(0, size - kept // 2 - begin) :]
        if seen <= kept // 2 or begin >= size - kept // 2:
            found.append(part)
            continue
        if head:
            found.append((stream, head))
        if not said:
            said = True
            found.append((LogStream.STDERR, note))
        if tail and seen > size - kept // 2:
            found.append((stream, tail))
    return found


def decoded(bundle: Payload, metadata: Payload = NO_METADATA, display_id: str = "") -> Display:
    """Return a display as it came from the engine, or one that says why it cannot be read.

    Parameters
    ----------
    bundle
        The content by MIME type, as JSON.
    metadata
        The metadata, as JSON.
    display_id
        The id by which it can be updated; empty if it cannot.
    """
    try:
        forms, more = (json.loads(bytes(payload.data)) for payload in (bundle, metadata))
        if not isinstance(forms, dict) or not isinstance(more, dict):
            raise ValueError("no JSON objects")
    except ValueError as error:  # a query never raises
        forms, more = {"text/plain": f"[a display that cannot be read: {error}]"}, {}
    return Display(forms, more, display_id)


def _joined(parts: list[Text | _DisplaySlot]) -> Iterator[Piece]:
    """Yield the parts, with successive texts of one stream as one."""
    for stream, run in itertools.groupby(parts, lambda part: None if isinstance(part, _DisplaySlot) else part[0]):
        if stream is None:
            yield from (part.display() for part in run if isinstance(part, _DisplaySlot))
        else:
            yield stream, "".join(part[1] for part in run if not isinstance(part, _DisplaySlot))
