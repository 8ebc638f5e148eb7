"""What a task writes and displays between two looks at it: as little as shows the same in the end.

An animation (a display that is updated in a loop, or cleared and made anew) makes more in a second than a client can
take: of what is replaced before it was sent, nothing is. Nor is what would be more than :data:`MAX_DISPLAYS` at one
time. Text is for the caller to bound, and never lost here: it is in ``future.logs`` when it is shown no more.
"""

import json
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import NamedTuple, TypeAlias, cast

from scaler_notebook.protocol.messages import DisplayKind, LogStream
from scaler_notebook.quantities import format_bytes

MAX_DISPLAYS = 32_000_000  # bytes of displays that a task may have at one time
DISPLAY_COST = 512  # bytes that a display counts beside its own, so that there are not too many small ones
LAST_WORDS = 64 * 1024  # bytes beyond the bound for saying what is not shown; after that it is not said any more
RATE = 64 * 1024 * 1024  # bytes of displays a second; a client takes several times as many

Text: TypeAlias = tuple[LogStream, str]
Body: TypeAlias = tuple[bytes, bytes]  # bundle and metadata, as JSON


class Display(NamedTuple):
    """As :class:`~scaler_notebook.protocol.messages.TaskDisplay`."""

    kind: DisplayKind
    display_id: str
    bundle: bytes
    metadata: bytes

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.bundle) + len(self.metadata)


class _Pending:
    """A display that was not taken yet, its body shared by all of its id."""

    __slots__ = ("content", "display_id", "kind")

    def __init__(self, kind: DisplayKind, display_id: str, content: "_Content") -> None:
        self.kind, self.display_id, self.content = kind, display_id, content


class _Content:
    __slots__ = ("body", "read")

    def __init__(self, read: Callable[[], Body]) -> None:
        self.read = read
        self.body: Body | None = None

    def get(self) -> Body:
        if self.body is None:
            self.body = self.read()
        return self.body


class Screen:
    """Of one task. Not for several threads at a time."""

    def __init__(self) -> None:
        self.start_over()

    def start_over(self) -> None:
        """The next task begins."""
        self._wiped: list[Text] = []  # text before the last clear; displays before that are gone
        self._pieces: list[Text | _Pending] = []
        self._clear_on_next: int | None = None  # how many pieces are shown until something new comes
        self._contents: dict[str, _Content] = {}  # of the displays among the pieces, by id
        self._shown: dict[str, tuple[int, int]] = {}  # by display id: how many bytes each, how often
        self._displayed = 0  # bytes

    def write(self, stream: LogStream, text: str) -> None:
        """It writes."""
        self._clear_if_due()
        self._pieces.append((stream, text))

    def display(self, kind: DisplayKind, display_id: str, size: int, read: Callable[[], Body]) -> None:
        """It displays, updates or clears.

        Parameters
        ----------
        size
            Of the body, in bytes.
        read
            Gives the body; called at most once, by :meth:`settle` or :meth:`take`, and not if nobody will see it.
        """
        if kind in (DisplayKind.CLEAR, DisplayKind.CLEAR_ON_NEXT):
            self._clear(kind)
            return
        size += len(display_id.encode(errors="replace")) + DISPLAY_COST
        before, times = self._shown.get(display_id, (0, 0)) if display_id else (0, 0)
        if kind is DisplayKind.UPDATE and not times:
            return  # there is nothing of that id to be updated, or it was cleared
        shows = kind is DisplayKind.SHOW
        more = size * shows + (size - before) * times
        if self._displayed + max(0, more) > MAX_DISPLAYS:
            body = _not_shown(size)
            more = sum(map(len, body)) + DISPLAY_COST
            if self._displayed + more <= MAX_DISPLAYS + LAST_WORDS:
                self._displayed += more
                self._add(DisplayKind.SHOW, "", lambda: body)
            return
        self._displayed += more
        if display_id:
            self._shown[display_id] = size, times + shows
        self._add(kind, display_id, read)

    def _add(self, kind: DisplayKind, display_id: str, read: Callable[[], Body]) -> None:
        self._clear_if_due()
        content = self._contents.get(display_id)
        if content is None:
            content = _Content(read)
            if display_id:
                self._contents[display_id] = content
        else:  # of one id, all change
            content.read, content.body = read, None
            if kind is DisplayKind.UPDATE:
                return
        self._pieces.append(_Pending(kind, display_id, content))

    def _clear(self, kind: DisplayKind) -> None:
        self._shown.clear()
        self._displayed = 0
        if kind is DisplayKind.CLEAR:
            self._wipe(len(self._pieces))
        else:
            self._clear_on_next = len(self._pieces)
        self._pieces.append(_Pending(kind, "", _Content(lambda: (b"{}", b"{}"))))

    def _clear_if_due(self) -> None:
        if self._clear_on_next is not None:
            self._wipe(self._clear_on_next)

    def _wipe(self, number: int) -> None:
        """Nobody will see the first so many pieces."""
        self._wiped += [piece for piece in self._pieces[:number] if not isinstance(piece, _Pending)]
        del self._pieces[:number]
        self._clear_on_next = None
        self._contents.clear()

    def settle(self) -> None:
        """Read what is to be read of what waits to be taken."""
        for piece in self._pieces:
            if isinstance(piece, _Pending):
                piece.content.get()

    def take(self) -> list[Text | Display]:
        """What there is to be sent, in order; no text follows another of the same stream."""
        wiped, self._wiped = self._wiped, []
        pieces, self._pieces = self._pieces, []
        self._clear_on_next = None
        self._contents.clear()
        taken: list[Text | Display] = []
        for stream, run in groupby([*wiped, *pieces], lambda piece: None if isinstance(piece, _Pending) else piece[0]):
            if stream is None:
                for piece in run:
                    assert isinstance(piece, _Pending)
                    taken.append(Display(piece.kind, piece.display_id, *piece.content.get()))
            else:
                taken.append((stream, "".join(text for _, text in cast("Iterator[Text]", run))))
        return taken


def _not_shown(size: int) -> Body:
    kept = format_bytes(MAX_DISPLAYS)
    words = f"[a display of {format_bytes(size)} is not shown: a task's displays are kept up to {kept}]"
    return json.dumps({"text/plain": words}).encode(), b"{}"
