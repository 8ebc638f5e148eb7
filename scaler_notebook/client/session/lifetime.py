"""The lifetime of a session: when it can take tasks, and how it ends."""

import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from scaler_notebook.client.agent.client_agent import Agent
from scaler_notebook.client.agent.future_manager import FutureManager
from scaler_notebook.client.futures.completion import wait as wait_for
from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.futures.group import FutureGroup
from scaler_notebook.client.futures.item_stream import ItemStream
from scaler_notebook.client.task_state.outcome import Outcome
from scaler_notebook.client.waiting.host import current_host
from scaler_notebook.client.waiting.locks import call_locked
from scaler_notebook.client.waiting.permission import may_wait
from scaler_notebook.client.waiting.signal import Waiters
from scaler_notebook.client.waiting.uninterrupted import UninterruptedCall
from scaler_notebook.engines.base import Engine
from scaler_notebook.protocol.errors import DisconnectedError, EngineLostError
from scaler_notebook.protocol.messages import TaskResult

from .pause import Pause

PREVIEW_PATIENCE = 0.5  # seconds that an engine is kept for the previews which are being made
UNREAD_PATIENCE = 5.0  # seconds until streams that nobody reads are named
END_PATIENCE = 5.0  # seconds that an engine gets to end by itself


class Lifetime:
    """The lifetime of a session, with its engine and its agent.

    It ends once: the client closes it, the engine is lost, the initializer breaks it, or it is a forked child's, and
    left to the parent. What comes first decides what unfinished futures end with.

    Parameters
    ----------
    engine
        The engine, not started yet.
    agent
        The agent that serves the engine, not started yet.
    manager
        Has the futures that end with the session, if not before.
    lost_error
        The class of the error that unfinished futures end with when the engine is lost, with the engine's own words.
    pause
        Ends when the session waits for its tasks to end by themselves.
    on_closed
        Called when the engine's processes are gone.
    """

    def __init__(
        self,
        engine: Engine,
        agent: Agent,
        manager: FutureManager,
        lost_error: type[EngineLostError],
        pause: Pause,
        on_closed: Callable[[], object],
    ) -> None:
        self._engine = engine
        self._agent = agent
        self._manager = manager
        self._lost_error = lost_error
        self._pause = pause
        self._on_closed = on_closed
        self._owner = os.getpid()
        self._start = UninterruptedCall(engine.start, "scaler_notebook start")
        self._closing = threading.RLock()
        self._end: BaseException | TaskResult | None = None  # what futures end with from now on
        self.broken: TaskResult | None = None  # the initializer's failure, if that has ended the session
        self.alive = False  # whether the session can take tasks
        self.engine_ended = False  # by itself, or by a client: not by :meth:`close`
        self.waiters = Waiters()  # for the end

    @property
    def is_inherited(self) -> bool:
        """Whether the session is the parent's, and this process a forked child, which can neither use nor end it."""
        return self._owner != os.getpid()

    def begin(self, prepare: Callable[[], object]) -> None:
        """Start the engine, or find it, and connect to it. Called once.

        Parameters
        ----------
        prepare
            Called when the engine is started, before it is connected.

        Raises
        ------
        EngineStartError
            The engine cannot be had; nothing is left running.
        DisconnectedError
            A signal handler has closed the session meanwhile.
        KeyboardInterrupt
            Ctrl-C; an engine that has begun to start ends as soon as it has started.
        """
        try:
            self._start.wait()
            prepare()
            self.alive = True  # before the agent connects: the engine may be lost at once
            if self._end is not None:  # looked at after that: a signal handler closes the session before it, or after
                self.alive = False
                raise disconnected_error()
            self._agent.start()
        except BaseException:
            self._start.when_over(self.close)
            raise

    def unfinished(self) -> list[ScalerFuture[Any]]:
        """Return the futures that have not ended, in the order of submission."""
        self._agent.wake()  # in case a second interrupt of a submit came before its own wake
        return [each for each in self._manager.unfinished() if not each.done() and each.is_listed]

    # ------------------------------------------------------------------ ended by the client

    def finish(self) -> None:
        """Wait for the unfinished tasks, then close.

        An interrupt ends the wait. In a notebook the tasks run on, and the engine ends after them; a script that is
        interrupted while it waits here ends, and its tasks with it.
        """
        if self.is_inherited:
            return
        self._pause.end()
        try:
            self._wait_for_unfinished()
            if self.alive:
                self._manager.wait_for_previews(PREVIEW_PATIENCE)
        except KeyboardInterrupt:
            if current_host().waits_at_exit:
                self.close()
            else:
                self.finish_later()
            raise
        self.close()

    def _wait_for_unfinished(self) -> None:
        """Wait for the unfinished tasks, and name the streams that nobody reads: one of them may have no end."""
        left = self.unfinished()
        streams = [each for each in left if isinstance(each, ItemStream)]
        unread: list[str] = []
        while streams and not unread:
            before = {each: each.items_read for each in streams}
            wait_for(left, UNREAD_PATIENCE)
            streams = [each for each in streams if not each.done()]
            unread = [each.call for each in streams if each.is_unread(before[each])]
        if unread:
            print(
                f"scaler_notebook waits for the end of {', '.join(unread)}, of which nobody has read an item for "
                f"{UNREAD_PATIENCE:g} s: a stream without an end is to be cancelled before, by its cancel(). An "
                "interrupt (Ctrl-C) ends this wait.",
                file=sys.stderr,
            )
        wait_for(left)

    def finish_later(self) -> None:
        """Do as :meth:`finish` does, on a thread of its own."""
        if self.is_inherited:
            return
        threading.Thread(target=self.finish, name="scaler_notebook finish", daemon=True).start()

    def disconnect(self, timeout: float | None) -> None:
        """Cancel the unfinished tasks, wait for the confirmations, and close.

        Parameters
        ----------
        timeout
            Seconds to wait for the confirmations; None: as long as it takes.
        """
        unfinished = FutureGroup(self.unfinished())
        unfinished.request_cancel()
        if may_wait():
            try:
                unfinished.cancel(timeout)
            finally:
                self.close()
        else:
            thread = threading.Thread(target=self.disconnect, args=(timeout,), name="scaler_notebook disconnect")
            thread.start()

    def close(self) -> None:
        """End the engine with everything it runs; unfinished futures get a :class:`DisconnectedError`.

        Returns when the engine's processes are gone. Idempotent, any thread. A forked child leaves its parent's engine
        alone.
        """
        if self.is_inherited:
            return
        self._end = self._end or disconnected_error()
        self.alive = False
        self._start.join()
        self._agent.stop()
        self.end_unfinished()
        self.waiters.wake()
        # Another caller of close waits for the same end; a submit does not.
        call_locked(self._closing, self._engine.join, END_PATIENCE)
        self._on_closed()

    # ------------------------------------------------------------------ ended by others

    def lose(self, why: BaseException | TaskResult) -> None:
        """End the session, for the engine is gone or the initializer has raised; on the agent's thread."""
        self.engine_ended = isinstance(why, BaseException)  # a broken initializer ends its own client alone
        if isinstance(why, EngineLostError) and not isinstance(why, self._lost_error):
            why = self._lost_error(*why.args)
        self._end = self._end or why
        self.alive = False
        self.end_unfinished()
        self.waiters.wake()
        # Closing waits for the engine's process; the agent's thread never blocks.
        threading.Thread(target=self.close, name="scaler_notebook end").start()

    def set_broken(self, failure: TaskResult) -> bool:
        """Take no more tasks, for the initializer has raised; False if it had before. :meth:`lose` does the rest.

        Before a future is settled with the failure: its callback may submit.
        """
        if self.broken is not None:
            return False
        self.broken = self._end = failure
        self.alive = False
        return True

    def raise_if_broken(self) -> None:
        """Raise the :class:`InitializerError` that has ended the session, if one has."""
        if self.broken is not None:
            Outcome(self.broken.outcome, self.broken.payload, "").value()

    def forget(self) -> None:
        """In a forked child: leave the session to the parent, and end futures with an error that says so."""
        self.alive = False
        self._agent.forget()
        error = DisconnectedError(
            f"the task was submitted by process {self._owner}, of which this process, {os.getpid()}, is a fork: its "
            "result comes there alone. Hand it over from there, or submit the task here"
        )
        self._manager.forget(error)

    def end_late(self) -> None:
        """End the unfinished futures if the session has ended, perhaps before the last of them came to be known."""
        if self._end is not None:
            self.end_unfinished()

    def end_unfinished(self) -> None:
        """End the unfinished futures, for no answer comes any more."""
        self._manager.fail_all(self._end or disconnected_error())


def disconnected_error() -> DisconnectedError:
    """Return the error that the futures of a closed session end with."""
    return DisconnectedError("the executor was shut down before the task had ended; submit it again to a new one")
