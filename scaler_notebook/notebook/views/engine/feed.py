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

from .contents import Contents, ContentsReader, with_latest
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
        self._last: Contents | None = None  # that the views were told, with one sample of each process
        self._unsent = 0  # samples since then

    # ------------------------------------------------------------------ what is sent

    def publish(self) -> None:
        """Send what is known, and begin to sample if a view listens."""
        if self.views and not self._sampling and self._executor() is not None:
            self._sampling = True
            self._ask()
        super().publish()

    def snapshot(self) -> Content:
        """Build a message with the latest samples of each process; on the publisher's thread."""
        contents = self._reader.read(KEPT)
        return {**self._content(contents, KEPT), "whole": True}

    def changes(self) -> Content | None:
        """Build a message with the samples that were not sent yet; None if nothing has changed.

        While a task runs, the time goes on that is shown beside it: then each sample is sent. The samples of an idle
        engine, where all is as before, come with the next change.
        """
        contents = self._reader.read(KEPT)
        time_goes_on = self._unsent and any(worker["started_at"] is not None for worker in contents["workers"])
        if self._answer is None and not time_goes_on and with_latest(contents, 1) == self._last:
            return None
        if not self._unsent:  # a view would draw the last sample twice
            return {**self._content(contents, KEPT), "whole": True}
        return self._content(contents, self._unsent)

    def _content(self, contents: Contents, samples: int) -> Content:
        """Build what all messages have in common.

        Parameters
        ----------
        contents
            The contents, with all samples.
        samples
            How many of the latest samples are sent.
        """
        answer, self._answer = self._answer, None
        self._last, self._unsent = with_latest(contents, 1), 0
        return {"type": "engine", **with_latest(contents, samples), "answer": answer}

    def _ask(self) -> None:
        """Ask the engine what it does, unless nobody looks any more; on the publisher's thread."""
        executor = self._executor()
        if self.closed or not self.views or executor is None:
            self._sampling = False
            if executor is None:  # it went since the last sample: the views do not know yet
                publisher.mark(self)
                self._changed()
            return
        publisher.call_later(ANSWER_TIME, self._sample)  # first: what one look raises ends no later one
        engine_report.ask(executor)

    def _sample(self) -> None:
        """Take a sample of each process, send it, and go on; on the publisher's thread."""
        publisher.call_later(INTERVAL - ANSWER_TIME, self._ask)
        self._reader.sample()
        self._unsent += 1
        publisher.mark(self)
        self._changed()

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
