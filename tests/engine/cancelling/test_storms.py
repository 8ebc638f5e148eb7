"""Cancels in great numbers, at random moments, and while processes die and freeze, against the real engine.

What a future says about its task is compared with what the task did: its traces are the truth.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import pickle
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, cast

import pytest
import stubborn_tasks
from fault_injection import Ends, check_traces, engine, outcome, process_of, task_processes, thaw, works
from raw_peers import scheduler_of
from waits import SAFETY

from scaler_notebook import NotebookExecutor, ScalerFuture

# ---------------------------------------------------------------- many queued


@pytest.mark.parametrize("bulk", [True, False], ids=["cancel_all", "one by one"])
def test_a_thousand_queued_never_start_and_the_busy_go_on(
    bulk: bool, executor: NotebookExecutor, tmp_path: Path
) -> None:
    """The busy ones go on: the queued ones are a guest's, so that its cancel_all spares them."""
    path = tmp_path / "trace"
    path.touch()
    busy = [executor.submit(stubborn_tasks.obeys) for _ in range(2)]
    pids = [process_of(future) for future in busy]
    ends = Ends()
    with NotebookExecutor(executor.address) as guest:
        queued = [guest.submit(stubborn_tasks.brief, str(path), number) for number in range(1000)]
        for future in queued:
            ends.follow(future)
        if bulk:
            assert guest.cancel_all(SAFETY)
        else:
            for number, future in enumerate(queued):
                future.request_cancel(force=bool(number % 2))
            assert wait(queued, SAFETY).not_done == set()
        assert Counter(map(outcome, queued)) == {"never started": 1000}
        assert not any(future.done() for future in busy)
        for each in busy:
            assert each.cancel(SAFETY)
        assert guest.submit(os.getpid).result(SAFETY) not in pids
    assert path.read_text() == ""
    ends.check()


# ---------------------------------------------------------------- about to return


@contextlib.contextmanager
def seeded() -> Iterator[random.Random]:
    """Random numbers whose seed a failure tells."""
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")  # shown where the test is ended from outside
    try:
        yield random.Random(seed)
    except Exception as error:
        raise AssertionError(f"with seed {seed}: {type(error).__name__}: {error}") from error


def cancel_about_the_end(rng: random.Random, tasks: int, path: Path) -> Counter[str]:
    """Cancel tasks that take 0 to 3 ms at random moments between their submit and twice the time that they need.

    Rounds with both slots busy and nothing queued, where that is near the end of the task's own code, alternate with
    rounds where many are queued. Gives how many ended in which way.
    """
    futures: dict[int, ScalerFuture[Any]] = {}
    ends = Ends()
    usual = {2: 0.003, 24: 0.03}  # seconds from submit to end, by how many are outstanding; corrected as we go
    numbers = iter(range(tasks))
    with engine(2) as executor:
        while len(futures) < tasks:
            outstanding = 2 if len(futures) // 50 % 2 else 24
            due: list[tuple[float, int]] = []
            for number in itertools.islice(numbers, 50):
                while len(due) == outstanding or (due and due[0][0] <= time.monotonic()):
                    usual[outstanding] *= cancel_next(due, futures, rng)
                seconds, spin = rng.random() * 0.003, rng.random() < 0.5
                futures[number] = executor.submit(stubborn_tasks.brief, str(path), number, seconds, spin)
                ends.follow(futures[number])
                heapq.heappush(due, (time.monotonic() + rng.random() * 2 * usual[outstanding], number))
            while due:
                usual[outstanding] *= cancel_next(due, futures, rng)
            assert wait(futures.values(), SAFETY).not_done == set()
        works(executor, slots=2)
    outcomes = {number: outcome(future) for number, future in futures.items()}
    check_traces(path, outcomes)
    ends.check()
    return Counter(outcomes.values())


def cancel_next(due: list[tuple[float, int]], futures: dict[int, ScalerFuture[Any]], rng: random.Random) -> float:
    """Cancel what is due next, when it is due; gives the factor that corrects the usual time."""
    moment, number = heapq.heappop(due)
    time.sleep(max(0.0, moment - time.monotonic()))
    late = futures[number].done()
    futures[number].request_cancel_unfinished(force=rng.random() < 0.5)
    return 1 / 1.03 if late else 1.03


@pytest.mark.matrix
@pytest.mark.parametrize("tasks", [500, pytest.param(10_000, marks=pytest.mark.timeout(600))], ids=str)
def test_a_task_that_is_about_to_return_ends_in_one_way(tasks: int, tmp_path: Path) -> None:
    with seeded() as rng:
        ways = cancel_about_the_end(rng, tasks, tmp_path / "trace")
        assert set(ways) <= {"finished", "finished first", "stopped", "never started"}
        assert set(ways) >= {"finished", "stopped", "never started"}, "the moments were not around the end"


# ---------------------------------------------------------------- processes that die and freeze meanwhile

CLIENTS = 4
MAX_OUTSTANDING = 2  # of one client: little waits in the queue
LARGE = 300_000  # bytes; enough to travel in shared memory


class Storm:
    """Clients that submit, cancel and wait, while processes die and freeze."""

    def __init__(self, executor: NotebookExecutor, path: Path) -> None:
        self.futures: dict[int, ScalerFuture[Any]] = {}
        self.values: dict[int, object] = {}  # what each gives if it finishes
        self.asked: set[int] = set()  # those of which a cancel was requested
        self.ends = Ends()
        self._executor = executor
        self._path = path
        self._numbers = itertools.count()
        self._over = threading.Event()

    def rage(self, seconds: float, rng: random.Random) -> None:
        """Returns when everything has calmed down; what is unfinished then goes on undisturbed."""
        seeds = [rng.random() for _ in range(CLIENTS + 1)]
        with ThreadPoolExecutor(CLIENTS + 1) as threads:
            chaos = threads.submit(self._chaos, random.Random(seeds.pop()))
            clients = [threads.submit(self._client, random.Random(seed)) for seed in seeds]
            wait([chaos, *clients], seconds, return_when=FIRST_COMPLETED)  # they end before only by an error
            self._over.set()
            for thread in (chaos, *clients):
                thread.result(2 * SAFETY)

    # ------------------------------------------------------------------ clients

    def _client(self, rng: random.Random) -> None:
        mine: list[int] = []
        while not self._over.is_set():
            number = self._submit(rng)
            mine.append(number)
            if rng.random() < 0.7:
                self._meddle(rng, rng.choice(mine[-MAX_OUTSTANDING - 1 :]))
            while not self._over.is_set():
                unfinished = [future for future in map(self.futures.__getitem__, mine) if not future.done()]
                if len(unfinished) <= MAX_OUTSTANDING:
                    break
                wait(unfinished, 0.1, FIRST_COMPLETED)
            mine = mine[-2 * MAX_OUTSTANDING :]

    def _submit(self, rng: random.Random) -> int:
        number = next(self._numbers)
        seconds, spin = rng.random() * rng.choice([0.003, 0.03, 0.2]), rng.random() < 0.3
        arguments = (str(self._path), number, seconds, spin)
        future: ScalerFuture[Any]
        if rng.random() < 0.2:
            self.values[number] = data = bytes([number % 256]) * LARGE
            future = self._executor.submit(stubborn_tasks.echo, *arguments, cast(Any, pickle.PickleBuffer(data)))
        else:
            self.values[number] = number
            task = rng.choice(
                [stubborn_tasks.brief, stubborn_tasks.brief, stubborn_tasks.deaf, stubborn_tasks.with_child]
            )
            future = self._executor.submit(task, *arguments)
        self.ends.follow(future)
        self.futures[number] = future
        return number

    def _meddle(self, rng: random.Random, number: int) -> None:
        future, force = self.futures[number], rng.random() < 0.5
        match rng.choice(["wait", "request", "request", "cancel", "both"]):
            case "wait":
                wait([future], 0.1)
            case "request":
                self.asked.add(number)
                future.request_cancel_unfinished(force)
            case "cancel":
                self.asked.add(number)
                future.cancel(rng.random() * 0.3, force)
            case "both":
                self.asked.add(number)
                future.request_cancel(force)
                future.request_cancel(not force)

    # ------------------------------------------------------------------ chaos

    def _chaos(self, rng: random.Random) -> None:
        """Kills and freezes processes that have run a task: an engine whose every start fails gives up, rightly."""
        frozen: list[tuple[float, int]] = []
        scheduler = scheduler_of(self._executor).pid
        try:
            while not self._over.wait(0.01 + rng.random() * 0.05):
                while frozen and frozen[0][0] < time.monotonic():
                    thaw(heapq.heappop(frozen)[1])
                veterans = self._have_run() & set(task_processes(self._executor))
                target = rng.choice(sorted(veterans) or [scheduler])
                if rng.random() < 0.1:
                    target = scheduler
                with contextlib.suppress(ProcessLookupError):
                    if target != scheduler and rng.random() < 0.5:
                        os.kill(target, signal.SIGKILL)
                    else:
                        os.kill(target, signal.SIGSTOP)
                        most = 0.03 if target == scheduler else 0.3
                        heapq.heappush(frozen, (time.monotonic() + rng.random() * most, target))
        finally:
            for _, pid in frozen:
                thaw(pid)

    def _have_run(self) -> set[int]:
        try:
            with self._path.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 2000))
                lines = file.read().decode().splitlines(keepends=True)[1:]
        except FileNotFoundError:
            return set()
        return {int(line.split()[2]) for line in lines if line.endswith("\n")}  # the last one may be half written


@pytest.mark.matrix
@pytest.mark.parametrize("seconds", [3, pytest.param(600, marks=pytest.mark.timeout(1200))], ids=lambda s: f"{s} s")
def test_a_storm_of_cancels_deaths_and_freezes(seconds: float, tmp_path: Path) -> None:
    path = tmp_path / "trace"
    with seeded() as rng, engine(4, 0.1) as executor:
        executor.submit(abs, -1).result(SAFETY)
        session = executor._session
        storm = Storm(executor, path)
        storm.rage(seconds, rng)
        assert wait(storm.futures.values(), SAFETY).not_done == set()
        outcomes = {number: outcome(future) for number, future in storm.futures.items()}
        check_traces(path, outcomes)
        storm.ends.check()
        unasked = {outcomes[number] for number in outcomes.keys() - storm.asked}
        assert unasked <= {"finished", "ProcessorDiedError"}
        for number, future in storm.futures.items():
            assert outcomes[number] != "finished" or future.result(0) == storm.values[number]
        works(executor, slots=4)
        assert executor._session is session, "the engine was lost"
