"""One daemon thread with an asyncio loop of its own. It sends what any thread posts, and delivers what comes back.

Correctness never depends on the kernel's loop: futures settle here while a cell computes, sleeps, or is stuck.
"""

import asyncio
import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any

from scaler_notebook.client.waiting.permission import AgentThread
from scaler_notebook.engines.base import Deliver, Engine, Lost
from scaler_notebook.protocol.messages import ClientMessage, EngineMessage

from .outgoing_queue import OutgoingBatch, OutgoingQueue

Register = Callable[[Any], None]
Unsendable = Callable[[ClientMessage, Exception], None]

log = logging.getLogger(__name__)


class Agent:
    """Connects an engine and serves it until :meth:`stop`, or until the engine is lost.

    Parameters
    ----------
    engine
        Started, not yet connected.
    register
        Told of each future of a batch, on the agent's thread, before the batch's messages are sent.
    deliver
        Takes batches of messages, on the agent's thread. Must not block, nor run the user's code.
    lost
        Told once if the engine goes away by itself, on the agent's thread.
    unsendable
        Told of a message that could not be sent, and why.
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
        self._flushes = 0  # how often the outgoing has been emptied
        self._woken_at = -1  # what that was when the loop was last woken to empty it
        self._is_forgotten = False
        self._loop: asyncio.SelectorEventLoop | None = None  # made on its own thread: no interrupt finds it half made
        self._is_stopped = False
        # Not an event: an interrupt of who waits for one can leave that locked, and this thread waiting to set it.
        self._connected: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._thread = AgentThread(target=self._run, name="scaler_notebook agent", daemon=True)

    def start(self) -> None:
        """Start the thread and wait until it is connected. Raises what connecting raised."""
        self._thread.start()
        problem = self._connected.get()
        if problem is not None:
            raise problem

    def post(self, message: ClientMessage) -> None:
        """Send a message; from any thread, never blocks. Messages of one thread keep their order."""
        self.enqueue(OutgoingBatch(message))

    def enqueue(self, batch: OutgoingBatch[Any]) -> None:
        """Send what a batch says, and know its futures; from any thread, never blocks.

        An interrupt of this thread comes before it, and nothing of it has happened, or after it: then all of it will.
        """
        try:
            self.outgoing.put(batch)
            self.wake()
        except BaseException:  # an interrupt, or a signal handler of the user's that raises
            self.wake()
            raise

    def wake(self) -> None:
        """Have the outgoing emptied; a burst of batches wakes the loop once.

        The loop counts *before* it empties the outgoing: a batch that finds the count at which somebody has rung was
        put in before that is answered.
        """
        flushes = self._flushes
        if self._woken_at != flushes and not self._is_forgotten:
            self._call(self._flush)  # the loop begins with that
            self._woken_at = flushes

    def _call(self, act: Callable[[], object]) -> None:
        """Have the loop call something soon; nothing happens where there is none yet, or none any more."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # stopped: whoever stopped it has settled the futures
                self._loop.call_soon_threadsafe(act)

    def call_at(self, when: float, act: Callable[[], object]) -> asyncio.TimerHandle:
        """Have ``act`` called at ``when``, in monotonic seconds, unless the agent is stopped; on its thread alone."""
        assert self._loop is not None
        return self._loop.call_at(when, act)

    def stop(self) -> None:
        """Disconnect and end the thread. Idempotent; returns when the thread has ended, unless called on it."""
        self._is_stopped = True
        self._call(self._end)
        if self._thread.ident is None:  # it never came to that
            self._engine.close()
        elif threading.current_thread() is not self._thread:
            self._thread.join()

    def forget(self) -> None:
        """In a forked child: the thread is the parent's, and so is the way to the engine; nothing is sent any more."""
        self._is_forgotten = True

    @property
    def thread(self) -> threading.Thread:
        """The agent's thread; nothing may wait on it."""
        return self._thread

    def _flush(self) -> None:
        self._flushes += 1
        messages: list[ClientMessage] = []
        for _ in range(len(self.outgoing)):  # for what comes meanwhile the loop is woken again
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
        try:
            # Not the platform's default: Windows' proactor loop cannot watch a descriptor.
            self._loop = loop = asyncio.SelectorEventLoop()
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
        try:
            self._deliver(messages)
        except Exception:  # a bug of ours must not take the other futures along
            log.exception("a batch of messages could not be handled")

    def _on_engine_lost(self, error: BaseException) -> None:
        self._end()
        self._lost(error)
