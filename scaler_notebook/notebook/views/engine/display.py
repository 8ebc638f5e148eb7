"""The display of an executor: a live view with its static forms beside it."""

import weakref

from scaler_notebook.client.engine_client import EngineClient
from scaler_notebook.notebook.kernel.host import KernelHost, kernel_host
from scaler_notebook.notebook.views.live_display import LIVE_INTERVAL, STATIC_INTERVAL, LiveDisplay, NewestViews, listen

from . import static_html
from .contents import ContentsReader
from .feed import ANSWER_TIME, EngineFeed

HOW_TO_SEE = "%scaler status says what it does now"
MAX_KEPT = 20  # views that stay live: later ones have the same buttons

_kept = NewestViews()


class EngineView(LiveDisplay):
    """One display of an executor; live for as long as it is among the newest.

    Parameters
    ----------
    host
        The kernel that it is displayed in.
    executor
        The executor; not held.
    """

    def __init__(self, host: KernelHost, executor: EngineClient) -> None:
        super().__init__(host)
        self._executor = weakref.ref(executor)
        self._described = repr(executor)
        self._reader = ContentsReader(self._executor)
        self._feed = EngineFeed(host, executor, self._changed, self.meet_front_end, self.place)

    def show(self) -> None:
        """Display it in the cell that runs."""
        self.send(self._feed.widget, update=False)
        self.expect_front_end()
        _kept.add(self, MAX_KEPT)

    def publish(self) -> None:
        """Send the static forms again, and the widget for who shows it itself; on the publisher's thread."""
        bare = self._fallback or self.closed or self._reader.is_over
        self.send(None if bare else self._feed.widget, update=True)

    def static_forms(self) -> dict[str, str]:
        """Return the view as it is now, as text and as HTML, by MIME type."""
        executor = self._executor()
        if executor is not None:
            self._described = repr(executor)
        self._reader.sample()
        contents = self._reader.read()
        words = static_html.text(self._described, contents)
        return {"text/plain": words, "text/html": static_html.html(contents, remark=HOW_TO_SEE)}

    runs = False  # a later view of the executor has the same buttons

    @property
    def is_left(self) -> bool:
        """Whether the executor is shut down, and no page shows it any more."""
        return self._reader.is_over and self._feed.is_left

    @property
    def closed(self) -> bool:
        """Whether there is no live view any more."""
        return self._feed.closed

    def close(self) -> None:
        """Close the live view; the static forms stay, as they are now."""
        self._feed.close()
        self.publish_now()

    def is_unseen(self) -> bool:
        """Return whether no front end has shown the live view yet."""
        return not self._feed.ready

    def is_met(self) -> bool:
        """Return whether a front end has made the model."""
        return self._feed.met

    def _changed(self) -> None:
        """Have the static forms say what is new: below a live view, which does not mind, or where there is none."""
        if self._covered or self._fallback:
            self.publish_within(LIVE_INTERVAL if self._feed.ready else STATIC_INTERVAL)
        elif self._reader.is_over and not self._bare:
            self.publish_within(STATIC_INTERVAL)


def show(executor: EngineClient) -> None:
    """IPython's display hook for an executor."""
    host = kernel_host()
    assert host is not None, "in a terminal nobody displays executors"
    listen(host.shell)
    if executor.is_running:
        executor.engine_status(ANSWER_TIME)
    EngineView(host, executor).show()
