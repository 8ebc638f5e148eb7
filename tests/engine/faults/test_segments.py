"""Large buffers: written once, seen as they were at the submit, writable, freed, and outliving whoever made them."""

from __future__ import annotations

import gc
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from open_files import open_files
from segment_files import Array, memory_files, ref_of, task_of
from waits import SAFETY, until_running

from scaler_notebook import NotebookExecutor, ProcessorDiedError
from scaler_notebook.engines.local.client.segments import MAX_IDLE, ClientSegments
from scaler_notebook.engines.local.ipc.memory.shared_memory import SMALLEST, VARIABLE, map_segments
from scaler_notebook.protocol import payloads

LARGE = 4 * SMALLEST // 8  # numbers


@pytest.fixture(params=["segments", "frames"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[NotebookExecutor]:
    monkeypatch.setenv(VARIABLE, "1" if request.param == "segments" else "0")
    with NotebookExecutor(n_workers=2) as executor:
        yield executor
        executor.cancel_all()


@pytest.mark.parametrize("size", [10, LARGE // 8, LARGE, 20 * LARGE])
def test_arrays_come_and_go_writable(either_way: NotebookExecutor, size: int) -> None:
    def double(array: Array) -> Array:
        array *= 2
        return array

    array = np.arange(float(size))
    result = either_way.submit(double, array).result(SAFETY)
    assert np.array_equal(result, np.arange(float(size)) * 2)
    result += 1
    assert array[1] == 1.0


@pytest.mark.parametrize("size", [pytest.param(LARGE // 8, marks=pytest.mark.matrix), LARGE])
def test_a_task_sees_its_argument_as_it_was_at_the_submit(either_way: NotebookExecutor, size: int) -> None:
    blockers = [either_way.submit(time.sleep, 0.2) for _ in range(2)]
    array = np.ones(size)
    before = either_way.submit(np.sum, array)
    array[:] = 2
    after = either_way.submit(np.sum, array)
    array[:] = 3
    assert before.result(SAFETY) == size
    assert after.result(SAFETY) == 2 * size
    assert all(blocker.result(SAFETY) is None for blocker in blockers)


def test_a_task_that_writes_to_its_argument_is_alone_with_that(either_way: NotebookExecutor) -> None:
    def spoil(array: Array) -> float:
        before = float(array.sum())
        array[:] = -1
        return before

    array = np.ones(LARGE)
    assert [either_way.submit(spoil, array).result(SAFETY) for _ in range(6)] == [LARGE] * 6


def test_an_array_is_written_once_while_it_stays_the_same() -> None:
    store, array = ClientSegments(), np.ones(LARGE)
    first, second = store.adopt(task_of("a", array)), store.adopt(task_of("b", array))
    assert ref_of(first) == ref_of(second)
    array[5] = 7
    third = store.adopt(task_of("c", array))
    assert ref_of(third) != ref_of(first)
    assert payloads.load(map_segments(first.arguments))[5] == 1
    assert payloads.load(map_segments(third.arguments))[5] == 7
    store.close()


def test_a_segment_is_mapped_once_and_until_it_is_closed() -> None:
    def mapped() -> int:
        return Path("/proc/self/maps").read_text().count("memfd:segment")

    before, store, array = mapped(), ClientSegments(), np.ones(LARGE)
    for name in "abc":
        store.adopt(task_of(name, array))
        store.release(name)
    assert mapped() == before + 1
    store.close()
    assert mapped() == before


def test_files_are_freed_when_their_tasks_are_over() -> None:
    before, store = memory_files(), ClientSegments()
    arrays = [np.full(MAX_IDLE // 8 // 2, float(n)) for n in range(4)]
    for n, array in enumerate(arrays):
        store.adopt(task_of(str(n), array))
    assert memory_files() == before + 4
    for n in range(4):
        store.release(str(n))
    assert memory_files() == before + 2, "as many stay as fit into what is kept"
    again = store.adopt(task_of("again", arrays[3]))
    assert memory_files() == before + 2, "the one used last is one of them"
    assert payloads.load(map_segments(again.arguments))[0] == 3
    store.close()
    assert memory_files() == before


@pytest.mark.parametrize("call", ["memfd_create", "pwrite"])
def test_an_interrupt_while_a_segment_is_made_leaves_none(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where a descriptor was given, and the interrupt came before anybody had its number."""
    before, store, make = memory_files(), ClientSegments(), getattr(os, call)
    kept = store.adopt(task_of("kept", np.ones(LARGE)))

    def interrupted(*args: Any) -> None:
        make(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, call, interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.adopt(task_of("a", np.zeros(LARGE)))
    assert memory_files() == before + 1
    assert payloads.load(map_segments(kept.arguments)).sum() == LARGE
    store.close()
    assert memory_files() == before


def test_without_descriptors_buffers_travel_as_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> int:
        raise OSError("too many open files")

    monkeypatch.setattr(os, "memfd_create", refuse)
    task = ClientSegments().adopt(task_of("a", np.ones(LARGE)))
    assert payloads.load(task.arguments).sum() == LARGE


def test_a_result_outlives_its_process_and_its_scheduler() -> None:
    executor = NotebookExecutor(n_workers=1)
    result = executor.submit(np.ones, LARGE).result(SAFETY)
    executor.shutdown()
    assert result.sum() == LARGE
    result += 1
    assert result.sum() == 2 * LARGE


def test_nothing_stays_open_after_many_large_tasks(new_executor: NotebookExecutor) -> None:
    array = np.ones(LARGE)
    new_executor.submit(abs, array).result(SAFETY)
    session = new_executor._session
    assert session is not None
    scheduler = session.engine.scheduler.pid  # type: ignore[attr-defined]

    def open_in(pid: int) -> int:
        return len(os.listdir(f"/proc/{pid}/fd"))

    before = open_in(os.getpid()), open_in(scheduler)
    futures = [new_executor.submit(np.negative, array + n) for n in range(40)]
    assert [future.result(SAFETY)[0] for future in futures] == [-1.0 - n for n in range(40)]
    del futures
    gc.collect()
    deadline = time.monotonic() + SAFETY
    while open_in(scheduler) > before[1] + 1:  # its last descriptors close with the client's next word
        new_executor.submit(abs, -1).result(SAFETY)
        assert time.monotonic() < deadline, "the scheduler keeps results that the client has"
    kept = MAX_IDLE // array.nbytes
    assert open_in(os.getpid()) <= before[0] + min(40, kept) + 1


def test_results_that_are_held_hold_no_descriptor(new_executor: NotebookExecutor) -> None:
    new_executor.submit(np.ones, LARGE).result(SAFETY)
    before = len(os.listdir("/proc/self/fd"))
    held = [new_executor.submit(np.ones, LARGE).result(SAFETY) for _ in range(30)]
    assert len(os.listdir("/proc/self/fd")) <= before
    assert sum(array[-1] for array in held) == 30


def test_a_process_that_dies_with_its_result_fails_its_task(new_executor: NotebookExecutor) -> None:
    def dies() -> Array:
        import threading

        threading.Thread(target=lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
        return np.ones(50 * LARGE)

    for _ in range(10):
        outcome = new_executor.submit(dies).exception(SAFETY)
        assert outcome is None or isinstance(outcome, ProcessorDiedError)
    assert new_executor.submit(abs, -1).result(SAFETY) == 1


def test_a_cancelled_task_frees_its_argument(new_executor: NotebookExecutor) -> None:
    before = memory_files()
    future = new_executor.submit(lambda array: time.sleep(60), np.ones(2 * MAX_IDLE // 8))
    until_running(future)
    assert memory_files() == before + 1
    assert future.cancel()
    deadline = time.monotonic() + SAFETY
    while memory_files() > before:
        assert time.monotonic() < deadline


def test_the_columns_of_a_frame_travel_out_of_band_and_arrive_writable(new_executor: NotebookExecutor) -> None:
    frame = pd.DataFrame({"a": np.arange(LARGE * 1.0), "b": np.arange(LARGE)})
    payload = payloads.dump(frame)
    assert len(payload.data) < 10_000
    assert sum(memoryview(buffer).nbytes for buffer in payload.buffers) == 2 * 8 * LARGE  # type: ignore[arg-type, misc]

    def more(frame: pd.DataFrame) -> pd.DataFrame:
        frame["a"] += 1
        return frame

    result = new_executor.submit(more, frame).result(SAFETY)
    result["b"] += 1
    assert (result["a"][0], result["b"][0], frame["a"][0], frame["b"][0]) == (1, 1, 0, 0)


def test_an_idle_process_holds_nothing_of_its_last_result(new_executor: NotebookExecutor) -> None:
    pid, _ = new_executor.submit(lambda: (os.getpid(), np.ones(1_000_000))).result(SAFETY)
    deadline = time.monotonic() + SAFETY

    def held() -> list[str]:
        return [file for file in open_files(pid) if "memfd:segment" in file]

    while held():
        assert time.monotonic() < deadline
        time.sleep(0.01)
