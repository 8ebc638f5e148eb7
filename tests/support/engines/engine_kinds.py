"""The contract suite's engines: for each kind, how a test makes the messages of an order happen on it.

A further engine joins with a :class:`Director` of its own in ``KINDS``, and names there what it cannot do.

Orders are written in letters: S started, R result, X error, C cancel requested, A confirmed, F refused.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import queue
import select
import signal
import tempfile
import threading
import time
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar

from scaler_cluster import shared
from waits import SAFETY, until_running, until_written

from scaler_notebook import NotebookExecutor, ScalerFuture, TaskState
from scaler_notebook.testing import InMemoryExecutor, memory_executor

VALUE = 42
BEGUN = ".begun"  # behind the name of a puppet's pipe: where it says that it has begun
SHORT, LONG = 0.05, 30.0  # grace periods: one that ends at once, one that never does


class Capability(Enum):
    """What an order asks of an engine beyond running tasks and taking queued ones back."""

    STOP = "stop a running task"
    END_UNDER_REQUEST = "have a task end by itself while a cancel is unanswered"
    START_UNDER_REQUEST = "have TaskStarted arrive after the cancel was requested"
    REFUSE_QUEUED = "refuse to take back what has not started"
    WITHDRAW = "confirm a cancel that nobody requests"


def needs(order: str) -> set[Capability]:
    """The capabilities without which an order cannot happen."""
    found = set()
    started = requested = False
    for letter in order:
        match letter:
            case "S":
                started = True
                if requested:
                    found.add(Capability.START_UNDER_REQUEST)
            case "C":
                requested = True
            case "F":
                requested = False
                if not started:
                    found.add(Capability.REFUSE_QUEUED)
            case "A" if not requested:
                found.add(Capability.WITHDRAW)
            case "A" if started:
                found.add(Capability.STOP)
            case "R" | "X" if requested:
                found.add(Capability.END_UNDER_REQUEST)
    return found


class Director:
    """Makes orders happen on one kind of engine, one task at a time. A context manager: its executor ends with it."""

    lacks: ClassVar[set[Capability]] = set()

    def __init__(self) -> None:
        self.executor = self._executor()

    def __enter__(self) -> Director:
        self.executor.__enter__()
        return self

    def __exit__(self, *problem: Any) -> None:
        self.executor.__exit__(*problem)

    def _executor(self) -> NotebookExecutor:
        raise NotImplementedError

    def submit(self, order: str) -> ScalerFuture[Any]:
        """A task that can go through ``order``."""
        raise NotImplementedError

    def play(self, letter: str, future: ScalerFuture[Any]) -> None:
        """Make the engine send this, after all that was played before; it may arrive later. Never C."""
        raise NotImplementedError


class MemoryDirector(Director):
    """Says what happens."""

    def _executor(self) -> InMemoryExecutor:
        return memory_executor()

    def submit(self, order: str) -> ScalerFuture[Any]:
        return self.executor.submit(abs, -VALUE)

    def play(self, letter: str, future: ScalerFuture[Any]) -> None:
        assert isinstance(self.executor, InMemoryExecutor)
        engine = self.executor.engine
        match letter:
            case "S":
                engine.start_task(future)
            case "R":
                engine.finish(future, VALUE)
            case "X":
                engine.fail(future, KeyError("mine"))
            case "A":
                engine.confirm(future)
            case "F":
                engine.refuse(future)


def puppet(pipe: str, stops_scheduler: bool) -> int:
    """Swallows the one interrupt that a task gets, and ends as it is told."""
    begun = False
    while True:
        try:
            if not begun:
                begun = True  # first: the interrupt may come as soon as the test has read the line below
                if stops_scheduler:
                    os.kill(os.getppid(), signal.SIGSTOP)
                Path(pipe + BEGUN).write_text(f"{time.monotonic()} {os.getppid()}")
            with open(pipe) as commands:
                if commands.read(1) == "R":
                    return VALUE
                raise KeyError("mine")
        except KeyboardInterrupt:
            print("swallowed", flush=True)


class LocalDirector(Director):
    """Tasks in other processes, led through pipes. What is to be queued waits behind another task."""

    lacks: ClassVar = {Capability.REFUSE_QUEUED, Capability.WITHDRAW}

    def _executor(self) -> NotebookExecutor:
        return NotebookExecutor(n_workers=1)

    def __enter__(self) -> Director:
        self._stack = contextlib.ExitStack()
        self._directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self._stack.enter_context(self.executor)
        self._stack.callback(self.executor.cancel_all)
        self._numbers = itertools.count()
        return self

    def __exit__(self, *problem: Any) -> None:
        self._stack.close()

    def submit(self, order: str) -> ScalerFuture[Any]:
        self.executor.cancel_all(SAFETY)
        self._pipe = str(self._directory / str(next(self._numbers)))
        self._commands, self._begun = self._new_pipe(self._pipe), self._new_pipe(self._pipe + BEGUN)
        if order.startswith("CS"):
            return self._running_but_unannounced()
        if order.startswith("C"):
            until_running(self.executor.submit(time.sleep, 60))
        return self.executor.submit(puppet, self._pipe, False)

    def play(self, letter: str, future: ScalerFuture[Any]) -> None:
        if letter in "RX":
            if future.refused or future.state is TaskState.CANCELLING:
                until_written(future, "swallowed")  # not before: an interrupt must not meet its last steps
            self._commands.write(letter.encode())
        elif letter == "S" and future.state is TaskState.CANCELLING:
            self._continue()
        elif letter == "S":
            self._wait_until_begun()

    def _running_but_unannounced(self) -> ScalerFuture[Any]:
        """A task that stops the scheduler before that says that it runs: TaskStarted leaves after our request.

        The scheduler says it some milliseconds after it has handed the task out, so the task must be quick; in a
        process that has imported its module already it mostly is.
        """
        self._stack.callback(self._continue)
        for _ in range(100):
            future = self.executor.submit(puppet, self._pipe, True)
            self._wait_until_begun()
            self._hear_all()
            if future.state is TaskState.SUBMITTED:
                return future
            self._continue()
            self.play("R", future)
            assert future.result(SAFETY) == VALUE
        raise AssertionError("in 100 tries the scheduler was always quicker than the task")

    def _hear_all(self) -> None:
        """Wait until the client has read what the scheduler, which is stopped now, has sent."""
        session = self.executor._session
        assert session is not None
        for _ in range(3):  # a round of the loop may have begun before; the next one reads
            heard = threading.Event()
            session._agent._call(heard.set)
            assert heard.wait(SAFETY)

    def _wait_until_begun(self) -> float:
        """Gives the time of it."""
        assert select.select([self._begun], [], [], SAFETY)[0], "the task never began"
        words: list[bytes] = self._begun.read(100).split()
        when, self._parent = words
        return float(when)

    def _continue(self) -> None:
        session = self.executor._session
        assert session is not None
        os.kill(session.engine.scheduler.pid, signal.SIGCONT)  # type: ignore[attr-defined]

    def _new_pipe(self, path: str) -> io.FileIO:
        os.mkfifo(path)
        # Both ways: neither opening it here nor in the task has to wait for the other side.
        return self._stack.enter_context(open(path, "r+b", buffering=0))


class ScalerDirector(LocalDirector):
    """The same on a cluster of Scaler's with one worker, which is what starts and stops the task's process."""

    def _executor(self) -> NotebookExecutor:
        return NotebookExecutor(shared(workers=1).address)

    def _running_but_unannounced(self) -> ScalerFuture[Any]:
        """A task that stops its worker before it passes on that it runs."""
        assert self.executor.submit(needs, "").result(SAFETY) == set()  # its process has imported this module then
        self._stack.callback(self._continue)
        future = self.executor.submit(puppet, self._pipe, True)
        self._wait_until_begun()
        return future

    def _continue(self) -> None:
        os.kill(int(self._parent), signal.SIGCONT)


_lines: queue.SimpleQueue[str] = queue.SimpleQueue()  # for led(), which runs in this process


def led() -> int:
    """Ends as it is told."""
    if _lines.get(timeout=2 * SAFETY) == "R":
        return VALUE
    raise KeyError("mine")


class ThreadDirector(Director):
    """Threads of this process."""

    lacks: ClassVar = set(Capability)

    def _executor(self) -> InMemoryExecutor:
        return memory_executor(1, auto=True)

    def __exit__(self, *problem: Any) -> None:
        for _ in self.executor.unfinished():
            _lines.put("R")
        super().__exit__(*problem)

    def submit(self, order: str) -> ScalerFuture[Any]:
        if order.startswith("C"):
            self.executor.submit(led)
        return self.executor.submit(led)

    def play(self, letter: str, future: ScalerFuture[Any]) -> None:
        if letter in "RX":
            _lines.put(letter)


KINDS: dict[str, type[Director]] = {
    "memory": MemoryDirector,
    "threads": ThreadDirector,
    "local": LocalDirector,
    "scaler": ScalerDirector,
}
