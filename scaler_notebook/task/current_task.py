"""What a task knows of itself: who it is, whether it has been asked to stop, and which of its stretches are whole.

Engines say which task is current: for the whole process where a task has one to itself, else for its thread.
"""

import math
import os
import threading
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import Any, TypeAlias

from scaler_notebook.protocol.messages import DisplayKind

Publisher: TypeAlias = Callable[[DisplayKind, str, bytes, bytes], object]  # display id, bundle and metadata as JSON


class CurrentTask:
    """A task as its own code sees it; :func:`current_task` gives it.

    Any thread of the task may use it, and processes that it forks. It stays that of this task: to be handed to threads
    of a pool that is older than the task, where :func:`current_task` itself knows of none. Pickled, it becomes the
    current task of wherever it is loaded.

    Parameters
    ----------
    task_id
        As its future has it; empty outside of a task.
    name
        The call as a person reads it, e.g. ``fit(model, X)``; empty outside of a task.
    is_cancelled
        What :meth:`cancelled` gives.
    shield
        What :meth:`shielded` gives.
    reporter
        Takes what :meth:`report` is told.
    publisher
        Takes what :mod:`.display.displays` is told.
    engine
        The address of the engine that runs it, for what it submits itself; empty where there is none to be reached.
    """

    def __init__(
        self,
        task_id: str = "",
        name: str = "",
        is_cancelled: Callable[[], bool] = lambda: False,
        shield: Callable[[], AbstractContextManager[None]] = nullcontext,
        reporter: Callable[[float, float, str], object] = lambda *_: None,
        publisher: Publisher = lambda *_: None,
        engine: str = "",
    ) -> None:
        self.task_id = task_id
        self.name = name
        self._is_cancelled = is_cancelled
        self._shield = shield
        self._reporter = reporter
        self.publisher = publisher
        self.engine = engine
        self.process = os.getpid() if engine else 0  # which runs it; forks of that have another id

    def cancelled(self) -> bool:
        """Has this task been asked to stop? Once True it stays so, also after the engine has given up asking.

        Cheap enough for an inner loop. Code on the task's main thread is interrupted at the same time; this is for
        what an interrupt does not reach: other threads, forked processes, shielded stretches, callbacks from C, code
        that swallows a KeyboardInterrupt.
        """
        return self._is_cancelled()

    def shielded(self) -> AbstractContextManager[None]:
        """For ``with``: a stretch that is not interrupted, such as the writing of a checkpoint.

        An ask that comes meanwhile waits for the end of the stretch, and of every other one that is open then, on
        whatever thread: only there comes the KeyboardInterrupt, the cancel of an asyncio loop's tasks, and the SIGINT
        to the task's subprocesses. A stretch that another thread began when the interrupt was on its way is waited
        for, too. They may nest. The grace period is not longer for it: what is open at its end is killed (force), or
        the cancel is refused (no force) and the task stops at the end of the stretch.

        It holds within the process that enters it: not in those that it forks, which are killed with the task.
        """
        return self._shield()

    def report(self, done: float, total: float | None = None, note: str = "") -> None:
        """Say how far the task is: ``done`` of ``total`` steps (None: nobody knows), and a few words.

        Cheap enough for an inner loop; what is shown is the last word, some twenty times a second.
        :class:`~scaler_notebook.progress` calls it for a loop.

        Raises
        ------
        TypeError, ValueError
            What is no number.
        """
        done, total = float(done), -1.0 if total is None else float(total)
        self._reporter(done if math.isfinite(done) else 0.0, total if math.isfinite(total) else -1.0, str(note))

    def __repr__(self) -> str:
        return f"<CurrentTask {self.task_id}: {self.name}>" if self.task_id else "<CurrentTask: none>"

    def __reduce__(self) -> tuple[Any, ...]:
        return current_task, ()


_NONE = CurrentTask()
_of_context: ContextVar[CurrentTask | None] = ContextVar("scaler_notebook.current_task")
# Of this process, with the threads that it did not start. One tuple: an older thread may be reading it.
_of_process: tuple[CurrentTask, weakref.WeakSet[threading.Thread]] = _NONE, weakref.WeakSet()


def current_task() -> CurrentTask:
    """The task that this code is part of, to cooperate with its cancel::

        def fit(model, batches):
            task = current_task()
            for batch in batches:
                model.step(batch)
                with task.shielded():  # the file is complete, or was not begun
                    model.save("checkpoint")

    Outside of a task (in the notebook, in a script, in a thread that has outlived its task) it gives one that is inert:
    without id and name, never cancelled, and its shields do nothing. So the same function can be called directly.

    With ``memory_executor(auto=True)`` only the task's own thread has it, and shields do nothing: nothing interrupts.
    """
    task = _of_context.get(None)
    if task is not None:
        return task
    task, older = _of_process
    return _NONE if threading.current_thread() in older else task


def begin(task: CurrentTask) -> None:
    """For an engine: ``task`` is that of the main thread, and of every thread that is started from now on."""
    global _of_process
    older = weakref.WeakSet(threading.enumerate())
    older.discard(threading.main_thread())
    _of_process = task, older


def end() -> None:
    """For an engine: the task of this process is over."""
    global _of_process
    _of_process = _NONE, weakref.WeakSet()


def begin_here(task: CurrentTask) -> None:
    """For an engine: ``task`` is that of the calling thread."""
    _of_context.set(task)


def end_here() -> None:
    """For an engine: the task of the calling thread is over."""
    _of_context.set(None)
