"""Faults in the real engine's processes around a cancel, and tasks that do all they can not to be stopped.

What is said to have been stopped has stopped; every future ends once, in a state that the contract permits; the slot
works afterwards.
"""

from __future__ import annotations

import functools
import mmap
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import wait
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
import stubborn_tasks
from fault_injection import (
    Ends,
    check_traces,
    children,
    engine,
    eventually,
    freeze,
    is_alive,
    kill,
    outcome,
    process_of,
    status,
    task_processes,
    thaw,
    traces,
    works,
)
from raw_peers import scheduler_of
from waits import SAFETY, until, until_running, until_written

from scaler_notebook import EngineLostError, NotebookExecutor, ScalerFuture, TaskState

LONG = 60.0  # seconds; a grace period that no test waits out

both_strengths = pytest.mark.parametrize("force", [True, False], ids=["force", "ask"])
either_strength = pytest.mark.parametrize(
    "force", [True, pytest.param(False, marks=pytest.mark.matrix)], ids=["force", "ask"]
)


# ---------------------------------------------------------------- tasks that are hard to stop

STOPS, REFUSES = {True}, {False}
EITHER = STOPS | REFUSES  # how far it has come decides

# What each does about an interrupt.
HARD: dict[Callable[..., object], set[bool]] = {
    stubborn_tasks.ignores_the_signal: REFUSES,
    stubborn_tasks.blocks_the_signal: REFUSES,
    stubborn_tasks.catches_it_again_and_again: REFUSES,
    stubborn_tasks.multiplies_matrices: REFUSES,
    stubborn_tasks.holds_the_gil: REFUSES,
    stubborn_tasks.holds_the_gil_beside_a_thread: REFUSES,
    stubborn_tasks.matches_a_bad_pattern: STOPS,
    stubborn_tasks.imports_what_loops: STOPS,
    stubborn_tasks.is_in_a_finally: STOPS,
    stubborn_tasks.stays_in_a_finally: EITHER,
    stubborn_tasks.is_in_a_del: STOPS,
    stubborn_tasks.is_in_one_del_after_another: REFUSES,
    stubborn_tasks.acquires_a_lock: STOPS,
    stubborn_tasks.joins_a_thread_that_loops: STOPS,
    stubborn_tasks.runs_a_subprocess: STOPS,
    stubborn_tasks.runs_a_subprocess_that_ignores_the_signal: STOPS,
    stubborn_tasks.forks_children: STOPS,
    stubborn_tasks.forks_children_and_refuses: REFUSES,
    stubborn_tasks.starts_multiprocessing_children: STOPS,
    stubborn_tasks.runs_a_pool: EITHER,
}


# Each has its like among the others.
IN_THE_MATRIX = (
    stubborn_tasks.holds_the_gil_beside_a_thread,
    stubborn_tasks.multiplies_matrices,
    stubborn_tasks.is_in_one_del_after_another,
    stubborn_tasks.stays_in_a_finally,
    stubborn_tasks.runs_a_subprocess,
)


@pytest.mark.parametrize(
    "task",
    [pytest.param(task, marks=pytest.mark.matrix if task in IN_THE_MATRIX else ()) for task in HARD],
    ids=lambda task: task.__name__,
)
def test_a_confirmed_task_is_gone_with_all_its_processes(
    task: Callable[..., object], executor: NotebookExecutor, tmp_path: Path
) -> None:
    """One copy of the task is forced, the other asked: if it stops, then by the interrupt, however slow the machine."""
    (tmp_path / "half_imported.py").write_text("while True: pass\n")
    arguments = [str(tmp_path)] if task is stubborn_tasks.imports_what_loops else []
    forced = executor.submit(task, *arguments)
    if HARD[task] == STOPS:
        executor.grace = LONG
    asked = executor.submit(task, *arguments)
    families = {}
    for future in (asked, forced):
        process = psutil.Process(process_of(future))
        families[future] = [process.pid, *(child.pid for child in process.children(recursive=True))]
    asked.request_cancel(force=False)
    forced.request_cancel(force=True)

    def end(future: ScalerFuture[Any]) -> None:
        assert not any(map(is_alive, families[future])), "it was confirmed while processes of it still ran"
        assert outcome(future) == "stopped"
        assert process_of(future) not in task_processes(executor)

    forced.wait_for_answer(SAFETY)
    end(forced)
    asked.wait_for_answer(SAFETY)
    assert asked.refused is not asked.cancelled()
    assert asked.cancelled() in HARD[task]
    if asked.refused:
        assert all(map(is_alive, families[asked])), "it was refused, and something of it was ended all the same"
        assert asked.cancel(SAFETY, force=True)
    end(asked)
    works(executor, slots=2)


# ---------------------------------------------------------------- SIGKILL of the task process


@either_strength
def test_killed_just_before_a_cancel(force: bool) -> None:
    """The death or the request is seen first. Permitted: stopped, failed first, discarded."""
    ends = Ends()
    with engine(1, LONG) as executor:
        for round in range(12):
            future = executor.submit(stubborn_tasks.obeys)
            ends.follow(future)
            kill(process_of(future))
            stubborn_tasks.spend(round * 0.0002, spin=True)
            assert future.cancel(SAFETY, force) is True
            assert outcome(future) in {"stopped", "failed first", "discarded"}
            works(executor)
    ends.check()


@either_strength
def test_killed_just_after_a_cancel_was_requested(force: bool) -> None:
    """Permitted: stopped, by us or by the kill; failed first."""
    ends = Ends()
    with engine(1, LONG) as executor:
        for round in range(12):
            future = executor.submit(stubborn_tasks.refuses)
            ends.follow(future)
            pid = process_of(future)
            future.request_cancel(force)
            stubborn_tasks.spend(round * 0.0002, spin=True)
            kill(pid)
            assert future.cancel(SAFETY, force) is True
            assert outcome(future) in {"stopped", "failed first"}
            works(executor)
    ends.check()


@both_strengths
def test_killed_between_the_interrupt_and_the_end_of_the_grace_period(force: bool) -> None:
    """Its process is gone, and it was asked to be: stopped, without the rest of the grace period."""
    ends = Ends()
    with engine(1, LONG) as executor:
        future = executor.submit(stubborn_tasks.refuses)
        ends.follow(future)
        pid = process_of(future)
        future.request_cancel(force)
        until_written(future, "refused")
        kill(pid)
        assert future.cancel(SAFETY, force) is True
        assert outcome(future) == "stopped"
        assert not future.refused
        works(executor)
    ends.check()


def test_killed_after_a_refusal(executor: NotebookExecutor) -> None:
    """The request is answered, and what happens later is the task's own fate."""
    future = executor.submit(stubborn_tasks.refuses)
    pid = process_of(future)
    assert future.cancel(SAFETY, force=False) is False
    kill(pid)
    until(future, future.done, "end")
    assert outcome(future) == "ProcessorDiedError"
    works(executor, slots=2)


@either_strength
def test_idle_processes_are_killed_after_a_cancel(force: bool, executor: NotebookExecutor) -> None:
    """The next tasks may meet processes that are dead already: they run or fail clearly, and those after them run."""
    ends = Ends()
    for round in range(6):
        future = executor.submit(stubborn_tasks.obeys)
        ends.follow(future)
        process_of(future)
        assert future.cancel(SAFETY, force) is True
        idle = {each.result(SAFETY) for each in [executor.submit(stubborn_tasks.where, 0.05) for _ in range(2)]}
        for pid in idle:
            kill(pid)
        if round % 2:
            eventually(lambda pids=idle: not any(map(status, pids)), "the scheduler has noticed")
        following = [executor.submit(abs, -1) for _ in range(4)]
        for each in following:
            ends.follow(each)
        assert wait(following, SAFETY).not_done == set()
        assert {outcome(each) for each in following} <= {"finished", "ProcessorDiedError"}
        assert outcome(future) == "stopped"
        works(executor, slots=2)
    ends.check()


@both_strengths
def test_the_next_task_is_killed_after_a_cancel(force: bool) -> None:
    ends = Ends()
    with engine(1) as executor:
        future, following = executor.submit(stubborn_tasks.obeys), executor.submit(stubborn_tasks.obeys)
        for each in (future, following):
            ends.follow(each)
        process_of(future)
        assert future.cancel(SAFETY, force) is True
        kill(process_of(following))
        until(following, following.done, "end")
        assert outcome(following) == "ProcessorDiedError"
        assert outcome(future) == "stopped"
        works(executor)
    ends.check()


def test_a_task_whose_process_died_before_it_runs_in_another(frozen: Any, tmp_path: Path) -> None:
    """The scheduler reads of a result first, hands over the next task, and only then that the process has died."""
    path = tmp_path / "trace"
    path.touch()
    ends = Ends()
    outcomes = set()
    with engine(1) as executor:
        for round in range(5):
            enough = tmp_path / f"enough {round}"
            first = executor.submit(stubborn_tasks.brief_but_for, str(enough), str(path), 2 * round)
            until_running(first)
            eventually(lambda n=2 * round: traces(path)[0][n] == 1, "the first has begun")
            pid = int(path.read_text().split()[-1])
            second = executor.submit(stubborn_tasks.brief, str(path), 2 * round + 1)
            for each in (first, second):
                ends.follow(each)
            scheduler = scheduler_of(executor).pid
            frozen(scheduler)
            enough.touch()
            eventually(lambda n=2 * round: traces(path)[1][n] == 1, "the first has come to its end")
            eventually(lambda p=pid: status(p) == "S", "and waits for the next")
            kill(pid)
            eventually(lambda p=pid: not is_alive(p), "its process is dead")
            thaw(scheduler)
            assert second.result(SAFETY) == 2 * round + 1
            outcomes.add(outcome(first))
        works(executor)
    assert outcomes in ({"finished"}, {"finished", "ProcessorDiedError"}), "it may be killed before it has written"
    ends.check()


@pytest.mark.parametrize("raises", [False, True], ids=["returns", "raises"])
def test_a_process_that_a_task_forks_does_not_answer_for_it(raises: bool, executor: NotebookExecutor) -> None:
    future = executor.submit(stubborn_tasks.returns_twice, raises)
    assert future.result(SAFETY) == f"the task; its child ended with {int(raises)}"
    assert ("ValueError: in the child" in future.logs.stderr) == raises
    works(executor)


# ---------------------------------------------------------------- SIGSTOP of the task process


@pytest.fixture
def frozen() -> Any:
    """Freezes processes; they are continued at the end, whatever happens."""
    with ExitStack() as stack:

        def freeze_until_the_end(pid: int) -> None:
            freeze(pid)
            stack.callback(thaw, pid)

        yield freeze_until_the_end


def test_a_frozen_task_is_killed_after_its_grace_period(executor: NotebookExecutor, frozen: Any) -> None:
    """SIGKILL works on what SIGSTOP has stopped."""
    future = executor.submit(stubborn_tasks.obeys)
    pid = process_of(future)
    frozen(pid)
    assert future.cancel(SAFETY, force=True) is True
    assert outcome(future) == "stopped"
    assert not is_alive(pid)
    works(executor, slots=2)


def test_a_frozen_task_that_was_asked_is_refused_and_stops_when_it_goes_on(
    executor: NotebookExecutor, frozen: Any
) -> None:
    """The interrupt has waited for it. Nobody asks any more, but it says that it has stopped: cancelled, stopped."""
    ends = Ends()
    future = executor.submit(stubborn_tasks.obeys)
    ends.follow(future)
    pid = process_of(future)
    frozen(pid)
    assert future.cancel(SAFETY, force=False) is False
    assert future.refused
    assert future.state is TaskState.RUNNING
    assert is_alive(pid)
    thaw(pid)
    until(future, future.done, "end")
    assert outcome(future) == "stopped"
    assert not is_alive(pid)
    works(executor, slots=2)
    ends.check()


def test_a_frozen_task_that_was_asked_and_swallows_the_late_interrupt_finishes(
    executor: NotebookExecutor, frozen: Any, tmp_path: Path
) -> None:
    future = executor.submit(stubborn_tasks.refuses, str(tmp_path / "enough"))
    pid = process_of(future)
    frozen(pid)
    assert future.cancel(SAFETY, force=False) is False
    assert future.refused
    thaw(pid)
    until_written(future, "refused")
    (tmp_path / "enough").touch()
    assert future.result(SAFETY) == "finished all the same"
    assert not future.cancelled()
    works(executor, slots=2)


@both_strengths
def test_a_task_that_is_frozen_during_its_grace_period(force: bool, frozen: Any, tmp_path: Path) -> None:
    """It has swallowed its interrupt: with force it is killed all the same, without it is refused and goes on."""
    with engine(1, 0.5) as executor:
        future = executor.submit(stubborn_tasks.refuses, str(tmp_path / "enough"))
        pid = process_of(future)
        future.request_cancel(force)
        until_written(future, "refused")
        frozen(pid)
        assert future.cancel(SAFETY, force) is force
        if force:
            assert outcome(future) == "stopped"
            assert not is_alive(pid)
        else:
            assert future.refused
            thaw(pid)
            (tmp_path / "enough").touch()
            assert future.result(SAFETY) == "finished all the same"
        works(executor)


@both_strengths
def test_a_task_in_a_process_that_was_frozen_before_it(force: bool, tmp_path: Path, frozen: Any) -> None:
    """It was handed out, and its code never began: with force it never will, and neither when its process goes on."""
    path = tmp_path / "trace"
    path.touch()
    ends = Ends()
    with engine(1) as executor:
        works(executor)
        eventually(lambda: len(task_processes(executor)) == 2, "the slot's process and a spare")
        for pid in task_processes(executor):
            frozen(pid)
        future = executor.submit(stubborn_tasks.brief, str(path), 1)
        ends.follow(future)
        until_running(future)
        queued = executor.submit(stubborn_tasks.brief, str(path), 2)
        ends.follow(queued)
        assert queued.cancel(SAFETY, force) is True  # the scheduler alone decides
        assert outcome(queued) == "never started"
        assert future.cancel(SAFETY, force) is force
        for pid in task_processes(executor):
            thaw(pid)
        until(future, future.done, "end")
        assert outcome(future) == "stopped"
        works(executor)
    assert path.read_text() == ""
    ends.check()


def test_the_next_task_is_frozen_after_a_cancel(executor: NotebookExecutor, frozen: Any, tmp_path: Path) -> None:
    """No interrupt is left over for it: it goes on where it was."""
    for _ in range(2):
        future = executor.submit(stubborn_tasks.obeys)
        process_of(future)
        assert future.cancel(SAFETY)
    following = executor.submit(stubborn_tasks.refuses, str(tmp_path / "enough"))
    pid = process_of(following)
    frozen(pid)
    thaw(pid)
    (tmp_path / "enough").touch()
    assert following.result(SAFETY) == "finished all the same"
    assert "refused" not in following.logs.stdout


def test_an_interrupt_that_was_held_back_never_reaches_the_next_task(tmp_path: Path) -> None:
    """A task blocks the signal, and finishes; it is the next one in its process that lets the signal through."""
    met = 0
    with engine(1, 0.05) as executor:
        for round in range(30):
            future = executor.submit(stubborn_tasks.blocks_the_signal_until, str(tmp_path / str(round)))
            pid = process_of(future)
            assert future.cancel(SAFETY, force=False) is False
            (tmp_path / str(round)).touch()
            assert future.result(SAFETY) is None
            following = executor.submit(stubborn_tasks.lets_signals_through)
            assert following.exception(SAFETY) is None
            met += following.result() == pid
            if met == 3:
                return
    raise AssertionError("the next task hardly ever ran in the same process")


# ---------------------------------------------------------------- the scheduler


@pytest.mark.parametrize("frozen_first", [False, True], ids=["running", "frozen"])
def test_the_scheduler_is_killed_with_cancels_pending(frozen_first: bool, frozen: Any) -> None:
    """Who is being cancelled is cancelled: disconnected. Everybody else is told that the engine is lost."""
    ends = Ends()
    with engine(3, LONG) as executor:
        running, asked, forced = (executor.submit(stubborn_tasks.refuses) for _ in range(3))
        queued = [executor.submit(stubborn_tasks.rest) for _ in range(20)]
        everybody: list[ScalerFuture[Any]] = [running, asked, forced, *queued]
        for future in everybody:
            ends.follow(future)
        pids = [process_of(future) for future in (running, asked, forced)]
        scheduler = scheduler_of(executor).pid
        server = children(scheduler)[0]
        pids += task_processes(executor)
        if frozen_first:
            frozen(scheduler)
        answers: list[bool] = []
        cancelled: list[ScalerFuture[Any]] = [asked, forced, *queued[::4], *queued[1::4]]
        for future, force in zip(cancelled, [False, True] + 5 * [False] + 5 * [True], strict=True):
            future.request_cancel(force)
        waiters = [threading.Thread(target=lambda f=f: answers.append(f.cancel(SAFETY, False))) for f in cancelled[:3]]
        for waiter in waiters:
            waiter.start()
        if not frozen_first:
            for future in (asked, forced):
                until_written(future, "refused")
        kill(scheduler)
        assert wait(everybody, 2.0).not_done == set()
        for waiter in waiters:
            waiter.join(SAFETY)
        assert answers == [True] * 3
        assert {outcome(future) for future in (asked, forced)} == {"disconnected"}
        # Of those that had not started, the scheduler answers at once if it still can.
        assert {outcome(future) for future in cancelled[2:]} == {"disconnected" if frozen_first else "never started"}
        for future in everybody:
            if future not in cancelled:
                with pytest.raises(EngineLostError, match="scheduler process died"):
                    future.result(0)
        eventually(lambda: not any(map(is_alive, [server, *pids])), "its processes are gone")
        works(executor, slots=3)
    ends.check()


def test_a_frozen_scheduler_answers_late_and_its_answers_count(frozen: Any, tmp_path: Path) -> None:
    """What it finds first when it goes on is a result: a queued task may get that slot before its cancel is read."""
    path = tmp_path / "trace"
    path.touch()
    ends = Ends()
    with engine(2, 0.2) as executor:
        running = executor.submit(stubborn_tasks.obeys)
        ending = executor.submit(stubborn_tasks.brief_but_for, str(tmp_path / "enough"), str(path), 0)
        process_of(running)
        until_running(ending)
        queued = [executor.submit(stubborn_tasks.brief, str(path), number) for number in (1, 2)]
        scheduler = scheduler_of(executor).pid
        frozen(scheduler)
        briefs = [ending, *queued, executor.submit(stubborn_tasks.brief, str(path), 3)]
        everybody: list[ScalerFuture[Any]] = [running, *briefs]
        for future in everybody:
            ends.follow(future)
        (tmp_path / "enough").touch()
        eventually(lambda: traces(path)[1][0] == 1, "the second task has come to its end")
        started = time.monotonic()
        for future, force in zip(everybody, [True, False, True, False, True], strict=True):
            assert future.cancel(timeout=0.05, force=force) is False
            assert future.state is TaskState.CANCELLING
            assert future.running()
        assert executor.cancel_all(timeout=0.05) is False
        assert time.monotonic() - started < SAFETY, "cancel() waited longer than it was told to"
        thaw(scheduler)
        for future in everybody:
            until(future, future.cancelled, "be cancelled by the late answer")
        assert outcome(running) == "stopped"
        assert outcome(ending) == "finished first"
        assert {outcome(future) for future in briefs[1:]} <= {"never started", "stopped", "finished first"}
        works(executor, slots=2)
    check_traces(path, {number: outcome(future) for number, future in enumerate(briefs)})
    ends.check()


# ---------------------------------------------------------------- the confirmation is true


class Counter:
    """The counter of a task that counts, as it stands."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(8))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 8)

    def read(self) -> int:
        return int.from_bytes(self._map, "little")

    def close(self) -> None:
        self._map.close()


@both_strengths
@pytest.mark.parametrize(
    "task",
    [
        stubborn_tasks.count,
        stubborn_tasks.counts_and_refuses,
        stubborn_tasks.counts_in_a_thread,
        stubborn_tasks.counts_in_a_forked_child,
        stubborn_tasks.counts_in_a_child_of_another_session,
        stubborn_tasks.counts_in_a_subprocess,
    ],
    ids=lambda task: task.__name__,
)
def test_nothing_of_a_confirmed_task_moves_any_more(task: Callable[[str], object], force: bool, tmp_path: Path) -> None:
    refuses = task is stubborn_tasks.counts_and_refuses
    with engine(2, 0.1 if refuses else LONG) as executor, ExitStack() as stack:
        for round in range(3):
            counter = Counter(tmp_path / str(round))
            stack.callback(counter.close)
            future = executor.submit(task, str(tmp_path / str(round)))
            eventually(functools.partial(lambda c: c.read() > 0, counter), "it counts")
            confirmed = future.cancel(SAFETY, force)
            last = counter.read()
            assert confirmed is (force or not refuses)
            if not confirmed:
                eventually(functools.partial(lambda c, n: c.read() > n, counter, last), "it counts on")
                assert future.cancel(SAFETY, force=True)
                last = counter.read()
            for _ in range(20):  # some time passes, with work in it
                executor.submit(os.getpid).result(SAFETY)
            assert counter.read() == last, "it was confirmed while something of it still ran"
