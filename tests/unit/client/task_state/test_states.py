"""The future's states: the contract's table as data, and the future that carries it out."""

import asyncio
import concurrent.futures
import contextlib
import logging
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED, RUNNING, _Waiter
from typing import Any, cast, get_args

import pytest

from scaler_notebook.client.agent.future_manager import FutureManager
from scaler_notebook.client.agent.outgoing_queue import OutgoingQueue
from scaler_notebook.client.futures import completion
from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.task_state.cancel_policy import CancelPolicy
from scaler_notebook.client.waiting import callback_thread
from scaler_notebook.client.waiting.host import PlainHost, current_host, install_host
from scaler_notebook.client.waiting.permission import AgentThread
from scaler_notebook.client.waiting.signal import Signal
from scaler_notebook.notebook.views import rows
from scaler_notebook.protocol import future_events as events
from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.errors import EngineLostError, TaskCancelledError
from scaler_notebook.protocol.exceptions import failures
from scaler_notebook.protocol.messages import (
    EngineMessage,
    Payload,
    TaskCancel,
    TaskCancelConfirm,
    TaskCancelConfirmType,
    TaskResult,
    TaskResultType,
    TaskStarted,
)
from scaler_notebook.protocol.states import TABLE, CancelReason, FutureAction, TaskState

PATIENCE = 5.0  # seconds that any wait of these tests may take
LOST = EngineLostError("gone")

SUBMITTED, RUNS, CANCELLING, DONE, CANCELLED = TaskState
COLUMNS = (SUBMITTED, RUNS, CANCELLING, DONE, CANCELLED)

# The contract's table. "–" there is "ignore" here: an engine that is lost changes nothing of what has ended.
A = FutureAction
CONTRACT = {
    events.StartAnnounced: (A.START, A.REMEMBER_START, A.REMEMBER_START, A.IGNORE, A.IGNORE),
    events.CancelRequested: (A.REQUEST, A.REQUEST, A.UPGRADE, A.DISCARD, A.IGNORE),
    events.DeadlineReached: (A.TIME_OUT, A.TIME_OUT, A.UPGRADE, A.IGNORE, A.IGNORE),
    events.CancelGranted: (A.WITHDRAW, A.WITHDRAW, A.CONFIRM, A.IGNORE, A.IGNORE),
    events.TaskUnknown: (A.NOT_PERMITTED, A.NOT_PERMITTED, A.NOT_FOUND, A.IGNORE, A.IGNORE),
    events.CancelRefused: (A.IGNORE, A.IGNORE, A.REFUSE, A.IGNORE, A.IGNORE),
    events.ResultArrived: (A.FINISH, A.FINISH, A.TOO_LATE, A.NOT_PERMITTED, A.IGNORE),
    events.EngineGone: (A.LOSE, A.LOSE, A.DISCONNECT, A.IGNORE, A.IGNORE),
}


# The same as what a person sees, by what happened so far and what happens next (the letters of ``Life.play``).
STAY = None
C = CancelReason
ENDED_FIRST = (C.FINISHED_FIRST, C.FAILED_FIRST, C.FAILED_FIRST)
TIMED_OUT = (C.TIMED_OUT,) * 3
LETTERS = "SCTANFRXDL"
ROWS: dict[str, tuple[Any, ...]] = {
    "": (RUNS, CANCELLING, CANCELLING, C.NEVER_STARTED, STAY, STAY, DONE, DONE, DONE, DONE),
    "S": (STAY, CANCELLING, CANCELLING, C.STOPPED, STAY, STAY, DONE, DONE, DONE, DONE),
    "C": (CANCELLING, STAY, STAY, C.NEVER_STARTED, C.NOT_FOUND, SUBMITTED, *ENDED_FIRST, C.DISCONNECTED),
    "CS": (STAY, STAY, STAY, C.STOPPED, C.NOT_FOUND, RUNS, *ENDED_FIRST, C.DISCONNECTED),
    "SC": (STAY, STAY, STAY, C.STOPPED, C.NOT_FOUND, RUNS, *ENDED_FIRST, C.DISCONNECTED),
    # Whoever asks first gives the reason.
    "T": (CANCELLING, STAY, STAY, C.TIMED_OUT, C.NOT_FOUND, SUBMITTED, *TIMED_OUT, C.DISCONNECTED),
    "ST": (STAY, STAY, STAY, C.TIMED_OUT, C.NOT_FOUND, RUNS, *TIMED_OUT, C.DISCONNECTED),
    "STC": (STAY, STAY, STAY, C.TIMED_OUT, C.NOT_FOUND, RUNS, *TIMED_OUT, C.DISCONNECTED),
    "SCT": (STAY, STAY, STAY, C.STOPPED, C.NOT_FOUND, RUNS, *ENDED_FIRST, C.DISCONNECTED),
    "STFC": (STAY, STAY, STAY, C.STOPPED, C.NOT_FOUND, RUNS, *ENDED_FIRST, C.DISCONNECTED),
    "STF": (STAY, CANCELLING, CANCELLING, C.STOPPED, STAY, STAY, DONE, DONE, DONE, DONE),
    "R": (STAY, C.DISCARDED, *[STAY] * 8),
    "X": (STAY, C.DISCARDED, *[STAY] * 8),
    "CA": (STAY,) * 10,
    "TA": (STAY,) * 10,
    "RC": (STAY,) * 10,
}
OUTCOMES = {(before, letter): row[i] for before, row in ROWS.items() for i, letter in enumerate(LETTERS)}

# order → (state or reason at the end, how many requests are sent)
ORDERS: dict[str, tuple[TaskState | CancelReason, int]] = {
    "SR": (DONE, 0),
    "SX": (DONE, 0),
    "CSR": (C.FINISHED_FIRST, 1),
    "CSX": (C.FAILED_FIRST, 1),
    "SCR": (C.FINISHED_FIRST, 1),
    "SCX": (C.FAILED_FIRST, 1),
    "CA": (C.NEVER_STARTED, 1),
    "SCA": (C.STOPPED, 1),
    "CSA": (C.STOPPED, 1),
    # a refusal answers the request: what follows is as if none had been made
    "CFSR": (DONE, 1),
    "CSFR": (DONE, 1),
    "CSFX": (DONE, 1),
    "SCFR": (DONE, 1),
    "SCFX": (DONE, 1),
    "CFA": (C.NEVER_STARTED, 1),
    "SCFA": (C.STOPPED, 1),
    "CFCA": (C.NEVER_STARTED, 2),
    "SCFCA": (C.STOPPED, 2),
    "SCFCR": (C.FINISHED_FIRST, 2),
    "SCFCX": (C.FAILED_FIRST, 2),
    # the deadline's request, answered by engines of all kinds
    "TA": (C.TIMED_OUT, 1),
    "STA": (C.TIMED_OUT, 1),
    "STR": (C.TIMED_OUT, 1),
    "TX": (C.TIMED_OUT, 1),
    "STFR": (DONE, 1),
    "STFCA": (C.STOPPED, 2),
}


class FutureSession:
    """Keeps what is sent, and tells when."""

    def __init__(self) -> None:
        self.sent: list[TaskCancel] = []
        self.told = threading.Semaphore(0)

    def send_cancel(self, request: TaskCancel) -> None:
        self.sent.append(request)
        self.told.release()

    @property
    def forces(self) -> list[bool]:
        return [request.force for request in self.sent]


class Value:
    """A result that can be seen to vanish."""


def confirm(answer: TaskCancelConfirmType, force: bool = True) -> TaskCancelConfirm:
    return TaskCancelConfirm("t", answer, force)


def failed() -> TaskResult:
    try:
        raise KeyError("mine")
    except KeyError as error:
        return TaskResult("t", TaskResultType.FAILED, payloads.dump(failures.capture(error, ())))


MESSAGES: dict[str, Callable[[], EngineMessage]] = {
    "S": lambda: TaskStarted("t", "123", 5.0),
    "R": lambda: TaskResult("t", TaskResultType.SUCCESS, payloads.dump(42)),
    "X": failed,
    "D": lambda: TaskResult("t", TaskResultType.FAILED_WORKER_DIED, Payload(b"it died")),
    "A": lambda: confirm(TaskCancelConfirmType.CANCELED),
    "F": lambda: confirm(TaskCancelConfirmType.CANCEL_FAILED),
    "N": lambda: confirm(TaskCancelConfirmType.CANCEL_NOT_FOUND),
}
LETTERED: dict[str, Any] = {
    "S": events.StartAnnounced,
    "RXD": events.ResultArrived,
    "A": events.CancelGranted,
    "F": events.CancelRefused,
    "N": events.TaskUnknown,
    "L": events.EngineGone,
}
EVENTS = {letter: event for letters, event in LETTERED.items() for letter in letters}


class Life:
    """One future with its manager, and what can happen to it, by letter."""

    def __init__(self) -> None:
        self.session = FutureSession()
        self.future: ScalerFuture[Any] = ScalerFuture(
            task_id="t", call="f()", session=cast(Any, self.session), policy=CancelPolicy(grace=0.5)
        )
        self.manager = FutureManager(OutgoingQueue())
        self.manager.add(self.future)

    def play(self, letters: str) -> "Life":
        for letter in letters:
            if letter == "C":
                self.future.request_cancel()
            elif letter == "T":
                self.future.handle(events.DeadlineReached())
            elif letter == "L":
                self.manager.fail_all(LOST)
            else:
                self.manager.receive([MESSAGES[letter]()])
        return self

    def force(self, letter: str) -> bool:
        """What the manager would not let through to a future that has ended."""
        if letter == "C":
            return self.future.handle(events.CancelRequested())
        if letter == "T":
            return self.future.handle(events.DeadlineReached())
        return self.future.handle(EVENTS[letter](MESSAGES[letter]() if letter in MESSAGES else LOST))

    def snapshot(self) -> tuple[Any, ...]:
        future = self.future
        queries = (future.done(), future.cancelled(), future.running(), future.failed, future.refused, repr(future))
        times = (future.started_at, future.ended_at, future.figures)
        return (future.state, future.cancel_reason, future._state, *queries, *times, future.result_bytes)


class Told(_Waiter):
    """Stands where ``wait`` and ``as_completed`` put theirs; counts."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def add_result(self, future: Any) -> None:
        self.calls.append("result")

    def add_exception(self, future: Any) -> None:
        self.calls.append("exception")

    def add_cancelled(self, future: Any) -> None:
        assert future._state == CANCELLED_AND_NOTIFIED
        self.calls.append("cancelled")


class Signalling(list):  # type: ignore[type-arg]
    """In place of a future's ``_waiters``: tells when somebody has begun to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.grown = threading.Semaphore(0)

    def append(self, waiter: Any) -> None:
        super().append(waiter)
        self.grown.release()


class CountingHost(PlainHost):
    """Tells when a wait has begun."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)

    def wait(self, signal: Signal, timeout: float | None) -> bool:
        self.begun.release()
        return super().wait(signal, timeout)


@pytest.fixture
def host() -> Iterator[CountingHost]:
    before, counting = current_host(), CountingHost()
    install_host(counting)
    yield counting
    install_host(before)


class Background:
    """A call on a thread of its own; its outcome, or a failure of the test after a bounded wait."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self._outcome: Any = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._outcome = self._call()
        except BaseException as error:
            self._outcome = error

    def outcome(self) -> Any:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "still waiting"
        return self._outcome


def callbacks_done() -> None:
    """Everything that was posted to the callback thread before has run."""
    reached = threading.Event()
    callback_thread.post(reached.set)
    assert reached.wait(PATIENCE)


def check_end(future: ScalerFuture[Any], end: TaskState | CancelReason, order: str) -> None:
    """Everything that can be asked of a future that has ended says the same."""
    assert (future.done(), future.running()) == (True, False)
    assert future.started_at == 5.0 if "S" in order else True
    if isinstance(end, CancelReason):
        assert (future.state, future.cancel_reason, future.cancelled()) == (CANCELLED, end, True)
        assert future._state == CANCELLED_AND_NOTIFIED
        with pytest.raises(CancelledError, match=end.value):
            future.result(0)
        with pytest.raises(CancelledError, match=end.value):
            future.exception(0)
        return
    assert (future.state, future.cancel_reason, future.cancelled()) == (DONE, None, False)
    assert future._state == FINISHED
    if order.endswith("R"):
        assert (future.result(0), future.exception(0), future.failed) == (42, None, False)
    else:
        assert future.failed
        with pytest.raises(KeyError, match="mine"):
            future.result(0)


def outcome_of(future: ScalerFuture[Any]) -> Any:
    try:
        return future.result(PATIENCE)
    except BaseException as error:
        return type(error)


def expected_outcome(end: TaskState | CancelReason, order: str) -> Any:
    if isinstance(end, CancelReason):
        return TaskCancelledError
    return 42 if order.endswith("R") else KeyError


# ---------------------------------------------------------------------- the table


def test_the_table_is_the_contracts() -> None:
    expected = {(state, event): row[i] for event, row in CONTRACT.items() for i, state in enumerate(COLUMNS)}
    assert dict(TABLE) == expected
    assert set(TABLE) == {(state, event) for state in TaskState for event in get_args(events.FutureEvent)}


@pytest.mark.parametrize(("before", "letter"), OUTCOMES)
def test_every_cell_of_the_table_is_carried_out(before: str, letter: str) -> None:
    life = Life().play(before)
    expected = OUTCOMES[before, letter]
    snapshot, sent = life.snapshot(), len(life.session.sent)
    changed = life.force(letter)
    if expected is STAY:
        assert not changed
        assert life.snapshot() == snapshot
    else:
        assert changed
        seen = life.future.cancel_reason if isinstance(expected, CancelReason) else life.future.state
        assert seen is expected
        assert life.future.cancelled() == isinstance(expected, CancelReason)
    requests = int(letter in "CT" and before in ("", "S", "STF"))
    assert len(life.session.sent) == sent + requests


# ---------------------------------------------------------------------- orders of messages


@pytest.mark.parametrize("order", ORDERS)
def test_every_valid_order_ends_as_the_contract_says(order: str) -> None:
    life, told, calls = Life(), Told(), []
    life.future._waiters.append(told)
    life.future.add_done_callback(lambda future: calls.append(threading.current_thread().name))
    for letter in order:
        assert life.future.running()
        assert not life.future.done()
        assert life.future._state == RUNNING
        life.play(letter)
        if letter == "F":
            assert life.future.refused
            assert life.future.state is (RUNS if "S" in order[: order.index("F")] else SUBMITTED)
    end, requests = ORDERS[order]
    check_end(life.future, end, order)
    assert life.session.sent == [TaskCancel("t", True, 0.5)] * requests
    assert life.manager.unfinished() == []
    callbacks_done()
    assert calls == ["scaler_notebook callbacks"]
    word = "cancelled" if isinstance(end, CancelReason) else "result" if order.endswith("R") else "exception"
    assert told.calls == [word]

    snapshot = life.snapshot()
    for letter in "SRXDAFNLT":
        assert not life.force(letter), letter
        life.play(letter)
    assert life.snapshot() == snapshot
    life.future.request_cancel()  # discards what has finished; tells nobody again
    assert life.future.cancelled()
    assert life.future.cancel_reason is (end if isinstance(end, CancelReason) else C.DISCARDED)
    callbacks_done()
    assert (len(calls), told.calls, len(life.session.sent)) == (1, [word], requests)


@pytest.mark.parametrize("order", ORDERS)
def test_whoever_waits_in_any_way_is_woken_with_the_end(order: str, host: CountingHost) -> None:
    life, awaiting = Life(), threading.Event()
    future = life.future
    future._waiters = waiters = Signalling()

    async def awaited() -> Any:
        async def awaiter() -> Any:
            return await future

        task = asyncio.ensure_future(awaiter())
        await asyncio.sleep(0)
        awaiting.set()
        return await asyncio.wait_for(task, PATIENCE)

    blocked = [Background(lambda: future.result(PATIENCE)), Background(lambda: asyncio.run(awaited()))]
    standard = [
        Background(lambda: list(concurrent.futures.as_completed([future], PATIENCE))),
        Background(lambda: list(completion.as_completed([future], PATIENCE))),
        Background(lambda: list(concurrent.futures.wait([future], PATIENCE).done)),
        Background(lambda: list(completion.wait([future], PATIENCE).done)),
    ]
    assert awaiting.wait(PATIENCE)
    assert all(waiters.grown.acquire(timeout=PATIENCE) for _ in standard)
    assert all(host.begun.acquire(timeout=PATIENCE) for _ in range(3))
    life.play(order)
    wanted = expected_outcome(ORDERS[order][0], order)
    for outcome in (background.outcome() for background in blocked):
        assert (type(outcome) if isinstance(outcome, BaseException) else outcome) == wanted
    assert [background.outcome() for background in standard] == [[future]] * 4
    assert outcome_of(future) == wanted  # who comes afterwards
    assert list(concurrent.futures.as_completed([future], 0)) == list(completion.as_completed([future], 0)) == [future]
    assert not future._watchers
    assert waiters == []


@pytest.mark.parametrize("order", [order for order in ORDERS if "C" in order])
def test_two_threads_that_cancel_send_one_request_and_both_get_the_answer(order: str, host: CountingHost) -> None:
    life = Life()
    threads: list[Background] = []
    for letter in order:
        if letter == "C":
            threads = [Background(lambda: life.future.cancel(PATIENCE)) for _ in range(2)]
            assert all(host.begun.acquire(timeout=PATIENCE) for _ in threads)
        else:
            life.play(letter)
        if life.future.state is not CANCELLING:
            assert [thread.outcome() for thread in threads] == [life.future.cancelled()] * len(threads)
            threads = []
    end, requests = ORDERS[order]
    check_end(life.future, end, order)
    assert life.session.forces == [True] * requests


# ---------------------------------------------------------------------- requests


@pytest.mark.parametrize(("answer", "reason"), [("A", C.STOPPED), ("R", C.FINISHED_FIRST)])
def test_a_deadline_makes_a_weaker_request_stronger_and_leaves_its_reason(answer: str, reason: CancelReason) -> None:
    life = Life().play("S")
    life.future.request_cancel(force=False)
    life.play("TT")
    assert life.session.forces == [False, True]
    life.manager.receive([confirm(TaskCancelConfirmType.CANCEL_FAILED, force=False)])
    assert life.future.state is CANCELLING
    life.play(answer)
    assert life.future.cancel_reason is reason


@pytest.mark.parametrize("before", ["", "S", "SC", "C"])
def test_a_later_try_is_noted_once_in_order_and_moves_nothing(before: str) -> None:
    life = Life().play(before)
    future, state = life.future, RUNS if before == "" else life.future.state
    for attempt, changes in ((2, True), (1, False), (2, False), (5, True), (4, False)):
        assert future.handle(events.StartAnnounced(TaskStarted("t", str(attempt), 6.0 + attempt, attempt))) is changes
    assert (future.state, future.tries, future.processor, future.started_at) == (state, 5, "5", 11.0)
    assert "process 5, try 5" in str(future.trace())


def test_a_deadline_keeps_what_is_there() -> None:
    life = Life().play("SRT")
    assert life.future.result(0) == 42
    assert life.session.sent == []


def test_a_request_is_upgraded_once_and_a_weaker_refusal_is_ignored() -> None:
    life = Life().play("S")
    future = life.future
    for force in (False, False, True, True, False):
        future.request_cancel(force)
    assert life.session.forces == [False, True]
    snapshot = life.snapshot()
    life.manager.receive([confirm(TaskCancelConfirmType.CANCEL_FAILED, force=False)])
    assert life.snapshot() == snapshot
    assert future.state is CANCELLING
    life.manager.receive([confirm(TaskCancelConfirmType.CANCEL_FAILED, force=True)])
    assert (future.state, future.refused) == (RUNS, True)
    future.request_cancel(False)
    assert (future.state, future.refused) == (CANCELLING, False)
    assert life.session.forces == [False, True, False]
    life.manager.receive([confirm(TaskCancelConfirmType.CANCEL_FAILED, force=False)])
    assert (future.state, future.refused) == (RUNS, True)


def test_cancel_gives_up_waiting_without_raising_and_a_late_answer_counts() -> None:
    life = Life().play("S")
    assert life.future.cancel(timeout=0) is False
    assert (life.future.state, life.future.cancelled()) == (CANCELLING, False)
    life.play("A")
    assert life.future.cancel(timeout=0) is True
    assert life.future.cancel_reason is C.STOPPED


def test_cancel_async_waits_without_blocking_the_loop() -> None:
    life = Life().play("S")

    async def main() -> tuple[bool, bool]:
        asyncio.get_running_loop().call_soon(life.play, "F")
        refused = await life.future.cancel_async(PATIENCE)
        asyncio.get_running_loop().call_soon(life.play, "A")
        return refused, await life.future.cancel_async(PATIENCE)

    assert asyncio.run(main()) == (False, True)
    assert not life.future._watchers


def test_an_await_that_is_cancelled_requests_the_cancel() -> None:
    life = Life().play("S")

    async def main() -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(life.future, 0.001)

    asyncio.run(main())
    assert life.session.forces == [True]
    assert life.future.state is CANCELLING


def test_a_request_that_spares_results_discards_none() -> None:
    life = Life().play("SR")
    assert not life.future.request_cancel_unfinished()
    assert life.future.result(0) == 42
    life = Life().play("S")
    assert life.future.request_cancel_unfinished(force=False)
    assert life.session.forces == [False]


# ---------------------------------------------------------------------- the engine lost


@pytest.mark.parametrize("before", ["", "S", "SCF"])
def test_a_lost_engine_finishes_what_was_not_being_cancelled(before: str) -> None:
    life = Life().play(before + "L")
    assert life.future.state is DONE
    assert life.future.exception(0) is LOST
    assert life.manager.unfinished() == []
    assert life.future.failed


def test_a_lost_engine_ends_every_future_of_the_connection() -> None:
    life = Life()
    others = [ScalerFuture[Any](task_id=str(i), call="g()") for i in range(3)]
    for other in others:
        life.manager.add(other)
    life.play("CL")
    assert life.future.cancel_reason is C.DISCONNECTED
    assert [other.exception(0) for other in others] == [LOST] * 3


# ---------------------------------------------------------------------- what is kept, and what is freed


def test_queries_take_no_lock() -> None:
    for letters in ("", "S", "SC", "SR", "SX", "SCA"):
        future = Life().play(letters).future

        def ask(future: ScalerFuture[Any] = future) -> Any:
            rows.row(future)
            return [
                future.done(),
                future.cancelled(),
                future.running(),
                future.state,
                repr(future),
                str(future.trace()),
            ]

        with future._condition:
            assert isinstance(Background(ask).outcome(), list), letters


class Frame(bytearray):
    """A buffer that can be seen to vanish."""


@pytest.mark.parametrize("before", ["C", "SC", "CA", "RC"])
def test_the_payload_of_a_result_that_nobody_wants_is_freed(before: str) -> None:
    life = Life().play(before)
    buffer = Frame(b"x")
    gone = weakref.ref(buffer)
    life.future.handle(
        events.ResultArrived(TaskResult("t", TaskResultType.SUCCESS, Payload(payloads.dump(1).data, (buffer,))))
    )
    del buffer
    assert gone() is None
    assert life.future.result_bytes == 0


@pytest.mark.parametrize("looked_at", [False, True])
def test_discarding_drops_the_value(looked_at: bool) -> None:
    life = Life().play("S")
    life.manager.receive([TaskResult("t", TaskResultType.SUCCESS, payloads.dump(Value()))])
    assert life.future.result_bytes > 0
    gone = weakref.ref(life.future.result(0)) if looked_at else lambda: None
    assert life.future.cancel(PATIENCE) is True
    assert gone() is None
    assert (life.future.result_bytes, life.future._result, life.future._exception) == (0, None, None)
    assert life.session.sent == []


def test_the_result_is_right_however_it_is_read() -> None:
    life = Life().play("SR")
    assert life.future._result == 42
    assert life.future._exception is None
    life = Life().play("SX")
    assert isinstance(life.future._exception, KeyError)
    life = Life().play("SD")
    assert "it died" in str(life.future._exception)
    assert "f()" in str(life.future._exception)


# ---------------------------------------------------------------------- locks, logs, unknown ids


def unlocked(future: ScalerFuture[Any]) -> bool:
    """Can another thread have the lock now?"""

    def take() -> bool:
        got = future._condition.acquire(timeout=0.5)
        if got:
            future._condition.release()
        return got

    return Background(take).outcome() is True


@pytest.mark.parametrize("who", ["session", "watcher", "callback", "log handler"])
def test_nothing_foreign_is_called_with_the_lock_held(who: str) -> None:
    life = Life()
    seen: list[bool] = []

    def look(*_: Any) -> None:
        seen.append(unlocked(life.future))

    class Handler(logging.Handler):
        emit = look  # type: ignore[assignment]

    logger, handler = logging.getLogger("scaler_notebook"), Handler()
    if who == "session":
        life.session.send_cancel = look  # type: ignore[assignment, method-assign]
    elif who == "watcher":
        life.future.watch(look)
    elif who == "callback":
        life.future.add_done_callback(look)
    else:
        logger.addHandler(handler)
    try:
        life.play("NSCA")
    finally:
        logger.removeHandler(handler)
    callbacks_done()
    assert seen
    assert all(seen)


def test_what_the_protocol_forbids_is_logged_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    for before, letter in (("", "N"), ("S", "N"), ("SR", "R")):
        caplog.clear()
        life = Life().play(before)
        assert not life.force(letter)
        assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_a_callback_that_raises_or_exits_keeps_none_from_the_next() -> None:
    life, calls = Life(), []

    def leave(error: type[BaseException]) -> Callable[[Any], None]:
        def callback(future: Any) -> None:
            calls.append(error)
            raise error

        return callback

    life.future.add_done_callback(leave(ValueError))
    life.future.add_done_callback(leave(SystemExit))
    last = threading.Event()
    life.future.add_done_callback(lambda future: last.set())
    life.play("SR")
    assert last.wait(1)
    assert calls == [ValueError, SystemExit]


AFTER_THE_END = ["SR", "SX", "CA", "RC", "L"]


@pytest.mark.parametrize("order", AFTER_THE_END)
def test_a_callback_that_is_added_after_the_end_is_called_at_once_in_the_caller(order: str) -> None:
    life, calls = Life().play(order), []
    life.future.add_done_callback(lambda future: calls.append((future, threading.current_thread())))
    assert calls == [(life.future, threading.current_thread())]
    callbacks_done()
    assert len(calls) == 1


@pytest.mark.parametrize("order", AFTER_THE_END)
def test_a_callback_that_the_agent_adds_after_the_end_runs_on_the_callback_thread(order: str) -> None:
    life, calls = Life().play(order), []

    def add() -> None:
        life.future.add_done_callback(lambda future: calls.append((future, threading.current_thread().name)))

    agent = AgentThread(target=add)
    agent.start()
    agent.join()
    callbacks_done()
    assert calls == [(life.future, "scaler_notebook callbacks")]


def test_what_a_callback_raises_that_is_added_after_the_end_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    life = Life().play("SR")

    def leave(error: type[BaseException]) -> Callable[[Any], None]:
        def callback(future: Any) -> None:
            raise error

        return callback

    life.future.add_done_callback(leave(ValueError))
    assert f"exception calling callback for {life.future!r}" in caplog.text
    for error in (KeyboardInterrupt, SystemExit):  # the caller's own, as in the standard library
        with pytest.raises(error):
            life.future.add_done_callback(leave(error))
    assert life.future.result(0) == 42


def test_an_id_leaves_the_table_on_its_end_alone_and_an_unknown_one_is_harmless() -> None:
    life = Life()
    for order in ("S", "C", "F", "N"):
        life.play(order)
        assert life.manager.unfinished() == [life.future]
    life.manager.receive([TaskStarted("other", "1", 1.0), MESSAGES["R"](), TaskStarted("t", "1", 1.0)])
    assert life.manager.unfinished() == []
    assert life.future.result(0) == 42
