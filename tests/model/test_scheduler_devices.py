"""Which task gets which devices, and in which process: examples, and whatever happens."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated_pool import EMPTY, OWNER, SimulatedPool

from scaler_notebook.engines.local.ipc.messages import Input
from scaler_notebook.protocol.devices import WHOLE
from scaler_notebook.protocol.messages import Task, TaskCancel, TaskOptions

HALF = WHOLE // 2


class Pool(SimulatedPool):
    """An engine with devices, whose rules are checked at every step."""

    def __init__(self, slots: int, devices: str) -> None:
        self.sees: dict[int, tuple[str, ...]] = {}  # by process
        self.begun: set[int] = set()  # processes that have run something
        self.having: dict[str, tuple[tuple[str, ...], int]] = {}  # by running task: its devices, and what it takes
        super().__init__(slots, devices=tuple(devices))

    def reap(self, process: int) -> None:
        self.having = {name: had for name, had in self.having.items() if self.process_of(name) != process}
        del self.sees[process]
        super().reap(process)

    def end(self, name: str) -> None:
        self.having.pop(name)
        super().end(name)

    @property
    def running(self) -> list[str]:
        return [name for name in self.having if self.runs[name][0] in self.alive]

    def assign_devices(self, process: int, names: tuple[str, ...]) -> None:
        assert process not in self.begun, "a context cannot move"
        assert not self.sees.get(process)
        self.sees[process] = names

    def run_task(
        self, process: int, seq: int, task: Task, context: object, last: bool, inputs: tuple[Input, ...]
    ) -> None:
        super().run_task(process, seq, task, context, last, inputs)
        seen, parts = self.sees[process], task.options.gpus
        assert len(seen) == (-(-parts // WHOLE)), "it sees what it takes"
        if parts >= WHOLE:
            others = [other for other, theirs in self.sees.items() if other != process and set(theirs) & set(seen)]
            others = [other for other in others if other not in self.core.state.lent]
            assert others == [], "what is taken as a whole has nothing of another process"
        self.begun.add(process)
        self.having[task.task_id] = seen, parts
        lent = [name for name in self.having if self.process_of(name) in self.core.state.lent]
        for device in seen:
            having = [had for name, had in self.having.items() if name not in lent]
            assert sum(min(WHOLE, parts) for devices, parts in having if device in devices) <= WHOLE

    def process_of(self, name: str) -> int:
        return self.runs[name][0]

    def devices_of(self, name: str) -> tuple[str, ...]:
        return self.having[name][0]

    def kill(self, process: int, others: Sequence[int] = ()) -> None:
        assert process in self.alive, "killed once"
        super().kill(process, others)


def test_each_task_has_a_device_of_its_own_and_others_see_none() -> None:
    pool = Pool(4, "ab")
    pool.submit("first", "second", "third", gpus=WHOLE)
    pool.submit("plain")
    assert {pool.devices_of("first"), pool.devices_of("second")} == {("a",), ("b",)}
    assert pool.devices_of("plain") == ()
    assert "third" not in pool.having
    pool.end("second")
    assert pool.process_of("third") == pool.process_of("second"), "what has begun with it goes on with it"


def test_shares_of_one_fill_it_before_another_is_begun() -> None:
    pool = Pool(4, "ab")
    pool.submit("1", "2", gpus=HALF)
    pool.submit("whole", gpus=WHOLE)
    assert pool.devices_of("1") == pool.devices_of("2") == ("a",)
    assert pool.devices_of("whole") == ("b",)
    pool.submit("3", gpus=HALF)
    assert "3" not in pool.having
    pool.end("1")
    assert pool.devices_of("3") == ("a",)


def test_who_waits_for_a_whole_one_is_not_overtaken_by_shares() -> None:
    pool = Pool(4, "a")
    pool.submit("1", gpus=HALF)
    pool.submit("whole", gpus=WHOLE)
    pool.submit("2", gpus=HALF)
    pool.submit("plain")
    assert pool.started == ["1", "plain"]
    pool.end("1")
    pool.fill()
    assert pool.started == ["1", "plain", "whole"]


def test_idle_processes_that_hold_memory_on_a_device_end_before_it_is_had_as_a_whole() -> None:
    pool = Pool(4, "a")
    pool.submit("1", "2", gpus=HALF)
    pool.end("1")
    pool.end("2")
    pool.submit("whole", gpus=WHOLE)
    assert pool.started == ["1", "2"], "not before one of the two is gone"
    assert len(pool.killed) == 1
    pool.submit("plain")
    assert pool.started == ["1", "2", "plain"], "which holds up nothing else"
    pool.fill()
    assert pool.started[3:] == ["whole"]


def test_a_device_of_a_killed_task_is_free_when_its_process_is_gone() -> None:
    pool = Pool(2, "a")
    pool.submit("1", "2", gpus=WHOLE)
    pool.core.cancel(OWNER, TaskCancel("1", force=True, grace=0.0))
    pool.pass_time(1.0)
    assert pool.killed == [pool.process_of("1")]
    assert pool.started == ["1"]
    pool.fill()
    assert pool.started == ["1", "2"]


def test_where_all_processes_have_run_something_one_is_replaced() -> None:
    pool = Pool(1, "a")
    for name in ("1", "2"):
        pool.core.reserve(pool.core.state.workers.idle[0])  # imports what others have needed
        pool.core.process_ready(pool.alive[0] if name == "1" else pool.alive[1])
    pool.submit("gpu", gpus=WHOLE)
    assert pool.started == []
    assert len(pool.killed) == 1, "one, and no more"
    pool.core.dispatch()
    assert len(pool.killed) == 1
    pool.fill()
    assert pool.started == ["gpu"]


def test_a_process_with_devices_gives_way_to_a_task_without() -> None:
    pool = Pool(2, "abc")
    for name in ("1", "2"):
        pool.submit(name, gpus=WHOLE)
    pool.end("1")
    pool.end("2")
    pool.submit("3", gpus=2 * WHOLE)
    pool.fill()
    pool.submit("4")
    pool.fill()
    assert pool.started == ["1", "2", "3", "4"]


def test_a_task_that_waits_for_its_own_lends_its_device() -> None:
    pool = Pool(1, "a")
    pool.submit("parent", gpus=WHOLE)
    process = pool.process_of("parent")
    pool.core.submit(OWNER, Task("child", EMPTY, EMPTY, TaskOptions(gpus=WHOLE), parent="parent"), process)
    pool.core.task_waits(process, "parent", True)
    pool.fill()
    assert pool.started == ["parent", "child"]
    pool.end("child")
    pool.core.task_waits(process, "parent", False)
    assert pool.killed == [pool.process_of("child")], "which holds memory on what the parent has as a whole"


NEEDS = st.sampled_from([0, 0, 25, HALF, 80, WHOLE, WHOLE, 2 * WHOLE])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), NEEDS),
        st.tuples(st.sampled_from(["end", "end", "cancel", "reap", "wait", "scale"]), st.integers(0, 7)),
    ),
    max_size=40,
)


@given(slots=st.integers(1, 4), steps=STEPS)
def test_whatever_happens_every_task_has_its_devices_in_the_end(slots: int, steps: list[tuple[str, int]]) -> None:
    pool = Pool(slots, "ab")
    for number, (step, value) in enumerate(steps):
        running = pool.running
        if step == "submit":
            pool.submit(str(number), gpus=value)
        elif step == "end" and running:
            pool.end(running[value % len(running)])
        elif step == "cancel" and running:
            pool.core.cancel(OWNER, TaskCancel(running[value % len(running)], force=True, grace=0.0))
        elif step == "wait":
            pool.pass_time(0.01)
        elif step == "scale":
            pool.core.scale(1 + value % 4)
        elif step == "reap":
            pool.fill()
    for _ in range(4 * len(steps) + 4):
        pool.pass_time(1.0)
        pool.fill()
        for name in pool.running[:1]:
            pool.end(name)
    assert pool.core.state.records == {}
    assert pool.core.state.devices._free == [WHOLE, WHOLE]


@pytest.mark.parametrize("gpus", [25, WHOLE])
def test_the_processes_of_an_engine_are_not_all_warmed(gpus: int) -> None:
    pool = Pool(2, "a")
    for process in pool.core.overview.fresh:
        pool.core.reserve(process)
        pool.core.process_ready(process)
    pool.submit("gpu", gpus=gpus)
    assert pool.started == ["gpu"], "at once: one has imported nothing ahead"
