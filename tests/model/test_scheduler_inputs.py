"""The scheduler's decisions about inputs and nested tasks: examples; no memory is ever lost."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from fake_clock import FakeClock
from unused_effects import UnusedEffects

from scaler_notebook.engines.local.ipc.messages import Input, RunFinished
from scaler_notebook.engines.local.scheduler.core import transitions
from scaler_notebook.engines.local.scheduler.core.core import Core
from scaler_notebook.engines.local.scheduler.core.dispatch import slot_lending
from scaler_notebook.protocol.capabilities import as_tuple
from scaler_notebook.protocol.messages import (
    EngineMessage,
    Payload,
    SegmentRef,
    Task,
    TaskCancel,
    TaskCancelConfirm,
    TaskCancelConfirmType,
    TaskOptions,
    TaskResult,
)
from scaler_notebook.task.task_end import TaskEnd

EMPTY = Payload(b"")
ME, YOU = b"me", b"you"


@dataclass
class Memory(UnusedEffects):
    """Hands that own descriptors: each is freed, or given to a client, once."""

    open: set[int] = field(default_factory=set)
    said: list[str] = field(default_factory=list)
    finals: dict[str, str] = field(default_factory=dict)
    runs: dict[int, Task] = field(default_factory=dict)
    killed: dict[int, tuple[int, ...]] = field(default_factory=dict)
    more: int = 0
    numbers: int = 0

    def new(self) -> Payload:
        """A payload with memory behind it."""
        self.numbers += 1
        self.open.add(self.numbers)
        return Payload(b"x", (SegmentRef(1, self.numbers, 1),))

    def retain_payload(self, payload: Payload) -> Payload:
        for buffer in payload.buffers:
            assert isinstance(buffer, SegmentRef)
            assert buffer.descriptor in self.open, "kept after it was freed"
        return self.new() if payload.buffers else payload

    def release_payload(self, payload: Payload) -> None:
        for buffer in payload.buffers:
            assert isinstance(buffer, SegmentRef)
            self.open.remove(buffer.descriptor)

    def send(self, owner: bytes, message: EngineMessage) -> None:
        if isinstance(message, TaskResult):
            self._final(message.task_id, message.outcome.value, message.origin)
            self.release_payload(message.payload)  # it is the client's now
        elif isinstance(message, TaskCancelConfirm) and message.answer is TaskCancelConfirmType.CANCELED:
            self._final(message.task_id, "Canceled", message.origin)

    def _final(self, task_id: str, word: str, origin: str) -> None:
        assert task_id not in self.finals, "ended twice"
        self.finals[task_id] = word
        self.said.append(f"{task_id} {word}" + (f" by {origin}" if origin else ""))

    def suits(self, process: int, context: object) -> bool:
        return True

    def run_task(
        self, process: int, seq: int, task: Task, context: object, last: bool, inputs: tuple[Input, ...]
    ) -> None:
        assert task.task_id not in self.finals, "runs although it is over"
        assert [given.name for given in inputs] == list(dict.fromkeys(task.inputs))
        for given in inputs:
            assert all(isinstance(b, SegmentRef) and b.descriptor in self.open for b in given.value.buffers)
        self.said.append(f"run {task.task_id}")
        self.runs[process] = task

    def interrupt(self, process: int, seq: int) -> None:
        pass

    def tell_taken(self, process: int, seq: int, count: int) -> None:
        raise AssertionError("no task gives items")

    def kill(self, process: int, others: Sequence[int] = ()) -> None:
        self.killed[process] = tuple(others)

    def assign_devices(self, process: int, names: tuple[str, ...]) -> None:
        raise AssertionError("there are no devices")

    def set_standing(self, count: int) -> None:
        raise AssertionError("nobody scales the engine, and no process goes")

    def add_processes(self, extra: int) -> None:
        self.more = extra

    def surplus(self) -> int:
        return 0


def task(task_id: str, inputs: Sequence[str] = (), keep: bool = False, parent: str = "", **options: Any) -> Task:
    needs = as_tuple(options.pop("capabilities", {}))
    wanted = TaskOptions(name=task_id, capabilities=needs, **options)
    return Task(task_id, EMPTY, EMPTY, wanted, tuple(inputs), keep, keep, parent)


class Scene:
    """A core with processes that are ready, and tasks of "me"."""

    def __init__(self, slots: int = 1, processes: int = 4, **capabilities: int) -> None:
        self.hands = Memory()
        self.clock = FakeClock()
        self.core = Core(slots, self.hands, capabilities, clock=self.clock)
        self.seqs: dict[int, int] = {}
        for process in range(1, processes + 1):
            self.core.process_ready(process)

    def submit(self, *args: Any, owner: bytes = ME, **kwargs: Any) -> None:
        parent = kwargs.get("parent", "")
        process = next((p for p, t in self.hands.runs.items() if t.task_id == parent), 0) if parent else 0
        self.core.submit(owner, task(*args, **kwargs), process)

    def tick(self, now: float) -> None:
        self.clock.now = now
        self.core.tick()

    def process(self, task_id: str) -> int:
        return next(p for p, t in self.hands.runs.items() if t.task_id == task_id)

    def end(self, task_id: str, end: TaskEnd = TaskEnd.SUCCESS) -> None:
        process = self.process(task_id)
        del self.hands.runs[process]
        ended = RunFinished(self.core.overview.seq(process), end, self.hands.new())
        self.core.process_ended_run(process, ended)

    def die(self, task_id: str) -> None:
        process = self.process(task_id)
        del self.hands.runs[process]
        self.core.process_died(process, "it died", True)

    def cancel(self, task_id: str, owner: bytes = ME) -> None:
        self.core.cancel(owner, TaskCancel(task_id, True))

    def waits(self, task_id: str, waits: bool = True) -> None:
        self.core.task_waits(self.process(task_id), task_id, waits)

    @property
    def said(self) -> list[str]:
        said, self.hands.said = self.hands.said, []
        return said


class Raising(logging.Handler):
    """What the table does not permit is a bug."""

    def emit(self, record: logging.LogRecord) -> None:
        raise AssertionError(record.getMessage())


@pytest.fixture(autouse=True, scope="module")
def _errors_are_raised() -> Iterator[None]:
    handler = Raising(logging.ERROR)
    transitions.log.addHandler(handler)
    yield
    transitions.log.removeHandler(handler)


# ---------------------------------------------------------------------- inputs


def test_a_task_runs_when_its_inputs_are_there() -> None:
    scene = Scene()
    scene.submit("a")
    scene.submit("b", ["a", "a"])
    scene.submit("c")
    assert scene.said == ["run a"]
    scene.end("a")
    assert scene.said == ["a Success", "run b"], "in its place, before c"
    scene.end("b")
    scene.end("c")
    assert scene.hands.open == set()


def test_a_value_is_kept_until_those_that_named_it_are_over() -> None:
    scene = Scene()
    scene.core.create(ME, "o", scene.hands.new())
    scene.hands.open.discard(1)  # the client's own
    scene.submit("a", ["o"], keep=True)
    scene.core.delete(ME, ("o", "nobody's"))
    scene.submit("b", ["a"])
    scene.core.delete(ME, ("a",))
    scene.end("a")
    assert len(scene.hands.open) == 1
    scene.submit("late", ["o"])
    assert scene.said == ["run a", "a Success", "run b", "late MissingObjects"]
    scene.end("b")
    assert scene.hands.open == set()
    assert len(scene.core.state.dependencies) == 0


def test_a_kept_value_waits_for_tasks_that_are_still_to_come() -> None:
    scene = Scene()
    scene.submit("a", keep=True)
    scene.end("a")
    scene.submit("b", ["a"])
    scene.core.delete(ME, ("a",))
    scene.end("b")
    assert scene.said == ["run a", "a Success", "run b", "b Success"]
    assert scene.hands.open == set()


@pytest.mark.parametrize("how", ["failed", "died", "cancelled", "cancelled while it ran"])
def test_what_needs_what_will_not_come_falls_with_it(how: str) -> None:
    scene = Scene()
    scene.submit("first")
    scene.submit("a", ["first"])
    scene.submit("b", ["a"])
    scene.submit("c", ["b", "first"])
    scene.submit("other")
    if how != "cancelled":
        scene.end("first")
    _ = scene.said
    if how == "failed":
        scene.end("a", TaskEnd.FAILED)
    elif how == "died":
        scene.die("a")
    else:
        scene.cancel("a")
        if how == "cancelled while it ran":
            scene.end("a")  # too late: to its client it is cancelled
    word = {"failed": "Failed", "died": "FailedWorkerDied"}.get(how, "Canceled")
    assert f"b {word} by a" in (said := scene.said)
    assert f"c {word} by a" in said
    assert "run other" in said or how == "cancelled"
    if how == "cancelled":
        scene.end("first")
    scene.end("other")
    assert scene.hands.open == set()
    assert len(scene.core.state.dependencies) == 0


def test_a_chain_may_be_as_long_as_it_likes() -> None:
    scene = Scene()
    scene.submit("0")
    for n in range(1, 5000):
        scene.submit(str(n), [str(n - 1)])
    scene.end("0", TaskEnd.FAILED)
    assert len(scene.hands.finals) == 5000


@pytest.mark.parametrize("names", [["nobody's"], ["yours"], ["a", "nobody's"]])
def test_inputs_that_are_not_there_are_named_and_nothing_is_kept(names: list[str]) -> None:
    scene = Scene()
    scene.core.create(YOU, "yours", EMPTY)
    scene.submit("a", keep=True)
    scene.submit("b", names)
    assert scene.hands.finals == {"b": "MissingObjects"}
    scene.submit("c", ["b"])
    assert scene.hands.finals["c"] == "MissingObjects"
    scene.end("a")
    scene.core.client_gone(ME)
    scene.core.client_gone(YOU)
    assert len(scene.core.state.dependencies) == 0


# ---------------------------------------------------------------------- nested tasks


def test_a_task_that_waits_lends_its_slot_and_goes_on_without_waiting_for_one() -> None:
    scene = Scene(slots=1)
    scene.submit("parent")
    scene.submit("later")
    scene.submit("child", parent="parent")
    assert scene.said == ["run parent"]
    scene.waits("parent")
    assert scene.said == ["run child"], "before what nobody waits for"
    assert scene.hands.more == 1
    scene.end("child")
    assert scene.said == ["child Success", "run later"]
    scene.waits("parent", False)
    scene.submit("last")
    assert scene.said == [], "one more than slots; no further"
    scene.end("later")
    assert scene.said == ["later Success"]
    scene.end("parent")
    assert scene.said == ["parent Success", "run last"]
    assert scene.hands.more == 0


def test_its_capabilities_are_lent_too() -> None:
    scene = Scene(slots=2, gpu=1)
    scene.submit("parent", capabilities={"gpu": 1})
    scene.submit("child", parent="parent", capabilities={"gpu": 1})
    assert scene.said == ["run parent"]
    scene.waits("parent")
    assert scene.said == ["run child"]
    scene.waits("parent", False)
    scene.submit("other", capabilities={"gpu": 1})
    scene.end("child")
    assert scene.said == ["child Success"]
    scene.end("parent")
    assert scene.said == ["parent Success", "run other"]


def test_a_child_has_at_least_its_parents_priority() -> None:
    scene = Scene(slots=1)
    scene.submit("parent", priority=5)
    scene.submit("middle", priority=3)
    scene.submit("child", parent="parent")
    scene.waits("parent")
    assert scene.said == ["run parent", "run child"]


def test_only_the_task_itself_can_lend_its_slot_or_have_children() -> None:
    scene = Scene(slots=1)
    scene.submit("parent")
    another = scene.process("parent") % 4 + 1
    scene.core.task_waits(another, "parent", True)
    scene.core.task_waits(scene.process("parent"), "another", True)
    assert scene.hands.more == 0
    scene.core.submit(ME, task("stranger", parent="parent"), another)
    assert scene.core.state.records["stranger"].parent is None


@pytest.mark.parametrize("how", ["cancelled", "died"])
def test_what_a_task_has_submitted_ends_with_it(how: str) -> None:
    scene = Scene(slots=3)
    scene.submit("parent")
    for n in range(2):
        scene.submit(f"child{n}", parent="parent", owner=b"within")
    scene.submit("queued", ["child0"], parent="parent", owner=b"within")
    scene.submit("grandchild", parent="child1", owner=b"within it")
    children = [scene.process(f"child{n}") for n in range(2)]
    if how == "cancelled":
        scene.cancel("parent")
        scene.tick(100.0)
        assert set(scene.hands.killed[scene.process("parent")]) == set(children)
    scene.die("parent")
    assert set(children) <= scene.hands.killed.keys()
    for n in range(2):
        scene.die(f"child{n}")
    assert scene.core.state.records == {}
    assert scene.hands.finals["parent"] == ("Canceled" if how == "cancelled" else "FailedWorkerDied")
    assert "run grandchild" not in scene.said


def test_a_child_that_was_asked_to_stop_goes_with_its_parent(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(slots=2)
    scene.submit("parent")
    scene.submit("child", parent="parent")
    scene.cancel("parent")
    scene.cancel("child")
    scene.tick(100.0)
    assert scene.hands.killed.keys() == {scene.process("parent"), scene.process("child")}
    assert caplog.records == []


def test_what_a_task_leaves_behind_runs_on_until_the_client_goes() -> None:
    scene = Scene(slots=2)
    scene.submit("parent")
    scene.submit("child", parent="parent", owner=b"within")
    scene.end("parent")
    scene.core.client_gone(b"within")  # its process is used by others, and dies with them
    assert scene.process("child") not in scene.hands.killed
    scene.core.client_gone(ME)
    assert scene.process("child") in scene.hands.killed


def test_nesting_that_needs_too_many_processes_fails_with_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot_lending, "MAX_LENT", 2)
    scene = Scene(slots=1, processes=9)
    scene.submit("0")
    for n in range(1, 4):
        scene.submit(str(n), parent=str(n - 1))
        scene.waits(str(n - 1))
    assert scene.hands.finals == {"3": "Failed"}
    scene.waits("2", False)
    scene.end("2")
    scene.waits("1", False)
    scene.end("1")
    assert scene.hands.more == 1


def test_when_nothing_moves_the_deepest_is_taken_to_wait() -> None:
    scene = Scene(slots=2)
    scene.submit("parent")
    scene.submit("child", parent="parent")
    scene.submit("grandchild", parent="child")
    scene.submit("other")
    assert scene.said == ["run parent", "run child"]
    deadline = scene.core.next_deadline()
    assert deadline is not None
    scene.tick(slot_lending.STANDSTILL * 0.9)
    assert scene.said == []
    scene.tick(slot_lending.STANDSTILL)
    assert scene.said == ["run grandchild"]
    scene.tick(2 * slot_lending.STANDSTILL)
    assert scene.said == [], "something runs"
    scene.end("grandchild")
    assert scene.said == ["grandchild Success", "run other"]
    scene.end("child")
    scene.end("parent")
    assert scene.hands.more == 0
