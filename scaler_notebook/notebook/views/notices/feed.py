"""The notices of a notebook: one widget, whose model alone does the work; its view asks for permission."""

from pathlib import Path

from scaler_notebook.notebook.settings_store import settings
from scaler_notebook.notebook.views import modules
from scaler_notebook.notebook.views.feed import Content, Feed, ViewHost, ViewWidget
from scaler_notebook.notebook.views.front_end import FrontEnd
from scaler_notebook.notebook.views.publisher import publisher

from .watch import Look, watch

INTERVAL = 1.0  # seconds between two looks

_FRONT_END = FrontEnd(
    modules.joined(Path(__file__).with_name("notices.js")), Path(__file__).with_name("notices.css").read_text("utf-8")
)


class NoticeFeed(Feed):
    """Tells pages what has ended, for as long as one listens and ``%scaler config notify`` is on.

    Parameters
    ----------
    host
        The host of the kernel.
    place
        The name of what the views cover in a page; empty if they are shown as widgets are.
    """

    def __init__(self, host: ViewHost, place: str = "") -> None:
        super().__init__(host, ViewWidget(_FRONT_END, host, place))
        self._looking = False
        self._found = Look([], 0, [])
        self._told: Content = {}

    def publish(self) -> None:
        """Send what is new, and begin to look if a page listens."""
        if not self._looking and self.views and settings.notify:
            self._looking = True
            publisher.call_later(0, self._look)
        super().publish()

    def _look(self) -> None:
        """Look at all views, and go on, unless nobody listens any more; on the publisher's thread."""
        if self.closed or not self.views or not settings.notify:
            self._looking = False
            watch.rest()
            publisher.mark(self)
            return
        publisher.call_later(INTERVAL, self._look)  # first: what one look raises ends no later one
        found = watch.look(settings.notify)
        self._found = found._replace(ended=[*self._found.ended, *found.ended])
        publisher.mark(self)

    def snapshot(self) -> Content:
        """Build a message with what is so now; on the publisher's thread."""
        found, self._found = self._found, self._found._replace(ended=[])
        content: Content = {
            "type": "notices",
            "after": settings.notify,
            "sound": bool(settings.notify_sound),
            "running": found.running if settings.notify else 0,
            "places": found.places,
        }
        self._told = content
        return {**content, "ended": [notice._asdict() for notice in found.ended]}

    def changes(self) -> Content | None:
        """Build a message, unless nothing has changed."""
        ended, told = self._found.ended, self._told
        content = self.snapshot()
        return content if ended or self._told != told else None

    def act(self, content: Content) -> bool:
        """Return False: its views ask the kernel for nothing."""
        return False
