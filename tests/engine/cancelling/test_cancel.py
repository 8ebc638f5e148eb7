"""The four fixed behaviours of cancel, and both of its strengths, against the real engine."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any, cast

import pytest
from waits import SAFETY, until, until_running, until_written

from scaler_notebook import CancelReason, NotebookExecutor, ScalerFuture, TaskState, as_completed, wait
from scaler_notebook.notebook.views.rows import cancel_words
from scaler_notebook.testing import memory_executor


def count_for_ever(path: str) -> None:
    """Writes a counter as fast as it can: proof of life, for whoever reads it twice."""
    print("begun", flush=True)
    number = 0
    while True:
        number += 1
        Path(path).write_text(str(number))


def stubborn(seconds: float) -> str:
    """Refuses every interrupt."""
    print("begun", flush=True)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            time.sleep(0.01)
        except KeyboardInterrupt:
            print("refused", flush=True)
    return "finished all the same"


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


# ---------------------------------------------------------------- the four fixed behaviours


def test_1_cancel_of_a_completed_task_marks_it_cancelled(executor: NotebookExecutor) -> None:
    future = executor.submit(abs, -1)
    assert future.result(SAFETY) == 1
    assert future.cancel() is True
    assert future.cancelled()
    assert future.cancel_reason is CancelReason.DISCARDED
    with pytest.raises(CancelledError, match="discarded"):
        future.result(0)


def test_2_cancel_of_a_running_task_waits_for_the_confirmation(executor: NotebookExecutor, tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    future = executor.submit(count_for_ever, str(counter))
    until_written(future, "begun")
    assert future.cancel() is True
    last = counter.read_text()
    assert future.cancel_reason is CancelReason.STOPPED
    assert executor.submit(abs, -1).result(SAFETY) == 1  # some time passes, with work in it
    assert counter.read_text() == last, "it was confirmed while the task still ran"


def test_2_cancel_gives_up_after_its_timeout_and_a_late_answer_counts(executor: NotebookExecutor) -> None:
    future = executor.submit(stubborn, 60)
    until_written(future, "begun")
    assert future.cancel(timeout=0.01) is False
    assert future.state is TaskState.CANCELLING
    assert not future.cancelled()
    assert future.running()
    until(future, future.cancelled, "be cancelled by the late answer")


def test_3_a_result_after_the_request_leaves_it_cancelled(executor: NotebookExecutor) -> None:
    future = executor.submit(stubborn, 0.15)
    until_written(future, "begun")
    future.request_cancel()
    assert future.state is TaskState.CANCELLING
    until(future, future.done, "end")
    assert future.cancelled()
    assert future.cancel_reason is CancelReason.FINISHED_FIRST
    with pytest.raises(CancelledError, match="finished first"):
        future.result(0)


def test_4_any_number_of_cancels_from_any_threads(executor: NotebookExecutor) -> None:
    future = executor.submit(time.sleep, 60)
    until_running(future)
    answers: list[bool] = []
    threads = [threading.Thread(target=lambda n=n: answers.append(future.cancel(force=bool(n % 2)))) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SAFETY)
    assert answers == [True] * 20
    assert future.cancel() is True


# ---------------------------------------------------------------- strengths


def test_a_queued_task_never_starts(executor: NotebookExecutor, tmp_path: Path) -> None:
    blockers = [executor.submit(time.sleep, 60) for _ in range(2)]
    queued = [executor.submit(Path.touch, tmp_path / str(n)) for n in range(200)]
    for future in queued:
        future.request_cancel()
    assert wait(queued, SAFETY).not_done == set()
    assert {future.cancel_reason for future in queued} == {CancelReason.NEVER_STARTED}
    assert all(blocker.cancel() for blocker in blockers)
    assert executor.submit(abs, -1).result(SAFETY) == 1
    assert list(tmp_path.iterdir()) == [], "a task ran although its cancel was confirmed"


def cleans_up(path: str) -> None:
    try:
        print("begun", flush=True)
        time.sleep(60)
    finally:
        time.sleep(0.2)  # longer than half the grace period: a second interrupt would break it
        Path(path).write_text("clean")


def test_a_task_may_clean_up_within_the_grace_period(tmp_path: Path) -> None:
    with NotebookExecutor(n_workers=1, grace=2.0) as executor:
        future = executor.submit(cleans_up, str(tmp_path / "out"))
        until_written(future, "begun")
        assert future.cancel()
        assert (tmp_path / "out").read_text() == "clean"
        assert cancel_words(future) == "stopped"


def test_without_force_a_task_may_refuse_and_then_finish(executor: NotebookExecutor) -> None:
    future = executor.submit(stubborn, 1.5)
    until_written(future, "begun")
    assert future.cancel(force=False) is False
    assert future.refused
    assert future.state is TaskState.RUNNING
    assert future.result(SAFETY) == "finished all the same"


def test_what_refused_can_be_killed(executor: NotebookExecutor) -> None:
    future = executor.submit(stubborn, 60)
    until_written(future, "begun")
    assert future.cancel(force=False) is False
    assert future.cancel(force=True) is True
    assert future.cancel_reason is CancelReason.STOPPED


def test_a_stronger_request_upgrades_one_that_is_under_way() -> None:
    with NotebookExecutor(n_workers=1, grace=1.0) as executor:
        future = executor.submit(stubborn, 60)
        until_written(future, "begun")
        future.request_cancel(force=False)
        until_written(future, "refused")
        assert future.cancel(force=True) is True
        assert not future.refused


def in_c() -> int:
    print("begun", flush=True)
    return sum(range(10**12))


def test_a_task_deep_in_c_is_killed_after_the_grace_period(executor: NotebookExecutor) -> None:
    future = executor.submit(in_c)
    until_written(future, "begun")
    started = time.monotonic()
    assert future.cancel()
    assert time.monotonic() - started >= executor.policy.grace * 0.9, "it had its grace period"
    assert cancel_words(future) == "stopped (killed)"
    assert "Canceled, force=True, killed" in str(future.trace())
    assert future.cancel_reason is CancelReason.STOPPED


def with_children() -> None:
    stays = subprocess.Popen(["sleep", "1000"])
    leaves = subprocess.Popen(["sleep", "1001"], start_new_session=True)
    threading.Thread(target=time.sleep, args=(1000,)).start()
    print("children", stays.pid, leaves.pid, flush=True)
    time.sleep(1000)


def test_children_and_threads_go_with_the_task(executor: NotebookExecutor) -> None:
    future = executor.submit(with_children)
    until_written(future, "children")
    pids = [int(word) for word in future.logs.stdout.split()[1:]]
    assert all(map(is_alive, pids))
    assert future.cancel()
    assert not any(map(is_alive, pids)), "it was confirmed while children of the task still ran"


async def sleeps_in_a_loop() -> None:
    print("begun", flush=True)
    await asyncio.sleep(60)


def runs_a_loop() -> None:
    asyncio.run(sleeps_in_a_loop())


def takes_its_signals() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def imports_for_ever() -> None:
    import sys

    print("begun", flush=True)
    while True:
        for name in [name for name in sys.modules if name.startswith(("json", "email", "xml"))]:
            del sys.modules[name]
        import email.message  # noqa: F401
        import json  # noqa: F401
        import xml.dom.minidom  # noqa: F401


def spins_in_a_loop() -> None:
    async def spin() -> None:
        print("begun", flush=True)
        while True:
            pass

    asyncio.run(spin())


@pytest.mark.parametrize("task", [runs_a_loop, imports_for_ever, spins_in_a_loop])
def test_what_is_hard_to_interrupt_stops(executor: NotebookExecutor, task: Any) -> None:
    future = executor.submit(task)
    until_written(future, "begun")
    assert future.cancel()
    assert future.cancel_reason is CancelReason.STOPPED


def test_a_task_that_changed_the_signal_handler_does_not_shield_the_next() -> None:
    with NotebookExecutor(n_workers=1, grace=30) as executor:
        executor.submit(takes_its_signals).result(SAFETY)
        future = executor.submit(time.sleep, 60)
        until_running(future)
        started = time.monotonic()
        assert future.cancel()
        assert time.monotonic() - started < 15, "the interrupt did not reach it; only the grace period ended it"


@pytest.mark.parametrize("times", [200, pytest.param(2000, marks=pytest.mark.matrix)])
def test_an_interrupt_never_reaches_the_next_task(times: int) -> None:
    """Cancels at random moments around the end of short tasks; each next task must come through unharmed."""
    import random

    rng = random.Random(1)
    with NotebookExecutor(n_workers=1) as executor:
        for _ in range(times):
            victim = executor.submit(time.sleep, 0.001)
            bystander = executor.submit(sum, range(2000))
            end = time.perf_counter() + rng.random() * 0.003
            while time.perf_counter() < end:
                pass
            victim.request_cancel()
            assert bystander.result(SAFETY) == 1999000
            until(victim, victim.done, "end")
            assert victim.cancelled()


# ---------------------------------------------------------------- ways to ask


def test_await_and_cancel_async(executor: NotebookExecutor) -> None:
    async def main() -> None:
        assert await executor.submit(abs, -3) == 3
        future = executor.submit(time.sleep, 60)
        assert await future.cancel_async()
        assert future.cancelled()

    asyncio.run(asyncio.wait_for(main(), SAFETY))


def test_cancelling_an_await_requests_the_cancel_and_does_not_block(executor: NotebookExecutor) -> None:
    async def main() -> ScalerFuture[None]:
        future = executor.submit(time.sleep, 60)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(future, 0.05)
        assert future.state in (TaskState.CANCELLING, TaskState.CANCELLED)
        return future

    future = asyncio.run(main())
    until(future, future.cancelled, "be cancelled")


def test_wrap_future_does_not_block_the_loop(executor: NotebookExecutor) -> None:
    async def main() -> ScalerFuture[str]:
        future = executor.submit(stubborn, 60)
        wrapped = asyncio.wrap_future(future)
        await asyncio.sleep(0)
        wrapped.cancel()
        started = time.monotonic()
        await asyncio.sleep(0)
        assert time.monotonic() - started < 0.2, "cancel() waited in a callback of the loop"
        return future

    future = asyncio.run(main())
    until(future, future.cancelled, "be cancelled")


def test_cancel_in_a_done_callback(executor: NotebookExecutor) -> None:
    other = executor.submit(time.sleep, 60)
    answers: list[bool] = []
    called = threading.Event()

    def callback(_: Any) -> None:
        answers.append(other.cancel())
        called.set()

    executor.submit(abs, -1).add_done_callback(callback)
    assert called.wait(SAFETY)
    assert answers == [True]


def test_cancel_on_the_agents_thread_asks_and_returns() -> None:
    with memory_executor() as executor:
        future = executor.submit(abs, -1)
        answers: list[tuple[bool, bool]] = []

        def cancel_it(changed: Any) -> None:
            if changed.state is TaskState.RUNNING:
                answers.append((changed.cancel(), cast(TaskState, changed.state) is TaskState.CANCELLING))

        future.watch(cancel_it)
        executor.engine.start_task(future)  # returns when the agent's thread has handled it
        assert answers == [(False, True)]
        executor.engine.confirm(future)
        assert future.cancel_reason is CancelReason.STOPPED


def test_a_result_is_never_unpickled_on_the_agents_thread(executor: NotebookExecutor) -> None:
    future: ScalerFuture[Any] = executor.submit(Confiding)
    assert list(as_completed([future], SAFETY)) == [future]
    assert future.result(0).thread is threading.current_thread()


class Confiding:
    """Tells on which thread it was unpickled."""

    def __reduce__(self) -> Any:
        return Confiding._unpickled, ()

    @staticmethod
    def _unpickled() -> Any:
        confiding = Confiding()
        confiding.thread = threading.current_thread()  # type: ignore[attr-defined]
        return confiding


def test_garbage_collection_never_cancels_a_task(executor: NotebookExecutor, tmp_path: Path) -> None:
    effect = tmp_path / "effect"
    for _ in range(4):
        executor.submit(lambda: (time.sleep(0.05), effect.open("a").write("x")))
    gc.collect()
    wait(executor.unfinished(), SAFETY)
    assert effect.read_text() == "xxxx"


def test_cancel_all_sends_every_request_and_waits_once(executor: NotebookExecutor) -> None:
    futures = [executor.submit(time.sleep, 60) for _ in range(50)]
    finished = executor.submit(abs, -1)
    assert executor.cancel_all()
    assert all(future.cancelled() for future in futures)
    assert finished.done()


def test_processes_are_replaced_and_other_tasks_do_not_notice(executor: NotebookExecutor) -> None:
    neighbour = executor.submit(lambda: (time.sleep(1), os.getpid())[1])
    until_running(neighbour)
    for _ in range(5):
        future = executor.submit(time.sleep, 60)
        until_running(future)
        assert future.cancel()
    assert isinstance(neighbour.result(SAFETY), int)
