"""A buffer for what a task writes and displays between two looks, reduced to what is visible in the end.

An animation (a display that is updated in a loop, or cleared and made anew) makes more in a second than a client can
take, so displays that were replaced before they were sent are dropped. So is what would exceed :data:`MAX_DISPLAYS` at
one time. Text is never dropped here, because ``future.logs`` has it also when it is no longer shown; the caller has to
limit it.
"""

import json
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import NamedTuple, TypeAlias, cast

from scaler_notebook.protocol.messages import DisplayKind, LogStream
from scaler_notebook.quantities import format_bytes

MAX_DISPLAYS = 32_000_000  # bytes of displays that a task may have at one time
DISPLAY_COST = 512  # bytes that a display counts beside its own, which limits the number of small ones
NOTE_RESERVE = 64 * 1024  # bytes beyond the limit for notes about displays that are not shown
RATE = 64 * 1024 * 1024  # bytes of displays a second; a client can take several times as many

Text: TypeAlias = tuple[LogStream, str]
Body: TypeAlias = tuple[bytes, bytes]  # bundle and metadata, as JSON


class BufferedDisplay(NamedTuple):
    """A display, as in :class:`~scaler_notebook.protocol.messages.TaskDisplay`."""

    kind: DisplayKind
    display_id: str
    bundle: bytes
    metadata: bytes

    @property
    def size(self) -> int:
        """The size of bundle and metadata in bytes."""
        return len(self.bundle) + len(self.metadata)


class _Pending:
    """A display that was not taken yet; displays of one id share their body."""

    __slots__ = ("content", "display_id", "kind")

    def __init__(self, kind: DisplayKind, display_id: str, content: "_DisplayBody") -> None:
        self.kind, self.display_id, self.content = kind, display_id, content


class _DisplayBody:
    __slots__ = ("body", "read")

    def __init__(self, read: Callable[[], Body]) -> None:
        self.read = read
        self.body: Body | None = None

    def get(self) -> Body:
        if self.body is None:
            self.body = self.read()
        return self.body


class DisplayBuffer:
    """The buffer of one task. Not thread-safe."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin with the next task."""
        self._wiped: list[Text] = []  # text before the last clear, which has removed the displays
        self._pieces: list[Text | _Pending] = []
        self._clear_on_next: int | None = None  # how many pieces are removed when something new comes
        self._contents: dict[str, _DisplayBody] = {}  # of the displays among the pieces, by id
        self._shown: dict[str, tuple[int, int]] = {}  # by display id: bytes of each, and how many
        self._displayed = 0  # bytes

    def write(self, stream: LogStream, text: str) -> None:
        """Add text that the task has written."""
        self._clear_if_due()
        self._pieces.append((stream, text))

    def display(self, kind: DisplayKind, display_id: str, size: int, read: Callable[[], Body]) -> None:
        """Add a display, an update or a clear.

        Parameters
        ----------
        kind
            What to do.
        display_id
            IPython's id of the display; empty for none.
        size
            The size of the body in bytes.
        read
            Returns the body. Called at most once, by :meth:`read_bodies` or :meth:`take`, and not if nobody will see
            it.
        """
        if kind in (DisplayKind.CLEAR, DisplayKind.CLEAR_ON_NEXT):
            self._clear(kind)
            return
        size += len(display_id.encode(errors="replace")) + DISPLAY_COST
        before, times = self._shown.get(display_id, (0, 0)) if display_id else (0, 0)
        if kind is DisplayKind.UPDATE and not times:
            return  # no display of that id exists, or it was cleared
        shows = kind is DisplayKind.SHOW
        more = size * shows + (size - before) * times
        if self._displayed + max(0, more) > MAX_DISPLAYS:
            body = _not_shown(size)
            more = sum(map(len, body)) + DISPLAY_COST
            if self._displayed + more <= MAX_DISPLAYS + NOTE_RESERVE:
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
            content = _DisplayBody(read)
            if display_id:
                self._contents[display_id] = content
        else:  # all displays of one id change
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
        self._pieces.append(_Pending(kind, "", _DisplayBody(lambda: (b"{}", b"{}"))))

    def _clear_if_due(self) -> None:
        if self._clear_on_next is not None:
            self._wipe(self._clear_on_next)

    def _wipe(self, number: int) -> None:
        """Remove the first pieces; their text is retained."""
        self._wiped += [piece for piece in self._pieces[:number] if not isinstance(piece, _Pending)]
        del self._pieces[:number]
        self._clear_on_next = None
        self._contents.clear()

    def read_bodies(self) -> None:
        """Read the bodies of the displays that wait to be taken."""
        for piece in self._pieces:
            if isinstance(piece, _Pending):
                piece.content.get()

    def take(self) -> list[Text | BufferedDisplay]:
        """Return what there is to send, in order; consecutive texts of one stream are joined."""
        wiped, self._wiped = self._wiped, []
        pieces, self._pieces = self._pieces, []
        self._clear_on_next = None
        self._contents.clear()
        taken: list[Text | BufferedDisplay] = []
        for stream, run in groupby([*wiped, *pieces], lambda piece: None if isinstance(piece, _Pending) else piece[0]):
            if stream is None:
                for piece in run:
                    assert isinstance(piece, _Pending)
                    taken.append(BufferedDisplay(piece.kind, piece.display_id, *piece.content.get()))
            else:
                taken.append((stream, "".join(text for _, text in cast("Iterator[Text]", run))))
        return taken


def _not_shown(size: int) -> Body:
    kept = format_bytes(MAX_DISPLAYS)
    words = f"[a display of {format_bytes(size)} is not shown: a task's displays are kept up to {kept}]"
    return json.dumps({"text/plain": words}).encode(), b"{}"
