"""The current task, as the task's own code sees it: id and name, cancel requests, shields, progress.

An engine sets which task is current: for the whole process where a task has the process to itself, else for a thread.
"""

import math
import threading
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import Any, Protocol, TypeAlias

from scaler_notebook.protocol.messages import DisplayKind, Payload

from .mean_rate import MeanRate

Publisher: TypeAlias = Callable[[DisplayKind, str, bytes, bytes], object]  # kind, display id, bundle, metadata as JSON
Reporter: TypeAlias = Callable[[float, float, str, float, str], object]  # the fields of a TaskProgress, but for the id


class ItemChannel(Protocol):
    """The way of a task's items to their reader, and of how many the reader has taken to the task."""

    def send(self, value: Payload) -> None:
        """Send a pickled item."""

    def has_taken(self, count: int) -> bool:
        """Return whether the reader has taken so many items, in all."""

    def wait(self, count: int) -> None:
        """Wait until the reader has taken so many items, in all.

        Raises
        ------
        KeyboardInterrupt
            The task is to stop.
        """

    async def wait_async(self, count: int) -> None:
        """Do as :meth:`wait`, in a coroutine."""


class CurrentTask:
    """A task as its own code sees it; :func:`current_task` returns one.

    Any thread of the task may use the object, and any process that the task forks. The object always stands for this
    task: hand it to threads of a pool that is older than the task, where :func:`current_task` itself finds no task.
    Pickled, it becomes the current task of wherever it is loaded.

    Parameters
    ----------
    task_id
        The id, as the task's future has it; empty outside of a task.
    name
        The call as a person reads it, e.g. ``fit(model, X)``; empty outside of a task.
    is_cancelled
        Answers :meth:`cancelled`.
    shield
        Makes the context manager for :meth:`shielded`.
    reporter
        Receives the progress that :meth:`report` is given.
    publisher
        Receives the displays of :mod:`.display.display_publisher`.
    engine
        The address of the engine that runs the task, for tasks that the task submits; empty where none can be reached.
    items
        Where the items of a generator go; None where an engine passes none on.
    process
        The id of the process that runs the task, which its forks do not have; 0 where no engine can be reached.
    """

    def __init__(
        self,
        task_id: str = "",
        name: str = "",
        is_cancelled: Callable[[], bool] = lambda: False,
        shield: Callable[[], AbstractContextManager[None]] = nullcontext,
        reporter: Reporter = lambda *_: None,
        publisher: Publisher = lambda *_: None,
        engine: str = "",
        items: ItemChannel | None = None,
        process: int = 0,
    ) -> None:
        self.task_id = task_id
        self.name = name
        self._is_cancelled = is_cancelled
        self._shield = shield
        self._reporter = reporter
        self.publisher = publisher
        self.engine = engine
        self.items = items
        self.process = process
        self._has_reported = False
        self._mean_rate = MeanRate()

    def cancelled(self) -> bool:
        """Return whether this task has been asked to stop.

        Once True it stays so, also after the engine has given up asking. Cheap enough for an inner loop. Code on the
        task's main thread is interrupted at the same time; this method is for code that an interrupt does not reach:
        other threads, forked processes, shielded stretches, callbacks from C, and code that swallows a
        KeyboardInterrupt.
        """
        return self._is_cancelled()

    def shielded(self) -> AbstractContextManager[None]:
        """Return a context manager for a stretch that is not interrupted, such as the writing of a checkpoint.

        A cancel request that comes meanwhile waits for the end of the stretch, and of every other stretch that is open
        then, on whatever thread. Only then come the KeyboardInterrupt, the cancel of an asyncio loop's tasks, and the
        SIGINT to the task's subprocesses. A stretch that another thread began when the interrupt was on its way is
        waited for, too. Stretches may nest. The grace period is not longer for a shield: a task with a stretch that is
        still open at the end of the grace period is killed (force), or the cancel is refused (no force) and the task
        stops at the end of the stretch.

        A shield holds within the process that enters it, not in processes that it forks, which are killed with the
        task.
        """
        return self._shield()

    def report(
        self, done: float, total: float | None = None, note: str = "", *, rate: float | None = None, unit: str = ""
    ) -> None:
        """Report the progress of the task.

        Cheap enough for an inner loop; what is shown is the last report, some twenty times a second.
        :class:`~scaler_notebook.progress` calls this method for a loop.

        Parameters
        ----------
        done
            How many steps are done.
        total
            How many steps there are; None if unknown.
        note
            A few words for a person.
        rate
            How many steps are done in a second; None: the mean since the first report. Either is shown once steps were
            done for a second: a rate of less is chance.
        unit
            What a step is, e.g. ``batch``; with ``B`` amounts are shown as bytes.

        Raises
        ------
        TypeError, ValueError
            A value is not a number.
        """
        self._has_reported = True
        self._send_report(done, total, note, rate, unit)

    def suggest(self, done: float, total: float | None) -> None:
        """Report what a library makes known of the progress, unless the task itself has reported something.

        Parameters
        ----------
        done
            How many steps are done.
        total
            How many steps there are; None if unknown.
        """
        if not self._has_reported:
            self._send_report(done, total, "")

    def _send_report(
        self, done: float, total: float | None, note: str, rate: float | None = None, unit: str = ""
    ) -> None:
        done, total = float(done), -1.0 if total is None else float(total)
        done, total = done if math.isfinite(done) else 0.0, total if math.isfinite(total) else -1.0
        mean = self._mean_rate.after(done)
        if rate is not None and mean >= 0 and 0 < float(rate) < math.inf:
            mean = float(rate)
        self._reporter(done, total, str(note), mean, str(unit))

    def __repr__(self) -> str:
        return f"<CurrentTask {self.task_id}: {self.name}>" if self.task_id else "<CurrentTask: none>"

    def __reduce__(self) -> tuple[Any, ...]:
        return current_task, ()


_NONE = CurrentTask()
_of_context: ContextVar[CurrentTask | None] = ContextVar("scaler_notebook.current_task")
_NO_THREADS: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
# The task of this process, and the threads that are older. One tuple, so that other threads read a consistent pair.
_of_process: tuple[CurrentTask, weakref.WeakSet[threading.Thread]] = _NONE, _NO_THREADS


def current_task() -> CurrentTask:
    """Return the task that this code is part of, to cooperate with a cancel.

    ::

        def fit(model, batches):
            task = current_task()
            for batch in batches:
                model.step(batch)
                with task.shielded():  # the file is complete, or was not begun
                    model.save("checkpoint")

    Outside of a task (in the notebook, in a script, in a thread that has outlived its task) the result is inert: it has
    no id and no name, is never cancelled, and its shields do nothing. So the same function can be called directly.

    With ``memory_executor(auto=True)`` only the task's own thread has a current task, and shields do nothing, because
    nothing interrupts.
    """
    task = _of_context.get(None)
    if task is not None:
        return task
    task, older = _of_process
    return _NONE if task is _NONE or threading.current_thread() in older else task


def begin(task: CurrentTask) -> None:
    """Set the task of the main thread, and of every thread that is started from now on. For engines."""
    global _of_process
    older = _NO_THREADS
    if threading.active_count() > 1:  # more than the main thread
        older = weakref.WeakSet(threading.enumerate())
        older.discard(threading.main_thread())
    _of_process = task, older


def end() -> None:
    """Unset the task of this process. For engines."""
    global _of_process
    _of_process = _NONE, _NO_THREADS


def begin_on_thread(task: CurrentTask) -> None:
    """Set the task of the calling thread. For engines."""
    _of_context.set(task)


def end_on_thread() -> None:
    """Unset the task of the calling thread. For engines."""
    _of_context.set(None)
