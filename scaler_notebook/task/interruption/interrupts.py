"""The handshake between the scheduler and one task process by which a running task is asked to stop.

A page of shared memory holds the word ``seq << 8 | attempt``: the run that shall stop, and how many times that was
requested. The scheduler writes the word, then sends SIGINT. The handler acts only if the word names the run that is
armed right now, and once for each attempt: a signal that comes late, or twice, or while this package's code runs, does
nothing. So no interrupt ever reaches the next task, and no signal mask is needed (a mask would only delay a signal into
the next task).

The first request is a KeyboardInterrupt in the task. Inside a running asyncio loop it is a cancel of asyncio's, because
an exception raised in the loop's own code can lose a handle and hang the loop: a cancel of the coroutine, where the
task is one (:mod:`~scaler_notebook.task.calls.coroutines`), and of all the loop's tasks, where its code runs a loop
itself. The second request raises only where the first was such a cancel and has not reached the coroutine: it must not
break into the clean-up of a task that obeys. An interrupt that Python itself swallows, in a ``__del__`` or a callback,
is not refused by the task: it is repeated a moment later, a few times at most.

While a shield is open the handler defers the request, and the end of the last shield sends the signal again: requests
are acted upon in one place, on the main thread. The handler may run between any two bytecodes, also of a shield's and
of its own, so nothing here takes a lock, and whatever decides is one step of the interpreter: a shield is open from the
one store in ``__enter__`` to the one removal in ``__exit__``, and a request is taken by the one call that claims it.
The handler sets ``deferred`` before it looks at the shields, and a shield ends before it looks at ``deferred``: one of
the two sees the other.
"""

import importlib
import os
import signal
import sys
import threading
import time
from _thread import start_new_thread
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

from scaler_notebook.task.calls import coroutines

from .cancel_page import CancelPage

T = TypeVar("T")

_signal: Any = importlib.import_module("_signal")  # without the enums of signal, in a hundredth of the time

MAX_REPEATS = 5  # repetitions of swallowed interrupts in one run
REPEAT_DELAY = 0.005  # seconds, in which the ``__del__`` ends
PAUSES = (0.005, 0.02, 0.1, 0.5)  # seconds after each signal in which its handler may run


class ArmedRun:
    """One run, as far as it can be asked to stop. The next run has an object of its own.

    ``shields`` and ``stop_requested()`` are for every thread; everything else is for the main thread.

    Parameters
    ----------
    page
        The page that the scheduler shares.
    seq
        The number of the run.
    pid
        The process that runs it.
    """

    def __init__(self, page: CancelPage, seq: int, pid: int) -> None:
        self.seq = seq
        self.claims: dict[int, object] = {}  # the words that were acted upon
        self.swallowed: dict[int, object] = {}  # of these, the one to act upon again
        self.times_swallowed = 0
        self.forwarded = 0  # the last word that was forwarded to the task's subprocesses
        self.raised = False  # a KeyboardInterrupt, or a cancel of its coroutine, has reached the task's own code
        self.deferred = False  # a request waits for the end of the shields
        self.stopped = False  # the process is about to be killed
        self.shields: dict[object, threading.Thread] = {}  # the open shields, and the threads that opened them
        self._page = page
        self._pid = pid
        self._stop_requested = False

    def stop_requested(self) -> bool:
        """Return whether this run was ever asked to stop. For any thread, and for processes that the run has forked."""
        if self._page.word >> 8 == self.seq:
            self._stop_requested = True  # stored, because the page will name a later run
        return self._stop_requested

    def shield(self) -> "Shield":
        """Return a context manager for a stretch that is not interrupted."""
        return Shield(self)

    def in_fork(self) -> bool:
        """Return whether this process is a fork of the task's.

        A fork notices a request by the signal that is forwarded to the process group.
        """
        return os.getpid() != self._pid

    def due(self) -> bool:
        """Return whether a request was not acted upon. Its signal may be deferred, or still on its way."""
        word = self._page.word
        unmet = word not in self.claims or word in self.swallowed
        return self.deferred or (word >> 8 == self.seq and unmet and not self.in_fork())

    def defer(self) -> bool:
        """Leave the request to the end of the shields; return False if none is open."""
        self.deferred = True
        if self.shields:
            return True
        self.deferred = False
        return False

    def claim(self, word: int) -> bool:
        """Return whether the caller is the one to act upon a word. Of handlers within handlers, one is."""
        claim = object()
        return self.claims.setdefault(word, claim) is claim or self.swallowed.pop(word, None) is not None


class Shield:
    """A context manager that defers interrupts, for any thread of the run, usable any number of times.

    Parameters
    ----------
    run
        The run.
    """

    def __init__(self, run: ArmedRun) -> None:
        self._run = run
        self._tokens: list[object] = []

    def __enter__(self) -> None:
        token, thread = object(), threading.current_thread()
        self._tokens.append(token)
        self._run.shields[token] = thread
        # A shield within another one of the same thread must let the outer one end.
        alone = thread is not threading.main_thread() and list(self._run.shields.values()).count(thread) == 1
        if alone and self._run.stopped:
            del self._run.shields[token]
            threading.Event().wait()  # for the kill: a stretch that began now could not end

    def __exit__(self, *problem: object) -> None:
        run = self._run
        run.shields.pop(self._tokens.pop(), None)  # missing in a fork: see Interrupts._after_fork
        if not run.shields and run.due():
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)  # type: ignore[arg-type]


class Interrupts:
    """The task process's side: arms a run, and turns a valid request into an interrupt of the run.

    Parameters
    ----------
    page
        The page that the scheduler shares.
    to_group
        Forward an interrupt to the process group. The process must lead a group that has nobody but its subprocesses in
        it.
    """

    def __init__(self, page: CancelPage, to_group: bool = True) -> None:
        self._page = page
        self._to_group = to_group
        self._run: ArmedRun | None = None  # the armed run; None while this package's code runs
        self._pid = os.getpid()
        os.register_at_fork(after_in_child=self._after_fork)

    def install(self) -> None:
        """Install the handler of SIGINT. Call before every run, because a task may have set a handler of its own."""
        if _signal.getsignal(signal.SIGINT) != self._on_sigint:
            signal.signal(signal.SIGINT, self._on_sigint)
        sys.unraisablehook = self._on_unraisable

    def new_run(self, seq: int) -> ArmedRun:
        """Return a run that is not armed yet; from here on it counts as begun."""
        self._page.begun = seq
        return ArmedRun(self._page, seq, self._pid)

    def run(
        self, run: ArmedRun, body: Callable[[], T], stopped: Callable[[], T], failed: Callable[[BaseException], T]
    ) -> T:
        """Run ``body`` armed.

        Every store of None to ``_run`` disarms before anything is sent. The outer ``except`` is for an interrupt
        between the end of the body and that store.

        Parameters
        ----------
        run
            The run.
        body
            The task.
        stopped
            Makes the result if a request has ended the body.
        failed
            Makes the result if the body has raised anything else.
        """
        try:
            try:
                self._run = run
                if run.stop_requested():  # before the run was armed
                    run.claim(self._page.word)
                    raise KeyboardInterrupt
                result = body()
                self._run = None
                run.stop_requested()  # to store the request
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
        """Wait for shields that other threads opened while the interrupt was on its way; from here on they open none.

        Shields of the main thread and of dead threads were left open, and nobody would end them. The wait is a look
        every millisecond, not a condition: an interrupt may have hit the main thread while it held the condition's
        lock.
        """
        run.stopped = True
        while any(t.is_alive() and t is not threading.main_thread() for t in list(run.shields.values())):
            time.sleep(0.001)

    def _on_sigint(self, signum: int, frame: FrameType | None) -> None:
        """Handle SIGINT: interrupt the armed run if the page names it, and the request was not acted upon."""
        run, word = self._run, self._page.word
        if run is None or word >> 8 != run.seq:
            return  # stale; Python retries the interrupted system call (PEP 475)
        if run.defer() or not run.claim(word):
            return
        if word != run.forwarded and not run.in_fork():
            run.forwarded = word
            # Subprocesses get the signal as from a terminal; this process's own copy is stale by now.
            if self._to_group:
                os.killpg(0, signal.SIGINT)
        if run.raised:
            return
        loop = _running_loop()
        if loop is not None and len(run.claims) == 1:
            loop.call_soon_threadsafe(self._cancel_in, loop, run, word)
            return
        run.raised = True
        raise KeyboardInterrupt

    def _cancel_in(self, loop: Any, run: ArmedRun, word: int) -> None:
        """Cancel the coroutine for which a loop is run, or all tasks of a loop that is the user's own.

        Called in the loop, perhaps a while after the signal.

        Parameters
        ----------
        loop
            The loop that was running when the signal came.
        run
            The run that was armed then.
        word
            The request.
        """
        if run is not self._run:
            return  # the loop has outlived the run
        if run.shields:
            del run.claims[word]  # the request is not acted upon after all
            if not run.defer():  # the shields have just ended
                self._on_sigint(signal.SIGINT, None)
            return
        main = coroutines.main_task(loop)
        if main is not None:
            run.raised = True
            main.cancel()  # the coroutine sees to its other tasks; what is left then ends with the loop
            return
        for task in sys.modules["asyncio"].all_tasks(loop):
            task.cancel()

    def _on_unraisable(self, unraisable: Any) -> None:
        """Repeat an interrupt that Python has swallowed; leave any other error to Python's own hook."""
        run = self._run
        if unraisable.exc_type is not KeyboardInterrupt or run is None or not run.claims:
            sys.__unraisablehook__(unraisable)
            return
        run.raised = False
        if run.times_swallowed < MAX_REPEATS and not run.in_fork():
            run.times_swallowed += 1
            run.swallowed[self._page.word] = True
            start_new_thread(self._interrupt_again, (run,))  # not by threading, whose locks the caller may hold

    def _interrupt_again(self, run: ArmedRun) -> None:
        time.sleep(REPEAT_DELAY)
        self.send(run)

    def send(self, run: ArmedRun) -> None:
        """Send SIGINT to the main thread until the request is acted upon, a few times at most; on another thread.

        Python notices a signal that comes just before a waiting system call when the call ends, which may take for
        ever. The next signal ends the call.

        Parameters
        ----------
        run
            The run that shall stop.
        """
        for pause in PAUSES:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)  # type: ignore[arg-type]
            time.sleep(pause)
            if run is not self._run or not run.due():
                return

    def _after_fork(self) -> None:
        """Forget the open shields in a process that the task has forked: they are the parent's, and end there."""
        if self._run is not None:
            self._run.shields.clear()
            self._run.deferred = False


def _running_loop() -> Any:
    """Return the asyncio loop that runs on this thread; None if none does, or asyncio is only being imported."""
    get = getattr(sys.modules.get("asyncio"), "_get_running_loop", None)
    return get() if get is not None else None


def _is_stop(run: ArmedRun, error: BaseException) -> bool:
    if not run.claims:
        return False
    if isinstance(error, KeyboardInterrupt):
        return True
    return isinstance(error, getattr(sys.modules.get("asyncio"), "CancelledError", ()))
