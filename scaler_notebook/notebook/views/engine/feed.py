"""The live view of an executor: what its widget shows, and what its buttons do."""

import weakref
from collections.abc import Callable
from pathlib import Path

from scaler_notebook.client import engine_report
from scaler_notebook.client.engine_client import EngineClient
from scaler_notebook.notebook.views import modules
from scaler_notebook.notebook.views.feed import Content, Feed, ViewHost, ViewWidget
from scaler_notebook.notebook.views.front_end import FrontEnd
from scaler_notebook.notebook.views.publisher import publisher
from scaler_notebook.protocol.errors import EngineStartError

from .contents import Contents, ContentsReader
from .samples import KEPT

INTERVAL = 1.0  # seconds between two samples, while a view listens
ANSWER_TIME = 0.1  # seconds that the engine gets to answer before the view is sent what is known

_FRONT_END = FrontEnd(
    modules.joined(Path(__file__).with_name("engine.js")), Path(__file__).with_name("engine.css").read_text("utf-8")
)


class EngineFeed(Feed):
    """Keeps the views of one executor current, for as long as one listens, and carries out what their buttons ask for.

    Parameters
    ----------
    host
        The host of the kernel.
    executor
        The executor. Not held: one that nobody holds takes no more tasks.
    changed
        Called on the publisher's thread when something else than the figures of processes has changed.
    on_met
        Called when a front end says for the first time that it has made the model.
    place
        The name of what the views cover in a page; empty if they are shown as widgets are.
    """

    def __init__(
        self,
        host: ViewHost,
        executor: EngineClient,
        changed: Callable[[], None] = lambda: None,
        on_met: Callable[[], None] = lambda: None,
        place: str = "",
    ) -> None:
        super().__init__(host, ViewWidget(_FRONT_END, host, place), on_met)
        self._executor = weakref.ref(executor)
        self._reader = ContentsReader(self._executor)
        self._changed = changed
        self._sampling = False
        self._answer: str | None = None
        self._last: Contents | None = None

    # ------------------------------------------------------------------ what is sent

    def publish(self) -> None:
        """Send what is known, and begin to sample if a view listens."""
        if self.views and not self._sampling:
            self._sampling = True
            self._ask()
        super().publish()

    def snapshot(self) -> Content:
        """Build a message with the latest samples of each process; on the publisher's thread."""
        return {**self._content(self._reader.read(KEPT)), "whole": True}

    def changes(self) -> Content | None:
        """Build a message with the last sample of each process; None if nothing has changed."""
        before, self._last = self._last, self._reader.read()
        return self._content(self._last) if self._last != before or self._answer is not None else None

    def _content(self, contents: Contents) -> Content:
        answer, self._answer = self._answer, None
        return {"type": "engine", **contents, "answer": answer}

    def _ask(self) -> None:
        """Ask the engine what it does, unless nobody looks any more; on the publisher's thread."""
        executor = self._executor()
        if self.closed or not self.views or executor is None:
            self._sampling = False
            return
        engine_report.ask(executor)
        publisher.call_later(ANSWER_TIME, self._sample)

    def _sample(self) -> None:
        """Take a sample of each process, send it, and go on; on the publisher's thread."""
        self._reader.sample()
        publisher.mark(self)
        self._changed()
        publisher.call_later(INTERVAL - ANSWER_TIME, self._ask)

    # ------------------------------------------------------------------ what is asked

    def act(self, content: Content) -> bool:
        """Carry out what a view asks for; return False for a message that is unknown."""
        match content:
            case {"type": "pause" | "resume" | "stop" as what}:
                self._answer = self._carry_out(what)
                publisher.mark(self)
                return True
        return False

    def _carry_out(self, what: str) -> str:
        """Pause, resume or stop the executor; return what a person is told of it."""
        executor = self._executor()
        if executor is None:
            return "nothing holds this executor any more"
        try:
            if what == "pause":
                executor.pause()
                return "paused: nothing that is queued starts, what runs goes on"
            if what == "resume":
                executor.resume()
                return "resumed"
        except (RuntimeError, ValueError, EngineStartError) as error:
            return str(error)
        executor.disconnect()  # in a widget's callback it asks, and the rest happens later
        return "stopped: what was unfinished is cancelled, and this executor takes no more tasks"
