"""The client agent: a daemon thread with a loop of its own, which sends what any thread posts and delivers the answers.

Correctness never depends on the kernel's loop: futures settle here while a cell computes, sleeps, or is stuck.
"""

import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from scaler_notebook.client.waiting.permission import AgentThread
from scaler_notebook.engines.base import Deliver, Engine, Lost
from scaler_notebook.protocol.errors import EngineLostError
from scaler_notebook.protocol.messages import ClientMessage, EngineMessage

from .outgoing_queue import OutgoingBatch, OutgoingQueue

if TYPE_CHECKING:
    from asyncio import TimerHandle

    from .agent_loop import AgentLoop

Register = Callable[[Any], None]
Unsendable = Callable[[ClientMessage, Exception], None]

log = logging.getLogger(__name__)


class Agent:
    """The thread that connects an engine and serves it until :meth:`stop`, or until the engine is lost.

    Parameters
    ----------
    engine
        The engine, started, not yet connected.
    register
        Called with each future of a batch, on the agent's thread, before the batch's messages are sent.
    deliver
        Called with batches of the engine's messages, on the agent's thread. Must not block, nor run the user's code.
    lost
        Called once if the engine goes away by itself, on the agent's thread.
    unsendable
        Called with a message that could not be sent, and with the error that says why.
    """

    def __init__(
        self, engine: Engine, register: Register, deliver: Deliver, lost: Lost, unsendable: Unsendable
    ) -> None:
        self._engine = engine
        self._register = register
        self._unsendable = unsendable
        self._deliver = deliver
        self._lost = lost
        self.outgoing: OutgoingQueue[Any] = OutgoingQueue()
        self._flushes = 0  # how often the queue has been emptied
        self._woken_at = -1  # the number of flushes when the loop was last woken
        self._is_forgotten = False
        self._loop: AgentLoop | None = None  # made on its thread: no interrupt leaves it half made
        self._is_stopped = False
        # Not an event: an interrupt of its waiter can leave an event locked, and the agent's thread waiting to set it.
        self._connected: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._thread = AgentThread(target=self._run, name="scaler_notebook agent", daemon=True)

    def start(self) -> None:
        """Start the thread and wait until the engine is connected. Raises what connecting raised."""
        self._thread.start()
        problem = self._connected.get()
        if problem is not None:
            raise problem

    def post(self, message: ClientMessage) -> None:
        """Send a message. Any thread may call this; it never blocks. Messages of one thread keep their order."""
        self.enqueue(OutgoingBatch(message))

    def enqueue(self, batch: OutgoingBatch[Any]) -> None:
        """Send a batch's messages after its futures are registered. Any thread may call this; it never blocks.

        An interrupt of the calling thread comes either before the batch is queued, and nothing of it is sent, or after,
        and all of it is.
        """
        try:
            self.outgoing.put(batch)
            self.wake()
        except BaseException:  # an interrupt, or a signal handler of the user's that raises
            self.wake()
            raise

    def wake(self) -> None:
        """Have the loop empty the queue; a burst of batches wakes the loop once.

        The loop counts a flush *before* it empties the queue: a batch that finds the count at which the loop was last
        woken was queued before that flush is done.
        """
        flushes = self._flushes
        if self._woken_at != flushes and not self._is_forgotten:
            self._call(self._flush)  # the loop flushes first when it starts
            self._woken_at = flushes

    def _call(self, act: Callable[[], object]) -> None:
        """Have the loop call ``act`` soon; do nothing where there is no loop yet, or none any more."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # stopped: its futures are settled by the one who stopped it
                self._loop.call_soon_threadsafe(act)

    def call_at(self, when: float, act: Callable[[], object]) -> "TimerHandle":
        """Have the loop call something at a time, unless the agent is stopped before. On the agent's thread alone.

        Parameters
        ----------
        when
            The time, in monotonic seconds.
        act
            What is called.
        """
        assert self._loop is not None
        return self._loop.call_at(when, act)

    def stop(self) -> None:
        """Disconnect and end the thread. Idempotent; returns when the thread has ended, unless called on it."""
        self._is_stopped = True
        self._call(self._end)
        if self._thread.ident is None:  # never started
            self._engine.close()
        elif threading.current_thread() is not self._thread:
            self._thread.join()

    def forget(self) -> None:
        """In a forked child: send nothing any more, for the thread and the connection are the parent's."""
        self._is_forgotten = True

    @property
    def thread(self) -> threading.Thread:
        """The agent's thread; nothing may wait on it."""
        return self._thread

    def _flush(self) -> None:
        """Register the futures of the queued batches, then send their messages."""
        self._flushes += 1
        messages: list[ClientMessage] = []
        for _ in range(len(self.outgoing)):  # for batches that come meanwhile the loop is woken again
            batch = self.outgoing.peek()
            for future in batch.futures:
                try:
                    self._register(future)
                except Exception:  # a bug of ours must not take the others along
                    log.exception("%r could not be registered", future)
            self.outgoing.pop()
            messages += batch.messages
        if not messages:
            return
        try:
            self._engine.send(messages)
        except Exception:  # one message that cannot be sent must not take the others along
            for message in messages:
                try:
                    self._engine.send([message])
                except Exception as error:
                    self._unsendable(message, error)

    def _run(self) -> None:
        """Connect the engine, report that to :meth:`start`, and serve the engine until the loop is stopped."""
        try:
            import asyncio  # not before there is an agent: see :mod:`scaler_notebook.client.waiting.asyncio_wait`

            from .agent_loop import AgentLoop

            if self._is_stopped:  # by a signal handler, before this thread had a number
                raise EngineLostError("the connection was closed while it was made")
            self._loop = loop = AgentLoop()
            asyncio.set_event_loop(loop)
            self._engine.connect(loop, self._receive, self._on_engine_lost)
        except BaseException as error:
            self._engine.close()
            if self._loop is not None:
                self._loop.close()
            self._connected.put(error)
            return
        self._connected.put(None)
        try:
            loop.call_soon(self._end if self._is_stopped else self._flush)
            loop.run_forever()
            self._flush()
        finally:
            self._engine.close()
            loop.close()

    def _end(self) -> None:
        assert self._loop is not None
        self._loop.stop()

    def _receive(self, messages: Sequence[EngineMessage]) -> None:
        """Deliver messages; log what that raises."""
        try:
            self._deliver(messages)
        except Exception:  # a bug of ours must not take the other futures along
            log.exception("a batch of messages could not be handled")

    def _on_engine_lost(self, error: BaseException) -> None:
        """Stop the loop, and report the loss."""
        self._end()
        self._lost(error)
