"""The scheduler's decisions: each stage and event by example, then any sequence of them against the rules."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from scaler_notebook.engines.embedded.core import ANNOUNCE_AFTER, Core
from scaler_notebook.engines.embedded.inner import End, Ended
from scaler_notebook.protocol.messages import (
    EngineMessage,
    Payload,
    Task,
    TaskCancel,
    TaskCancelConfirm,
    TaskCancelConfirmType,
    TaskFigures,
    TaskResult,
    TaskResultType,
    TaskStarted,
)

EMPTY = Payload(b"")
CLOCK = 1000.0  # seconds since the epoch, as far as these tests go
GRACE = 1.0


def task(task_id: str) -> Task:
    return Task(task_id, "client", EMPTY, EMPTY)


# ---------------------------------------------------------------------- examples


class Recorder:
    """Hands that write down what they are asked to do, in words."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def tell(self, owner: bytes, message: EngineMessage) -> None:
        match message:
            case TaskStarted():
                word = f"started on {message.processor}"
            case TaskCancelConfirm():
                word = message.answer.value + (" (force)" if message.force else "")
            case TaskResult():
                word = message.outcome.value
        self.done.append(f"{owner.decode()}: {message.task_id} {word}")

    def suits(self, process: int, context: object) -> bool:
        return True

    def run_task(self, process: int, seq: int, task: Task, context: object = None) -> None:
        self.done.append(f"run {task.task_id} on {process} as {seq}")

    def interrupt(self, process: int, seq: int) -> None:
        self.done.append(f"interrupt {process} in {seq}")

    def kill(self, process: int) -> None:
        self.done.append(f"kill {process}")


class Scene:
    """One slot, one process (1), the task "t" of "me"; time stands still unless told."""

    def __init__(self) -> None:
        self.hands = Recorder()
        self.core = Core(1, self.hands)
        self.now = 0.0

    def ready(self, process: int = 1) -> None:
        self.core.process_ready(process, self.now, CLOCK)

    def submit(self, task_id: str = "t", owner: bytes = b"me") -> None:
        self.core.submit(owner, task(task_id), self.now, CLOCK)

    def cancel(self, force: bool = True, owner: bytes = b"me", grace: float = GRACE, task_id: str = "t") -> None:
        self.core.cancel(owner, TaskCancel(task_id, force, grace), self.now)

    def ended(self, end: End = End.SUCCESS, seq: int = 1, process: int = 1) -> None:
        self.core.process_ended_run(process, Ended(seq, end, EMPTY), self.now, CLOCK)

    def died(self, process: int = 1) -> None:
        self.core.process_died(process, "it died", self.now, CLOCK)

    def gone(self, owner: bytes = b"me") -> None:
        self.core.client_gone(owner)

    def after(self, seconds: float) -> None:
        self.now += seconds
        self.core.tick(self.now)


Step = Callable[[Scene], None]


def announced(scene: Scene) -> None:
    scene.ready()
    scene.submit()
    scene.after(ANNOUNCE_AFTER)


def asked(force: bool) -> Step:
    def step(scene: Scene) -> None:
        announced(scene)
        scene.cancel(force)

    return step


def ending(scene: Scene) -> None:
    asked(True)(scene)
    scene.after(GRACE)


def refused(scene: Scene) -> None:
    asked(False)(scene)
    scene.after(GRACE)


STAGES: dict[str, Step] = {
    "queued": lambda scene: scene.submit(),
    "running": announced,
    "asked softly": asked(False),
    "asked": asked(True),
    "refused": refused,
    "ending": ending,
}
EVENTS: dict[str, Step] = {
    "ready": lambda scene: scene.ready(2),
    "cancel softly": lambda scene: scene.cancel(False),
    "cancel": lambda scene: scene.cancel(True),
    "another's cancel": lambda scene: scene.cancel(True, b"you"),
    "the same id again": lambda scene: scene.submit(),
    "the same id from another": lambda scene: scene.submit(owner=b"you"),
    "success": lambda scene: scene.ended(End.SUCCESS),
    "failure": lambda scene: scene.ended(End.FAILED),
    "stopped": lambda scene: scene.ended(End.STOPPED),
    "a run that is over": lambda scene: scene.ended(End.SUCCESS, seq=0),
    "a run of a stranger": lambda scene: scene.ended(End.STOPPED, process=9),
    "died": lambda scene: scene.died(),
    "half the grace": lambda scene: scene.after(GRACE / 2),
    "the grace": lambda scene: scene.after(GRACE),
    "client gone": lambda scene: scene.gone(),
    "another client gone": lambda scene: scene.gone(b"you"),
}
NO = TaskCancelConfirmType.CANCEL_NOT_FOUND.value
NOT_FOUND = f"you: t {NO} (force)"


# What is done, by stage and event; what is not listed does nothing.
EXPECTED: dict[str, dict[str, list[str]]] = {
    "queued": {
        "ready": ["run t on 2 as 1"],
        "cancel softly": ["me: t Canceled"],
        "cancel": ["me: t Canceled (force)"],
    },
    "running": {
        "cancel softly": ["interrupt 1 in 1"],
        "cancel": ["interrupt 1 in 1"],
        "success": ["me: t Success"],
        "failure": ["me: t Failed"],
        "stopped": ["kill 1"],
        "died": ["me: t FailedWorkerDied"],
        "client gone": ["kill 1"],
    },
    "asked softly": {
        "cancel": ["interrupt 1 in 1"],
        "success": ["me: t Success"],
        "failure": ["me: t Failed"],
        "stopped": ["kill 1"],
        "died": ["me: t Canceled"],
        "half the grace": ["interrupt 1 in 1"],
        "the grace": ["interrupt 1 in 1", "me: t CancelFailed"],
        "client gone": ["kill 1"],
    },
    "asked": {
        "success": ["me: t Success"],
        "failure": ["me: t Failed"],
        "stopped": ["kill 1"],
        "died": ["me: t Canceled (force)"],
        "half the grace": ["interrupt 1 in 1"],
        "the grace": ["interrupt 1 in 1", "kill 1"],
        "client gone": ["kill 1"],
    },
    "ending": {
        "success": ["me: t Success"],
        "failure": ["me: t Failed"],
        "died": ["me: t Canceled (force)"],
    },
}


EXPECTED["refused"] = EXPECTED["running"]  # the request is answered


@pytest.mark.parametrize(("stage", "event"), [(stage, event) for stage in STAGES for event in EVENTS])
def test_what_is_done_in_each_stage_about_each_event(stage: str, event: str) -> None:
    scene = Scene()
    STAGES[stage](scene)
    before = len(scene.hands.done)
    EVENTS[event](scene)
    expected = [NOT_FOUND] if event == "another's cancel" else EXPECTED[stage].get(event, [])
    assert scene.hands.done[before:] == expected


@pytest.mark.parametrize("ends", ["success", "failure", "died"])
@pytest.mark.parametrize("stage", ["running", "asked softly", "asked", "refused", "ending"])
def test_a_task_that_has_ended_leaves_nothing_behind(stage: str, ends: str) -> None:
    """Neither a timer nor a second message; its slot is free, its process has the next task or is not used again."""
    scene = Scene()
    STAGES[stage](scene)
    EVENTS[ends](scene)
    before = len(scene.hands.done)
    scene.submit("next")
    if stage == "ending" or ends == "died":
        scene.ready(2)
    scene.after(2 * GRACE)
    process, seq = (2, 1) if stage == "ending" or ends == "died" else (1, 2)
    assert scene.hands.done[before:] == [f"run next on {process} as {seq}", f"me: next started on {process}"]
    assert scene.core.next_deadline() is None
    scene.cancel()
    assert scene.hands.done[-1] == f"me: t {NO} (force)"


def test_a_short_task_is_not_announced_and_a_long_one_is_before_anything_else() -> None:
    scene = Scene()
    scene.ready()
    scene.submit("short")
    scene.after(ANNOUNCE_AFTER / 2)
    scene.ended(seq=1)
    scene.submit("long")
    scene.after(ANNOUNCE_AFTER * 0.9)
    assert "me: long started on 1" not in scene.hands.done
    scene.after(ANNOUNCE_AFTER * 0.1)
    scene.ended(seq=2)
    assert scene.hands.done[1:] == [
        "me: short Success",
        "run long on 1 as 2",
        "me: long started on 1",
        "me: long Success",
    ]


@pytest.mark.parametrize(("cancel", "last"), [(False, "FailedWorkerDied"), (True, "Canceled (force)")])
def test_a_death_announces_what_was_not_announced_yet(cancel: bool, last: str) -> None:
    scene = Scene()
    scene.ready()
    scene.submit()
    if cancel:
        scene.cancel()
    scene.died()
    assert scene.hands.done[-2:] == ["me: t started on 1", f"me: t {last}"]


def test_a_stronger_request_gets_a_grace_period_of_its_own() -> None:
    scene = Scene()
    STAGES["asked softly"](scene)
    scene.after(0.75 * GRACE)
    scene.cancel(True)
    before = len(scene.hands.done)
    scene.after(0.5 * GRACE)  # past the end of the first one
    assert scene.hands.done[before:] == ["interrupt 1 in 1"]
    scene.after(0.5 * GRACE)
    assert scene.hands.done[before:] == ["interrupt 1 in 1", "kill 1"]


@pytest.mark.parametrize(("force", "answer"), [(True, "kill 1"), (False, "me: t CancelFailed")])
def test_a_refused_task_can_be_asked_again(force: bool, answer: str) -> None:
    scene = Scene()
    refused(scene)
    before = len(scene.hands.done)
    scene.cancel(force)
    scene.after(GRACE)
    assert scene.hands.done[before:] == ["interrupt 1 in 1", "interrupt 1 in 1", answer]


@pytest.mark.parametrize("grace", [ANNOUNCE_AFTER / 4, ANNOUNCE_AFTER * 4])
def test_the_next_deadline_is_the_earliest_thing_to_do(grace: float) -> None:
    scene = Scene()
    assert scene.core.next_deadline() is None
    scene.ready()
    scene.submit()
    assert scene.core.next_deadline() == ANNOUNCE_AFTER
    scene.cancel(grace=grace)
    assert scene.core.next_deadline() == min(ANNOUNCE_AFTER, grace / 2)
    scene.after(ANNOUNCE_AFTER)
    assert scene.core.next_deadline() == (grace / 2 if grace / 2 > ANNOUNCE_AFTER else None)


@pytest.mark.parametrize("grace", [0.0, -1.0])
def test_no_grace_period_is_over_at_once(grace: float) -> None:
    scene = Scene()
    announced(scene)
    scene.cancel(True, grace=grace)
    scene.after(0.0)
    assert scene.hands.done[-1] == "kill 1"


def test_tasks_run_in_the_order_of_their_submission_and_no_more_than_there_are_slots() -> None:
    hands = Recorder()
    core = Core(2, hands)
    for name in "abcd":
        core.submit(b"me", task(name), 0.0, CLOCK)
    for process in (1, 2, 3):
        core.process_ready(process, 0.0, CLOCK)
    assert hands.done == ["run a on 1 as 1", "run b on 2 as 1"]
    assert sorted(core.running) == [1, 2]
    assert core.holder(2) == ("b", b"me")
    assert core.holder(3) is None
    assert core.holder(9) is None
    core.process_ended_run(2, Ended(1, End.SUCCESS, EMPTY), 0.0, CLOCK)
    assert hands.done[-1] == "run c on 2 as 2"  # not the spare: the caches of this one are warm


def test_a_result_is_passed_on_as_it_came() -> None:
    told: list[EngineMessage] = []
    hands = Recorder()
    hands.tell = lambda owner, message: told.append(message)  # type: ignore[method-assign]
    core = Core(1, hands)
    core.process_ready(1, 0.0, CLOCK)
    core.submit(b"me", task("t"), 0.0, CLOCK)
    core.tick(ANNOUNCE_AFTER)
    payload, figures = Payload(b"value", (b"buffer",)), TaskFigures(1.0, 2.0, 3.0, 4)
    core.process_ended_run(1, Ended(1, End.SUCCESS, payload, figures), 0.0, CLOCK)
    assert told == [TaskStarted("t", "1", CLOCK), TaskResult("t", TaskResultType.SUCCESS, payload, figures)]
    assert told[1].payload is payload


# ---------------------------------------------------------------------- any sequence of events


@dataclass
class Fate:
    """What must be true of one task, seen from outside."""

    owner: bytes
    process: int = 0  # that it was handed to; stays
    held: bool = False  # by that process, as far as the core can know
    started: bool = False  # announced
    final: str = ""
    asked: bool | None = None  # strength of the unanswered request
    deadline: float = 0.0  # of its grace period
    doomed: bool = False  # stopped, or nobody waits for it


@dataclass
class World:
    """Hands that check, and the processes that they act on."""

    slots: int
    now: float = 0.0
    fates: dict[str, Fate] = field(default_factory=dict)
    queue: list[str] = field(default_factory=list)
    alive: dict[int, int] = field(default_factory=dict)  # process → its last run
    holds: dict[int, str] = field(default_factory=dict)
    dying: set[int] = field(default_factory=set)
    not_found: list[tuple[bytes, str]] = field(default_factory=list)

    def tell(self, owner: bytes, message: EngineMessage) -> None:
        if isinstance(message, TaskCancelConfirm) and message.answer.value == NO:
            self.not_found.append((owner, message.task_id))
            return
        fate = self.fates[message.task_id]
        assert owner == fate.owner, "told to somebody else"
        assert not fate.final, f"{message} after {fate.final}"
        match message:
            case TaskStarted():
                assert fate.process
                assert message.processor == str(fate.process)
                assert not fate.started, "announced twice"
                fate.started = True
            case TaskResult():
                fate.final = message.outcome.value
                assert fate.held
                assert (fate.process in self.alive) == (message.outcome is not TaskResultType.FAILED_WORKER_DIED)
                self._release(fate)
            case TaskCancelConfirm(answer=TaskCancelConfirmType.CANCEL_FAILED):
                assert fate.held
                assert (fate.asked, message.force) == (False, False), "refused without need"
                assert self.now >= fate.deadline, "refused before the end of the grace period"
                assert not fate.doomed
                fate.asked = None
            case TaskCancelConfirm():
                fate.final = message.answer.value
                assert fate.asked is not None or fate.doomed, "cancelled unasked"
                assert fate.process not in self.alive, "confirmed before its process was reaped"
                assert fate.started == bool(fate.process), "never started, or stopped?"
                if fate.asked is not None:
                    assert message.force == fate.asked
                self._release(fate)
                if message.task_id in self.queue:
                    self.queue.remove(message.task_id)

    def _release(self, fate: Fate) -> None:
        fate.held, fate.asked = False, None
        self.holds.pop(fate.process, None)

    def suits(self, process: int, context: object) -> bool:
        return True

    def run_task(self, process: int, seq: int, task: Task, context: object = None) -> None:
        fate = self.fates[task.task_id]
        assert process in self.alive
        assert process not in self.dying
        assert process not in self.holds, "handed to a busy process"
        assert not fate.final
        assert not fate.process, "run twice"
        assert self.queue.pop(0) == task.task_id, "out of turn"
        assert seq > self.alive[process]
        self.alive[process] = seq
        self.holds[process] = task.task_id
        fate.process, fate.held = process, True

    def interrupt(self, process: int, seq: int) -> None:
        assert process in self.alive, "an interrupt of what is gone"
        assert self.alive[process] == seq, "an interrupt of another run"
        assert self.fates[self.holds[process]].asked is not None, "an interrupt that nobody asked for"

    def kill(self, process: int) -> None:
        assert process in self.alive, "a kill of what is gone"
        assert process not in self.dying, "killed twice"
        fate = self.fates[self.holds[process]]
        assert fate.doomed or (fate.asked and self.now >= fate.deadline), "killed without need"
        self.dying.add(process)


OWNERS = st.sampled_from([b"me", b"you"])
GRACES = st.sampled_from([0.0, 0.5, 1.0])


class Scheduler(RuleBasedStateMachine):
    """Two clients, up to four processes, a clock that moves in steps."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(slots=2)
        self.core = Core(2, self.world)
        self.pids = 0

    def _busy(self) -> list[int]:
        return sorted(self.world.holds)

    @rule(owner=OWNERS, count=st.integers(1, 3))
    def submit(self, owner: bytes, count: int) -> None:
        for _ in range(count):
            name = f"t{len(self.world.fates)}"
            self.world.fates[name] = Fate(owner)
            self.world.queue.append(name)
            self.core.submit(owner, task(name), self.world.now, CLOCK)

    @precondition(lambda self: any(not fate.final for fate in self.world.fates.values()))
    @rule(owner=OWNERS, data=st.data())
    def submit_an_id_again(self, owner: bytes, data: st.DataObject) -> None:
        names = [name for name, fate in self.world.fates.items() if not fate.final]
        self.core.submit(owner, task(data.draw(st.sampled_from(names))), self.world.now, CLOCK)

    @precondition(lambda self: len(self.world.alive) < 4)
    @rule()
    def ready(self) -> None:
        self.pids += 1
        self.world.alive[self.pids] = 0
        self.core.process_ready(self.pids, self.world.now, CLOCK)

    @precondition(lambda self: self.world.holds)
    @rule(end=st.sampled_from([End.SUCCESS, End.FAILED]), data=st.data())
    def end_a_run(self, end: End, data: st.DataObject) -> None:
        process = data.draw(st.sampled_from(self._busy()))
        fate = self.world.fates[self.world.holds[process]]
        self.core.process_ended_run(process, Ended(self.world.alive[process], end, EMPTY), self.world.now, CLOCK)
        assert fate.final

    @precondition(lambda self: self.world.holds)
    @rule(data=st.data())
    def stop_a_run(self, data: st.DataObject) -> None:
        process = data.draw(st.sampled_from(self._busy()))
        self.world.fates[self.world.holds[process]].doomed = True
        ended = Ended(self.world.alive[process], End.STOPPED, EMPTY)
        self.core.process_ended_run(process, ended, self.world.now, CLOCK)
        assert process in self.world.dying, "a stopped task's process has to go"

    @rule(end=st.sampled_from(End), back=st.integers(1, 3), process=st.integers(0, 6))
    def end_a_run_that_is_over(self, end: End, back: int, process: int) -> None:
        before = repr(self.world)
        seq = self.world.alive.get(process, 0) - back
        self.core.process_ended_run(process, Ended(seq, end, EMPTY), self.world.now, CLOCK)
        assert repr(self.world) == before

    @precondition(lambda self: self.world.alive)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        process = data.draw(st.sampled_from(sorted(self.world.dying) or sorted(self.world.alive)))
        self._reaped(process)

    @rule(process=st.integers(0, 9))
    def die_of_something_unknown_or_any(self, process: int) -> None:
        self._reaped(process)

    def _reaped(self, process: int) -> None:
        self.world.alive.pop(process, None)
        self.world.dying.discard(process)
        name = self.world.holds.get(process)
        self.core.process_died(process, "it died", self.world.now, CLOCK)
        assert name is None or self.world.fates[name].final

    @precondition(lambda self: self.world.fates)
    @rule(owner=OWNERS, force=st.booleans(), grace=GRACES, data=st.data())
    def cancel(self, owner: bytes, force: bool, grace: float, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.world.fates)))
        fate = self.world.fates[name]
        known = fate.owner == owner and not fate.final
        if known and (fate.asked is None or (force and not fate.asked)):
            fate.asked, fate.deadline = force, self.world.now + grace
        queued = name in self.world.queue
        self.world.not_found.clear()
        self.core.cancel(owner, TaskCancel(name, force, grace), self.world.now)
        assert self.world.not_found == ([] if known else [(owner, name)])
        if known and queued:
            assert fate.final == "Canceled"

    @rule(seconds=st.sampled_from([0.0, ANNOUNCE_AFTER, 0.25, 0.5, 1.0]))
    def tick(self, seconds: float) -> None:
        self.world.now += seconds
        self.core.tick(self.world.now)
        deadline = self.core.next_deadline()
        assert deadline is None or deadline > self.world.now, "it is due and was not done"
        for fate in self.world.fates.values():
            if fate.held and fate.asked is not None and self.world.now >= fate.deadline:
                assert fate.process in self.world.dying, "the grace period is over and nothing happened"

    @rule(owner=OWNERS)
    def client_gone(self, owner: bytes) -> None:
        for name, fate in self.world.fates.items():
            if fate.owner == owner and not fate.final:
                fate.doomed = True
                if name in self.world.queue:
                    self.world.queue.remove(name)
                    fate.final = "forgotten"
        self.core.client_gone(owner)
        assert all(p in self.world.dying for p, n in self.world.holds.items() if self.world.fates[n].owner == owner)

    @invariant()
    def no_more_busy_than_slots(self) -> None:
        assert len(self.world.holds) <= self.world.slots

    @invariant()
    def every_task_is_queued_or_held_or_ended(self) -> None:
        for name, fate in self.world.fates.items():
            assert [name in self.world.queue, fate.held, bool(fate.final)].count(True) == 1
        assert sorted(self.core.running) == self._busy()
        assert all(
            self.core.holder(process) == (name, self.world.fates[name].owner)
            for process, name in self.world.holds.items()
        )

    @invariant()
    def nothing_waits_while_a_slot_and_a_process_are_free(self) -> None:
        free = set(self.world.alive) - set(self.world.holds) - self.world.dying
        assert not (self.world.queue and free and len(self.world.holds) < self.world.slots)

    def teardown(self) -> None:
        """In the end every task gets its one final message."""
        self.tick(2.0)
        for _ in self.world.fates:
            self.ready()
            for process in sorted(self.world.alive):
                self._reaped(process)
        assert all(fate.final for fate in self.world.fates.values())


TestScheduler = Scheduler.TestCase
TestScheduler.settings = settings(max_examples=200, stateful_step_count=40, deadline=None, report_multiple_bugs=False)
