"""What the client of a task hears of the tasks that the task has submitted, in simulated time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fake_clock import FakeClock
from unused_effects import UnusedEffects

from scaler_notebook.engines.local.ipc.messages import RunFinished
from scaler_notebook.engines.local.scheduler.core.core import Core
from scaler_notebook.engines.local.scheduler.core.nested_reports import INTERVAL, MAX_TOLD
from scaler_notebook.protocol.messages import (
    ClientContext,
    Payload,
    Task,
    TaskActivity,
    TaskBrief,
    TaskCancel,
    TaskFigures,
    TaskNested,
    TaskOptions,
)
from scaler_notebook.task.task_end import TaskEnd

EMPTY = Payload(b"")
ME, WITHIN = b"me", b"within"


class Hands(UnusedEffects):
    """Hands that keep what clients are sent, and which process runs what."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.runs: dict[str, tuple[int, int]] = {}  # by task: process, number of the run
        self.killed: set[int] = set()

    def send(self, owner: bytes, message: Any) -> None:
        self.sent.append((owner, message))

    def suits(self, process: int, context: object) -> bool:
        return True

    def run_task(self, process: int, seq: int, task: Task, *_: object) -> None:
        self.runs[task.task_id] = process, seq

    def interrupt(self, process: int, seq: int) -> None:
        pass

    def kill(self, process: int, others: Sequence[int] = ()) -> None:
        self.killed.update((process, *others))

    def told(self) -> list[TaskNested]:
        """Return what was told of nested tasks since the last call, each time to the one who may know of it."""
        told = [message for owner, message in self.sent if isinstance(message, TaskNested) and owner == ME]
        assert not any(isinstance(message, TaskNested) and owner != ME for owner, message in self.sent)
        self.sent.clear()
        return told


class Scene:
    """A client whose task "top" runs in process 1; other processes are as many as wanted."""

    def __init__(self, looks: bool = True, processes: int = 3) -> None:
        self.hands = Hands()
        self.clock = FakeClock()
        self.core = Core(processes, self.hands, {}, clock=self.clock)
        self.core.set_context(ME, ClientContext("", (), (), "", shows_results=looks))
        for process in range(1, processes + 1):
            self.core.process_ready(process)
        self.core.submit(ME, Task("top", EMPTY, EMPTY, TaskOptions("top()")))

    def nest(self, *names: str, parent: str = "top") -> None:
        process, _ = self.hands.runs[parent]
        for name in names:
            self.core.submit(WITHIN, Task(name, EMPTY, EMPTY, TaskOptions(f"{name}()"), parent=parent), process)

    def end(self, name: str, end: TaskEnd = TaskEnd.SUCCESS) -> None:
        process, seq = self.hands.runs[name]
        self.core.process_ended_run(process, RunFinished(seq, end, EMPTY, TaskFigures(1.0, 2.0)))

    def reap(self) -> None:
        for process in sorted(self.hands.killed):
            self.core.process_died(process, "killed", True)

    def after(self, seconds: float = INTERVAL) -> list[TaskNested]:
        self.clock.now += seconds
        self.core.tick()
        return self.hands.told()


def states(messages: list[TaskNested]) -> dict[str, str]:
    """Return the last known state of each task that was told of."""
    return {brief.task_id: brief.activity.value for message in messages for brief in message.tasks}


def test_the_client_at_the_top_is_told_of_all_below_its_task_in_one_message() -> None:
    scene = Scene()
    submitted = scene.clock.time()
    scene.nest("a")
    scene.nest("b", parent="a")
    scene.nest("c")
    (told,) = scene.after()
    running = TaskActivity.RUNNING
    assert (told.task_id, told.omitted) == ("top", 0)
    assert set(told.tasks) == {
        TaskBrief("a", "a()", running, submitted, submitted, scene.hands.runs["a"][0], "top"),
        TaskBrief("b", "b()", running, submitted, submitted, scene.hands.runs["b"][0], "a"),
        TaskBrief("c", "c()", TaskActivity.QUEUED, submitted, parent="top"),
    }
    assert scene.after() == [], "nothing has changed"


def test_what_changes_is_told_once_in_a_while_however_often_it_does() -> None:
    scene = Scene()
    scene.nest("a", "b")
    assert scene.after(INTERVAL / 2) == []
    scene.end("a")
    (told,) = scene.after(INTERVAL / 2)
    assert [brief.task_id for brief in told.tasks] == ["b", "a"]
    assert states([told]) == {"a": "done", "b": "running"}
    scene.end("b", TaskEnd.FAILED)
    assert states(scene.after()) == {"b": "failed"}


def test_the_end_of_a_task_is_told_after_those_below_it_and_what_it_leaves_is_told_of_later() -> None:
    scene = Scene()
    scene.nest("a", "b")
    scene.end("a")
    scene.end("top")
    kinds = [type(message).__name__ for owner, message in scene.hands.sent if owner == ME]
    assert kinds[-2:] == ["TaskNested", "TaskResult"]
    assert states(scene.hands.told()) == {"a": "done", "b": "running"}
    scene.end("b")
    assert states(scene.after()) == {"b": "done"}


def test_what_ends_with_the_task_above_is_cancelled() -> None:
    scene = Scene(processes=2)
    scene.nest("runs", "queued")
    scene.core.cancel(ME, TaskCancel("top", True, 0.0))
    told = scene.after(1.0)
    scene.reap()
    told += scene.after()
    assert states(told) == {"runs": "cancelled", "queued": "cancelled"}
    assert not scene.core.state.records


def test_a_client_is_told_of_so_many_and_how_many_more_there_are() -> None:
    scene = Scene(processes=2)
    scene.nest(*map(str, range(MAX_TOLD + 3)))
    (told,) = scene.after()
    assert (len(told.tasks), told.omitted) == (MAX_TOLD, 3)
    scene.nest("another")
    (told,) = scene.after()
    assert (told.tasks, told.omitted) == ((), 4)


def test_a_client_that_shows_nothing_and_one_that_is_gone_are_not_told() -> None:
    scene = Scene(looks=False)
    scene.nest("a")
    scene.end("a")
    assert scene.after() == []
    scene = Scene()
    scene.nest("a")
    scene.core.client_gone(ME)
    assert scene.after(1.0) == []
