"""Results that follow each other are written to the same memory, and nobody's array changes for that."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from open_files import open_files
from segment_files import Array, file_of, memory_files
from waits import SAFETY

from scaler_notebook import NotebookExecutor, ScalerFuture
from scaler_notebook.engines.local.ipc.memory import mmap
from scaler_notebook.engines.local.ipc.memory.reuse import ReusableSegment
from scaler_notebook.engines.local.worker import result_segments
from scaler_notebook.engines.local.worker.result_segments import ResultSegments

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="not tested: files in memory are Linux's alone")

NUMBERS = 200_000  # 1.6 MB
MEGABYTE = 1_000_000


@pytest.fixture
def segments() -> Iterator[ResultSegments]:
    before = memory_files()
    segments = ResultSegments()
    yield segments
    segments._held.clear()
    assert memory_files() == before


def written(segments: ResultSegments, array: Array) -> int:
    """A result of one array; gives the descriptor that its receiver has."""
    segments.begin_result()
    descriptor = segments.write(array.data)
    assert descriptor is not None
    return descriptor


def inode(descriptor: int) -> int:
    return os.fstat(descriptor).st_ino


def contents(descriptor: int) -> Array:
    return np.frombuffer(os.pread(descriptor, 8 * NUMBERS, 0))


def test_of_a_result_alone_nothing_is_held(segments: ResultSegments) -> None:
    array = np.ones(NUMBERS)
    segments.begin_result()
    assert [segments.write(array.data) for _ in range(3)] == [None] * 3, "three arrays of one result"
    assert not segments.holds_any


def test_a_segment_is_written_again_once_its_receiver_has_let_go_of_it(segments: ResultSegments) -> None:
    segments.begin_result()
    arrays = [np.full(NUMBERS, float(n)) for n in range(4)]
    first, second = (written(segments, array) for array in arrays[:2])
    assert inode(first) != inode(second)
    where = inode(first)
    os.close(first)
    third = written(segments, arrays[2])
    assert inode(third) == where
    mapped = mmap.map_privately(third, 8 * NUMBERS)
    os.close(third)
    fourth = written(segments, arrays[3])
    assert inode(fourth) not in (where, inode(second)), "the first is mapped, and the second is open"
    assert np.array_equal(np.frombuffer(memoryview(mapped)), arrays[2])
    assert np.array_equal(contents(second), arrays[1])
    assert np.array_equal(contents(fourth), arrays[3])
    for descriptor in (second, fourth):
        os.close(descriptor)


def test_what_is_held_is_bounded(segments: ResultSegments, monkeypatch: pytest.MonkeyPatch) -> None:
    segments.begin_result()
    array = np.ones(NUMBERS)
    open_ones = [written(segments, array) for _ in range(result_segments.MAX_HELD + 2)]
    assert len(segments._held) == result_segments.MAX_HELD
    for descriptor in open_ones:
        os.close(descriptor)
    monkeypatch.setattr(result_segments, "MAX_IDLE", 2 * array.nbytes)
    os.close(written(segments, array))
    assert len(segments._held) == 3, "two that nobody has, and the one that was just given"
    segments.begin_result()
    assert segments.write(np.ones(3 * NUMBERS).data) is None
    assert segments.resident == array.nbytes, "the one that was written twice"


def test_an_interrupt_leaves_a_segment_to_nobody(segments: ResultSegments, monkeypatch: pytest.MonkeyPatch) -> None:
    segments.begin_result()
    os.close(written(segments, np.ones(NUMBERS)))

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(mmap, "copy", interrupted)
    with pytest.raises(KeyboardInterrupt):
        written(segments, np.ones(NUMBERS))
    assert not segments.holds_any


@pytest.mark.parametrize("size", [1, 4097, 3 * mmap.PAGE, 1 << 20])
@pytest.mark.parametrize("in_two", [True, False])
def test_all_of_large_memory_is_copied_and_compared(size: int, in_two: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmap, "LARGE", 1 if in_two else 1 << 40)
    monkeypatch.setattr(mmap, "_has_two_cores", lambda: True)
    array = np.random.default_rng(size).integers(0, 255, size, dtype=np.uint8)
    segment = ReusableSegment(np.zeros_like(array).data)
    assert not segment.matches(array.data)
    segment.write(array.data)
    assert segment.matches(array.data)
    assert os.pread(segment.fd, size, 0) == array.tobytes()
    for place in {0, size // 2 - 1, size // 2, size - 1} - {-1}:
        array[place] += 1
        assert not segment.matches(array.data)
        array[place] -= 1
    segment.close()


def gives(number: int) -> Array:
    return np.full(NUMBERS, float(number))


def test_whoever_holds_a_result_has_it_as_it_was(new_executor: NotebookExecutor) -> None:
    held: dict[int, Array] = {}
    files = set()
    for number in range(60):
        array = new_executor.submit(gives, number).result(SAFETY)
        files.add(file_of(array)[0])
        if number % 5 == 0:
            held[number] = array
        elif number % 7 == 0:
            held.pop(min(held))
            array += 1000  # its receiver's alone
        del array
    assert len(files) < 40, "memory is written again"
    for number, array in held.items():
        assert np.array_equal(array, gives(number))


def segments_of(pid: int) -> int:
    return sum("memfd:segment" in file for file in open_files(pid))


def gives_large(numbers: int) -> Array:
    return np.zeros(numbers)


def is_looked_at() -> int:
    time.sleep(0.3)  # the scheduler looks at the memory of tasks with a limit meanwhile
    return os.getpid()


@pytest.mark.parametrize("is_idle", [True, False], ids=["idle", "small tasks"])
def test_memory_is_held_for_a_while_and_is_no_tasks(is_idle: bool) -> None:
    """It counts neither as the next task's peak nor towards that task's limit, and goes whatever the process does."""

    def peak(future: ScalerFuture[Any]) -> int:
        found = future.profiling_info().memory_peak
        assert found is not None
        return found

    large = 60 * MEGABYTE
    with NotebookExecutor(n_workers=1) as executor:
        executor.submit(np.zeros, 1).result(SAFETY)  # numpy is imported
        pid = executor.submit(os.getpid).result(SAFETY)
        before = executor.submit(abs, 1)
        before.result(SAFETY)
        limit = peak(before) + large // 2
        for _ in range(6):
            assert executor.submit(gives_large, large // 8).result(SAFETY).nbytes == large
        assert segments_of(pid) > 0
        after = executor.submit_verbose(is_looked_at, memory_limit=limit)
        assert after.result(SAFETY) == pid
        assert peak(after) < limit
        deadline = time.monotonic() + SAFETY
        while segments_of(pid):
            assert time.monotonic() < deadline
            time.sleep(0.01) if is_idle else executor.submit(abs, 1).result(SAFETY)
        assert executor.submit(os.getpid).result(SAFETY) == pid
