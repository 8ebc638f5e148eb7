"""How many task processes there are: as somebody scales the engine, and as processes stay idle."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from fake_clock import FakeClock
from unused_effects import UnusedEffects

from scaler_notebook.engines.local.ipc.messages import Input, RunFinished
from scaler_notebook.engines.local.scheduler.core.core import Core
from scaler_notebook.engines.local.scheduler.core.scaling import LOOKS
from scaler_notebook.protocol.messages import EngineMessage, Payload, Task, TaskCancel
from scaler_notebook.task.task_end import TaskEnd

OWNER = b"me"
EMPTY = Payload(b"")
TIMEOUT = 60.0  # seconds


class Pool(UnusedEffects):
    """An engine of one spare, whose processes start and die when the test says so."""

    def __init__(self, slots: int, idle_timeout: float = 0.0) -> None:
        self.clock = FakeClock()
        self.alive: list[int] = []
        self.killed: list[int] = []  # and not reaped yet
        self.started: list[str] = []  # ids of tasks
        self.runs: dict[str, tuple[int, int]] = {}  # by task: its process and the number of its run
        self._size, self._extra, self._pids = slots + 1, 0, 0
        self.core = Core(slots, self, {}, clock=self.clock, idle_timeout=idle_timeout)
        self.fill()

    def fill(self) -> None:
        """Reap what was killed, and start what is missing."""
        while self.killed:
            self.core.process_died(self.killed.pop(), "killed", begun=True)
        while len(self.alive) < self._size + self._extra:
            self._pids += 1
            self.alive.append(self._pids)
            self.core.process_ready(self._pids)

    def submit(self, *names: str) -> None:
        for name in names:
            self.core.submit(OWNER, Task(name, EMPTY, EMPTY))

    def end(self, name: str) -> None:
        process, seq = self.runs[name]
        self.core.process_ended_run(process, RunFinished(seq, TaskEnd.SUCCESS, EMPTY))

    def pass_time(self, seconds: float) -> None:
        """Let time pass, with the engine awake whenever it has something to do."""
        end = self.clock.now + seconds
        while (due := self.core.next_deadline()) is not None and due <= end:
            self.clock.now = due
            self.core.tick()
        self.clock.now = end

    # ------------------------------------------------------------------ effects

    def send(self, owner: bytes, message: EngineMessage) -> None:
        pass

    def suits(self, process: int, context: object) -> bool:
        return True

    def run_task(
        self, process: int, seq: int, task: Task, context: object, last: bool, inputs: tuple[Input, ...]
    ) -> None:
        self.started.append(task.task_id)
        self.runs[task.task_id] = process, seq

    def interrupt(self, process: int, seq: int) -> None:
        pass

    def kill(self, process: int, others: Sequence[int] = ()) -> None:
        self.alive.remove(process)
        self.killed.append(process)

    def set_standing(self, count: int) -> None:
        self._size = count

    def add_processes(self, extra: int) -> None:
        self._extra = extra

    def surplus(self) -> int:
        return max(0, len(self.alive) - self._size - self._extra)


def test_more_workers_start_what_is_queued() -> None:
    pool = Pool(slots=1)
    pool.submit("a", "b", "c", "d")
    assert pool.started == ["a"]
    pool.core.scale(3)
    pool.fill()
    assert pool.started == ["a", "b", "c"]
    assert len(pool.alive) == 4
    assert pool.core.status().slots == 3


def test_with_fewer_workers_what_runs_goes_on_and_processes_end_with_their_tasks() -> None:
    pool = Pool(slots=3)
    pool.submit("a", "b", "c", "d")
    pool.core.scale(1)
    assert len(pool.killed) == 1, "the spare was idle"
    pool.fill()
    assert len(pool.alive) == 3
    pool.end("a")
    pool.fill()
    assert pool.started == ["a", "b", "c"], "two run, and one may"
    assert len(pool.alive) == 2
    pool.end("b")
    pool.end("c")
    pool.fill()
    assert pool.started[3:] == ["d"]
    assert len(pool.alive) == 2


def test_processes_that_are_being_killed_are_not_counted_twice() -> None:
    pool = Pool(slots=3)
    pool.core.scale(1)
    pool.core.dispatch()
    assert len(pool.killed) == 2
    assert len(pool.alive) == 2


def test_idle_processes_go_after_the_timeout_and_not_before() -> None:
    pool = Pool(slots=2, idle_timeout=TIMEOUT)
    pool.pass_time(TIMEOUT * 0.99)
    assert len(pool.alive) == 3
    pool.pass_time(TIMEOUT * (0.01 + 1 / LOOKS))
    assert pool.alive == []
    assert pool.core.status().gone == 3
    pool.fill()
    assert pool.alive == [], "nothing takes their places"
    assert pool.core.next_deadline() is None, "nobody wakes for nothing"


def test_a_process_that_works_stays_and_one_that_has_worked_counts_anew() -> None:
    pool = Pool(slots=2, idle_timeout=TIMEOUT)
    pool.submit("long")
    busy, _ = pool.runs["long"]
    pool.pass_time(2 * TIMEOUT)
    assert pool.alive == [busy]
    pool.end("long")
    pool.fill()
    pool.pass_time(TIMEOUT * 0.99)
    assert pool.alive == [busy]
    pool.submit("short")
    pool.end("short")
    pool.pass_time(TIMEOUT * 0.99)
    assert pool.alive == [busy]
    pool.pass_time(TIMEOUT)
    assert pool.alive == []


def test_they_come_back_on_demand_with_a_spare_and_no_more_than_there_were() -> None:
    pool = Pool(slots=3, idle_timeout=TIMEOUT)
    pool.pass_time(2 * TIMEOUT)
    pool.submit("a")
    pool.fill()
    assert pool.started == ["a"]
    assert len(pool.alive) == 2
    assert pool.core.status().gone == 2
    pool.submit("b", "c", "d", "e")
    pool.fill()
    assert pool.started == ["a", "b", "c"]
    assert len(pool.alive) == 4
    assert pool.core.status().gone == 0


def test_one_that_is_killed_with_its_task_is_replaced_while_others_are_gone() -> None:
    pool = Pool(slots=2, idle_timeout=TIMEOUT)
    pool.submit("a")
    pool.pass_time(2 * TIMEOUT)
    assert len(pool.alive) == 1
    pool.core.cancel(OWNER, TaskCancel("a", force=True, grace=0.0))
    pool.pass_time(1.0)
    pool.fill()
    pool.submit("b")
    pool.fill()
    assert pool.started == ["a", "b"]


@pytest.mark.parametrize("slots", [1, 2, 5])
def test_an_engine_that_is_scaled_while_its_processes_are_gone(slots: int) -> None:
    pool = Pool(slots=3, idle_timeout=TIMEOUT)
    pool.pass_time(2 * TIMEOUT)
    pool.core.scale(slots)
    pool.fill()
    pool.submit(*map(str, range(9)))
    pool.fill()
    assert len(pool.started) == slots
    for name in pool.started[:]:
        pool.end(name)
    pool.fill()
    assert len(pool.started) == min(9, 2 * slots)
