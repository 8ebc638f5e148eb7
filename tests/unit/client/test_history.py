"""The session's history: what it keeps of tasks whose futures are gone, and within which bounds."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import pytest
from waits import SAFETY

from scaler_notebook import CancelReason, TaskState
from scaler_notebook.client.session_log import history, live_futures
from scaler_notebook.client.session_log.history import History
from scaler_notebook.testing import InMemoryExecutor


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[History]:
    kept = History()
    monkeypatch.setattr(history, "session", kept)
    with monkeypatch.context() as before:
        before.setattr(live_futures, "living", list)  # whatever other tests have left to be collected
        kept.begin()
    yield kept
    kept.end()


@pytest.fixture
def scripted() -> Iterator[InMemoryExecutor]:
    with InMemoryExecutor() as executor:
        yield executor


def test_what_nobody_holds_is_remembered(session: History, scripted: InMemoryExecutor) -> None:
    done, failed, stopped, running = (scripted.submit(abs, n) for n in range(4))
    for future in (done, stopped, running):
        scripted.engine.start_task(future)
    scripted.engine.log(done, "said\n")
    scripted.engine.finish(done, 3)
    scripted.engine.fail(failed, KeyError("mine"))
    stopped.request_cancel()
    scripted.engine.confirm(stopped)
    ids = [future.task_id for future in (done, failed, stopped, running)]
    del done, failed, stopped, future
    gc.collect()
    records = list(session)
    assert [record.task_id for record in records] == ids
    assert [record.future() is None for record in records] == [True, True, True, False]
    assert [record.words for record in records] == ["done", "failed", "cancelled: stopped", "running"]
    assert [record.is_over for record in records] == [True, True, True, False]
    assert {record.name for record in records} == {"abs"}
    assert records[0].now().output == "said\n"
    assert records[1].now().error == "KeyError: 'mine'"
    assert records[2].now().reason is CancelReason.STOPPED
    assert [entry.message for entry in records[2].now().trace][-1] == "TaskCancelConfirm"
    scripted.engine.finish(running, 3)


def test_what_has_not_reached_the_agent_yet_is_there(session: History, scripted: InMemoryExecutor) -> None:
    """A cell may submit and look at once."""
    known = scripted.submit(abs, 1)
    scripted.engine.start_task(known)
    reached, go_on = threading.Event(), threading.Event()

    def holds_the_agent() -> None:
        reached.set()
        assert go_on.wait(SAFETY)

    scripted.engine._steps.post(holds_the_agent)
    assert reached.wait(SAFETY)
    future = scripted.submit(abs, 2)
    assert [record.call for record in session] == ["abs(1)", "abs(2)"]
    assert [record.call for record in session] == ["abs(1)", "abs(2)"]
    go_on.set()
    for each in (known, future):
        scripted.engine.finish(each, 3)
    assert [record.words for record in session] == ["done", "done"]
    assert len(future._watchers) == 1


def test_a_result_that_is_discarded_later_is_told(session: History, scripted: InMemoryExecutor) -> None:
    future = scripted.submit(abs, 1)
    scripted.engine.finish(future, 1)
    assert future.cancel()
    (record,) = session
    assert record.words == "cancelled: discarded"
    del future
    gc.collect()
    assert record.words == "cancelled: discarded"


def test_output_is_kept_within_bounds(
    session: History, scripted: InMemoryExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "MAX_OUTPUT", 10)
    monkeypatch.setattr(history, "MAX_ALL_OUTPUT", 45)
    for n in range(6):
        future = scripted.submit(abs, n)
        scripted.engine.log(future, f"output of {n:03}")
        scripted.engine.finish(future, n)
        del future
    gc.collect()
    outputs = [record.now().output for record in session]
    assert outputs[-1] == "put of 005"
    assert outputs[0] == ""
    assert sum(map(len, outputs)) <= 45


def test_the_oldest_records_that_are_over_go_first(
    session: History, scripted: InMemoryExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "MAX_RECORDS", 3)
    running = scripted.submit(abs, 0)
    for n in range(5):
        scripted.engine.finish(scripted.submit(abs, n), n)
    assert next(record.task_id for record in session) == running.task_id
    assert len(session) == 3
    assert next(iter(session)).now().state is TaskState.SUBMITTED
    scripted.engine.finish(running, 0)


def test_it_begins_with_the_tasks_that_there_are(scripted: InMemoryExecutor) -> None:
    future = scripted.submit(abs, 1)
    kept = History()
    kept.begin()
    kept.begin()
    assert [record.task_id for record in kept].count(future.task_id) == 1
    kept.end()
    later = scripted.submit(abs, 2)
    assert len(kept) == 0
    for each in (future, later):
        scripted.engine.finish(each, 1)
