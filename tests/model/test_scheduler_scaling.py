"""How many task processes there are: as somebody scales the engine, and as processes stay idle."""

from __future__ import annotations

import pytest
from simulated_pool import OWNER
from simulated_pool import SimulatedPool as Pool

from scaler_notebook.engines.local.scheduler.core.dispatch.scaling import LOOKS
from scaler_notebook.protocol.messages import TaskCancel

TIMEOUT = 60.0  # seconds


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
