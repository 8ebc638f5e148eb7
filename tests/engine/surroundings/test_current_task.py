"""What a task's own code can know and ask of its cancel: ``current_task()``, polling and shields."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import itertools
import multiprocessing
import os
import random
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any, cast

import pytest
import shared_things
from waits import SAFETY, until, until_written

import scaler_notebook
from scaler_notebook import CancelReason, CurrentTask, NotebookExecutor, ScalerFuture, TaskState, current_task
from scaler_notebook.engines.local.ipc.output_records import anonymous_file
from scaler_notebook.task.interruption.cancel_page import CancelPage
from scaler_notebook.task.interruption.interrupts import ArmedRun, Interrupts
from scaler_notebook.testing import memory_executor

STEPS = 10


def write_slowly(path: str) -> None:
    """Complete when it ends with a full stop; some hundred milliseconds."""
    with open(path, "w") as file:
        for step in range(STEPS):
            file.write(f"{step} ")
            file.flush()
            if step == 1:
                print("writing", flush=True)
            time.sleep(0.02)
        file.write(".")


def complete(path: Path) -> bool:
    return path.read_text().endswith(".")


@pytest.fixture
def patient(executor_of_one: NotebookExecutor) -> NotebookExecutor:
    """One worker, and a grace period that nothing here outlasts: what is to stop must stop by itself."""
    executor_of_one.grace = SAFETY * 3
    return executor_of_one


def stopped_soon(future: ScalerFuture[Any]) -> bool:
    """Cancelled well within the grace period of ``patient``, as a task that ran."""
    return future.cancel(timeout=SAFETY) and future.cancel_reason is CancelReason.STOPPED


# ---------------------------------------------------------------- who


def who(*_: Any) -> tuple[str, str, bool]:
    task = current_task()
    return task.task_id, task.name, task.cancelled()


def who_in_a_thread() -> tuple[str, str, bool]:
    answers: SimpleQueue[tuple[str, str, bool]] = SimpleQueue()
    thread = threading.Thread(target=lambda: answers.put(who()))
    thread.start()
    thread.join()
    return answers.get()


def who_in_a_fork() -> tuple[str, str, bool]:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=lambda: theirs.send(who()))
    child.start()
    child.join()
    answer: tuple[str, str, bool] = ours.recv()
    return answer


def test_a_task_knows_who_it_is(executor: NotebookExecutor) -> None:
    future = executor.submit(who, [1], 2)
    assert future.result(SAFETY) == (future.task_id, "who(list, 2)", False)


@pytest.mark.parametrize("function", [who_in_a_thread, who_in_a_fork])
def test_so_do_its_threads_and_forks(executor: NotebookExecutor, function: Callable[[], Any]) -> None:
    future = executor.submit(function)
    assert future.result(SAFETY) == (future.task_id, f"{function.__name__}()", False)


def test_outside_of_a_task_it_is_inert() -> None:
    task = current_task()
    assert (task.task_id, task.name, task.cancelled(), repr(task)) == ("", "", False, "<CurrentTask: none>")
    with task.shielded(), task.shielded():
        pass
    assert type(task) is CurrentTask
    assert {"current_task", "CurrentTask"} <= set(scaler_notebook.__all__)


def test_what_the_notebook_holds_becomes_the_tasks_own(executor: NotebookExecutor) -> None:
    of_the_notebook = current_task()
    future = executor.submit(lambda: of_the_notebook.task_id)
    assert future.result(SAFETY) == future.task_id
    assert executor.submit(current_task).result(SAFETY).task_id == ""
    assert copy.copy(of_the_notebook).task_id == ""


# ---------------------------------------------------------------- polling


def polls() -> str:
    task = current_task()
    with contextlib.suppress(KeyboardInterrupt), task.shielded():
        print("begun", flush=True)
        while not task.cancelled():
            pass
    assert task.cancelled()
    return "as far as it came"


def polls_in_a_thread() -> str:
    task = current_task()
    seen = threading.Event()

    def poll() -> None:
        while not task.cancelled():
            time.sleep(0.001)
        seen.set()

    threading.Thread(target=poll).start()
    print("begun", flush=True)
    while True:
        with contextlib.suppress(KeyboardInterrupt):
            seen.wait()
            return "as far as it came"


@pytest.mark.parametrize("function", [polls, polls_in_a_thread])
def test_a_task_that_polls_ends_by_itself(patient: NotebookExecutor, function: Callable[[], Any]) -> None:
    future = patient.submit(function)
    until_written(future, "begun")
    assert future.cancel(timeout=SAFETY)
    assert future.cancel_reason is CancelReason.FINISHED_FIRST


def polls_late() -> str:
    """Is deaf until it is told that it was refused."""
    task = current_task()
    print("begun", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        time.sleep(60)
    with open(os.environ["TEST_PIPE"]) as pipe:
        pipe.read()
    return f"cancelled: {task.cancelled()}"


def test_a_refused_ask_is_still_to_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    monkeypatch.setenv("TEST_PIPE", str(pipe))
    with NotebookExecutor(n_workers=1, grace=0.1) as executor:
        future = executor.submit(polls_late)
        until_written(future, "begun")
        assert future.cancel(force=False) is False
        assert future.refused
        pipe.write_text("go")
        assert future.result(SAFETY) == "cancelled: True"


def polls_in_a_fork(path: str) -> None:
    def poll() -> None:
        while not current_task().cancelled():
            time.sleep(0.001)
        Path(path).write_text("seen.")

    child = multiprocessing.get_context("fork").Process(target=poll)
    with current_task().shielded():
        child.start()
        print("begun", flush=True)
        child.join()


def test_a_forked_process_sees_it(patient: NotebookExecutor, tmp_path: Path) -> None:
    future = patient.submit(polls_in_a_fork, str(tmp_path / "out"))
    until_written(future, "begun")
    assert stopped_soon(future)
    assert complete(tmp_path / "out")


def leaves_things() -> tuple[int, bool]:
    """Is asked to stop, and does not; leaves a pool, whose thread waits for work, and a shield."""
    task = current_task()
    task.shielded().__enter__()
    print("begun", flush=True)
    while not task.cancelled():
        time.sleep(0.001)
    pool = ThreadPoolExecutor(1)
    pool.submit(abs, 0).result()
    shared_things.left[:] = task, pool
    return 0, True


def finds_things() -> dict[str, Any]:
    task, pool = shared_things.left

    def in_the_thread(question: Callable[[], Any]) -> Any:
        return pool.submit(question).result(SAFETY)

    return {
        "asked": current_task().cancelled(),
        "asked then": task.cancelled(),
        "the same": task.task_id == current_task().task_id,
        "of the thread": in_the_thread(lambda: current_task().task_id),
        "asked in the thread": in_the_thread(lambda: current_task().cancelled()),
        "of a pool's thread that is told": in_the_thread(current_task().cancelled),
    }


def sleeps_where_things_are() -> None:
    print("same process" if shared_things.left else "another process", flush=True)
    time.sleep(60)


def test_nothing_of_a_run_is_seen_in_the_next_of_its_process(patient: NotebookExecutor) -> None:
    first = patient.submit(leaves_things)
    until_written(first, "begun")
    assert first.cancel(timeout=SAFETY)
    assert first.cancel_reason is CancelReason.FINISHED_FIRST
    assert patient.submit(finds_things).result(SAFETY) == {
        "asked": False,
        "asked then": True,
        "the same": False,
        "of the thread": "",
        "asked in the thread": False,
        "of a pool's thread that is told": False,
    }
    third = patient.submit(sleeps_where_things_are)
    until_written(third, "same process")
    assert stopped_soon(third), "a shield that an earlier task had left open was in the way"


def leaves_a_thread(pipe: str) -> str:
    def outlive() -> None:
        while current_task().task_id:
            time.sleep(0.001)
        Path(pipe).write_text(repr(current_task()))

    threading.Thread(target=outlive).start()
    return current_task().task_id


def test_a_thread_that_outlives_its_task_is_told_so(patient: NotebookExecutor, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with open(tmp_path / "pipe", "r+b", buffering=0) as pipe:
        assert patient.submit(leaves_a_thread, str(tmp_path / "pipe")).result(SAFETY)
        assert select.select([pipe], [], [], SAFETY)[0], "it still goes by its task's name"
        assert pipe.read(100) == b"<CurrentTask: none>"


# ---------------------------------------------------------------- shields, on the real engine


def plain(path: str) -> None:
    with current_task().shielded():
        write_slowly(path)
    time.sleep(60)


def nested(path: str) -> None:
    task = current_task()
    with task.shielded():
        with task.shielded(), contextlib.suppress(ZeroDivisionError), task.shielded():
            print("writing", flush=True)
            while not task.cancelled():
                pass
            time.sleep(0.02)  # the signal follows the page
            raise ZeroDivisionError
        write_slowly(path)
    time.sleep(60)


def in_a_loop(path: str) -> None:
    async def save() -> None:
        with current_task().shielded():
            for _ in range(STEPS):
                print("writing", flush=True)
                await asyncio.sleep(0.02)
            Path(path).write_text(".")
        await asyncio.sleep(60)

    async def main() -> None:
        await asyncio.gather(save(), asyncio.sleep(60))

    asyncio.run(main())


def in_a_thread(path: str) -> None:
    def save() -> None:
        with current_task().shielded():
            write_slowly(path)

    threading.Thread(target=save).start()
    time.sleep(60)


def in_a_thread_of_a_loop(path: str) -> None:
    def save() -> None:
        with current_task().shielded():
            write_slowly(path)

    async def main() -> None:
        await asyncio.to_thread(save)
        await asyncio.sleep(60)

    asyncio.run(main())


def in_a_thread_too_late(path: str) -> None:
    """The interrupt has come already when the stretch begins, and the task does not wait for its end."""
    after_the_interrupt(lambda: write_slowly(path))


def after_the_interrupt(stretch: Callable[[], None]) -> None:
    interrupted, entered = threading.Event(), threading.Event()

    def save() -> None:
        interrupted.wait()
        with current_task().shielded():
            entered.set()
            stretch()

    threading.Thread(target=save).start()
    try:
        print("writing", flush=True)
        time.sleep(60)
    finally:
        interrupted.set()
        entered.wait()


def within_another_of_a_thread(path: str) -> None:
    """As before; and by the time that the inner stretch begins, no thread may begin one that is not within another."""

    def stretch() -> None:
        write_slowly(path + " first")
        with current_task().shielded():
            write_slowly(path)

    after_the_interrupt(stretch)


def by_a_subprocess(path: str) -> None:
    with current_task().shielded():
        print("writing", flush=True)
        subprocess.run(["sh", "-c", f"sleep 0.3; printf . > {path}"], check=True)
    time.sleep(60)


def by_a_fork(path: str) -> None:
    """The child has a shield of its own, the end of which must not interrupt the parent's subprocesses."""

    def save() -> None:
        with current_task().shielded():
            while not current_task().cancelled():
                time.sleep(0.001)

    child = multiprocessing.get_context("fork").Process(target=save)
    with current_task().shielded():
        child.start()
        print("writing", flush=True)
        subprocess.run(["sh", "-c", f"sleep 0.3; printf . > {path}"], check=True)
    time.sleep(60)


def by_a_fork_after_the_ask(path: str) -> None:
    """The parent keeps an ask when it forks; the end of the child's shield is none of the parent's."""
    task = current_task()

    def save() -> None:
        with task.shielded():
            pass
        write_slowly(path)

    child = multiprocessing.get_context("fork").Process(target=save)
    with task.shielded():
        print("writing", flush=True)
        while not task.cancelled():
            time.sleep(0.001)
        time.sleep(0.05)  # the signal follows the page
        child.start()
        child.join()
    time.sleep(60)


def swallowed_and_again(path: str) -> None:
    """An interrupt that came before does not come again, and a later shield does no harm."""
    print("writing", flush=True)
    try:
        time.sleep(60)
    finally:
        with current_task().shielded():
            write_slowly(path)


def left_open(path: str) -> None:
    """By the main thread, in its clean-up: nobody will end it."""
    print("writing", flush=True)
    try:
        time.sleep(60)
    finally:
        current_task().shielded().__enter__()
        write_slowly(path)


STRETCHES = [
    plain,
    nested,
    in_a_loop,
    in_a_thread,
    in_a_thread_of_a_loop,
    in_a_thread_too_late,
    within_another_of_a_thread,
    by_a_subprocess,
    by_a_fork,
    by_a_fork_after_the_ask,
    swallowed_and_again,
    left_open,
]


@pytest.mark.parametrize("function", STRETCHES)
def test_a_shielded_stretch_ends_and_then_the_task_stops(
    patient: NotebookExecutor, tmp_path: Path, function: Callable[[str], None]
) -> None:
    future = patient.submit(function, str(tmp_path / "out"))
    until_written(future, "writing")
    assert stopped_soon(future)
    assert complete(tmp_path / "out")


def tells_its_fork(path: str) -> None:
    """A process that was forked within a shield is none of it: it is interrupted as any other."""

    def clean_up() -> None:
        try:
            print("writing", flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            Path(path).write_text("cleaned up.")

    child = multiprocessing.get_context("fork").Process(target=clean_up)
    try:
        with current_task().shielded():
            child.start()
        time.sleep(60)
    finally:
        child.join()


def test_a_fork_is_interrupted_with_the_task(patient: NotebookExecutor, tmp_path: Path) -> None:
    future = patient.submit(tells_its_fork, str(tmp_path / "out"))
    until_written(future, "writing")
    assert stopped_soon(future)
    assert complete(tmp_path / "out")


def too_long(path: str) -> None:
    with current_task().shielded():
        write_slowly(path)
        Path(path + ".go").read_text()  # a pipe
    print("it was not interrupted", flush=True)
    time.sleep(60)


@pytest.fixture
def impatient(executor_of_one: NotebookExecutor, tmp_path: Path) -> NotebookExecutor:
    os.mkfifo(tmp_path / "out.go")
    return executor_of_one


def test_what_outlasts_the_grace_period_is_killed(impatient: NotebookExecutor, tmp_path: Path) -> None:
    future = impatient.submit(too_long, str(tmp_path / "out"))
    until_written(future, "writing")
    asked = time.monotonic()
    assert future.cancel()
    assert time.monotonic() - asked >= impatient.policy.grace * 0.9, "it had its grace period"
    assert future.cancel_reason is CancelReason.STOPPED


def test_or_refuses_and_stops_later(impatient: NotebookExecutor, tmp_path: Path) -> None:
    future = impatient.submit(too_long, str(tmp_path / "out"))
    until_written(future, "writing")
    assert future.cancel(force=False) is False
    assert future.refused
    assert future.state is TaskState.RUNNING
    (tmp_path / "out.go").write_text("go")
    until(future, future.cancelled, "stop at the end of its shield")
    assert "not interrupted" not in str(future.logs)
    assert impatient.submit(abs, -1).result(SAFETY) == 1


def test_an_interrupt_never_falls_into_a_shield(tmp_path: Path) -> None:
    def enters_and_leaves(path: str) -> None:  # local: it travels by value, and no process need import this module
        task = current_task()
        file = os.open(path, os.O_CREAT | os.O_WRONLY)
        print("begun", flush=True)
        while True:
            with task.shielded():
                os.pwrite(file, b"inside ", 0)
                os.pwrite(file, b"outside", 0)

    rng = random.Random(1)
    with NotebookExecutor(n_workers=1, grace=SAFETY * 3) as executor:
        for number in range(40):
            path = tmp_path / str(number)
            future = executor.submit(enters_and_leaves, str(path))
            until_written(future, "begun")
            end = time.perf_counter() + rng.random() * 0.002
            while time.perf_counter() < end:
                pass
            assert stopped_soon(future)
            assert path.read_text() in ("", "outside")


# ---------------------------------------------------------------- shields alone, at every moment


def alone(function: Callable[[], None]) -> None:
    """Run a function of this module in a process and a group of its own: interrupts go to the whole group."""
    done = subprocess.run(
        [sys.executable, "-c", f"import {__name__}; {__name__}.{function.__name__}()"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        start_new_session=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "done\n"


class Bench:
    """Interrupts, without the processes around them."""

    def __init__(self) -> None:
        self.page = CancelPage(self._file())
        self.interrupts = Interrupts(self.page)
        self.interrupts.install()
        self.seq = 0

    @staticmethod
    def _file() -> int:
        file = anonymous_file("ask")
        os.ftruncate(file, 4096)
        return file

    def run(self, body: Callable[..., Any]) -> str:
        """How a new run of ``body`` ends."""
        self.seq += 1
        run = self.interrupts.new_run(self.seq)
        assert not run.stop_requested(), "it sees an ask that was meant for another"
        return self.interrupts.run(
            run, lambda: body(run) or "finished", lambda: "stopped", lambda e: f"failed: {type(e).__name__}: {e}"
        )

    def ask(self) -> None:
        """Ask the current run to stop, and give the handler its turn."""
        self.page.request_stop(self.seq)
        signal.raise_signal(signal.SIGINT)


def ask_at(bench: Bench, run: ArmedRun, step: int, body: Callable[[ArmedRun], None]) -> None:
    """Run ``body``, and ask before its ``step``-th bytecode; those of shields and of all that it calls count too."""
    steps = itertools.count()

    def trace(frame: Any, event: str, argument: Any) -> Any:
        frame.f_trace_opcodes = True
        if event == "opcode" and next(steps) == step:
            shielded = bool(run.shields)
            try:
                bench.ask()
            except KeyboardInterrupt:
                assert not shielded, "it came within a shield"
                raise
            assert shielded, "it did not come at once, though there was no shield"
        return trace

    sys._getframe().f_trace_opcodes = True  # before settrace: Python 3.12 would not trace opcodes otherwise
    sys.settrace(trace)
    try:
        body(run)
    finally:
        sys.settrace(None)


inside: list[str] = []


@contextlib.contextmanager
def whole(name: str) -> Iterator[None]:
    """Not to be seen open by whoever is interrupted."""
    inside.append(name)
    yield
    inside.remove(name)


def once(run: ArmedRun) -> None:
    with run.shield(), whole("stretch"):
        pass


def twice(run: ArmedRun) -> None:
    for _ in range(2):
        with run.shield(), whole("stretch"):
            pass


def within(run: ArmedRun) -> None:
    with run.shield(), whole("outer"), run.shield(), whole("inner"):
        pass


def one_for_all(run: ArmedRun) -> None:
    shield = run.shield()
    with shield, whole("outer"), shield, whole("inner"):
        pass
    with shield, whole("again"):
        pass


def raises(run: ArmedRun) -> None:
    with contextlib.suppress(ZeroDivisionError), run.shield():
        with whole("stretch"):
            pass
        raise ZeroDivisionError


def generates(run: ArmedRun) -> None:
    def numbers() -> Iterator[int]:
        with run.shield(), whole("stretch"):
            yield 1
        yield 2

    for _ in numbers():
        pass


SHAPES = [once, twice, within, one_for_all, raises, generates]


def at_every_bytecode() -> None:
    bench = Bench()
    for shape in SHAPES:
        for step in itertools.count():
            end = bench.run(lambda run, s=step, b=shape: ask_at(bench, run, s, b))
            assert inside == [], (shape, step, inside)
            if end == "finished":  # it has no such bytecode
                break
            assert end == "stopped", (shape, step, end)
        assert step > 30, (shape, step)
    print("done")


def test_an_ask_at_every_bytecode_is_kept_or_comes_at_once() -> None:
    alone(at_every_bytecode)


def at_every_bytecode_beside_a_thread() -> None:
    """The thread has a shield, too, and ends it last."""
    bench = Bench()
    thread = threading.Thread()

    def other(run: ArmedRun) -> None:
        with run.shield(), whole("of the thread"):
            os.write(enter, b".")
            os.read(gone, 1)  # pipes, not events: an interrupt may hit an event's own code, and leave it half done

    def body(run: ArmedRun, step: int) -> None:
        nonlocal thread
        thread = threading.Thread(target=other, args=(run,))
        thread.start()
        os.read(entered, 1)
        ask_at(bench, run, step, once)
        assert inside == ["of the thread"]
        os.write(go, b".")
        if run.stop_requested():
            time.sleep(SAFETY)
            raise AssertionError("the end of the thread's shield did not ask")

    (entered, enter), (gone, go) = os.pipe(), os.pipe()
    for step in itertools.count():
        thread = threading.Thread()
        end = bench.run(lambda run, s=step: body(run, s))
        thread.join(SAFETY)
        assert inside == [], (step, inside)
        if end == "finished":
            break
        assert end == "stopped", (step, end)
    assert step > 30, step
    print("done")


def test_and_so_it_is_beside_a_thread() -> None:
    alone(at_every_bytecode_beside_a_thread)


def a_signal_that_is_not_noticed() -> None:
    """It comes just before a system call that waits: its handler would run when that has ended."""
    bench, kill, unnoticed = Bench(), signal.pthread_kill, [1, 2]
    signal.pthread_kill = lambda *to: unnoticed.pop() if unnoticed else kill(*to)  # type: ignore[assignment]

    def body(run: ArmedRun) -> None:
        bench.page.request_stop(bench.seq)
        threading.Thread(target=bench.interrupts.send, args=(run,)).start()
        time.sleep(SAFETY)
        raise AssertionError("it was not sent again")

    assert bench.run(body) == "stopped"
    print("done")


def test_a_signal_that_is_not_noticed_is_sent_again() -> None:
    alone(a_signal_that_is_not_noticed)


def within_the_handler() -> None:
    """The same signal once more, before every bytecode of the handler: one of the two acts upon the ask."""
    bench = Bench()
    forwarded: list[int] = []
    os.killpg = lambda group, number: forwarded.append(number)
    handler = {function.__code__ for function in (Interrupts._on_sigint, ArmedRun.defer, ArmedRun.claim)}

    def ask_twice(steps: Iterator[int], step: int) -> None:
        def trace(frame: Any, event: str, argument: Any) -> Any:
            if frame.f_code not in handler:
                return None
            frame.f_trace_opcodes = True
            if event == "opcode" and next(steps) == step:
                signal.raise_signal(signal.SIGINT)
            return trace

        sys._getframe().f_trace_opcodes = True
        sys.settrace(trace)
        try:
            bench.ask()
        finally:
            sys.settrace(None)

    async def in_a_loop(steps: Iterator[int], step: int) -> None:
        loop: Any = asyncio.get_running_loop()
        schedule = loop.call_soon_threadsafe
        loop.call_soon_threadsafe = lambda *args: (scheduled.append(step), schedule(*args))
        ask_twice(steps, step)
        await asyncio.sleep(60)

    scheduled: list[int] = []  # cancels of the loop's tasks
    for step in itertools.count():
        plain, steps = itertools.count(), itertools.count()
        assert bench.run(lambda run, n=plain, s=step: ask_twice(n, s)) == "stopped"
        assert bench.run(lambda run, n=steps, s=step: asyncio.run(in_a_loop(n, s))) == "stopped"
        assert scheduled == list(range(step + 1))
        assert len(forwarded) == 2 * (step + 1), step
        if next(steps) <= step:  # it has no such bytecode
            break
    assert step > 50, step
    print("done")


def test_of_two_signals_in_the_handler_one_counts() -> None:
    alone(within_the_handler)


def a_signal_that_is_late() -> None:
    """The task has seen the ask, its signal has not come: the end of the shield does not wait for it."""
    bench = Bench()

    def body(run: ArmedRun) -> None:
        with run.shield():
            bench.page.request_stop(bench.seq)
            assert run.stop_requested()
        raise AssertionError("it goes on behind its shield")

    for _ in range(3):
        assert bench.run(body) == "stopped"
        signal.raise_signal(signal.SIGINT)
        assert bench.run(lambda run: signal.raise_signal(signal.SIGINT)) == "finished"
    print("done")


def test_the_end_of_a_shield_does_not_wait_for_the_signal() -> None:
    alone(a_signal_that_is_late)


def runs_apart() -> None:
    bench = Bench()
    runs: list[ArmedRun] = []

    def swallows(run: ArmedRun) -> None:
        runs.append(run)
        with contextlib.suppress(KeyboardInterrupt):
            bench.ask()

    for _ in range(3):
        assert bench.run(swallows) == "finished"
    assert [run.stop_requested() for run in runs] == [True, True, True], "the page names the last alone"

    loop = asyncio.new_event_loop()
    assert bench.run(lambda run: loop.run_until_complete(returns_at_once(bench))) == "finished"
    assert bench.run(lambda run: loop.run_until_complete(asyncio.sleep(0.01))) == "finished"
    loop.close()
    print("done")


async def returns_at_once(bench: Bench) -> None:
    asyncio.get_running_loop().call_soon(bench.ask)  # the loop stops right behind it


def test_a_run_and_an_ask_stay_each_others() -> None:
    alone(runs_apart)


def into_a_loop() -> None:
    """The ask comes without a shield; one is entered before the loop has come to cancel its tasks."""
    bench = Bench()
    log: list[str] = []
    forwarded: list[int] = []
    os.killpg = lambda group, number: forwarded.append(number)

    async def begin(run: ArmedRun) -> None:
        bench.ask()
        with run.shield():
            await asyncio.sleep(0.01)
            log.append("whole")
        log.append("behind")
        await asyncio.sleep(60)

    async def main(run: ArmedRun) -> None:
        try:
            await asyncio.gather(begin(run), asyncio.sleep(60))
        finally:
            log.append("cancelled")
            await asyncio.sleep(0.01)  # which a second cancel, or an exception in the loop, would spoil
            log.append("clean")

    for number in range(20):
        log.clear()
        assert bench.run(lambda run: asyncio.run(main(run))) == "stopped"
        assert log == ["whole", "behind", "cancelled", "clean"]
        assert len(forwarded) == number + 1
    print("done")


def test_a_loops_tasks_are_not_cancelled_in_a_shield_entered_since() -> None:
    alone(into_a_loop)


def asks_at_random(page: CancelPage, told: int, target: int) -> None:
    """Asks each run that it is told of, at some moment."""
    rng = random.Random(1)
    os.setsid()  # the target signals its group
    while data := os.read(told, 8):
        end = time.perf_counter() + rng.random() * 0.0003
        while time.perf_counter() < end:
            pass
        page.request_stop(int.from_bytes(data, "little"))
        os.kill(target, signal.SIGINT)
        if rng.random() < 0.5:
            os.kill(target, signal.SIGINT)  # late, or twice
    os._exit(0)


class Asker:
    """A process that asks the runs of a bench to stop."""

    def __init__(self, bench: Bench) -> None:
        told, self._tell = os.pipe()
        self._bench = bench
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._tell)
            asks_at_random(bench.page, told, os.getppid())
        os.close(told)

    def begin(self) -> None:
        os.write(self._tell, self._bench.seq.to_bytes(8, "little"))

    def end(self) -> None:
        os.close(self._tell)
        os.waitpid(self._pid, 0)


def at_random() -> None:
    bench = Bench()
    asker = Asker(bench)

    def body(run: ArmedRun) -> None:
        asker.begin()
        while True:
            with run.shield(), whole("outer"), run.shield(), whole("inner"):
                pass

    for _ in range(1000):
        end = bench.run(body)
        assert end == "stopped", end
        assert inside == []
        assert cast(Any, bench.run(lambda run: sum(range(1000)))) == 499500
    asker.end()
    print("done")


def test_a_thousand_asks_at_random_moments() -> None:
    alone(at_random)


def at_random_with_threads() -> None:
    """When it is said that the task has stopped, no thread is in a shield, and none will be."""
    bench = Bench()
    asker = Asker(bench)
    enters = 0

    def work(run: ArmedRun) -> None:
        nonlocal enters
        while True:
            with run.shield(), whole("of a thread"):
                enters += 1
            if run.stop_requested():
                time.sleep(0.0005)  # else one of three is always in a shield

    def body(run: ArmedRun) -> None:
        for _ in range(2):
            threading.Thread(target=work, args=(run,), daemon=True).start()
        asker.begin()
        while True:
            with run.shield(), whole("of the main thread"):
                pass

    sys.setswitchinterval(1e-5)
    for _ in range(100):
        end = bench.run(body)
        assert end == "stopped", end
        assert inside == []
        before = enters
        time.sleep(0.001)
        assert (inside, enters) == ([], before)
    asker.end()
    print("done")


def test_a_hundred_more_beside_threads() -> None:
    alone(at_random_with_threads)


# ---------------------------------------------------------------- engines for tests


def polls_on_a_thread() -> str:
    task = current_task()
    shared_things.said.put(task.task_id)
    end = time.monotonic() + SAFETY  # nothing else could end it
    with task.shielded():
        while not task.cancelled():
            assert time.monotonic() < end
            time.sleep(0.001)
    return task.name


def test_on_the_thread_engine() -> None:
    with memory_executor(2, auto=True) as executor:
        asked, neighbour = executor.submit(polls_on_a_thread), executor.submit(polls_on_a_thread)
        assert {shared_things.said.get(timeout=SAFETY) for _ in range(2)} == {asked.task_id, neighbour.task_id}
        assert current_task().task_id == ""
        assert asked.cancel() is False
        assert asked.refused
        assert asked.result(SAFETY) == "polls_on_a_thread()"
        assert not neighbour.done(), "it sees an ask that was meant for the other"
        assert neighbour.cancel() is False
        assert neighbour.result(SAFETY) == "polls_on_a_thread()"
        assert executor.submit(who).result(SAFETY)[2] is False
