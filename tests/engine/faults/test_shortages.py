"""Where room, descriptors or a disk run short: what is lost is told, and nothing else is lost with it."""

from __future__ import annotations

import errno
import logging
import os
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import psutil
import pytest
from waits import SAFETY

from scaler_notebook import EngineLostError, NotebookExecutor, TaskState, wait
from scaler_notebook.client.session_log import event_log
from scaler_notebook.client.task_state import lifecycle
from scaler_notebook.client.task_state.observed_task import ObservedTask
from scaler_notebook.engines.local.client import result_mapper
from scaler_notebook.engines.local.ipc.framing import Assembler
from scaler_notebook.engines.local.ipc.memory.shared_memory import map_segments
from scaler_notebook.protocol.encoding.wire import ENGINE_CODEC
from scaler_notebook.protocol.messages import ObjectCreated, Payload, SegmentRef, TaskResult
from scaler_notebook.testing import memory_executor


@pytest.mark.parametrize("problem", [OSError(errno.EMFILE, "Too many open files"), MemoryError("no address space")])
def test_a_result_for_which_there_is_no_room_is_taken_when_there_is(
    problem: Exception, executor_of_two: NotebookExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    short, map_it = iter([problem] * 2), map_segments

    def mapped(payload: Payload) -> Payload:
        if (error := next(short, None)) is not None:
            raise error
        found: Payload = map_it(payload)
        return found

    monkeypatch.setattr(result_mapper, "RETRY_DELAYS", (0.01,) * 3)
    monkeypatch.setattr(result_mapper, "map_segments", mapped)
    assert executor_of_two.submit(np.ones, 100_000).result(SAFETY).sum() == 100_000


def test_a_result_for_which_there_never_is_fails_and_says_what_to_do(
    executor_of_two: NotebookExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mapped(payload: Payload) -> Payload:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(result_mapper, "RETRY_DELAYS", (0.01,))
    with monkeypatch.context() as short:
        short.setattr(result_mapper, "map_segments", mapped)
        error = executor_of_two.submit(np.ones, 1_000_000).exception(SAFETY)
    assert isinstance(error, MemoryError)
    assert "its result of 8.0 MB could not be taken over by this process" in str(error)
    assert "ulimit -v" in str(error)
    assert executor_of_two.submit(np.ones, 100_000).result(SAFETY).sum() == 100_000


def test_a_log_on_a_full_disk_is_lost_and_nothing_else(
    executor_of_two: NotebookExecutor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(event_log.VARIABLE, "/dev/full")
    monkeypatch.setattr(event_log, "_refused", set())
    futures = [executor_of_two.submit(abs, -n) for n in range(20)]
    assert [future.result(SAFETY) for future in futures] == list(range(20))
    said = [record.getMessage() for record in caplog.records]
    assert said == ["SCALER_NOTEBOOK_LOG: lines for /dev/full are lost: [Errno 28] No space left on device"]


def test_a_log_that_is_a_pipe_which_nobody_reads_is_lost_and_nothing_else(
    executor_of_two: NotebookExecutor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    monkeypatch.setenv(event_log.VARIABLE, str(pipe))
    monkeypatch.setattr(event_log, "_refused", set())
    assert executor_of_two.submit(abs, -1).result(SAFETY) == 1
    assert f"lines for {pipe} are lost" in caplog.text


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_an_exit_in_what_follows_a_future_does_not_end_the_agent(
    kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    def raises(future: Any) -> None:
        raise kind

    with memory_executor() as executor:
        futures = [executor.submit(abs, -1) for _ in range(2)]
        futures[0].watch(raises)
        for future in futures:
            executor.engine.finish(future, 1)
            assert future.result(SAFETY) == 1
    assert kind.__name__ in caplog.text


def test_what_follows_a_future_and_raises_keeps_nothing_from_others(caplog: pytest.LogCaptureFixture) -> None:
    def raises(future: Any) -> None:
        raise ZeroDivisionError

    with memory_executor() as executor:
        futures = [executor.submit(abs, -1) for _ in range(3)]
        told: list[Any] = []
        futures[0].watch(raises)
        futures[0].watch(told.append)
        executor.engine.finish(futures[0], 1)
        executor.engine.finish(futures[1], 2)
        assert futures[1].result(SAFETY) == 2
        assert futures[0].result(0) == 1
        assert told == [futures[0]]
        executor.engine.finish(futures[2], 3)
        wait(futures, SAFETY)
    assert "ZeroDivisionError" in caplog.text


def test_a_message_that_cannot_be_handled_ends_its_own_future_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with memory_executor() as executor:
        broken, whole = executor.submit(abs, -1), executor.submit(abs, -2)
        take = lifecycle._take_figures

        def take_or_raise(task: ObservedTask, result: TaskResult) -> None:
            assert task is not broken, "a bug of ours"
            take(task, result)

        monkeypatch.setattr(lifecycle, "_take_figures", take_or_raise)
        executor.engine.finish(broken, 1)
        executor.engine.finish(whole, 2)
        assert whole.result(SAFETY) == 2
        assert broken.state is TaskState.FINISHED
        assert "could not be handled here: AssertionError: a bug of ours" in str(broken.exception(0))
    assert caplog.records


def test_an_object_that_nobody_sent_loses_no_other_message(
    executor_of_two: NotebookExecutor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    session: Any = executor_of_two._session
    codec = ENGINE_CODEC
    decode = codec.decode
    monkeypatch.setattr(codec, "decode", lambda *args: [ObjectCreated("nobody's"), *decode(*args)], raising=False)
    assert executor_of_two.submit(abs, -1).result(SAFETY) == 1
    assert session.alive
    with caplog.at_level(logging.ERROR):
        assert "it was not sent" in caplog.text


@pytest.mark.parametrize(
    "segment", [SegmentRef(1 << 40, 1, 10), SegmentRef(os.getpid(), 1 << 40, 10), SegmentRef(os.getpid(), 1, 10)]
)
def test_a_result_in_a_segment_that_nobody_has_fails_its_task_alone(
    executor_of_two: NotebookExecutor, monkeypatch: pytest.MonkeyPatch, segment: SegmentRef
) -> None:
    decode, name = ENGINE_CODEC.decode, "broken"

    def decoded(*args: Any) -> list[Any]:
        return [
            replace(each, payload=Payload(b"N.", (segment,))) if getattr(each, "task_id", "") == name else each
            for each in decode(*args)
            if isinstance(each, TaskResult)
        ]

    monkeypatch.setattr(result_mapper, "RETRY_DELAYS", (0.01,))
    monkeypatch.setattr(ENGINE_CODEC, "decode", decoded, raising=False)
    futures = [executor_of_two.submit(abs, 0)]
    session, _, number = futures[0].task_id.rpartition("-")
    name = f"{session}-{int(number) + 4}"
    futures += [executor_of_two.submit(abs, -n) for n in range(1, 10)]
    assert futures[4].task_id == name
    results = [future.exception(SAFETY) or future.result(SAFETY) for future in futures]
    assert "a bug in the engine" in str(results.pop(4))
    assert results == [0, 1, 2, 3, 5, 6, 7, 8, 9]


def test_a_result_that_cannot_be_taken_over_fails_its_task_alone(
    executor_of_two: NotebookExecutor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    session: Any = executor_of_two._session
    release, name = session.engine._segments.release, ""
    monkeypatch.setattr(session.engine._segments, "release", lambda task: 1 / 0 if task == name else release(task))
    futures = [executor_of_two.submit(time.sleep, 0.05) for _ in range(4)]
    name = futures[0].task_id
    wait(futures, SAFETY)
    assert "ZeroDivisionError" in str(futures[0].exception(0))
    assert [future.result(0) for future in futures[1:]] == [None] * 3
    assert "could not be taken over" in caplog.text


SHORT_OF_DESCRIPTORS = """
import os, resource, sys, tempfile, threading
import numpy as np
from scaler_notebook import NotebookExecutor, wait
soft, hard = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
with NotebookExecutor(n_workers=1) as ex:
    hold = tempfile.mktemp()
    def first():
        import os, time
        while not os.path.exists(hold): time.sleep(0.01)
    held = ex.submit(first)
    arrays = [np.full(40_000, float(n)) for n in range(2 * soft)]
    futures = [ex.submit(np.max, array) for array in arrays]
    files = [open(os.devnull) for _ in range(40)]
    open(hold, "w").close()
    assert [future.result(60) for future in futures] == [float(n) for n in range(2 * soft)]
    assert ex.submit(np.ones, 1_000_000).result(60).sum() == 1_000_000
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)
    os.unlink(hold)
print("well")
"""


@pytest.mark.parametrize(("soft", "hard"), [(256, 256), pytest.param(256, 4096, marks=pytest.mark.matrix)])
def test_queued_arrays_leave_descriptors_to_the_notebook(soft: int, hard: int) -> None:
    command = [sys.executable, "-c", SHORT_OF_DESCRIPTORS, str(soft), str(hard)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("well\n", "")


def test_a_task_that_the_scheduler_has_no_memory_for_ends_with_its_engine(executor: NotebookExecutor) -> None:
    executor.submit(abs, -1).result(SAFETY)
    scheduler = executor._session.engine.scheduler.pid  # type: ignore[union-attr]
    most = psutil.Process(scheduler).memory_info().vms + 50_000_000
    resource.prlimit(scheduler, resource.RLIMIT_AS, (most, most))
    with pytest.raises(EngineLostError, match="no memory"):
        executor.submit(len, "x" * 100_000_000).result(SAFETY)
    assert executor.submit(abs, -1).result(SAFETY) == 1


def test_a_result_that_the_notebook_has_no_memory_for_ends_with_its_engine(
    executor: NotebookExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor.submit(abs, -1).result(SAFETY)
    with monkeypatch.context() as patched:
        patched.setattr(Assembler, "_read_large", Mock(side_effect=MemoryError))
        with pytest.raises(EngineLostError, match="no memory"):
            executor.submit("x".__mul__, 2_000_000).result(SAFETY)
    assert executor.submit(abs, -1).result(SAFETY) == 1
