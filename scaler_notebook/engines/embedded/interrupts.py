"""How a running task is asked to stop: the handshake between the scheduler and one task process.

A page of shared memory holds one word, ``seq << 8 | attempt``: the run that shall stop, and how many times that was
asked. The scheduler writes the word, then sends SIGINT. The handler acts only if the word names the run that is
armed right now, and once an attempt: a signal that comes late, or twice, or while our own code runs, does nothing.
So no interrupt ever reaches the next task, and no signal mask is needed (it would only delay a signal into the next
task).

The first ask is a KeyboardInterrupt in the task; inside a running asyncio loop it is a cancel of all its tasks, for
an exception raised in the loop's own code can lose a handle and hang it. The second ask raises only where the first
was such a cancel, or was swallowed by a ``__del__``: it must not break into the clean-up of a task that obeys.
"""

import mmap
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")


class AskPage:
    """The shared word. One writer (the scheduler), one reader (the task process); an aligned store is atomic."""

    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, mmap.PAGESIZE)
        self._words = memoryview(self._map).cast("Q")

    def ask(self, seq: int) -> None:
        """Name the run that shall stop, one attempt further."""
        word = self._words[0]
        attempt = (word & 255) % 255 + 1 if word >> 8 == seq else 1
        self._words[0] = seq << 8 | attempt

    @property
    def word(self) -> int:
        """``seq << 8 | attempt``; 0 before the first ask."""
        return self._words[0]

    def close(self) -> None:
        """Unmap."""
        self._words.release()
        self._map.close()


class Interrupts:
    """The task process's side: arms a run, and turns a valid ask into an interrupt of it."""

    def __init__(self, page: AskPage) -> None:
        self._page = page
        self._current = 0  # the armed run; 0 while our own code runs
        self._fired = 0  # the last word acted upon
        self._raised = False  # a KeyboardInterrupt has reached the task's own code

    def install(self) -> None:
        """Take SIGINT, again before every run: a task may have set a handler of its own."""
        if signal.getsignal(signal.SIGINT) != self._on_sigint:
            signal.signal(signal.SIGINT, self._on_sigint)
        sys.unraisablehook = self._on_unraisable

    def asked(self, seq: int) -> bool:
        """Was this run asked to stop, and did the ask reach it?"""
        return self._fired >> 8 == seq

    def run(self, seq: int, body: Callable[[], T], stopped: Callable[[], T], failed: Callable[[BaseException], T]) -> T:
        """Run ``body`` armed; ``stopped()`` if an ask ended it, ``failed(error)`` if it raised anything else.

        Every store to ``_current`` disarms before anything is sent. The outer ``except`` is for an interrupt between
        the end of the body and that store.
        """
        self._raised = False
        try:
            try:
                self._current = seq
                if self._page.word >> 8 == seq:  # asked before we were armed
                    self._fired = self._page.word
                    raise KeyboardInterrupt
                result = body()
                self._current = 0
                return result
            except BaseException as error:
                self._current = 0
                if self._is_stop(seq, error):
                    return stopped()
                return failed(error)
        except KeyboardInterrupt:
            self._current = 0
            return stopped()

    def _is_stop(self, seq: int, error: BaseException) -> bool:
        if not self.asked(seq):
            return False
        if isinstance(error, KeyboardInterrupt):
            return True
        asyncio = sys.modules.get("asyncio")
        return asyncio is not None and isinstance(error, asyncio.CancelledError)

    def _on_sigint(self, signum: int, frame: FrameType | None) -> None:
        word = self._page.word
        if not self._current or word >> 8 != self._current or word == self._fired:
            return  # stale; the interrupted system call is retried (PEP 475)
        first = self._fired >> 8 != self._current
        self._fired = word
        # The task's subprocesses get it as from a terminal; our own copy of this signal is stale by the line above.
        os.killpg(0, signal.SIGINT)
        if self._raised:
            return
        asyncio = sys.modules.get("asyncio")
        loop = asyncio._get_running_loop() if asyncio is not None else None
        if first and loop is not None:
            loop.call_soon_threadsafe(_cancel_all, loop)
            return
        self._raised = True
        raise KeyboardInterrupt

    def _on_unraisable(self, unraisable: Any) -> None:
        if unraisable.exc_type is KeyboardInterrupt and self._current and self.asked(self._current):
            self._raised = False  # swallowed by a __del__ or a callback: the second ask may raise
            return
        sys.__unraisablehook__(unraisable)


def _cancel_all(loop: Any) -> None:
    for task in sys.modules["asyncio"].all_tasks(loop):
        task.cancel()
