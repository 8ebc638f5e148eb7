"""Ctrl-C, or the stop button, anywhere within a call of ours leaves a future that ends, or none."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from interruptions import everywhere
from waits import SAFETY

from scaler_notebook import (
    DisconnectedError,
    LocalCluster,
    NotebookExecutor,
    ObjectReference,
    ScalerFuture,
    as_completed,
    gather,
    wait,
)
from scaler_notebook.testing import InMemoryExecutor, memory_executor

ARRAY = np.ones(200_000)
GRAPH = {"a": (abs, "n"), "n": -5, "b": (str, "a")}


class Given:
    """What the calls are made with.

    Parameters
    ----------
    executor
        Takes them.
    """

    def __init__(self, executor: NotebookExecutor) -> None:
        self.executor = executor
        self.done: ScalerFuture[Any] = executor.submit(list, range(3))
        self.failed: ScalerFuture[Any] = executor.submit(int, "x")
        self.reference: ObjectReference = executor.send_object([1, 2])
        wait([self.done, self.failed], SAFETY)
        self.number = 0

    def changed(self) -> ScalerFuture[int]:
        """A submit in new surroundings."""
        self.number += 1
        os.environ["SCALER_NOTEBOOK_TEST_CHANGES"] = str(self.number)
        return self.executor.submit(abs, -1)


CALLS: dict[str, Callable[[Given], Any]] = {
    "submit": lambda given: given.executor.submit(abs, -1),
    "submit of an array": lambda given: given.executor.submit(len, ARRAY),
    "submit in new surroundings": Given.changed,
    "submit with an input that has ended": lambda given: given.executor.submit(len, given.done),
    "submit with one that has not": lambda given: given.executor.submit(len, given.executor.submit(list, ())),
    "submit with one that has failed": lambda given: given.executor.submit(len, given.failed),
    "submit with a reference": lambda given: given.executor.submit(len, given.reference),
    "submit_verbose": lambda given: given.executor.submit_verbose(abs, (-1,), timeout=60.0),
    "map_async": lambda given: given.executor.map_async(abs, [1, 2]),
    "map": lambda given: list(given.executor.map(abs, [1, 2])),
    "get": lambda given: given.executor.get(GRAPH, ["b"]),
    "get without a wait": lambda given: given.executor.get(GRAPH, ["b"], block=False),
    "send_object": lambda given: given.executor.send_object(ARRAY),
    "then": lambda given: given.done.then(len),
    "retry": lambda given: given.done.retry(),
    "result": lambda given: given.executor.submit(abs, -1).result(),
    "cancel": lambda given: given.executor.submit(time.sleep, 60).cancel(),
    "request_cancel": lambda given: given.executor.submit(time.sleep, 60).request_cancel(),
    "cancel_all": lambda given: (given.executor.submit(time.sleep, 60), given.executor.cancel_all()),
    "wait": lambda given: wait([given.executor.submit(abs, -1)]),
    "as_completed": lambda given: list(as_completed([given.executor.submit(abs, -1)])),
    "gather": lambda given: gather(given.executor.submit(abs, -1)),
    "clear": lambda given: given.executor.clear(),
}
# A tracer comes where no signal does: between the end of a block and the release of its lock.
NOT_AT_EACH_OPCODE = ("cancel", "request_cancel", "cancel_all", "clear")
# All others begin, or end, with one of these.
PATHS = ("submit with an input that has ended", "submit with a reference", "get without a wait", "result")
OFTEN = {
    "opcode": ("submit",),
    "line": ("submit in new surroundings", "get", "request_cancel"),
}


@pytest.mark.parametrize(
    ("event", "name"),
    [
        pytest.param(event, name, marks=marks)
        for event, often in OFTEN.items()
        for name in CALLS
        if event == "line" or name not in NOT_AT_EACH_OPCODE
        for marks in ([()] if name in often else []) + [(pytest.mark.matrix,)]
    ],
)
def test_an_interrupt_anywhere_in_a_call(
    event: str, name: str, new_executor: NotebookExecutor, request: pytest.FixtureRequest
) -> None:
    given = Given(new_executor)
    step = 37  # a prime: other places for each other path
    if request.node.get_closest_marker("matrix"):
        often, seldom = (1, 3) if event == "line" else (7, 13)
        step = 1 if name == "submit" else often if name in PATHS else seldom
    for _ in everywhere(lambda: CALLS[name](given), event, step):
        if "cancel" in name:  # what was interrupted before it was cancelled
            new_executor.cancel_all(SAFETY)
    new_executor.cancel_all(SAFETY)
    assert new_executor.unfinished() == []
    assert new_executor.submit(abs, -1).result(SAFETY) == 1


@pytest.mark.parametrize(
    ("event", "step"),
    [("line", 17), *(pytest.param(event, 1, marks=pytest.mark.matrix) for event in ("line", "opcode"))],
)
def test_an_interrupt_of_an_executors_life(event: str, step: int) -> None:
    """The scheduler of an engine that is given up while it starts ends; the fixture of leaks sees to it."""
    executors: list[InMemoryExecutor] = []

    def live() -> None:
        executors.append(memory_executor(auto=True))
        with executors[-1] as executor:
            executor.submit(abs, -1)

    for _ in everywhere(live, event, step):
        while executors:  # it may have been interrupted before there was one
            executors.pop().shutdown()


@pytest.mark.matrix
@pytest.mark.timeout(900)
def test_an_interrupt_of_a_real_engines_life() -> None:
    executors: list[NotebookExecutor] = []

    def live() -> None:
        executors.append(NotebookExecutor(n_workers=1))
        with executors[-1] as executor:
            executor.submit(abs, -1)

    for _ in everywhere(live, "line", step=5):
        while executors:
            executors.pop().shutdown()


def test_a_signal_handler_submits_wherever_a_submit_is(new_executor: NotebookExecutor) -> None:
    handled: list[ScalerFuture[Any]] = []

    def handler(number: int, frame: object) -> None:
        handled.append(new_executor.submit(len, ARRAY))

    before = signal.signal(signal.SIGALRM, handler)
    submitted = []
    try:
        for number in range(300):
            signal.setitimer(signal.ITIMER_REAL, (1 + number % 20) * 2e-5)
            submitted.append(new_executor.submit(len, ARRAY))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert handled
    assert {each.result(SAFETY) for each in (*submitted, *handled)} == {len(ARRAY)}


@pytest.mark.parametrize(
    "start", [NotebookExecutor.start, lambda _: LocalCluster(n_workers=1)], ids=["executor", "cluster"]
)
def test_an_interrupt_while_an_engine_starts_leaves_none(
    start: Callable[[NotebookExecutor], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even one that comes when a pipe is made, and nobody has its ends yet; the fixture of leaks sees to it."""
    main, make_pipe = threading.get_ident(), os.pipe
    interrupts = iter([signal.SIGINT])

    def interrupted() -> tuple[int, int]:
        ends = make_pipe()
        for number in interrupts:
            signal.pthread_kill(main, number)
        return ends

    monkeypatch.setattr(os, "pipe", interrupted)
    executor = NotebookExecutor(n_workers=1)
    with pytest.raises(KeyboardInterrupt):
        start(executor)
    assert not executor.is_running
    executor.shutdown()


@pytest.mark.parametrize("end", [NotebookExecutor.shutdown, NotebookExecutor.disconnect])
def test_a_signal_handler_ends_the_executor_while_its_engine_starts(
    end: Callable[[NotebookExecutor], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever submits is told, and neither the engine nor a future outlives the executor."""
    executor = memory_executor(auto=True)
    signalled = partial(signal.pthread_kill, threading.get_ident(), signal.SIGALRM)
    monkeypatch.setattr(executor.engine, "start", signalled)
    before = signal.signal(signal.SIGALRM, lambda number, frame: end(executor))
    try:
        with pytest.raises(DisconnectedError):
            executor.submit(abs, -1)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert executor.unfinished() == []
    assert not executor.is_running
    executor.shutdown()


def submit_for_ever(executor: NotebookExecutor, timer: threading.Timer) -> None:
    timer.start()
    while True:
        executor.submit(abs, -1)


def test_an_interrupt_that_ends_a_burst_leaves_none_behind(new_executor: NotebookExecutor) -> None:
    """As the stop button does it, at a moment of its own."""
    main = threading.get_ident()
    for delay in (0.001, 0.003, 0.01, 0.02):
        timer = threading.Timer(delay, signal.pthread_kill, (main, signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            submit_for_ever(new_executor, timer)
        timer.join()
    assert not wait(new_executor.unfinished(), 3 * SAFETY).not_done
