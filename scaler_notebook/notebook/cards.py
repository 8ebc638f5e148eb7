"""The live card of one future: what its widget shows, and what its buttons do."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..client.future import ScalerFuture
from ..client.lifecycle import TaskLifecycle
from . import rows
from .bridge import KernelHost
from .feed import Content, Feed, ViewWidget
from .preview import Preview
from .publisher import publisher

TOO_LATE = "It had already ended when the click arrived; how it ended stands."

SCRIPT = Path(__file__).with_name("card.js").read_text("utf-8")
STYLE = Path(__file__).with_name("card.css").read_text("utf-8")


class CardWidget(ViewWidget):
    """The widget of one card."""

    def __init__(self) -> None:
        super().__init__(SCRIPT, STYLE)


class CardFeed(Feed):
    """Keeps the views of one card current until its future has ended, and answers clicks until it is closed.

    Parameters
    ----------
    future
        What it shows.
    host
        The kernel.
    preview
        Of the result.
    noted
        Called when there is a new note.
    earlier
        What an earlier run of the same cell has left running.
    """

    def __init__(
        self,
        future: ScalerFuture[Any],
        host: KernelHost,
        preview: Preview,
        noted: Callable[[], None] = lambda: None,
        earlier: Sequence[ScalerFuture[Any]] = (),
    ) -> None:
        super().__init__(host, CardWidget())
        self._noted = noted
        self._earlier = earlier
        self.note: str | None = None  # a remark for the person who looks
        self._shows: tuple[ScalerFuture[Any], Preview] | None = future, preview
        self._last: Content = {}
        self._rich: str | None = None  # that the views have
        preview.watch(self._changed)
        for watched in (future, *earlier):
            watched.watch(self._changed)
        self._changed(future)

    def snapshot(self) -> Content:
        if self._shows is None:
            return self._last
        future, preview = self._shows
        row = rows.row(future, preview.text, preview.html)
        running = [left for left in self._earlier if not left.done()]
        earlier = {"running": len(running), "refused": any(left.refused for left in running)}
        return {"type": "row", "row": row, "note": self.note, "earlier": earlier}

    def changes(self) -> Content:
        content = self.snapshot()
        row = content["row"]
        if row["rich"] is not None and row["rich"] == self._rich:
            content["row"] = {name: value for name, value in row.items() if name != "rich"}  # figures may be large
        self._rich = row["rich"]
        return content

    def act(self, content: Content) -> bool:
        match content:
            case {"type": "cancel", "force": bool(force)}:
                if self._shows is None or not self._shows[0].request_cancel_unfinished(force):
                    self.note = TOO_LATE
                    publisher.mark(self)
                    self._noted()
                return True
            case {"type": "cancel_earlier", "force": bool(force)}:
                for future in self._earlier:
                    future.request_cancel_unfinished(force)
                return True
        return False

    def retire(self) -> None:
        """What is still shown keeps no future alive, and so no result."""
        self._last = self.snapshot()
        self._let_go()
        super().retire()

    def close(self) -> None:
        self._let_go()
        super().close()

    def _let_go(self) -> None:
        shows, earlier = self._shows, self._earlier
        for watched in (*(shows[:1] if shows is not None else ()), *earlier):
            watched.unwatch(self._changed)
        self._shows, self._earlier, self._noted = None, (), lambda: None

    def _changed(self, future: TaskLifecycle) -> None:
        shows = self._shows
        if shows is not None and shows[0].done():
            shows[1].ask()
        publisher.mark(self)
