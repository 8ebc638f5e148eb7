"""A client's tasks at a Scaler cluster: examples, then any sequence; the cluster is :mod:`simulated_cluster`."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from picks import PICKS, picked
from scaler.scheduler.controllers.task_controller import VanillaTaskController
from scaler.utility.identifiers import ClientID, TaskID, WorkerID
from simulated_cluster import QUEUE, SEEN, Process, Scheduler, Worker, World

from scaler_notebook.engines.scaler.client.canceller import AGAIN, AGAIN_AT_MOST, RECALL_AT_LEAST
from scaler_notebook.engines.scaler.client.states import ScalerStage
from scaler_notebook.engines.scaler.wire.task_names import task_of
from scaler_notebook.task.task_end import TaskEnd

LATE = (
    *("an agent hears the scheduler", "an agent hears a process", "the scheduler hears the client"),
    *("a task begins", "a task says that it has started", "a letter is read"),
)
BEGINS = ("a task begins", "a task says that it has started")


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    try:
        yield world
        world.drain()
    finally:
        world.close()


@pytest.fixture
def two() -> Iterator[World]:
    """With two workers."""
    world = World(workers=2)
    try:
        yield world
        world.drain()
    finally:
        world.close()


def submitted(world: World, *task_ids: str, **options: Any) -> None:
    """And everything has arrived and begun that can."""
    for task_id in task_ids:
        world.submit(task_id, **options)
    world.settle()


def ends(world: World, task_id: str, how: str = TaskEnd.SUCCESS.value) -> None:
    """The task's code does, and that has arrived."""
    world.cluster.end(world.process(task_id), how)
    world.settle()


def interrupted(world: World, task_id: str, obeys: bool) -> None:
    """A letter has come, and the task's code is interrupted."""
    process = world.process(task_id)
    assert process.asked, "nobody has asked it to stop"
    world.cluster.interrupted(process, obeys)
    world.settle()


def cancels(world: World) -> list[bool]:
    """The forces of the cancels that are on their way to the scheduler."""
    return [message.flags.force for message in world.connection.sent if type(message).__name__ == "TaskCancel"]


# ---------------------------------------------------------------------- the contract's orders


@pytest.mark.parametrize(("how", "told"), [(TaskEnd.SUCCESS.value, "Success"), (TaskEnd.FAILED.value, "Failed")])
def test_a_task_ends_by_itself(world: World, how: str, told: str) -> None:
    submitted(world, "a")
    ends(world, "a", how)
    assert world.words("a") == ["started", told]


@pytest.mark.parametrize("force", [True, False])
@pytest.mark.parametrize(("how", "told"), [(TaskEnd.SUCCESS.value, "Success"), (TaskEnd.FAILED.value, "Failed")])
def test_a_task_that_is_asked_to_stop_ends_by_itself(world: World, how: str, told: str, force: bool) -> None:
    submitted(world, "a", retries=2)
    world.cancel("a", force)
    ends(world, "a", how)
    assert world.words("a") == ["started", told]


@pytest.mark.parametrize("force", [True, False])
def test_a_task_obeys_the_letter_and_its_process_is_ended(world: World, force: bool) -> None:
    submitted(world, "a")
    process = world.process("a")
    world.cancel("a", force)
    world.settle()
    assert process.asked
    assert cancels(world) == []
    interrupted(world, "a", obeys=True)
    assert process.dead
    assert world.words("a") == ["started", "Canceled" + " by force" * force]


@pytest.mark.parametrize("lost", [1, 3])
def test_a_letter_that_is_lost_is_written_again(world: World, monkeypatch: pytest.MonkeyPatch, lost: int) -> None:
    submitted(world, "a")
    post, written = world.connection.post, []

    async def lossy(name: str, content: bytes) -> None:
        written.append(name)
        if len(written) > lost:
            await post(name, content)

    monkeypatch.setattr(world.connection, "post", lossy)
    world.cancel("a", force=False, grace=5.0)
    world.passes(0.9)  # the letters go after 0, 0.1, 0.3 and 0.7 s
    assert len(written) == lost + 1, "it is written until it is read, and no longer"
    interrupted(world, "a", obeys=True)
    assert world.words("a") == ["started", "Canceled"]


@pytest.mark.parametrize("end", ["refused", "ended"])
def test_no_letter_is_written_once_the_cancel_is_answered(
    world: World, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    submitted(world, "a")
    written = []

    async def lost(name: str, content: bytes) -> None:
        written.append(name)

    monkeypatch.setattr(world.connection, "post", lost)
    world.cancel("a", force=False, grace=0.5 if end == "refused" else 5.0)
    world.passes(0.6)
    if end == "ended":
        ends(world, "a")
    assert world.words("a")[-1] == {"refused": "CancelFailed", "ended": "Success"}[end]
    before = len(written)
    world.passes(10.0)
    assert len(written) == before > 1


def test_without_force_a_task_that_goes_on_is_refused(world: World) -> None:
    submitted(world, "a")
    world.cancel("a", force=False, grace=0.5)
    world.settle()
    interrupted(world, "a", obeys=False)
    world.passes(0.4)
    assert world.words("a") == ["started"]
    world.passes(0.1)
    assert world.words("a") == ["started", "CancelFailed"]
    ends(world, "a")
    assert world.words("a") == ["started", "CancelFailed", "Success"]


def test_with_force_a_task_that_goes_on_is_ended(world: World) -> None:
    submitted(world, "a")
    process = world.process("a")
    world.cancel("a", force=True, grace=0.5)
    world.settle()
    interrupted(world, "a", obeys=False)
    world.passes(0.4)
    assert not process.dead
    world.passes(0.1)
    assert process.dead
    assert world.words("a") == ["started", "Canceled by force"]


def test_a_request_becomes_one_by_force(world: World) -> None:
    submitted(world, "a")
    world.cancel("a", force=False, grace=10.0)
    world.settle()
    interrupted(world, "a", obeys=False)
    world.cancel("a", force=True, grace=0.5)
    world.passes(0.5)
    assert world.words("a") == ["started", "Canceled by force"]


def test_a_weaker_request_changes_nothing(world: World) -> None:
    submitted(world, "a")
    world.cancel("a", force=True)
    world.cancel("a", force=False, grace=0.0)
    world.passes(0.5)
    assert world.words("a") == ["started"]
    world.passes(0.5)
    assert world.words("a") == ["started", "Canceled by force"]


def test_after_a_refusal_it_may_be_asked_again(world: World) -> None:
    submitted(world, "a")
    for _ in range(2):
        world.cancel("a", force=False, grace=0.2)
        world.settle()
        interrupted(world, "a", obeys=False)
        world.passes(0.2)
    world.cancel("a", force=False)
    world.settle()
    interrupted(world, "a", obeys=True)
    assert world.words("a") == ["started", "CancelFailed", "CancelFailed", "Canceled"]


def test_a_task_that_obeys_after_its_refusal_is_confirmed_unasked(world: World) -> None:
    submitted(world, "a")
    world.cancel("a", force=False, grace=0.2)
    world.settle()
    world.passes(0.2)
    interrupted(world, "a", obeys=True)
    assert world.words("a") == ["started", "CancelFailed", "Canceled"]


@pytest.mark.parametrize("force", [True, False])
def test_a_queued_task_never_starts(world: World, force: bool) -> None:
    submitted(world, "a", "b", "c")  # one runs, one waits at the worker, one at the scheduler
    world.cancel("b", force)
    world.cancel("c", force)
    world.settle()
    ends(world, "a")
    assert world.words("b") == world.words("c") == ["Canceled" + " by force" * force]
    assert not world.cluster.begun["b"]
    assert not world.cluster.begun["c"]


def test_a_cancel_of_an_unknown_task_is_not_found(world: World) -> None:
    submitted(world, "a")
    ends(world, "a")
    world.cancel("a")
    assert world.words("a") == ["started", "Success", "CancelNotFound by force"]


@pytest.mark.parametrize("stored", range(4))
def test_a_task_is_taken_back_on_its_way(world: World, stored: int) -> None:
    """Whatever of it the storage has confirmed: the function, the arguments, the initializer."""
    world.submit("a", arguments=b"x" * 100_000 if stored % 2 else b"x")
    for _ in range(stored):
        world.storage.answer()
        world.loop.settle()
    assert not world.scheduler.standing
    if stored < 3:
        world.cancel("a")
        assert world.words("a") == ["Canceled by force"]
    submitted(world, "b", arguments=b"x")
    if stored < 3:
        assert [*world.cluster.begun] == ["b"]


def test_two_tasks_share_function_and_arguments_until_both_are_over(world: World) -> None:
    """Also one that was taken back while its arguments were on their way."""
    world.submit("a")
    world.storage.answer()  # the function
    world.loop.settle()
    world.cancel("a")
    submitted(world, "b", "c")
    assert sorted(each.users for each in world.tasks._objects._shared.values()) == [2, 2]


# ---------------------------------------------------------------------- what Scaler does not say


def test_a_task_that_was_about_to_start_is_asked_as_soon_as_it_says_so(world: World) -> None:
    world.submit("a")
    world.settle(*BEGINS)
    world.cancel("a", force=False)
    world.settle(*BEGINS)  # Scaler refuses, and does not say so
    assert world.words("a") == []
    world.settle()
    interrupted(world, "a", obeys=True)
    assert world.words("a") == ["started", "Canceled"]


def test_refused_by_silence(world: World) -> None:
    """A process that fetches what the task needs: its code does not run, and no queue has it."""
    world.submit("a")
    world.settle(*BEGINS)
    world.cancel("a", force=False, grace=0.1)
    world.passes(RECALL_AT_LEAST - 0.01, *BEGINS)
    assert world.words("a") == []
    world.passes(0.02, *BEGINS)
    assert world.words("a") == ["CancelFailed"]
    assert not world.loop.timers(), "nothing is said again after the refusal"


def test_a_recall_by_force_ends_what_is_silent(world: World) -> None:
    world.submit("a")
    world.settle(*BEGINS)
    process = world.cluster.workers[0].process
    world.cancel("a", force=True, grace=0.1)
    world.passes(RECALL_AT_LEAST, *BEGINS)
    assert process.dead
    assert world.told["a"].end


def test_a_task_that_begins_as_it_is_ended_has_started(world: World) -> None:
    """Its first words come too late for Scaler to pass them on."""
    world.submit("a")
    world.settle(*BEGINS)
    world.cancel("a", force=True)
    world.passes(RECALL_AT_LEAST - 0.01, *BEGINS)
    world.cluster.begin(world.cluster.workers[0].process)
    world.passes(0.02, "a task says that it has started")
    assert world.words("a") == ["started", "Canceled by force"]


def test_a_task_that_begins_as_its_end_is_on_its_way_says_so(world: World) -> None:
    world.submit("a")
    world.settle(*BEGINS)
    world.cancel("a", force=True)
    world.passes(RECALL_AT_LEAST - 0.01, *BEGINS)
    world.passes(0.02, "the scheduler hears the client", *BEGINS)
    assert cancels(world) == [True]
    world.settle("the scheduler hears the client")
    assert world.words("a") == ["started"]
    world.settle()
    assert world.words("a") == ["started", "Canceled by force"]


def test_a_cancel_that_scaler_drops_is_said_again(two: World) -> None:
    """While a balance's cancel is under way it sends no other, and the refusal of that one is the end of both."""
    world = two
    world.submit("a")
    world.settle(*BEGINS)
    [name] = world.scheduler.standing
    world.cancel("a", force=True)
    world.passes(RECALL_AT_LEAST - 0.01, *BEGINS)
    world.scheduler.balance(name)
    world.loop.pass_time(0.02)
    assert cancels(world) == [True]
    world.settle(*BEGINS)
    assert world.told["a"].end == "", "Scaler has heard it, and dropped it"
    world.passes(AGAIN, *BEGINS)
    assert world.told["a"].end


@pytest.mark.parametrize("force", [True, False])
def test_what_is_said_again_is_said_ever_more_seldom(world: World, force: bool) -> None:
    submitted(world, "a")
    world.scheduler.to_client.clear()
    world.cancel("a", force, grace=0.0)
    if force:
        world.loop.settle()
        world.loop.pass_time(0.0)
    else:
        submitted(world, "b")
        world.cancel("b", force=False, grace=60.0)
    times = []
    for _ in range(200):
        before = len(cancels(world))
        world.loop.pass_time(AGAIN / 2)
        if len(cancels(world)) > before:
            times.append(world.loop.now)
    pauses = [b - a for a, b in pairwise(times)]
    assert pauses[0] == pytest.approx(2 * AGAIN)
    assert pauses == sorted(pauses)
    assert pauses[-1] == pytest.approx(AGAIN_AT_MOST)
    assert set(cancels(world)) == {force}


def test_a_result_that_scaler_drops_ends_the_task_as_not_found(world: World) -> None:
    world.submit("a")
    world.settle(*BEGINS)
    world.cancel("a", force=False)
    world.cluster.hear_client()  # now it is cancelling, and passes on no result
    process = world.cluster.workers[0].process
    world.cluster.begin(process)
    world.cluster.end(process, TaskEnd.SUCCESS.value)
    worker = world.cluster.workers[0]
    while process.said:
        worker.hear_process(process)
    world.settle()
    assert world.words("a") == ["CancelNotFound"]


def test_a_result_that_scaler_drops_after_the_refusal_is_a_failure_that_says_so(world: World) -> None:
    submitted(world, "b", "a")
    world.cancel("a", force=False)
    world.settle("an agent hears the scheduler")  # it takes its time
    ends_before = world.process("b")
    world.cluster.end(ends_before, TaskEnd.SUCCESS.value)
    world.settle("an agent hears the scheduler")
    world.passes(RECALL_AT_LEAST, "an agent hears the scheduler", "an agent hears a process")
    assert world.words("a") == ["started", "CancelFailed"]
    process = world.process("a")
    world.cluster.end(process, TaskEnd.SUCCESS.value)
    world.settle("an agent hears the scheduler")
    assert SEEN["a result that Scaler drops"]
    world.settle()
    assert world.told["a"].end == "Failed"
    assert "dropped" in world.words("a")[-1]


def test_a_result_that_is_dropped_after_a_withdrawal_is_not_waited_for(world: World) -> None:
    world.submit("a")
    world.settle(*BEGINS)
    world.withdraw()
    world.cluster.hear_client()
    process = world.cluster.workers[0].process
    world.cluster.begin(process)
    world.cluster.end(process, TaskEnd.SUCCESS.value)
    while process.said:
        world.cluster.workers[0].hear_process(process)
    world.settle()
    assert world.told["a"].end == "Failed"


def test_withdrawn_is_what_has_not_started(world: World) -> None:
    submitted(world, "a", "b", "c")
    world.create("x")
    world.submit("d", inputs=["a"])
    world.withdraw()
    world.settle()
    assert [world.told[each].end for each in "abcd"] == ["", "never started", "never started", "never started"]
    ends(world, "a")
    assert world.words("a") == ["started", "Success"]


# ---------------------------------------------------------------------- workers and processes


def test_a_task_of_a_lost_worker_runs_again(two: World) -> None:
    submitted(two, "a")
    holder = two.scheduler.holder[two.process("a").name]
    two.cluster.lose(holder, heard=9)
    two.settle()
    assert two.words("a") == ["started", "started 2"]
    two.cancel("a", force=False)
    two.settle()
    interrupted(two, "a", obeys=True)  # at the mailbox that it has now
    assert two.words("a") == ["started", "started 2", "Canceled"]


def test_a_cancel_reaches_a_task_that_begins_again_elsewhere(two: World) -> None:
    submitted(two, "a")
    two.cancel("a", force=False, grace=1.0)
    two.settle()
    interrupted(two, "a", obeys=False)
    two.cluster.lose(two.scheduler.holder[two.process("a").name], heard=9)
    two.settle()
    interrupted(two, "a", obeys=True)
    assert two.words("a") == ["started", "started 2", "Canceled"]


def test_a_balanced_task_runs_once(two: World) -> None:
    submitted(two, "a", "b", "c")
    ends(two, "b")
    [name] = two.cluster.workers[0].queue
    two.scheduler.balance(name)
    two.settle()
    assert {worker.process.name for worker in two.cluster.workers} == {two.process("a").name, name}
    ends(two, "c")
    ends(two, "a")
    assert two.cluster.begun == {"a": 1, "b": 1, "c": 1}


@pytest.mark.parametrize("announced", [True, False])
def test_a_death_is_told_with_its_start(world: World, announced: bool) -> None:
    world.submit("a", retries=0)
    world.settle(*([] if announced else BEGINS[1:]))
    world.cluster.die(world.process("a"))
    world.settle()
    assert world.words("a") == ["started", "FailedWorkerDied"]


def test_the_mailbox_moves_with_each_letter(world: World) -> None:
    submitted(world, "a")
    world.cancel("a", force=False, grace=0.1)
    world.settle()
    interrupted(world, "a", obeys=False)
    world.passes(0.1)
    world.cancel("a", force=False)
    world.settle()
    assert len({name for name, _ in world.connection.posted}) == 2
    assert {letter for _, letter in world.connection.posted} == {world.process("a").name}
    interrupted(world, "a", obeys=True)


def test_who_has_no_mailbox_is_refused_or_ended_at_once(world: World) -> None:
    for task_id, force in (("a", False), ("b", True)):
        world.submit(task_id)
        world.settle("a task says that it has started")
        process = world.process(task_id)
        process.announced = True
        world.cluster._write(process, '\x1b]scaler_notebook;["StartedEvent", {"pid": 1, "host": "there"}]\x07')
        world.settle()
        world.cancel(task_id, force, grace=5.0)
        world.settle()
        if not force:
            assert world.words("a") == ["started", "CancelFailed"]
            ends(world, "a")
    assert world.words("b") == ["started", "Canceled by force"]


# ---------------------------------------------------------------------- tries


def test_tries_and_pauses(world: World) -> None:
    submitted(world, "a", retries=3)
    for pause in (0.1, 0.2, 0.4):
        ends(world, "a", TaskEnd.FAILED.value)
        assert world.tasks._records["a"].stage is ScalerStage.BACKING_OFF
        world.passes(pause - 0.01)
        assert not world.cluster.running("a")
        world.passes(0.01)
        assert world.cluster.running("a")
    ends(world, "a", TaskEnd.FAILED.value)
    said = ["started", "TaskLog", "failed 1", "started 2", "TaskLog", "failed 2", "started 3", "TaskLog", "failed 3"]
    said += ["started 4", "Failed"]
    assert world.words("a") == said


def test_a_failure_for_good_is_not_tried_again(world: World) -> None:
    submitted(world, "a", retries=3)
    ends(world, "a", TaskEnd.FAILED_FOR_GOOD.value)
    assert world.words("a") == ["started", "Failed"]


@pytest.mark.parametrize(("retry_worker_died", "told"), [(True, ""), (False, "FailedWorkerDied")])
def test_whether_a_death_is_tried_again(world: World, retry_worker_died: bool, told: str) -> None:
    submitted(world, "a", retries=1, retry_worker_died=retry_worker_died)
    world.cluster.die(world.process("a"))
    world.settle()
    assert world.told["a"].end == told


def test_a_cancel_in_the_back_off_is_confirmed_at_once(world: World) -> None:
    submitted(world, "a", retries=1)
    ends(world, "a", TaskEnd.FAILED.value)
    world.cancel("a", force=False)
    assert world.words("a") == ["started", "TaskLog", "failed 1", "Canceled"]
    world.passes(10.0)
    assert world.cluster.begun["a"] == 1


def test_what_is_tried_again_may_be_cancelled_before_it_starts_again(world: World) -> None:
    submitted(world, "a", retries=1)
    ends(world, "a", TaskEnd.FAILED.value)
    submitted(world, "b")
    world.passes(0.1)  # it is queued
    world.cancel("a", force=False)
    world.settle()
    assert world.words("a") == ["started", "TaskLog", "failed 1", "Canceled"]
    assert world.cluster.begun["a"] == 1


# ---------------------------------------------------------------------- inputs


def test_a_task_waits_for_an_object(world: World) -> None:
    world.create("x")
    world.submit("a", inputs=["x"])
    world.delete("x")
    assert not world.scheduler.standing
    world.settle()
    assert world.created == ["x"]
    [process] = world.working()
    assert len(process.task.functionArgs) == 4


def test_an_object_that_nobody_names_any_more_is_not_kept(world: World) -> None:
    world.create("x")
    world.delete("x")
    world.settle()
    assert world.created == ["x"]
    world.drain()


@pytest.mark.parametrize("stays", [True, False])
def test_a_task_waits_for_another_whose_value_stays_at_the_cluster(two: World, stays: bool) -> None:
    two.submit("a", keep=True, stays=stays)
    two.submit("b", inputs=["a", "a"])
    two.settle()
    assert not two.cluster.begun["b"]
    ends(two, "a")
    two.delete("a")
    [argument] = two.process("b").task.functionArgs[3:]
    assert b"value of a" in two.storage.objects[bytes(argument.data)]
    ends(two, "b")
    assert two.words("b") == ["started", "Success"]


@pytest.mark.parametrize(
    ("how", "told"), [("fails", "Failed"), ("cancelled", "never started"), ("dies", "FailedWorkerDied")]
)
def test_what_waits_for_a_task_ends_as_that_does(world: World, how: str, told: str) -> None:
    submitted(world, "a")
    world.submit("b", inputs=["a"])
    world.submit("c", inputs=["b"], keep=True)
    if how == "fails":
        ends(world, "a", TaskEnd.FAILED.value)
    elif how == "dies":
        world.cluster.die(world.process("a"))
        world.settle()
    else:
        world.cancel("a", force=False)
        world.settle()
        interrupted(world, "a", obeys=True)
    assert [world.told[each].end for each in "bc"] == [told, told]
    assert {cast(Any, message).origin for each in "bc" for message in world.told[each].said} == {"a"}


def test_a_task_is_cancelled_while_it_waits(world: World) -> None:
    submitted(world, "a")
    world.submit("b", inputs=["a"])
    world.submit("c", inputs=["b"])
    world.cancel("b", force=False)
    assert world.words("b") == ["Canceled"]
    assert world.words("c") == ["Canceled by force"]
    ends(world, "a")
    assert world.words("a") == ["started", "Success"]


def test_missing_inputs_are_named(world: World) -> None:
    world.submit("a", inputs=["x", "y"])
    assert world.words("a") == ["MissingObjects"]
    assert bytes(cast(Any, world.told["a"].said[0]).payload.data) == b"x\ny"


# ---------------------------------------------------------------------- what is not as it should be


@pytest.mark.parametrize(
    "text",
    [
        '["EndedEvent", {"ended": "no end"}]',
        json.dumps(["EndedEvent", {"ended": '{"how": 1, "started": "x", "ended": [], "cpu": 0, "peak_rss": 0}'}]),
        '["DisplayEvent", {"kind": "no kind", "display_id": "", "bundle": "{}", "metadata": "{}"}]',
        '["DisplayEvent", {"kind": "display_data", "display_id": "", "bundle": 1, "metadata": "{}"}]',
        '["StartedEvent", {"pid": 1, "host": "there", "mailbox": 7}]',
        '["ProgressEvent", {"done": "x", "total": [], "note": null}]',
        '["Nothing", {}]',
        "[" * 100_000,
    ],
)
def test_a_sign_that_is_none_harms_nobody(world: World, text: str, caplog: pytest.LogCaptureFixture) -> None:
    """A task may print what it likes: it is its output, unless it is as good as a sign."""
    submitted(world, "a")
    world.cluster.write(world.process("a"), f"\x1b]scaler_notebook;{text}\x07")
    world.settle()
    ends(world, "a")
    if "EndedEvent" in text:
        assert "cannot be read" in caplog.text
        assert world.words("a") == ["started", "Success"]
    else:
        assert world.words("a") == ["started", "TaskLog", "Success"]


@pytest.mark.parametrize("content", [b"", b"no pickle", None])
def test_a_result_that_is_none_fails_its_task_alone(two: World, content: bytes | None) -> None:
    submitted(two, "a", "b")
    process = two.process("a")
    two.cluster.end(process, TaskEnd.SUCCESS.value)
    result = process.said[-1]
    if content is None:
        process.said[-1] = type(result)(taskId=result.taskId, resultType=result.resultType, metadata=b"", results=[])
        two.storage.objects.pop(bytes(result.results[0]))
        process.said.popleft()
    else:
        two.storage.objects[bytes(result.results[0])] = content
    two.settle()
    assert two.told["a"].end == "Failed"
    ends(two, "b")
    assert two.words("b") == ["started", "Success"]


# ---------------------------------------------------------------------- any sequence


class AnySequence(RuleBasedStateMachine):
    """What can happen; :class:`World` holds what is told to the contract."""

    scheduler: type[Scheduler] = Scheduler

    def __init__(self) -> None:
        super().__init__()
        self.world = World(workers=2, scheduler=self.scheduler)
        self.names = 0
        self.disasters = 0

    @initialize(count=st.integers(0, 4), retries=st.sampled_from([0, 1]), late=st.sets(st.sampled_from(LATE)))
    def the_first_tasks(self, count: int, retries: int, late: set[str]) -> None:
        """So that most runs come to where it gets difficult."""
        if count:
            self.submit(count, retries, [], keep=False, large=False)
        self.world.settle(*late)

    def _open(self) -> list[str]:
        return [task_id for task_id, told in self.world.told.items() if not told.end]

    def _tasks(self) -> list[str]:
        """Those that have not ended first."""
        return [*self._open(), *(task_id for task_id, told in self.world.told.items() if told.end)]

    @rule(
        count=st.integers(1, 3),
        retries=st.sampled_from([0, 0, 1, 2]),
        needs=st.lists(PICKS, max_size=2),
        keep=st.booleans(),
        large=st.sampled_from([False, False, True]),
    )
    def submit(self, count: int, retries: int, needs: list[int], keep: bool, large: bool) -> None:
        for _ in range(count):
            self.names += 1
            known = [*self.world.objects, *self._open()] or ["nobody's"]
            inputs = [picked(pick, known) for pick in needs]
            fields = {"arguments": b"x" * 70_000} if large else {}
            self.world.submit(f"t{self.names}", inputs, keep, stays=keep and retries == 1, retries=retries, **fields)

    @rule()
    def create(self) -> None:
        self.names += 1
        self.world.create(f"x{self.names}")

    @precondition(lambda self: self.world.objects)
    @rule(pick=PICKS)
    def delete(self, pick: int) -> None:
        self.world.delete(picked(pick, self.world.objects))

    @precondition(lambda self: self.world.told)
    @rule(pick=PICKS, force=st.booleans(), grace=st.sampled_from([1.0, 0.2, 0.0]), heard=st.booleans())
    def cancel(self, pick: int, force: bool, grace: float, heard: bool) -> None:
        """And the scheduler hears it, or not yet."""
        self.world.cancel(picked(pick, self._tasks()), force, grace)
        while heard and self.world.connection.sent:
            self.world.cluster.hear_client()

    @rule()
    def withdraw(self) -> None:
        self.world.withdraw()

    @precondition(lambda self: self.world.moves())
    @rule(picks=st.lists(PICKS, min_size=1, max_size=10))
    def some_things_move(self, picks: list[int]) -> None:
        for pick in picks:
            moves = self.world.moves()
            if moves:
                move = picked(pick, moves)
                note(f"# {move[0]}")
                self.world.move(move)

    @precondition(lambda self: self.world.moves())
    @rule(late=st.sets(st.sampled_from(LATE)))
    def everything_moves(self, late: set[str]) -> None:
        self.world.settle(*late)

    @precondition(lambda self: self.world.working())
    @rule(
        pick=PICKS,
        how=st.sampled_from([TaskEnd.SUCCESS.value, TaskEnd.FAILED.value, "death", "output"]),
        heard=st.booleans(),
    )
    def a_task_ends(self, pick: int, how: str, heard: bool) -> None:
        """Or says something; and that goes its way at once, or not yet."""
        process = picked(pick, self.world.working())
        if how == "death":
            self.world.cluster.die(process)
        elif how == "output":
            self.world.cluster.write(process, "hello\n")
        else:
            self.world.cluster.end(process, how)
        if heard:
            self.world.settle(*set(LATE) - {"an agent hears a process"})

    @precondition(lambda self: self.world.working())
    @rule(pick=PICKS, force=st.booleans(), withdraws=st.booleans())
    def a_task_ends_as_it_is_cancelled(self, pick: int, force: bool, withdraws: bool) -> None:
        """Its result is on its way while the scheduler asks for its end, and passes no result on."""
        process = picked(pick, self.world.working())
        task_id = task_of(process.name.decode())
        if withdraws:
            self.world.withdraw()
        else:
            self.world.cancel(task_id, force, grace=0.0)
            self.world.loop.pass_time(0.0)
        self.world.cluster.end(process, TaskEnd.SUCCESS.value)
        self.world.settle("an agent hears the scheduler", "the client hears the scheduler")

    def _asked(self) -> list[Process]:
        return [process for process in self.world.working() if process.asked]

    @precondition(lambda self: self._asked())
    @rule(pick=PICKS, obeys=st.booleans())
    def an_interrupt_arrives(self, pick: int, obeys: bool) -> None:
        self.world.cluster.interrupted(picked(pick, self._asked()), obeys)

    @precondition(lambda self: self.world.scheduler.standing)
    @rule(pick=PICKS, heard=st.booleans())
    def balance(self, pick: int, heard: bool) -> None:
        """Most often what waits at a worker; and that one agrees at once, or not yet."""
        queued = [name for worker in self.world.cluster.workers for name in worker.queue]
        self.world.scheduler.balance(picked(pick, [*queued * 3, *self.world.scheduler.standing]))
        for worker in list(self.world.cluster.workers) if heard else []:
            while worker.inbox:
                worker.hear_scheduler()
            while worker.outbox:
                self.world.cluster.hear_worker(worker)

    @precondition(lambda self: self.disasters < 2 and self.world.cluster.workers)
    @rule(pick=PICKS, heard=st.integers(0, 3), another=st.booleans())
    def lose_a_worker(self, pick: int, heard: int, another: bool) -> None:
        self.disasters += 1
        self.world.cluster.lose(picked(pick, self.world.cluster.workers), heard)
        if another:
            self.world.cluster.join()

    @precondition(lambda self: self.world.loop.timers())
    @rule()
    def the_next_timer_fires(self) -> None:
        self.world.loop.wake()

    @rule(seconds=st.sampled_from([0.05, 0.5, 2.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.loop.pass_time(seconds)

    @invariant()
    def what_is_over_does_not_run(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        """Nothing is lost silently, and nothing is held."""
        try:
            if sys.exc_info()[0] is None:
                self.world.drain()
        finally:
            self.world.close()


# Everything that has to happen, or little is proved: by random events, or where those seldom come to it by an example.
WORTH = {
    *("Success", "Failed", "FailedWorkerDied", "MissingObjects"),
    *("stopped", "never started", "not found", "refused", "refused, not started", "finished first"),
    *("rerouted", "balanced away", "a result that Scaler drops", "a cancel that Scaler drops"),
}
SELDOM: list[Callable[[World], None]] = [
    test_after_a_refusal_it_may_be_asked_again,
    test_refused_by_silence,
    test_a_result_that_scaler_drops_ends_the_task_as_not_found,
    test_a_task_of_a_lost_worker_runs_again,
    test_a_balanced_task_runs_once,
    test_tries_and_pauses,
    test_missing_inputs_are_named,
    partial(test_a_death_is_told_with_its_start, announced=True),
    partial(test_a_task_that_is_asked_to_stop_ends_by_itself, how=TaskEnd.SUCCESS.value, told="Success", force=True),
]


def examples_and_any_sequence(machine: type[AnySequence]) -> set[str]:
    """Gives what has happened."""
    SEEN.clear()
    for example in SELDOM:
        run = machine()
        try:
            example(run.world)
        finally:
            run.teardown()
    run_state_machine_as_test(machine)
    return {what for what, count in SEEN.items() if count}


def test_the_contract_holds_whatever_happens(caplog: pytest.LogCaptureFixture) -> None:
    assert examples_and_any_sequence(AnySequence) >= WORTH
    assert "not permitted" not in caplog.text
    assert " while " not in caplog.text, "an event that the table does not permit"


# ---------------------------------------------------------------------- the simulation


class Installed:
    """The task controller of the installed Scaler, and what it has to do with."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.sent: list[tuple[bytes, str]] = []
        self.workers: list[bytes] = []
        self.holder: dict[bytes, bytes] = {}
        self.clients: dict[bytes, bytes] = {}
        nobody = SimpleNamespace(is_graph_subtask=lambda task_id: False)
        monitor = SimpleNamespace(send=self._nothing)
        objects = SimpleNamespace(get_object_name=lambda object_id: b"", get_object_size=lambda object_id: 0)
        self.controller = VanillaTaskController(None)
        self.controller.register(self, monitor, None, self, objects, self, nobody)

    def run(self, work: Coroutine[Any, Any, None]) -> list[tuple[bytes, str]]:
        """What it sends, and to whom."""
        self.sent = []
        self.loop.run_until_complete(work)
        return self.sent

    def standing(self) -> dict[bytes, str]:
        """The states of its tasks."""
        machines = self.controller._task_state_manager._task_id_to_state_machine
        return {bytes(task_id): machine.current_state().name for task_id, machine in machines.items()}

    async def lose(self, worker: bytes) -> None:
        """As its worker controller does."""
        self.workers.remove(worker)
        lost = [task_id for task_id, holder in self.holder.items() if holder == worker]
        for task_id in lost:
            del self.holder[task_id]
        for task_id in lost:
            await self.controller.on_worker_disconnect(TaskID(task_id), WorkerID(worker))

    async def _nothing(self, *message: Any) -> None:
        pass

    async def send(self, to: bytes, message: Any, detached: bool) -> None:
        self.sent.append((bytes(to), told(message)))

    def on_task_begin(self, client: bytes, task_id: bytes) -> None:
        self.clients[task_id] = client

    def on_task_finish(self, task_id: bytes) -> bytes | None:
        return self.clients.pop(task_id, None)

    def acquire_worker(self, task: Any) -> WorkerID:
        loads = Counter(self.holder.values())
        free = [worker for worker in self.workers if loads[worker] < QUEUE]
        worker = min(free, key=lambda worker: loads[worker], default=b"")
        if worker:
            self.holder[bytes(task.taskId)] = worker
        return WorkerID(worker)

    async def on_task_cancel(self, cancel: Any) -> WorkerID:
        return self.get_worker_by_task_id(cancel.taskId)

    async def on_task_done(self, task_id: bytes) -> WorkerID:
        return WorkerID(self.holder.pop(bytes(task_id), b""))

    def get_worker_by_task_id(self, task_id: bytes) -> WorkerID:
        return WorkerID(self.holder.get(bytes(task_id), b""))


def told(message: Any) -> str:
    """In short."""
    force = getattr(getattr(message, "flags", None), "force", None)
    answer = getattr(message, "cancelConfirmType", None)
    return f"{type(message).__name__} {bytes(message.taskId)!r} {force} {answer and answer.value}"


class Compared(Scheduler):
    """The simulated one, which the installed one is asked to agree with."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.installed = Installed()
        self.names: dict[Worker, bytes] = {}

    def _agree(self, simulated: Callable[[], None], installed: Coroutine[Any, Any, None]) -> None:
        boxes = {name: worker.inbox for worker, name in self.names.items()} | {b"client": self.to_client}
        before = {name: len(box) for name, box in boxes.items()}
        simulated()
        sent = self.installed.run(installed)
        for name, box in boxes.items():
            said = [told(message) for message in list(box)[before[name] :]]
            assert said == [words for to, words in sent if to == name]
        names = {"INACTIVE": "inactive", "RUNNING": "running", "CANCELING": "canceling"}
        standing = {name: names.get(each.name, "balanceCanceling") for name, each in self.standing.items()}
        assert standing == self.installed.standing()
        SEEN.update(standing.values())

    def hear_client(self, message: Any) -> None:
        controller, client = self.installed.controller, ClientID(b"client")
        match type(message).__name__:
            case "Task":
                message.source = client
                self._agree(lambda: super(Compared, self).hear_client(message), controller.on_task_new(message))
            case "TaskCancel":
                cancel = controller.on_task_cancel(client, message)
                self._agree(lambda: super(Compared, self).hear_client(message), cancel)
            case _:
                super().hear_client(message)

    def hear_worker(self, worker: Worker, message: Any) -> None:
        controller, name = self.installed.controller, WorkerID(self.names[worker])
        heard = {"TaskResult": controller.on_task_result, "TaskCancelConfirm": controller.on_task_cancel_confirm}
        hear = heard.get(type(message).__name__)
        if hear is None:
            super().hear_worker(worker, message)
        else:
            self._agree(lambda: super(Compared, self).hear_worker(worker, message), hear(name, message))

    def balance(self, name: bytes) -> None:
        moved = self.installed.controller.on_task_balance_cancel(TaskID(name))
        self._agree(lambda: super(Compared, self).balance(name), moved)

    def join(self, worker: Worker) -> None:
        name = self.names[worker] = f"worker {len(self.names)}".encode()
        self.installed.workers.append(name)
        joined = self.installed.controller.on_worker_connect(WorkerID(name))
        self._agree(lambda: super(Compared, self).join(worker), joined)

    def lose(self, worker: Worker) -> None:
        self._agree(lambda: super(Compared, self).lose(worker), self.installed.lose(self.names[worker]))


SCALERS = {"inactive", "running", "canceling", "balanceCanceling", "rerouted"}


class AnySequenceCompared(AnySequence):
    """The same, with two schedulers that have to agree."""

    scheduler = Compared

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            cast(Compared, self.world.scheduler).installed.loop.close()


def test_the_simulated_scheduler_decides_as_the_installed_one(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    assert examples_and_any_sequence(AnySequenceCompared) >= SCALERS
