"""The scheduler's decisions: every cell of its table carried out, and examples."""

import gc
import itertools
import weakref
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any, get_args

import pytest
from fake_clock import FakeClock
from unused_effects import UnusedEffects

from scaler_notebook.engines.local.ipc.messages import Input, RunFinished
from scaler_notebook.engines.local.scheduler.core import events
from scaler_notebook.engines.local.scheduler.core.core import RESULTS, Core
from scaler_notebook.engines.local.scheduler.core.dispatch import durations
from scaler_notebook.engines.local.scheduler.core.dispatch.slot_lending import BUSY, READERS_PATIENCE, STANDSTILL
from scaler_notebook.engines.local.scheduler.core.effects import PrefetchedRun
from scaler_notebook.engines.local.scheduler.core.overview import MAX_LISTED
from scaler_notebook.engines.local.scheduler.core.process_deaths import MAX_DISPATCHES
from scaler_notebook.engines.local.scheduler.core.state.records import TaskRecord
from scaler_notebook.engines.local.scheduler.core.states import TABLE, TaskAction, TaskStage
from scaler_notebook.engines.local.scheduler.core.task_briefs import ACTIVITIES, public_name
from scaler_notebook.engines.local.scheduler.core.transitions import ANNOUNCE_AFTER
from scaler_notebook.engines.scheduling import task_events
from scaler_notebook.engines.scheduling.retry import FIRST_BACKOFF, LONGEST_BACKOFF
from scaler_notebook.protocol.capabilities import as_tuple
from scaler_notebook.protocol.messages import (
    Payload,
    Task,
    TaskActivity,
    TaskAttemptFailed,
    TaskBrief,
    TaskCancel,
    TaskCancelConfirm,
    TaskCancelConfirmType,
    TaskFigures,
    TaskItem,
    TaskLog,
    TaskOptions,
    TaskResult,
    TaskResultType,
    TaskStarted,
)
from scaler_notebook.task.task_end import TaskEnd

EMPTY = Payload(b"")
EPOCH = 1000.0  # seconds since the epoch, as far as these tests go
GRACE = 1.0
SPLIT_SECOND = 1e-5
BRIEF = ANNOUNCE_AFTER / 4  # a grace period that ends before the task is announced


def task(task_id: str, priority: int = 0, retries: int = 0, needs: dict[str, int] | None = None) -> Task:
    options = TaskOptions(priority=priority, retries=retries, capabilities=as_tuple(needs or {}))
    return Task(task_id, EMPTY, EMPTY, options)


# ---------------------------------------------------------------------- the table


class Recorder(UnusedEffects):
    """Hands that write down what they are asked to do, in words."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.offered: list[int] = []  # numbers of prefetched runs that the process has not begun
        self.unfit: set[int] = set()  # processes for no task

    def send(self, owner: bytes, message: Any) -> None:
        match message:
            case TaskStarted():
                word = f"started on {message.processor}" + (f", try {message.attempt}" if message.attempt > 1 else "")
            case TaskAttemptFailed():
                word = f"failed in try {message.attempt}"
            case TaskCancelConfirm():
                word = message.answer.value + (" (force)" if message.force else "")
            case TaskResult():
                word = message.outcome.value
            case TaskLog():
                word = f"{message.stream.value}: {message.text}"
            case TaskItem():
                word = f"gives {message.value.data!r}"
        self.done.append(f"{owner.decode()}: {message.task_id} {word}")

    def suits(self, process: int, context: object) -> bool:
        return process not in self.unfit

    def run_task(
        self, process: int, seq: int, task: Task, context: object, last: bool, inputs: tuple[Input, ...]
    ) -> None:
        self.done.append(f"run {task.task_id} on {process} as {seq}{'' if last else ', not the last try'}")

    def prefetch(self, process: int, runs: Sequence[PrefetchedRun]) -> None:
        self.offered += (run.seq for run in runs)
        self.done.append(f"prefetch {', '.join(run.task.task_id for run in runs)} for {process}")

    def recall(self, process: int, after: int) -> list[int]:
        left, self.offered = self.offered, []
        assert all(seq > after for seq in left)
        self.done.append(f"recall {len(left)} from {process}")
        return left

    def begun(self) -> list[str]:
        """Return the ids of the tasks that were run, in order."""
        return [word.split()[1] for word in self.done if word.startswith("run ")]

    def interrupt(self, process: int, seq: int) -> None:
        self.done.append(f"interrupt {process} in {seq}")

    def tell_taken(self, process: int, seq: int, count: int) -> None:
        self.done.append(f"tell {process} in {seq}: {count} taken")

    def kill(self, process: int, others: Sequence[int] = ()) -> None:
        self.done.append(f"kill {process}")


class Scene:
    """One slot, one process (1), the task "t" of "me", announced at its start if so wanted; time stands still."""

    def __init__(self, announced: bool = True, retries: int = 0, waits: bool = False) -> None:
        self.retries = retries
        self.waits = waits  # "t" for the task "x"
        self.hands = Recorder()
        self.clock = FakeClock()
        self.core = Core(1, self.hands, {}, clock=self.clock)
        self.announced = announced

    def start(self) -> None:
        self.submit()
        self.ready()
        if self.announced:
            self.after(ANNOUNCE_AFTER)

    @property
    def record(self) -> TaskRecord:
        """Of "t", while it is not over."""
        return self.core.state.records["t"]

    def told(self, step: "Step") -> list[str]:
        """What is done about a step."""
        before = len(self.hands.done)
        step(self)
        return self.hands.done[before:]

    def ready(self, process: int = 1) -> None:
        self.core.process_ready(process)

    def submit(self, task_id: str = "t", owner: bytes = b"me", priority: int = 0) -> None:
        new = task(task_id, priority, self.retries)
        if self.waits and task_id == "t":
            self.submit("x", owner)
            new = replace(new, inputs=("x",))
        self.core.submit(owner, new)

    def cancel(self, force: bool = True, owner: bytes = b"me", grace: float = GRACE, task_id: str = "t") -> None:
        self.core.cancel(owner, TaskCancel(task_id, force, grace))

    def ended(self, end: TaskEnd = TaskEnd.SUCCESS, seq: int = 1, process: int = 1, seconds: float = 0.0) -> None:
        self.core.process_ended_run(process, RunFinished(seq, end, EMPTY, TaskFigures(1.0, 1.0 + seconds)))

    def died(self, process: int = 1, begun: bool = True) -> None:
        self.core.process_died(process, "it died", begun)

    def gone(self, owner: bytes = b"me") -> None:
        self.core.client_gone(owner)

    def after(self, seconds: float) -> None:
        self.clock.now += seconds
        self.core.tick()


Step = Callable[[Scene], None]


def steps(*several: Step) -> Step:
    def all_of_them(scene: Scene) -> None:
        for step in several:
            step(scene)

    return all_of_them


def ask(scene: Scene) -> None:
    scene.cancel(False)


def warn(scene: Scene) -> None:
    scene.cancel(True)


def refuse(scene: Scene) -> None:
    scene.cancel(False, grace=BRIEF)
    scene.after(BRIEF)


def kill(scene: Scene) -> None:
    scene.cancel(True, grace=BRIEF)
    scene.after(BRIEF)


def stop(scene: Scene) -> None:
    scene.ended(TaskEnd.STOPPED)


def fail(scene: Scene) -> None:
    scene.ended(TaskEnd.FAILED)


def fail_with_tries_left(scene: Scene) -> None:
    scene.retries = 1
    scene.start()
    fail(scene)


@pytest.fixture(autouse=True)
def one_run_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    """One brief run, and not many, makes a function a brief one."""
    monkeypatch.setattr(durations, "IN_A_ROW", 1)


def prefetch(scene: Scene) -> None:
    """A task has shown that those of the process are brief, and another one is before "t"."""
    for priority in (2, 1):
        scene.submit(f"x{priority}", priority=priority)
    scene.ready()
    scene.ended(seconds=SPLIT_SECOND)


start, gone, ended, died = Scene.start, Scene.gone, Scene.ended, Scene.died
submit: Step = lambda scene: scene.submit()  # noqa: E731

WAITS = "waiting for an input"
# Ways into each stage; the strength that a confirmation names there.
WAYS: dict[str, tuple[TaskStage, str, Step]] = {
    WAITS: (TaskStage.WAITING, "", submit),
    "queued": (TaskStage.QUEUED, "", submit),
    "prefetched": (TaskStage.PREFETCHED, "", steps(submit, prefetch)),
    "backing off": (TaskStage.BACKING_OFF, "", fail_with_tries_left),
    "running": (TaskStage.RUNNING, "", start),
    "refused": (TaskStage.RUNNING, "", steps(start, refuse)),
    "asked": (TaskStage.ASKED, "", steps(start, ask)),
    "asked after a refusal": (TaskStage.ASKED, "", steps(start, refuse, ask)),
    "warned": (TaskStage.WARNED, " (force)", steps(start, warn)),
    "warned after it was asked": (TaskStage.WARNED, " (force)", steps(start, ask, warn)),
    "warned after a refusal": (TaskStage.WARNED, " (force)", steps(start, refuse, warn)),
    "killed": (TaskStage.ENDING, " (force)", steps(start, kill)),
    "stopped when asked": (TaskStage.ENDING, "", steps(start, ask, stop)),
    "stopped when warned": (TaskStage.ENDING, " (force)", steps(start, warn, stop)),
    "stopped after a refusal": (TaskStage.ENDING, "", steps(start, refuse, stop)),
    "nobody waits": (TaskStage.ENDING, "", steps(start, gone)),
    "nobody waits for the answer": (TaskStage.ENDING, " (force)", steps(start, warn, gone)),
    "taken back": (TaskStage.OVER, "", steps(submit, ask)),
    "taken back while backing off": (TaskStage.OVER, "", steps(fail_with_tries_left, ask)),
    "forgotten while backing off": (TaskStage.OVER, "", steps(fail_with_tries_left, gone)),
    "failed when asked": (TaskStage.OVER, "", steps(start, ask, fail)),
    "forgotten": (TaskStage.OVER, "", steps(submit, gone)),
    "finished": (TaskStage.OVER, "", steps(start, ended)),
    "finished first": (TaskStage.OVER, "", steps(start, warn, ended)),
    "finished before the kill": (TaskStage.OVER, "", steps(start, kill, ended)),
    "died": (TaskStage.OVER, "", steps(start, died)),
    "confirmed": (TaskStage.OVER, "", steps(start, warn, stop, died)),
}


def refuse_child(scene: Scene) -> None:
    scene.core.transitions.handle(scene.record, events.NestedTooDeeply(TaskResult("t", TaskResultType.FAILED, EMPTY)))


HAPPEN: dict[type[events.Event], Step] = {
    # Directly: what could run would run at once.
    task_events.InputsAvailable: lambda scene: scene.core.transitions.handle(
        scene.record, task_events.InputsAvailable()
    ),
    task_events.InputFailed: steps(lambda scene: scene.ready(), fail),
    task_events.InputCancelled: lambda scene: scene.cancel(task_id="x"),
    events.NestedTooDeeply: refuse_child,
    events.Dispatched: lambda scene: scene.ready(),
    # Directly: with "t" alone there would be none before it.
    events.Prefetched: steps(
        lambda scene: scene.core.state.workers.add(1),
        lambda scene: scene.core.transitions.handle(scene.record, events.Prefetched(1)),
    ),
    events.Begun: lambda scene: scene.ended(seq=2),
    events.Recalled: lambda scene: scene.after(ANNOUNCE_AFTER),
    events.StartDue: lambda scene: scene.after(ANNOUNCE_AFTER),
    events.CancelAsked: ask,
    events.CancelForced: warn,
    events.HalfGrace: lambda scene: scene.after(GRACE / 2),
    task_events.GraceOver: lambda scene: scene.after(GRACE / 2),  # the half has passed
    events.RunEnded: ended,
    events.RunFailed: fail,
    events.RunStopped: stop,
    events.ProcessDied: died,
    events.ProcessDiedTrying: died,
    events.ProcessDiedBefore: lambda scene: scene.died(begun=False),
    # The process is held back, so that this alone is seen.
    task_events.BackoffOver: steps(lambda scene: scene.core.reserve(1), lambda scene: scene.after(FIRST_BACKOFF)),
    events.ClientGone: gone,
}
EVENTS: tuple[type[events.Event], ...] = get_args(events.Event)


def made(event: type[events.Event]) -> events.Event:
    """One with something in each field."""
    values = {"result": TaskResult("t", TaskResultType.FAILED, EMPTY), "process": 1, "origin": "x", "how": "it died"}
    kind: Any = event
    made: events.Event = kind(**{field.name: values.get(field.name, 1.0) for field in fields(event)})
    return made


TRYING = {way for way in WAYS if "backing off" in way}

I, Q, B, P, R, A, W, E, O = TaskStage  # noqa: E741
NO = TaskCancelConfirmType.CANCEL_NOT_FOUND.value
SUCCESS, CANCELED, STARTED = "me: t Success", "me: t Canceled", "me: t started on 1"
KILL: tuple[list[str], TaskStage] = (["kill 1"], E)
TELL_START = {stage: ([STARTED], stage) for stage in (R, A, W, E)}
# What is done, and the stage after it; {force} is the strength above. What is not listed is not permitted.
CELLS: dict[type[events.Event], dict[TaskStage, tuple[list[str], TaskStage]]] = {
    task_events.InputsAvailable: {I: ([], Q)},
    task_events.InputFailed: {I: (["run x on 1 as 1", "me: x Failed", "me: t Failed"], O)},
    task_events.InputCancelled: {I: (["me: x Canceled (force)", "me: t Canceled"], O)},
    events.NestedTooDeeply: {stage: (["me: t Failed"], O) for stage in (I, Q, B)},
    events.Dispatched: {Q: (["run t on 1 as 1"], R)},
    events.Prefetched: {Q: ([], P)},
    events.Begun: {P: (["me: x1 Success"], R)},
    events.Recalled: {P: (["me: x1 started on 1", "recall 1 from 1"], Q)},
    events.StartDue: TELL_START,
    events.CancelAsked: {
        I: ([CANCELED], O),
        Q: ([CANCELED], O),
        B: ([CANCELED], O),
        R: (["interrupt 1 in 1"], A),
        A: ([], A),
        W: ([], W),
        E: ([], E),
        O: ([f"me: t {NO}"], O),
    },
    events.CancelForced: {
        I: ([f"{CANCELED} (force)"], O),
        Q: ([f"{CANCELED} (force)"], O),
        B: ([f"{CANCELED} (force)"], O),
        R: (["interrupt 1 in 1"], W),
        A: (["interrupt 1 in 1"], W),
        W: ([], W),
        E: ([], E),
        O: ([f"me: t {NO} (force)"], O),
    },
    events.HalfGrace: {A: (["interrupt 1 in 1"], A), W: (["interrupt 1 in 1"], W)},
    task_events.GraceOver: {A: (["me: t CancelFailed"], R), W: KILL},
    events.RunEnded: {stage: ([SUCCESS], O) for stage in (R, A, W, E)},
    events.RunFailed: {R: (["me: t failed in try 1"], B), **{stage: (["me: t Failed"], O) for stage in (A, W, E)}},
    events.RunStopped: {R: KILL, A: KILL, W: KILL, E: ([], E)},
    events.ProcessDied: {
        R: (["me: t FailedWorkerDied"], O),
        **{stage: ([CANCELED + "{force}"], O) for stage in (A, W, E)},
    },
    events.ProcessDiedTrying: {
        R: (["me: t stderr: it died\n", "me: t failed in try 1"], B),
        **{stage: ([CANCELED + "{force}"], O) for stage in (A, W, E)},
    },
    task_events.BackoffOver: {B: ([], Q)},
    events.ProcessDiedBefore: {R: ([], Q), **{stage: ([CANCELED + "{force}"], O) for stage in (A, W, E)}},
    events.ClientGone: {I: ([], O), Q: ([], O), B: ([], O), R: KILL, A: KILL, W: KILL, E: ([], E)},
}


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
@pytest.mark.parametrize("way", WAYS)
def test_every_cell_is_carried_out(way: str, event: type[events.Event], caplog: pytest.LogCaptureFixture) -> None:
    stage, force, arrive = WAYS[way]
    retries = int(way in TRYING or (event in (events.RunFailed, events.ProcessDiedTrying) and stage is not O))
    scene = Scene(event not in (events.StartDue, events.ProcessDiedBefore), retries, way == WAITS)
    scene.submit()
    record = scene.record
    arrive(scene)
    assert record.stage is stage
    action = TABLE[stage, event]
    if stage in CELLS[event]:
        expected, after = CELLS[event][stage]
        if event is task_events.GraceOver:
            scene.after(GRACE / 2)
        assert scene.told(HAPPEN[event]) == [words.format(force=force) for words in expected]
    else:
        after = stage
        assert action is TaskAction.NOT_PERMITTED
        before = {name: repr(value) for name, value in vars(scene.core.state).items()}
        assert scene.told(lambda scene: scene.core.transitions.handle(record, made(event))) == []
        assert {name: repr(value) for name, value in vars(scene.core.state).items()} == before
    assert record.stage is after
    assert action.to == (() if after is stage else (after,)), "the arrow"
    assert (action is TaskAction.IGNORE) == (CELLS[event].get(stage) == ([], stage))
    assert [entry.levelname for entry in caplog.records] == ["ERROR"] * (action is TaskAction.NOT_PERMITTED)


def test_the_table_is_whole() -> None:
    assert list(TABLE) == [(stage, event) for event in EVENTS for stage in TaskStage]


def test_the_table_keeps_the_rules() -> None:
    moves = {(stage, to, event) for (stage, event), action in TABLE.items() for to in action.to}
    assert all(stage is not O for stage, _, _ in moves), "something follows the last message"
    again = {
        (I, task_events.InputsAvailable),
        (B, task_events.BackoffOver),
        (P, events.Recalled),
        (R, events.ProcessDiedBefore),
    }
    assert {(stage, event) for stage, to, event in moves if to is Q} == again, "a try could run twice"
    failing = {(R, events.RunFailed), (R, events.ProcessDiedTrying)}
    assert {(stage, event) for stage, to, event in moves if to is B} == failing, "what was asked is not tried again"
    assert {stage for stage, to, event in moves if to is R} == {Q, P, A}
    confirming = {TaskAction.TAKE_BACK: {I, Q, B}, TaskAction.CONFIRM: {A, W, E}}
    for (stage, event), action in TABLE.items():
        if action in confirming:
            assert stage in confirming[action]
            reaped = event in (events.ProcessDied, events.ProcessDiedBefore, events.ProcessDiedTrying)
            assert reaped == (action is TaskAction.CONFIRM), "confirmed before its process is reaped"


OTHERS: dict[str, tuple[Step, list[str]]] = {
    "another process": (lambda scene: scene.ready(2), []),
    "another's cancel": (lambda scene: scene.cancel(True, b"you"), [f"you: t {NO} (force)"]),
    "the same id again": (submit, []),
    "the same id from another": (lambda scene: scene.submit(owner=b"you"), []),
    "a run that is over": (lambda scene: scene.ended(seq=0), []),
    "a run of a stranger": (lambda scene: scene.ended(TaskEnd.STOPPED, process=9), []),
    "another's death": (lambda scene: scene.died(9), []),
    "another client gone": (lambda scene: scene.gone(b"you"), []),
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("way", [way for way, (stage, _, _) in WAYS.items() if stage not in (I, Q, O)])
def test_what_is_about_others_changes_nothing(way: str, other: str) -> None:
    stage, _, arrive = WAYS[way]
    scene = Scene()
    arrive(scene)
    step, expected = OTHERS[other]
    assert scene.told(step) == expected
    assert scene.record.stage is stage


# ---------------------------------------------------------------------- examples


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("end", [*TaskEnd, None])
@pytest.mark.parametrize("way", [way for way, (stage, _, _) in WAYS.items() if stage not in (I, Q, B, P, O)])
def test_a_task_that_has_ended_leaves_nothing_behind(way: str, end: TaskEnd | None, announced: bool) -> None:
    """Neither a timer nor a second message; its slot is free, its process has the next task or is not used again."""
    stage, _, arrive = WAYS[way]
    scene = Scene(announced)
    arrive(scene)
    if end is not None:
        scene.ended(end)
    reused = stage is not E and end not in (None, TaskEnd.STOPPED)
    if end is None or end is TaskEnd.STOPPED:
        scene.died()
    assert scene.core.next_deadline() is None
    before = len(scene.hands.done)
    scene.submit("next")
    if not reused:
        scene.ready(2)
    scene.after(2 * GRACE)
    process, seq = (1, 2) if reused else (2, 1)
    assert scene.hands.done[before:] == [f"run next on {process} as {seq}", f"me: next started on {process}"]
    assert scene.core.next_deadline() is None
    scene.cancel()
    assert scene.hands.done[-1] == f"me: t {NO} (force)"


class Frame(bytearray):
    """A buffer that can be seen to vanish."""


@pytest.mark.parametrize("way", [way for way, (stage, _, _) in WAYS.items() if stage is O])
def test_the_payload_of_a_task_that_has_ended_is_freed(way: str) -> None:
    scene = Scene()
    buffer = Frame(b"x")
    gone = weakref.ref(buffer)
    options = TaskOptions(retries=int(way in TRYING))
    scene.core.submit(b"me", Task("t", EMPTY, Payload(b"", (buffer,)), options))
    del buffer
    WAYS[way][2](scene)
    gc.collect()
    assert gone() is None


def test_a_short_task_is_not_announced_and_a_long_one_is_before_anything_else() -> None:
    scene = Scene()
    scene.ready()
    scene.submit("short")
    scene.after(ANNOUNCE_AFTER / 2)
    scene.ended(seq=1)
    scene.submit("long")
    scene.after(ANNOUNCE_AFTER * 0.9)
    assert "me: long started on 1" not in scene.hands.done
    assert not scene.core.overview.is_announced(1), "what it says would come before that it runs"
    scene.after(ANNOUNCE_AFTER * 0.1)
    assert scene.core.overview.is_announced(1)
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


@pytest.mark.parametrize("way", ["fails for good", "dies"])
def test_what_is_not_to_be_tried_again_ends_with_tries_left(way: str) -> None:
    scene = Scene()
    scene.ready()
    once = replace(task("t"), options=TaskOptions(retries=3, retry_worker_died=False))
    scene.core.submit(b"me", once)
    if way == "dies":
        scene.died()
    else:
        scene.ended(TaskEnd.FAILED_FOR_GOOD)
    assert scene.hands.done[-1] == f"me: t {'FailedWorkerDied' if way == 'dies' else 'Failed'}"
    assert scene.core.overview.owner("t") is None


def test_a_task_whose_process_died_before_it_is_the_next_to_run() -> None:
    scene = Scene()
    scene.ready()
    scene.submit()
    scene.submit("next")
    scene.died(begun=False)
    before = len(scene.hands.done)
    scene.ready(2)
    scene.after(ANNOUNCE_AFTER)
    scene.ended(process=2)
    assert scene.hands.done[before:] == [
        "run t on 2 as 1",
        "me: t started on 2",
        SUCCESS,
        "run next on 2 as 2",
    ]


def test_tasks_that_were_put_back_keep_their_order() -> None:
    hands = Recorder()
    core = Core(2, hands, {})
    for name, priority in (("a", 0), ("b", 0), ("c", 0), ("urgent", 1)):
        core.submit(b"me", task(name, priority))
    for process in (1, 2):
        core.process_ready(process)
    assert hands.done == ["run urgent on 1 as 1", "run a on 2 as 1"]
    core.process_died(2, "it died", False)
    core.submit(b"me", task("last urgent", 1))
    core.process_died(1, "it died", False)
    for process in (3, 4):
        core.process_ready(process)
    assert hands.done[2:] == ["run urgent on 3 as 1", "run last urgent on 4 as 1"]
    core.process_ended_run(3, RunFinished(1, TaskEnd.SUCCESS, EMPTY))
    assert hands.done[-1] == "run a on 3 as 2"


def test_a_task_before_which_every_process_dies_fails() -> None:
    """Perhaps taking it is what they die of."""
    scene = Scene()
    scene.submit()
    for process in range(1, MAX_DISPATCHES + 1):
        scene.ready(process)
        scene.died(process, begun=False)
    assert scene.hands.done[-2:] == [f"me: t started on {MAX_DISPATCHES}", "me: t FailedWorkerDied"]
    assert not scene.core.overview.has_queue


def test_a_task_that_was_said_to_have_started_is_not_put_back() -> None:
    scene = Scene()
    scene.start()
    scene.died(begun=False)
    assert scene.hands.done[-1] == "me: t FailedWorkerDied"


@pytest.mark.parametrize("died", [False, True])
def test_each_try_is_heard_of_and_the_last_one_is_the_result(died: bool) -> None:
    scene = Scene(announced=False, retries=2)
    scene.start()
    processes = (1, 2, 3) if died else (1, 1, 1)
    for attempt, process in enumerate(processes):
        pause = FIRST_BACKOFF * 2**attempt
        if died:
            scene.died(process)
            scene.ready(process + 1)
        else:
            scene.ended(TaskEnd.FAILED, seq=attempt + 1)
        assert scene.core.next_deadline() == (scene.clock.now + pause if attempt < 2 else None)
        scene.after(pause)
    seqs, last = ((1, 1, 1), "FailedWorkerDied") if died else ((1, 2, 3), "Failed")
    words = [["me: t stderr: it died\n"] * died + [f"me: t failed in try {attempt}"] for attempt in (1, 2)]
    assert scene.hands.done == [
        f"run t on {processes[0]} as {seqs[0]}, not the last try",
        f"me: t started on {processes[0]}",
        *words[0],
        f"run t on {processes[1]} as {seqs[1]}, not the last try",
        f"me: t started on {processes[1]}, try 2",
        *words[1],
        f"run t on {processes[2]} as {seqs[2]}",
        f"me: t started on {processes[2]}, try 3",
        f"me: t {last}",
    ]


def test_a_short_last_try_is_heard_of_too() -> None:
    scene = Scene(announced=False, retries=1)
    steps(start, fail)(scene)
    scene.after(FIRST_BACKOFF)
    scene.ended(seq=2)
    assert scene.hands.done[-2:] == ["me: t started on 1, try 2", SUCCESS]


def test_the_back_off_is_bounded() -> None:
    scene = Scene(retries=2000)
    scene.start()
    pauses = []
    for seq in range(1, 1500):
        scene.ended(TaskEnd.FAILED, seq=seq)
        deadline = scene.core.next_deadline()
        assert deadline is not None
        pauses.append(round(deadline - scene.clock.now, 6))
        scene.after(deadline - scene.clock.now)
    assert pauses[:8] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, LONGEST_BACKOFF]
    assert set(pauses[8:]) == {LONGEST_BACKOFF}


def test_others_run_meanwhile_and_then_it_is_first_again() -> None:
    scene = Scene(retries=1)
    scene.start()
    scene.submit("second")
    scene.submit("third")
    before = len(scene.hands.done)
    fail(scene)
    scene.after(FIRST_BACKOFF)
    scene.ended(seq=2)
    assert scene.hands.done[before:] == [
        "me: t failed in try 1",
        "run second on 1 as 2, not the last try",
        "me: second started on 1",
        "me: second Success",
        "run t on 1 as 3",
    ]


@pytest.mark.parametrize("end", [TaskEnd.SUCCESS, TaskEnd.FAILED, TaskEnd.UNPREPARED])
def test_a_process_that_has_run_its_number_of_tasks_is_replaced(end: TaskEnd) -> None:
    hands = Recorder()
    core = Core(1, hands, {}, max_runs=2)
    for process in (1, 2):
        core.process_ready(process)
    for name in ("a", "b", "c"):
        core.submit(b"me", task(name))
    for seq in (1, 2):
        core.process_ended_run(1, RunFinished(seq, end, EMPTY))
    said = RESULTS[end].value
    runs = ["run a on 1 as 1", f"me: a {said}", "run b on 1 as 2", f"me: b {said}", "kill 1", "run c on 2 as 1"]
    assert hands.done == runs, "its place is taken before it is gone"
    core.process_died(1, "killed", True)
    assert hands.done == runs, "nobody hears of it"
    assert core.overview.running == [2]


@pytest.mark.parametrize("end", [TaskEnd.SUCCESS, TaskEnd.FAILED, TaskEnd.FAILED_FOR_GOOD])
def test_a_process_that_is_spent_is_replaced(end: TaskEnd) -> None:
    hands = Recorder()
    core = Core(1, hands, {})
    for process in (1, 2):
        core.process_ready(process)
    for name in ("a", "b"):
        core.submit(b"me", task(name))
    core.process_ended_run(1, RunFinished(1, end, EMPTY, spent=True))
    assert hands.done == ["run a on 1 as 1", f"me: a {RESULTS[end].value}", "kill 1", "run b on 2 as 1"]
    core.process_died(1, "killed", True)
    core.process_ready(1)  # the system gives its number to another
    core.process_ended_run(2, RunFinished(1, end, EMPTY))
    assert hands.done[4:] == [f"me: b {RESULTS[end].value}"]


def test_of_the_idle_processes_the_one_used_last_is_next_and_a_new_one_is_last() -> None:
    hands = Recorder()
    core = Core(2, hands, {})
    core.process_ready(1)
    core.submit(b"me", task("a"))
    core.process_ended_run(1, RunFinished(1, TaskEnd.SUCCESS, EMPTY))
    core.process_ready(2)
    core.submit(b"me", task("b"))
    core.submit(b"me", task("c"))
    assert hands.done[2:] == ["run b on 1 as 2", "run c on 2 as 1"]


def test_what_has_never_started_is_withdrawn_and_nothing_else() -> None:
    scene = Scene(retries=1)
    scene.start()
    scene.ended(TaskEnd.FAILED)
    scene.submit("runs")
    scene.submit("waits")
    scene.submit("another's", b"you")

    def withdraw(scene: Scene) -> None:
        scene.core.withdraw(b"me")

    assert scene.told(withdraw) == ["me: waits Canceled"]
    assert scene.record.stage is TaskStage.BACKING_OFF
    assert scene.told(withdraw) == []
    assert scene.core.overview.running == [1]


def pause(scene: Scene) -> None:
    scene.core.pause(b"me", True)


def resume(scene: Scene) -> None:
    scene.core.pause(b"me", False)


def test_of_a_paused_client_nothing_starts_and_what_runs_goes_on() -> None:
    scene = Scene(retries=1)
    scene.start()
    scene.submit("queued")
    assert scene.told(pause) == []
    scene.submit("later")
    assert scene.core.overview.status().queued == 2
    assert not scene.core.overview.has_queue
    assert scene.told(fail) == ["me: t failed in try 1"]
    scene.after(LONGEST_BACKOFF)
    assert scene.core.overview.running == [], "another try starts as little as anything else"
    assert scene.told(lambda scene: scene.submit("another's", b"you")) == ["run another's on 1 as 2, not the last try"]
    scene.ended(seq=2)
    assert scene.told(resume) == ["run t on 1 as 3"]


def test_what_is_kept_back_is_cancelled_as_any_other_and_resumed_in_its_order() -> None:
    scene = Scene()
    scene.ready()
    pause(scene)
    for name in ("first", "second", "third"):
        scene.submit(name)
    assert scene.told(lambda scene: scene.cancel(task_id="first")) == ["me: first Canceled (force)"]
    assert scene.told(resume) == ["run second on 1 as 1"]
    pause(scene)
    assert scene.told(lambda scene: scene.ended(seq=1)) == ["me: second Success"]
    assert scene.told(resume) == ["run third on 1 as 2"]


def test_what_is_prefetched_and_has_not_begun_is_kept_back_too() -> None:
    scene = Scene()
    submit(scene)
    prefetch(scene)
    assert scene.record.stage.value == "prefetched"
    assert "recall 1 from 1" in scene.told(pause)
    assert scene.record.stage is TaskStage.QUEUED
    assert scene.core.overview.status().queued == 1
    scene.ended(seq=2)
    assert "t" not in scene.hands.begun()
    assert "run t on 1 as 4" in scene.told(resume)


def test_what_a_running_task_of_a_paused_client_submits_goes_on() -> None:
    hands = Recorder()
    core = Core(2, hands, {})
    for process in (1, 2):
        core.process_ready(process)
    core.submit(b"me", task("outer"))
    core.pause(b"me", True)
    core.submit(b"within", replace(task("inner"), parent="outer"), process=2)
    assert hands.begun() == ["outer", "inner"]


def test_a_paused_client_that_is_gone_leaves_nothing() -> None:
    scene = Scene()
    pause(scene)
    scene.submit()
    scene.gone()
    assert scene.core.overview.status().queued == 0
    assert scene.told(lambda scene: scene.ready()) == []


def test_a_task_whose_process_could_not_be_prepared_is_not_tried_again() -> None:
    scene = Scene(retries=3)
    scene.start()
    assert scene.told(lambda scene: scene.ended(TaskEnd.UNPREPARED)) == ["me: t FailedInitializer"]
    assert scene.core.next_deadline() is None


class Shared:
    """A scheduler with processes enough, and two GPUs."""

    def __init__(self) -> None:
        self.hands = Recorder()
        self.clock = FakeClock()
        self.core = Core(4, self.hands, {"gpu": 2, "disk": 1}, clock=self.clock)
        self.processes = itertools.count(1)
        for _ in range(4):
            self.ready()

    def ready(self) -> None:
        self.core.process_ready(next(self.processes))

    def submit(self, name: str, needs: dict[str, int] | None = None, priority: int = 0, retries: int = 0) -> None:
        self.core.submit(b"me", task(name, priority, retries, needs))

    @property
    def running(self) -> list[str]:
        return sorted(
            name
            for name, _ in (self.core.overview.holder(process) or ("", b"") for process in self.core.overview.running)
        )

    def end(self, name: str, end: TaskEnd = TaskEnd.SUCCESS) -> None:
        (process,) = (p for p in self.core.overview.running if self.core.overview.holder(p) == (name, b"me"))
        self.core.process_ended_run(process, RunFinished(self.core.overview.seq(process), end, EMPTY))


def test_what_needs_a_capability_waits_for_it_and_nothing_else_does() -> None:
    scene = Shared()
    for name in ("a", "b", "c", "d"):
        scene.submit(name, {"gpu": 1})
    scene.submit("plain")
    scene.submit("writes", {"disk": 1})
    assert scene.running == ["a", "b", "plain", "writes"]
    assert not scene.core.overview.has_queue, "nobody waits for a process alone"
    scene.end("plain")
    assert scene.running == ["a", "b", "writes"]
    scene.end("b")
    assert scene.running == ["a", "c", "writes"]


def test_no_task_overtakes_one_that_waits_for_the_same_capability() -> None:
    scene = Shared()
    scene.submit("small", {"gpu": 1})
    scene.submit("large", {"gpu": 2, "disk": 1})
    scene.submit("later", {"gpu": 1})
    scene.submit("writes", {"disk": 1})
    scene.submit("urgent", {"disk": 1}, priority=1)
    assert scene.running == ["small", "urgent"]
    scene.end("urgent")
    assert scene.running == ["small"]
    scene.end("small")
    assert scene.running == ["large"]
    scene.end("large")
    assert scene.running == ["later", "writes"]


def test_who_waited_behind_one_that_is_cancelled_runs() -> None:
    scene = Shared()
    scene.submit("writes", {"disk": 1})
    scene.submit("waits", {"gpu": 2, "disk": 1})
    scene.submit("behind", {"gpu": 1})
    assert scene.running == ["writes"]
    scene.core.cancel(b"me", TaskCancel("waits", True))
    assert scene.running == ["behind", "writes"]


@pytest.mark.parametrize("way", ["end", "fail", "try again", "die", "die before", "stop", "leave"])
def test_what_a_task_had_is_free_when_it_runs_no_more_and_not_before(way: str) -> None:
    scene = Shared()
    scene.submit("holds", {"gpu": 2}, retries=int(way == "try again"))
    scene.clock.now = 0.0 if way == "die before" else ANNOUNCE_AFTER
    scene.core.tick()
    (process,) = scene.core.overview.running
    if way != "die before":
        scene.submit("waits", {"gpu": 1})
        assert scene.running == ["holds"]
    match way:
        case "end":
            scene.end("holds")
        case "fail" | "try again":
            scene.end("holds", TaskEnd.FAILED)
        case "stop":
            scene.core.cancel(b"me", TaskCancel("holds", True, 0.0))
            scene.end("holds", TaskEnd.STOPPED)
        case "leave":
            scene.submit("another's waits")
            scene.core.client_gone(b"me")
    if way == "leave":
        return
    if way in ("die", "die before", "stop"):
        assert scene.running == ["holds"], "its process is not reaped yet"
        scene.core.process_died(process, "it died", way != "die before")
    if way == "die before":
        assert scene.running == ["holds"], "in another process"
        scene.end("holds")
        scene.submit("waits", {"gpu": 1})
    assert scene.running == ["waits"]
    scene.submit("waits too", {"gpu": 1})
    assert scene.running == ["waits", "waits too"]


def test_the_processes_that_die_before_it_are_counted_anew_for_each_try() -> None:
    scene = Scene(announced=False, retries=1)
    scene.submit()
    for process in range(1, 2 * MAX_DISPATCHES + 1):
        scene.ready(process)
        scene.died(process, begun=False)
        scene.after(FIRST_BACKOFF)
    assert [line for line in scene.hands.done if not line.startswith("run")] == [
        f"me: t started on {MAX_DISPATCHES}",
        "me: t stderr: it died\n",
        "me: t failed in try 1",
        f"me: t started on {2 * MAX_DISPATCHES}, try 2",
        "me: t FailedWorkerDied",
    ]


@pytest.mark.parametrize("force", [False, True])
def test_what_is_cancelled_is_not_tried_again(force: bool) -> None:
    """Neither in the back-off, nor in a later try; after a refusal it is, for the request is answered."""
    scene = Scene(retries=2)
    steps(start, fail)(scene)
    scene.after(FIRST_BACKOFF)
    scene.cancel(force)
    scene.ended(TaskEnd.FAILED, seq=2)
    assert scene.hands.done[-1] == "me: t Failed"
    assert scene.core.next_deadline() is None
    scene = Scene(retries=1)
    steps(start, refuse, fail)(scene)
    assert scene.record.stage is B
    assert scene.told(lambda scene: scene.cancel(force)) == [CANCELED + (" (force)" if force else "")]
    scene.after(LONGEST_BACKOFF)
    assert scene.core.next_deadline() is None
    assert "as 2" not in scene.hands.done[-1]


def test_a_stronger_request_gets_a_grace_period_of_its_own() -> None:
    scene = Scene()
    steps(start, ask)(scene)
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
    steps(start, refuse)(scene)
    before = len(scene.hands.done)
    scene.cancel(force)
    scene.after(GRACE)
    assert scene.hands.done[before:] == ["interrupt 1 in 1", "interrupt 1 in 1", answer]


def test_a_task_that_stops_after_the_refusal_is_confirmed_unasked_once_its_process_is_reaped() -> None:
    scene = Scene()
    steps(start, refuse)(scene)
    assert scene.told(stop) == ["kill 1"]
    assert scene.told(died) == [CANCELED]


def test_the_confirmation_names_the_strongest_request() -> None:
    for order in ((ask, stop, warn), (ask, warn), (warn, ask), (warn, ask, stop, ask)):
        scene = Scene()
        steps(start, *order)(scene)
        assert scene.told(died) == [f"{CANCELED} (force)"]


def test_what_fails_before_the_answer_is_sent_as_it_is() -> None:
    for request, arrive in itertools.product((ask, warn, kill), (start, steps(start, refuse))):
        scene = Scene()
        steps(arrive, request)(scene)
        assert scene.told(lambda scene: scene.ended(TaskEnd.FAILED)) == ["me: t Failed"]


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


@pytest.mark.parametrize("way", [way for way, (stage, _, _) in WAYS.items() if stage in (Q, R, E, O)])
def test_nothing_is_due_outside_a_grace_period(way: str) -> None:
    scene = Scene()
    WAYS[way][2](scene)
    assert scene.core.next_deadline() is None


@pytest.mark.parametrize("grace", [0.0, -1.0])
def test_no_grace_period_is_over_at_once(grace: float) -> None:
    scene = Scene()
    start(scene)
    scene.cancel(True, grace=grace)
    scene.after(0.0)
    assert scene.hands.done[-1] == "kill 1"


def test_tasks_run_in_the_order_of_their_submission_and_no_more_than_there_are_slots() -> None:
    hands = Recorder()
    core = Core(2, hands, {})
    for name in "abcd":
        core.submit(b"me", task(name))
    for process in (1, 2, 3):
        core.process_ready(process)
    assert hands.done == ["run a on 1 as 1", "run b on 2 as 1"]
    assert sorted(core.overview.running) == [1, 2]
    assert core.overview.holder(2) == ("b", b"me")
    assert core.overview.holder(3) is None
    assert core.overview.holder(9) is None
    core.process_ended_run(2, RunFinished(1, TaskEnd.SUCCESS, EMPTY))
    assert hands.done[-1] == "run c on 2 as 2"  # not the spare: the caches of this one are warm


def test_nobody_waits_for_the_scheduler_while_every_slot_has_quiet_brief_work_ahead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(durations, "QUIET_IN_A_ROW", 2)
    hands = Recorder()
    core = Core(2, hands, {}, clock=FakeClock())
    for process in (1, 2):
        core.process_ready(process)

    def end(process: int, seq: int, waits: bool = False) -> None:
        figures = TaskFigures(1.0, 1.0 + SPLIT_SECOND)
        core.process_ended_run(process, RunFinished(seq, TaskEnd.SUCCESS, EMPTY, figures, waits=waits))

    for number in range(20):
        core.submit(b"me", task(f"t{number}"))
    assert core.slack == 0.0  # nothing is known of the function
    end(1, 1)
    assert core.slack == 0.0  # one run does not tell that it is quiet
    end(2, 1)
    assert core.slack > 0.0
    end(1, 2, waits=True)
    assert core.slack == 0.0  # the next one may wait, too
    end(1, 3)
    end(2, 2)
    assert core.slack > 0.0


def test_what_is_taken_back_for_a_free_process_is_shared_by_all() -> None:
    hands = Recorder()
    core = Core(2, hands, {}, clock=FakeClock())
    core.process_ready(1)
    core.submit(b"me", task("first"))
    core.process_ended_run(1, RunFinished(1, TaskEnd.SUCCESS, EMPTY, TaskFigures(1.0, 1.0 + SPLIT_SECOND)))
    for number in range(8):
        core.submit(b"me", task(f"t{number}"))
    before = len(hands.done)
    core.process_ready(2)
    told = hands.done[before:]
    assert told[1:] == ["run t1 on 2 as 1", "prefetch t2, t4, t6 for 1", "prefetch t3, t5, t7 for 2"]
    assert told[0].startswith("recall")


class Overtaken(Recorder):
    """One task each in two processes: t5 in 1, which has overtaken t4, taken back from behind t2 in 2."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.cpu = {1: 7.0, 2: 8.0, 3: 9.0}
        self.more = 0
        self.ahead: dict[int, list[int]] = {1: [], 2: [], 3: []}  # by process: numbers of runs that it has not begun
        self.core = Core(2, self, {}, clock=self.clock)
        self.core.process_ready(1)
        self.core.submit(b"me", task("t0"))
        self._end()
        for number in range(1, 9):
            self.core.submit(b"me", task(f"t{number}"))
        self.core.process_ready(2)
        self._end()
        self._end()
        self.after(ANNOUNCE_AFTER)

    def _end(self) -> None:
        """The run of process 1 ends, which begins the next that it has."""
        seq, figures = self.core.overview.seq(1), TaskFigures(1.0, 1.0 + SPLIT_SECOND)
        del self.ahead[1][:1]
        self.core.process_ended_run(1, RunFinished(seq, TaskEnd.SUCCESS, EMPTY, figures))

    def after(self, seconds: float) -> None:
        self.clock.now += seconds
        self.core.tick()

    def prefetch(self, process: int, runs: Sequence[PrefetchedRun]) -> None:
        self.ahead[process] += (run.seq for run in runs)

    def recall(self, process: int, after: int) -> list[int]:
        left, self.ahead[process] = self.ahead[process], []
        return left

    def cpu_seconds(self, process: int) -> float:
        return self.cpu[process]

    def add_processes(self, extra: int) -> None:
        self.more = extra

    def surplus(self) -> int:
        return 0

    def running(self) -> list[str]:
        return sorted(holder[0] for process in (1, 2, 3) if (holder := self.core.overview.holder(process)))


def test_a_task_that_was_overtaken_is_lent_a_slot_if_all_that_run_wait() -> None:
    scene = Overtaken()
    assert scene.running() == ["t2", "t5"]
    scene.after(0.99 * STANDSTILL)
    assert scene.more == 0
    scene.after(0.02 * STANDSTILL)
    assert scene.more == 1
    scene.core.process_ready(3)
    assert scene.running() == ["t2", "t4", "t5"]
    scene.after(100 * STANDSTILL)
    assert scene.more == 1, "t6 is behind all that run"


@pytest.mark.parametrize("process", [1, 2])
def test_a_task_that_was_overtaken_by_one_that_works_waits(process: int) -> None:
    scene = Overtaken()
    for _ in range(10):
        scene.cpu[process] += 2 * BUSY
        scene.after(STANDSTILL)
    assert scene.more == 0
    scene.after(STANDSTILL)
    assert scene.more == 1, "it works no more"


def test_what_comes_together_is_handed_out_at_its_end_and_a_free_slot_waits_for_nothing() -> None:
    scene = Scene()
    prefetch(scene)
    before = len(scene.hands.done)
    with scene.core.batch():
        for name in "abc":
            scene.submit(name)
        assert scene.hands.done[before:] == []
    assert scene.hands.done[before:] == ["prefetch a, b, c for 1"]
    hands = Recorder()
    core = Core(1, hands, {})
    core.process_ready(1)
    with core.batch():
        core.submit(b"me", task("a"))
        assert hands.begun() == ["a"]
        core.process_ended_run(1, RunFinished(1, TaskEnd.SUCCESS, EMPTY))
        core.submit(b"me", task("b"))
        assert hands.begun() == ["a", "b"]


def test_clients_take_turns_and_the_tasks_of_one_are_in_their_order() -> None:
    hands = Recorder()
    core = Core(1, hands, {})
    core.process_ready(1)
    for number in range(200):
        core.submit(b"many", task(f"m{number}"))
    for _ in range(10):
        core.process_ended_run(1, RunFinished(len(hands.begun()), TaskEnd.SUCCESS, EMPTY))
    for number in range(4):
        core.submit(b"few", task(f"f{number}"))
    core.submit(b"third", task("t0"))
    core.submit(b"few", task("urgent", priority=1))
    while core.overview.running:
        core.process_ended_run(1, RunFinished(len(hands.begun()), TaskEnd.SUCCESS, EMPTY))
    begun = hands.begun()
    assert begun[11] == "urgent"
    assert sorted(begun[12:21]) == ["f0", "f1", "f2", "f3", "m11", "m12", "m13", "m14", "t0"]
    assert [name for name in begun if name[0] == "m"] == [f"m{number}" for number in range(200)]
    assert [name for name in begun if name[0] == "f"] == ["f0", "f1", "f2", "f3"]


def test_a_client_that_comes_late_has_no_turns_to_make_up_for() -> None:
    hands = Recorder()
    core = Core(1, hands, {})
    core.process_ready(1)
    for number in range(50):
        core.submit(b"early", task(f"e{number}"))
        core.process_ended_run(1, RunFinished(number + 1, TaskEnd.SUCCESS, EMPTY))
    for number in range(4):
        core.submit(b"early", task(f"again{number}"))
        core.submit(b"late", task(f"late{number}"))
    while core.overview.running:
        core.process_ended_run(1, RunFinished(len(hands.begun()), TaskEnd.SUCCESS, EMPTY))
    assert hands.begun()[51:55] != [f"late{number}" for number in range(4)]


# ---------------------------------------------------------------------- items


def test_an_item_goes_to_the_client_of_the_run_that_gives_it_and_announces_that() -> None:
    scene = Scene(announced=False)
    start(scene)
    assert scene.told(lambda scene: scene.core.process_gave_item(1, 1, Payload(b"item"))) == [
        "me: t started on 1",
        "me: t gives b'item'",
    ]
    assert scene.told(lambda scene: scene.core.process_gave_item(1, 0, Payload(b"of an earlier run"))) == []
    assert scene.told(lambda scene: scene.core.process_gave_item(9, 1, Payload(b"of no process"))) == []


def test_what_was_taken_is_told_to_the_run_and_by_nobody_else() -> None:
    scene = Scene()
    start(scene)
    assert scene.told(lambda scene: scene.core.items_taken(b"me", "t", 8)) == ["tell 1 in 1: 8 taken"]
    assert scene.told(lambda scene: scene.core.items_taken(b"me", "t", 4)) == ["tell 1 in 1: 8 taken"]
    assert scene.told(lambda scene: scene.core.items_taken(b"other", "t", 100)) == []
    assert scene.told(lambda scene: scene.core.items_taken(b"me", "unknown", 100)) == []


def test_what_was_taken_before_the_run_is_told_when_it_waits() -> None:
    scene = Scene()
    submit(scene)
    assert scene.told(lambda scene: scene.core.items_taken(b"me", "t", 100)) == []
    scene.ready()
    assert scene.told(lambda scene: scene.core.process_paused(1, 1, 0)) == ["tell 1 in 1: 100 taken"]
    assert not scene.core.state.lent


class Lender(Recorder):
    """Hands that note for how many slots that are lent there are to be further processes."""

    extra = 0

    def add_processes(self, extra: int) -> None:
        self.extra = extra

    def surplus(self) -> int:
        return 0


def test_any_client_may_know_of_the_first_tasks_of_all_those_that_run_before_those_that_wait() -> None:
    hands, clock = Recorder(), FakeClock()
    core = Core(2, hands, {"gpu": 1}, clock=clock)
    core.submit(b"me", Task("waits", EMPTY, EMPTY, TaskOptions("f()", capabilities=as_tuple({"gpu": 1}))))
    core.submit(b"you", task("runs", 1))
    core.submit(b"you", task("ends", 1))
    clock.now += 5
    for process in (7, 8):
        core.process_ready(process)
    core.cancel(b"you", TaskCancel("ends", True, GRACE))
    found = core.overview.unfinished()
    start = found.tasks[0].submitted
    assert found.tasks == (
        TaskBrief("runs", "", TaskActivity.RUNNING, start, start + 5, 7),
        TaskBrief("ends", "", TaskActivity.CANCELLING, start, start + 5, 8),
        TaskBrief("waits", "f", TaskActivity.QUEUED, start),
    )
    for number in range(MAX_LISTED):
        core.submit(b"me", task(str(number)))
    found = core.overview.unfinished()
    assert (len(found.tasks), found.omitted) == (MAX_LISTED, 3)
    assert ACTIVITIES.keys() == set(TaskStage) - {TaskStage.OVER}


@pytest.mark.parametrize(
    ("name", "is_named", "told"),
    [
        ("Model.fit(DataFrame, key='s3cret')", False, "Model.fit"),
        ("<lambda>('s3cret')", False, "<lambda>"),
        ("größe(3)", False, "größe"),
        ("f × 100", False, "f × 100"),
        ("f × 1\u2009000", False, "f × 1\u2009000"),
        ("password = 's3cret' …", False, "password"),
        ("'s3cret'.join(parts)", False, "…"),
        ("3 + f(x)", False, "…"),
        ("", False, ""),
        ("connect('here')", True, "connect('here')"),
    ],
)
def test_no_other_client_is_told_the_arguments_of_a_task(name: str, is_named: bool, told: str) -> None:
    assert public_name(TaskOptions(name, is_named=is_named)) == told


def test_a_task_that_waits_for_its_reader_lends_its_slot() -> None:
    hands = Lender()
    core = Core(1, hands, {"gpu": 1})
    core.process_ready(1)
    core.submit(b"me", task("t", needs={"gpu": 1}))
    core.submit(b"me", task("queued", needs={"gpu": 1}))
    core.process_paused(1, 0, 0)  # of an earlier run
    assert hands.extra == 0
    core.process_paused(1, 1, 0)
    core.process_paused(1, 1, 0)
    assert hands.extra == 1
    core.process_ready(2)
    assert hands.begun() == ["t", "queued"]
    core.process_ended_run(2, RunFinished(1, TaskEnd.SUCCESS, EMPTY))
    core.items_taken(b"me", "t", 8)
    assert (hands.extra, core.state.lent) == (0, set())
    core.process_ended_run(1, RunFinished(1, TaskEnd.SUCCESS, EMPTY))
    core.submit(b"me", task("next", needs={"gpu": 1}))
    assert hands.begun() == ["t", "queued", "next"]


def test_as_many_lend_it_at_once_as_there_are_slots_and_another_when_no_reader_goes_on() -> None:
    hands, clock = Lender(), FakeClock()
    core = Core(1, hands, {}, clock=clock)
    for process in (1, 2, 3):
        core.process_ready(process)
    for name in "abcd":
        core.submit(b"me", task(name))

    def after(seconds: float) -> list[str]:
        clock.now += seconds
        core.tick()
        return hands.begun()

    core.process_paused(1, 1, 0)
    assert hands.begun() == ["a", "b"]
    core.process_paused(2, 1, 0)
    assert after(READERS_PATIENCE * 0.9) == ["a", "b"]
    core.items_taken(b"me", "b", 8)
    core.process_paused(2, 1, 8)
    assert after(READERS_PATIENCE * 0.9) == ["a", "b"]
    assert after(READERS_PATIENCE * 0.2) == ["a", "b", "c"]
    core.process_paused(3, 1, 0)
    assert after(READERS_PATIENCE) == ["a", "b", "c"]  # there is no process yet
    assert hands.extra == 3


def test_one_that_is_cancelled_while_it_lends_its_slot_gives_it_back() -> None:
    hands = Lender()
    core = Core(1, hands, {})
    core.process_ready(1)
    core.submit(b"me", task("t"))
    core.process_paused(1, 1, 0)
    core.cancel(b"me", TaskCancel("t", True, GRACE))
    core.process_ended_run(1, RunFinished(1, TaskEnd.STOPPED, EMPTY))
    core.process_died(1, "it was stopped", True)
    assert (hands.extra, core.state.lent) == (0, set())
    assert hands.done[-1] == "me: t Canceled (force)"


def test_a_process_is_replaced_for_a_task_only_if_no_other_suits() -> None:
    hands = Recorder()
    core = Core(2, hands, {})
    for process in (1, 2, 3):
        core.process_ready(process)
    hands.unfit = {1, 2}
    core.submit(b"me", task("a"))
    assert hands.done == ["run a on 3 as 1"]
    core.submit(b"me", task("b"))
    assert hands.done[1:] == ["kill 1", "kill 2"]
    assert core.overview.short_of == 1
    core.process_ready(4)
    assert hands.done[-1] == "run b on 4 as 1"
    assert core.overview.short_of == 0


def test_a_result_is_passed_on_as_it_came() -> None:
    told: list[Any] = []
    hands = Recorder()
    hands.send = lambda owner, message: told.append(message)  # type: ignore[method-assign]
    clock = FakeClock(EPOCH)
    core = Core(1, hands, {}, clock=clock)
    core.process_ready(1)
    core.submit(b"me", task("t"))
    clock.now = ANNOUNCE_AFTER
    core.tick()
    payload, figures = Payload(b"value", (b"buffer",)), TaskFigures(1.0, 2.0, 3.0, 4)
    core.process_ended_run(1, RunFinished(1, TaskEnd.SUCCESS, payload, figures))
    assert told == [TaskStarted("t", "1", EPOCH), TaskResult("t", TaskResultType.SUCCESS, payload, figures)]
    assert told[1].payload is payload
