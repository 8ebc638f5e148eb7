"""The display of notices, which ``%scaler config notify=60`` shows: whether the browser lets us tell."""

from scaler_notebook.notebook.kernel.host import KernelHost, kernel_host
from scaler_notebook.notebook.settings_store import settings
from scaler_notebook.notebook.views.live_display import LiveDisplay, listen
from scaler_notebook.notebook.views.publisher import publisher
from scaler_notebook.notebook.views.static.static_html import CARD, MUTED

from .feed import NoticeFeed

_feed: NoticeFeed | None = None  # the notebook's one


class NoticeView(LiveDisplay):
    """One display of the notices.

    Parameters
    ----------
    host
        The kernel that it is displayed in.
    """

    def __init__(self, host: KernelHost) -> None:
        super().__init__(host)
        self.feed = NoticeFeed(host, self.place)

    def publish(self) -> None:
        """Send the static forms again; on the publisher's thread."""
        self.send(None if self._fallback else self.feed.widget, update=True)

    def static_forms(self) -> dict[str, str]:
        """Return what is shown where no widget is, by MIME type."""
        words = words_of_setting()
        return {"text/plain": words, "text/html": f'<div style="{CARD}"><span style="{MUTED}">{words}</span></div>'}

    def is_unseen(self) -> bool:
        """Return whether no front end has shown the live view yet."""
        return not self.feed.ready

    def is_met(self) -> bool:
        """Return whether a front end has made the model."""
        return self.feed.met


def words_of_setting() -> str:
    """Return what the setting means, in words."""
    if not settings.notify:
        return "no notices: %scaler config notify=60 tells the end of what was shown for a minute or longer"
    return f"the end of what was shown for {settings.notify:g} s or longer is told in this browser"


def show() -> None:
    """Display the notices in the cell that runs, in place of an earlier display."""
    global _feed
    host = kernel_host()
    if host is None:
        print(words_of_setting())
        return
    if _feed is not None:
        _feed.close()
    listen(host.shell)
    view = NoticeView(host)
    _feed = view.feed
    view.send(view.feed.widget, update=False)
    view.expect_front_end()
    publisher.mark(view.feed)
