"""How a running task is asked to stop: the handshake between the scheduler and one task process.

A page of shared memory holds the word ``seq << 8 | attempt``: the run that shall stop, and how many times that was
asked. The scheduler writes the word, then sends SIGINT. The handler acts only if the word names the run that is
armed right now, and once an attempt: a signal that comes late, or twice, or while our own code runs, does nothing.
So no interrupt ever reaches the next task, and no signal mask is needed (it would only delay a signal into the next
task).

The first ask is a KeyboardInterrupt in the task; inside a running asyncio loop it is a cancel of all its tasks, for
an exception raised in the loop's own code can lose a handle and hang it. The second ask raises only where the first
was such a cancel: it must not break into the clean-up of a task that obeys. An interrupt that Python itself swallows,
in a ``__del__`` or a callback, is no answer of the task's: it comes again a moment later, a few times at most.

While a shield is open the handler keeps the ask, and the end of the last shield sends the signal again: what an ask
does is done in one place, on the main thread. The handler may run between any two bytecodes, also of a shield's and of
its own, so nothing here takes a lock, and whatever decides is one step of the interpreter: a shield is open from the
one store in ``__enter__`` to the one removal in ``__exit__``, and an ask is taken by the one call that claims it. The
handler says that it keeps before it looks at the shields; a shield ends before it looks at what is kept: one of the two
sees the other.
"""

import os
import signal
import sys
import threading
import time
from _thread import start_new_thread
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

from .cancel_page import CancelPage

T = TypeVar("T")

MAX_REPEATS = 5  # times that a run is interrupted once more because Python swallowed an interrupt
REPEAT_DELAY = 0.005  # seconds until then: out of the ``__del__``


class ArmedRun:
    """One run, as far as it can be asked to stop. The next run has one of its own: what this one leaves is harmless.

    ``shields`` and ``stop_requested()`` are for every thread; the rest is the main thread's.
    """

    def __init__(self, page: CancelPage, seq: int) -> None:
        self.seq = seq
        self.claims: dict[int, object] = {}  # the words acted upon
        self.swallowed: dict[int, object] = {}  # of these, the one to act upon once more
        self.times_swallowed = 0
        self.forwarded = 0  # the last word that was passed on to the task's subprocesses
        self.raised = False  # a KeyboardInterrupt has reached the task's own code
        self.deferred = False  # an ask waits for the end of the shields
        self.stopped = False  # its process is about to be killed
        self.shields: dict[object, threading.Thread] = {}  # the open ones, and who opened them
        self._page = page
        self._pid = os.getpid()
        self._stop_requested = False

    def stop_requested(self) -> bool:
        """Was this run asked to stop, ever? Any thread, and processes forked by the run."""
        if self._page.word >> 8 == self.seq:
            self._stop_requested = True  # the page forgets, when a later run is asked
        return self._stop_requested

    def shield(self) -> "Shield":
        """A stretch that is not interrupted."""
        return Shield(self)

    def in_fork(self) -> bool:
        """Is this a process that the task has forked? It hears of an ask by what is passed on to the group."""
        return os.getpid() != self._pid

    def due(self) -> bool:
        """Is there an ask that nobody has acted upon? Its signal may be kept, or still on its way."""
        word = self._page.word
        unmet = word not in self.claims or word in self.swallowed
        return self.deferred or (word >> 8 == self.seq and unmet and not self.in_fork())

    def defer(self) -> bool:
        """Leave the ask to the end of the shields; False if none is open."""
        self.deferred = True
        if self.shields:
            return True
        self.deferred = False
        return False

    def claim(self, word: int) -> bool:
        """Is it the caller who acts upon this word? Of handlers within handlers, one does."""
        claim = object()
        return self.claims.setdefault(word, claim) is claim or self.swallowed.pop(word, None) is not None


class Shield:
    """A context manager, for any thread of the run, any number of times."""

    def __init__(self, run: ArmedRun) -> None:
        self._run = run
        self._tokens: list[object] = []

    def __enter__(self) -> None:
        token, thread = object(), threading.current_thread()
        self._tokens.append(token)
        self._run.shields[token] = thread
        # One within another of the same thread lets that come to its end.
        alone = thread is not threading.main_thread() and list(self._run.shields.values()).count(thread) == 1
        if alone and self._run.stopped:
            del self._run.shields[token]
            threading.Event().wait()  # for the kill: what began now could not end

    def __exit__(self, *problem: object) -> None:
        run = self._run
        run.shields.pop(self._tokens.pop(), None)  # it may be missing: see Interrupts._after_fork
        if not run.shields and run.due():
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)  # type: ignore[arg-type]


class Interrupts:
    """The task process's side: arms a run, and turns a valid ask into an interrupt of it.

    Parameters
    ----------
    to_group
        Pass an interrupt on to the process group: the process leads one, with nobody but its subprocesses in it.
    """

    def __init__(self, page: CancelPage, to_group: bool = True) -> None:
        self._page = page
        self._to_group = to_group
        self._run: ArmedRun | None = None  # the armed run; None while our own code runs
        os.register_at_fork(after_in_child=self._after_fork)

    def install(self) -> None:
        """Take SIGINT, again before every run: a task may have set a handler of its own."""
        if signal.getsignal(signal.SIGINT) != self._on_sigint:
            signal.signal(signal.SIGINT, self._on_sigint)
        sys.unraisablehook = self._on_unraisable

    def new_run(self, seq: int) -> ArmedRun:
        """A run, yet to be armed; from here on it counts as begun."""
        self._page.begun = seq
        return ArmedRun(self._page, seq)

    def run(
        self, run: ArmedRun, body: Callable[[], T], stopped: Callable[[], T], failed: Callable[[BaseException], T]
    ) -> T:
        """Run ``body`` armed; ``stopped()`` if an ask ended it, ``failed(error)`` if it raised anything else.

        Every store of None to ``_run`` disarms before anything is sent. The outer ``except`` is for an interrupt
        between the end of the body and that store.
        """
        try:
            try:
                self._run = run
                if run.stop_requested():  # before we were armed
                    run.claim(self._page.word)
                    raise KeyboardInterrupt
                result = body()
                self._run = None
                run.stop_requested()  # to remember it
                return result
            except BaseException as error:
                self._run = None
                run.stop_requested()
                if not _is_stop(run, error):
                    return failed(error)
        except KeyboardInterrupt:
            self._run = None
        self._wait_for_shields(run)
        return stopped()

    def _wait_for_shields(self, run: ArmedRun) -> None:
        """Other threads may have opened some while the interrupt was on its way; from here on they open none.

        Those of the main thread and of dead ones were left open: nobody would end them. A look every millisecond, not
        a condition: an interrupt may have hit the main thread with its lock in hand.
        """
        run.stopped = True
        while any(t.is_alive() and t is not threading.main_thread() for t in list(run.shields.values())):
            time.sleep(0.001)

    def _on_sigint(self, signum: int, frame: FrameType | None) -> None:
        run, word = self._run, self._page.word
        if run is None or word >> 8 != run.seq:
            return  # stale; the interrupted system call is retried (PEP 475)
        if run.defer() or not run.claim(word):
            return
        if word != run.forwarded and not run.in_fork():
            run.forwarded = word
            # The task's subprocesses get it as from a terminal; our own copy of this signal is stale by now.
            if self._to_group:
                os.killpg(0, signal.SIGINT)
        if run.raised:
            return
        asyncio = sys.modules.get("asyncio")
        loop = asyncio._get_running_loop() if asyncio is not None else None
        if loop is not None and len(run.claims) == 1:
            loop.call_soon_threadsafe(self._cancel_all, loop, run, word)
            return
        run.raised = True
        raise KeyboardInterrupt

    def _cancel_all(self, loop: Any, run: ArmedRun, word: int) -> None:
        """In the loop, and perhaps a while after the signal."""
        if run is not self._run:
            return  # the loop has outlived it
        if run.shields:
            del run.claims[word]  # not acted upon after all
            if not run.defer():  # they have just ended
                self._on_sigint(signal.SIGINT, None)
            return
        for task in sys.modules["asyncio"].all_tasks(loop):
            task.cancel()

    def _on_unraisable(self, unraisable: Any) -> None:
        run = self._run
        if unraisable.exc_type is not KeyboardInterrupt or run is None or not run.claims:
            sys.__unraisablehook__(unraisable)
            return
        run.raised = False
        if run.times_swallowed < MAX_REPEATS and not run.in_fork():
            run.times_swallowed += 1
            run.swallowed[self._page.word] = True
            start_new_thread(self._interrupt_again, ())  # not by threading: its locks may be in our caller's hands

    def _interrupt_again(self) -> None:
        time.sleep(REPEAT_DELAY)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)  # type: ignore[arg-type]

    def _after_fork(self) -> None:
        """In a process that the task has forked: the stretches are the parent's, and end there."""
        if self._run is not None:
            self._run.shields.clear()
            self._run.deferred = False


def _is_stop(run: ArmedRun, error: BaseException) -> bool:
    if not run.claims:
        return False
    if isinstance(error, KeyboardInterrupt):
        return True
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and isinstance(error, asyncio.CancelledError)
