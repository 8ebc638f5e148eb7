"""The message orders of the cancel contract, through a real executor, session and agent, on every kind of engine."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from itertools import chain, groupby, product
from typing import Any

import pytest
from engine_kinds import KINDS, LONG, SHORT, VALUE, Director, needs
from future_observers import callbacks_done
from message_recorder import CountingHost, Wire, no_delay
from waits import SAFETY

from scaler_notebook import CancelReason, ScalerFuture, TaskState
from scaler_notebook.client.waiting import host as waiting_host
from scaler_notebook.engines.testing import task_messages
from scaler_notebook.protocol.messages import EngineMessage, TaskCancelConfirm, TaskCancelConfirmType
from scaler_notebook.testing import memory_executor

Outcome = object  # the value, the exception as text, or the reason of the cancel
Cancel = Callable[[bool], list[Future[bool]]]  # asks, with or without force; gives what cancel() will return

C = CancelReason

ERROR = repr(KeyError("mine"))

# What each valid order ends in. A refusal (F) answers the request: what follows is as if none had been made.
ORDERS: dict[str, Outcome] = {
    "SR": VALUE,
    "SX": ERROR,
    "CSR": C.FINISHED_FIRST,
    "CSX": C.FAILED_FIRST,
    "SCR": C.FINISHED_FIRST,
    "SCX": C.FAILED_FIRST,
    "CA": C.NEVER_STARTED,
    "SCA": C.STOPPED,
    "CSA": C.STOPPED,
    "CFSR": VALUE,
    "CFSX": ERROR,
    "CSFR": VALUE,
    "CSFX": ERROR,
    "SCFR": VALUE,
    "SCFX": ERROR,
    "CFA": C.NEVER_STARTED,
    "SCFA": C.STOPPED,
    "CFCA": C.NEVER_STARTED,
    "CFCSR": C.FINISHED_FIRST,
    "CSFCX": C.FAILED_FIRST,
    "SCFCR": C.FINISHED_FIRST,
    "SCFCX": C.FAILED_FIRST,
    "SCFCA": C.STOPPED,
}


# Each letter in each place where it decides, once; the other orders are these with another end, or begun otherwise.
DECISIVE = ("SR", "SX", "CSR", "SCX", "CA", "SCA", "CSA", "CFSR", "SCFX", "SCFA", "CFCA", "CSFCX", "SCFCR")


def is_in_the_matrix(kind: str, order: str) -> bool:
    """A cluster takes seconds where a request is refused, or comes before the start; `test_scaler` has a refusal."""
    return order != "SCA" if kind == "scaler" else kind == "local" and order not in DECISIVE


POSSIBLE = [
    pytest.param(kind, order, marks=[pytest.mark.matrix] if is_in_the_matrix(kind, order) else [])
    for kind in KINDS
    for order in ORDERS
    if not needs(order) & KINDS[kind].lacks
]


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    wire = Wire()
    wire.tap(monkeypatch.setattr)
    return wire


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> CountingHost:
    host = CountingHost()
    monkeypatch.setattr(waiting_host, "_host", host)
    return host


def outcome(future: ScalerFuture[Any]) -> Outcome:
    try:
        return future.result(SAFETY)
    except CancelledError:
        return future.cancel_reason
    except KeyError as error:
        return repr(error)


def answer_to_request(rest: str) -> str:
    """What answers a request, given what follows it."""
    return next(letter for letter in rest if letter in "FARX")


# ---------------------------------------------------------------- who follows the future


class Scene:
    """One task that goes through one order, and what those who follow it need."""

    def __init__(self, order: str, director: Director, wire: Wire, host: CountingHost) -> None:
        self.order, self.expected = order, ORDERS[order]
        self.director, self.wire, self.host = director, wire, host
        self.future = director.submit(order)

    def request(self, force: bool) -> list[Future[bool]]:
        self.future.request_cancel(force)
        return []

    def play(self, cancel: Cancel) -> None:
        asked: list[Future[bool]] = []
        for played, letter in enumerate(self.order, 1):
            if letter == "C":
                answer = answer_to_request(self.order[played:])
                self.future.policy.grace = SHORT if answer in "FA" else LONG
                asked = cancel(answer != "F")
            else:
                self.director.play(letter, self.future)
            self.wire.wait_for(self.future, self.order[:played])
            if letter in "FARX":
                assert {answer.result(SAFETY) for answer in asked} <= {letter != "F"}
                asked = []


@contextmanager
def waiter_before(scene: Scene) -> Iterator[Cancel]:
    with ThreadPoolExecutor(1) as pool:
        waiter = pool.submit(outcome, scene.future)
        assert scene.host.entered.acquire(timeout=SAFETY)
        yield scene.request
        assert waiter.result(SAFETY) == scene.expected


@contextmanager
def waiter_after(scene: Scene) -> Iterator[Cancel]:
    yield scene.request
    assert outcome(scene.future) == scene.expected


@contextmanager
def done_callback(scene: Scene) -> Iterator[Cancel]:
    calls: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
    scene.future.add_done_callback(lambda future: calls.put(outcome(future)))
    yield scene.request
    assert calls.get(timeout=SAFETY) == scene.expected
    callbacks_done()  # a second call would have come before
    assert calls.empty()


@contextmanager
def awaiting(scene: Scene) -> Iterator[Cancel]:
    begun = threading.Event()

    async def see() -> Outcome:
        try:
            return await scene.future
        except CancelledError:
            return scene.future.cancel_reason
        except KeyError as error:
            return repr(error)

    async def main() -> Outcome:
        seeing = asyncio.ensure_future(see())
        asyncio.get_running_loop().call_soon(begun.set)  # after the first step of the line above
        return await asyncio.wait_for(seeing, SAFETY)

    with ThreadPoolExecutor(1) as pool:
        seen = pool.submit(asyncio.run, main())
        assert begun.wait(SAFETY)
        yield scene.request
        assert seen.result(SAFETY) == scene.expected


@contextmanager
def two_threads_cancelling(scene: Scene) -> Iterator[Cancel]:
    """Both are in ``cancel()`` before the request of the first leaves; one request is all that leaves."""
    with ThreadPoolExecutor(2) as pool:

        def cancel(force: bool) -> list[Future[bool]]:
            return [pool.submit(scene.future.cancel, SAFETY, force) for _ in range(2)]

        def until_both_are_in() -> None:
            assert scene.host.entered.acquire(timeout=SAFETY), "the second thread never came to wait"

        scene.wire.before_cancel = until_both_are_in
        try:
            yield cancel
        finally:
            scene.wire.before_cancel = no_delay
        if scene.future.state is TaskState.FINISHED:
            assert [answer.result(SAFETY) for answer in cancel(True)] == [True, True]
            assert scene.future.cancel_reason is C.DISCARDED
        else:
            assert scene.future.cancel_reason is scene.expected


WAYS: list[Callable[[Scene], AbstractContextManager[Cancel]]] = [
    waiter_before,
    waiter_after,
    done_callback,
    awaiting,
    two_threads_cancelling,
]


@pytest.mark.parametrize(("engine_kind", "order"), POSSIBLE)
def test_a_valid_order(engine_kind: str, order: str, wire: Wire, host: CountingHost) -> None:
    with KINDS[engine_kind]() as director:
        for way in WAYS:
            host.entered = threading.Semaphore(0)
            scene = Scene(order, director, wire, host)
            with way(scene) as cancel:
                scene.play(cancel)
            # A request that crosses the result on its way finds nobody; the answer changes nothing.
            assert wire.of(scene.future).removesuffix("N") == order, way.__name__


# ---------------------------------------------------------------- every other order


def ends_in(order: str) -> TaskState | CancelReason:
    """The contract's table: what any order of letters leads to, valid or not."""
    state, reason, started = TaskState.SUBMITTED, None, False
    for letter in order:
        match letter:
            case "C" if state is TaskState.FINISHED:
                state, reason = TaskState.CANCELLED, C.DISCARDED
            case _ if state.terminal:
                pass
            case "S":
                started = True
                state = TaskState.RUNNING if state is TaskState.SUBMITTED else state
            case "C":
                state = TaskState.CANCELLING
            case "A":
                state, reason = TaskState.CANCELLED, C.STOPPED if started else C.NEVER_STARTED
            case "F" if state is TaskState.CANCELLING:
                state = TaskState.RUNNING if started else TaskState.SUBMITTED
            case "R" | "X" if state is TaskState.CANCELLING:
                state, reason = TaskState.CANCELLED, C.FINISHED_FIRST if letter == "R" else C.FAILED_FIRST
            case "R" | "X":
                state = TaskState.FINISHED
    return reason or state


def message(letter: str, task_id: str) -> EngineMessage:
    match letter:
        case "S":
            return task_messages.started(task_id)
        case "R":
            return task_messages.succeeded(task_id, VALUE)
        case "X":
            return task_messages.failed(task_id, KeyError("mine"))
        case "A":
            return TaskCancelConfirm(task_id, TaskCancelConfirmType.CANCELED, True)
        case _:
            return TaskCancelConfirm(task_id, TaskCancelConfirmType.CANCEL_FAILED, True)


def test_the_table_agrees_with_the_valid_orders() -> None:
    for order, end in ORDERS.items():
        assert ends_in(order) == (end if isinstance(end, CancelReason) else TaskState.FINISHED), order


@pytest.mark.parametrize("batched", [False, True], ids=["one by one", "in batches"])
def test_any_order_is_harmless(batched: bool, caplog: pytest.LogCaptureFixture) -> None:
    with memory_executor() as executor:
        told: Counter[str] = Counter()
        ended = {}
        for order in map("".join, chain.from_iterable(product("SRXCAF", repeat=n) for n in range(1, 5))):
            future = executor.submit(abs, -VALUE)
            future.add_done_callback(lambda done: told.update([done.task_id]))
            for is_request, letters in groupby(order, "C".__eq__):
                if is_request:
                    for _ in letters:
                        future.request_cancel()
                elif batched:
                    executor.engine.tell(*[message(letter, future.task_id) for letter in letters])
                else:
                    for letter in letters:
                        executor.engine.tell(message(letter, future.task_id))
            assert (future.cancel_reason or future.state) == ends_in(order), order
            ended[future.task_id] = future.done()
        executor.engine.tell(message("R", "nobody's"))
        last = executor.submit(abs, -VALUE)
        executor.engine.finish(last, VALUE)
        assert last.result(SAFETY) == VALUE
        callbacks_done()
        assert told == Counter({task_id: 1 for task_id, done in ended.items() if done}), "once each, and only then"
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
