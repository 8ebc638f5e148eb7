"""Segments that are written over, and given back: what anybody has stays as it is, whoever writes to what."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import mmap as system
import os
import socket
import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import shared_things
from segment_files import Array, file_of, memory_files, ref_of, task_of
from waits import SAFETY, until_running

from scaler_notebook import NotebookExecutor
from scaler_notebook.engines.local.client import segments
from scaler_notebook.engines.local.client.segments import ClientSegments
from scaler_notebook.engines.local.ipc.memory import mmap, reuse
from scaler_notebook.engines.local.ipc.memory.reuse import ReusableSegment
from scaler_notebook.engines.local.ipc.memory.shared_memory import SEAL_FUTURE_WRITE, SMALLEST, map_segments
from scaler_notebook.engines.local.worker.given_segments import GivenSegments
from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.messages import SegmentRef

LARGE = 4 * SMALLEST // 8  # numbers
MAP_FIXED_NOREPLACE = 0x100000  # Linux's


def test_what_no_task_uses_is_written_over_with_another_array() -> None:
    before, store = memory_files(), ClientSegments()
    arrays = [np.full(LARGE - 10 * n, float(n)) for n in range(5)]
    refs = []
    for n, array in enumerate(arrays):
        task = store.adopt(task_of(str(n), array))
        refs.append(ref_of(task))
        mapped = map_segments(task.arguments, anew=True)
        assert np.array_equal(payloads.load(mapped), array)
        del mapped
        store.release(str(n))
    assert len({ref.descriptor for ref in refs}) == 1
    assert [ref.size for ref in refs] == [array.nbytes for array in arrays]
    assert memory_files() == before + 1
    store.close()


def opened(ref: SegmentRef) -> int:
    return os.open(f"/proc/{ref.pid}/fd/{ref.descriptor}", os.O_RDONLY | os.O_CLOEXEC)


def in_a_socket(ref: SegmentRef) -> tuple[socket.socket, socket.socket]:
    ends, descriptor = socket.socketpair(), opened(ref)
    socket.send_fds(ends[0], [b"x"], [descriptor])
    os.close(descriptor)
    return ends


@pytest.mark.parametrize("holder", ["a mapping", "a descriptor", "a socket", "a child's mapping"])
def test_what_somebody_has_is_not_written_over(holder: str) -> None:
    store, array = ClientSegments(), np.ones(LARGE)
    task, held = store.adopt(task_of("a", array)), contextlib.ExitStack()
    ref, mapped = ref_of(task), [map_segments(task.arguments, anew=True)]
    if holder == "a socket":
        for end in in_a_socket(ref):
            held.callback(end.close)
    elif holder == "a descriptor":
        held.callback(os.close, opened(ref))
    elif holder == "a child's mapping":
        waiting, released = os.pipe()
        child = os.fork()
        if not child:
            os.close(released)
            os.read(waiting, 1)
            os._exit(0)
        held.callback(os.waitpid, child, 0)
        held.callback(os.close, released)
        held.callback(os.close, waiting)
    if holder != "a mapping":
        mapped.clear()
    store.release("a")
    other = store.adopt(task_of("b", array + 1))
    assert ref_of(other) != ref
    assert payloads.load(map_segments(task.arguments)).sum() == LARGE
    mapped.clear()
    held.close()
    assert ref_of(store.adopt(task_of("c", array + 2))) == ref
    store.close()


def test_what_is_about_to_be_free_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    store, array = ClientSegments(), np.ones(LARGE)
    ref = ref_of(store.adopt(task_of("a", array)))
    store.release("a")
    closing = [opened(ref)]
    monkeypatch.setattr(reuse, "PATIENCE", SAFETY)
    monkeypatch.setattr(time, "sleep", lambda _: os.close(closing.pop()))
    assert ref_of(store.adopt(task_of("b", array + 1))) == ref
    store.close()


def test_whoever_opens_a_segment_at_the_moment_of_the_check_ends_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    segment, ask = ReusableSegment(np.ones(LARGE)), fcntl.fcntl  # type: ignore[arg-type]

    def opening(fd: int, command: int, argument: int) -> int:
        answer = ask(fd, command, argument)
        if (command, argument) == (fcntl.F_SETLEASE, fcntl.F_WRLCK):
            with pytest.raises(BlockingIOError):
                os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK)
        return answer

    monkeypatch.setattr(fcntl, "fcntl", opening)
    assert [segment.is_free() for _ in range(3)] == [True] * 3
    segment.close()


def test_an_interrupt_while_a_segment_is_written_over_leaves_it_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    before, store, copy = memory_files(), ClientSegments(), mmap.copy
    store.adopt(task_of("a", np.ones(LARGE)))
    store.release("a")

    def interrupted(*args: Any) -> None:
        copy(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(mmap, "copy", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.adopt(task_of("b", np.zeros(LARGE)))
    assert memory_files() == before
    task = store.adopt(task_of("c", np.full(LARGE, 3.0)))
    assert payloads.load(map_segments(task.arguments))[0] == 3
    store.close()


@pytest.mark.parametrize("lacks", ["F_SETLEASE", "F_ADD_SEALS"])
def test_where_the_system_cannot_tell_who_has_a_segment_it_is_written_once(
    lacks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = fcntl.fcntl

    def old(fd: int, command: int, argument: int = 0) -> int:
        seals = lacks == "F_ADD_SEALS" and command == fcntl.F_ADD_SEALS and argument & SEAL_FUTURE_WRITE
        if seals or command == fcntl.F_SETLEASE:
            raise OSError(errno.EINVAL, "an old system")
        return ask(fd, command, argument)

    monkeypatch.setattr(fcntl, "fcntl", old)
    before, store, array = memory_files(), ClientSegments(), np.ones(LARGE)
    first = store.adopt(task_of("a", array))
    assert store.adopt(task_of("b", array)).arguments == first.arguments
    store.release("a")
    store.release("b")
    array[0] = 2
    other = store.adopt(task_of("c", array))
    assert ref_of(other) != ref_of(first)
    assert [payloads.load(map_segments(task.arguments))[0] for task in (first, other)] == [1, 2]
    store.close()
    assert memory_files() == before


def set_one(array: Array) -> Array:
    array[-1] = -1
    return array


def write_through_a_view(array: Array) -> Array:
    array.reshape(2, -1)[1:, -3:].view(np.uint8)[0, -1] = 7
    return array


def write_through_a_buffer(array: Array) -> Array:
    array.data.cast("B")[10] = 7
    return array


def read_a_file_into_it(array: Array) -> Array:
    with open("/dev/urandom", "rb", buffering=0) as file:
        file.readinto(array.data.cast("B")[:100])
    return array


def write_by_address(array: Array) -> Array:
    ctypes.memset(array.ctypes.data + array.nbytes - 1, 0x55, 1)
    return array


def write_on_a_thread(array: Array) -> Array:
    thread = threading.Thread(target=array.fill, args=(4.0,))
    thread.start()
    thread.join()
    return array


WRITERS = [
    set_one,
    write_through_a_view,
    write_through_a_buffer,
    read_a_file_into_it,
    write_by_address,
    write_on_a_thread,
]


def test_an_array_that_was_written_to_goes_back_as_it_has_become(new_executor: NotebookExecutor) -> None:
    """However it was written to; and neither its owner's array nor another task's has changed."""
    array = np.arange(float(LARGE))
    as_it_was = array.copy()
    given = new_executor.submit(lambda same: same, array).result(SAFETY)
    written = [new_executor.submit(write, array) for write in WRITERS]
    for write, future in zip(WRITERS, written, strict=True):
        changed = future.result(SAFETY)
        assert file_of(changed) != file_of(given), write
        assert not np.array_equal(changed, as_it_was), write
    later = new_executor.submit(lambda same: same, array).result(SAFETY)
    assert file_of(later) == file_of(given)
    assert all(np.array_equal(each, as_it_was) for each in (array, given, later))


def test_what_comes_back_in_its_own_segment_is_its_receivers_alone(new_executor: NotebookExecutor) -> None:
    array = np.zeros(LARGE)
    twice = [new_executor.submit(lambda same: (same, same.reshape(4, -1)), array).result(SAFETY) for _ in range(2)]
    flat = [each for pair in twice for each in pair]
    assert len({file_of(each)[0] for each in flat}) == 1
    for number, each in enumerate(flat):
        each += number
    array += 100
    assert new_executor.submit(np.sum, array).result(SAFETY) == 100 * LARGE
    assert [np.unique(each).tolist() for each in flat] == [[0], [1], [2], [3]]


def test_what_is_held_of_a_segment_outlives_any_number_of_others() -> None:
    """Results in their arguments' segments, and the arguments in a task process that keeps them."""

    def keep(array: Array) -> Array:
        shared_things.said.put(array)  # type: ignore[arg-type]
        return array

    def sums() -> list[float]:
        said = shared_things.said
        arrays: list[Any] = [said.get() for _ in range(said.qsize())]
        return [float(array.sum()) for array in arrays]

    held, kept = [], range(0, 12, 3)
    with NotebookExecutor(n_workers=1) as executor:
        for number in range(12):
            call = keep if number in kept else lambda same: same
            held.append(executor.submit(call, np.full(LARGE, float(number))).result(SAFETY))
            if number % 2:
                held[-1] = held[-1][:1].copy()  # and the segment is free, unless the process has it
        assert executor.submit(sums).result(SAFETY) == [LARGE * float(number) for number in kept]
    assert [np.unique(each).tolist() for each in held] == [[number] for number in range(12)]


def test_what_is_no_longer_the_argument_does_not_go_back_as_it(new_executor: NotebookExecutor) -> None:
    """An array at the same address, parts, and other orders of the same bytes."""

    def made_in_its_place(box: list[Array]) -> Array:
        size = box.pop().size
        return np.zeros(size)  # whose pages nobody has used yet, as those of the argument

    array = np.arange(float(LARGE))
    assert not new_executor.submit(made_in_its_place, [array]).result(SAFETY).any()
    for part in (slice(LARGE // 3), slice(LARGE // 2, None), slice(None, None, -1), slice(None, None, 2)):
        found = new_executor.submit(lambda same, part: same[part], array, part).result(SAFETY)
        assert np.array_equal(found, array[part])
    matrix = new_executor.submit(lambda same: same.reshape(4, -1).T, array).result(SAFETY)
    assert np.array_equal(matrix, array.reshape(4, -1).T)


def test_what_is_at_the_address_of_an_argument_that_is_gone_is_not_the_argument(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, given = ClientSegments(), GivenSegments()
    arguments = store.adopt(task_of("a", np.ones(LARGE))).arguments
    monkeypatch.setattr(os, "getpid", lambda: 0)  # the segment is another process's
    (buffer,) = (mapped := map_segments(arguments)).buffers
    given.note(arguments, mapped)
    found = given.reopen(buffer)  # type: ignore[arg-type]
    assert found is not None
    os.close(found)
    address, size = mmap.address(buffer), 8 * LARGE
    del buffer, mapped
    flags = system.MAP_PRIVATE | system.MAP_ANONYMOUS | MAP_FIXED_NOREPLACE
    assert mmap._libc.mmap(address, size, system.PROT_READ | system.PROT_WRITE, flags, -1, 0) == address
    try:
        assert given.reopen((ctypes.c_char * size).from_address(address)) is None  # type: ignore[arg-type]
    finally:
        mmap._libc.munmap(address, size)
    monkeypatch.undo()
    store.close()


def test_a_call_is_tried_again_with_what_it_was_given_then(new_executor: NotebookExecutor) -> None:
    first = new_executor.submit(np.sum, np.ones(LARGE))
    assert first.result(SAFETY) == LARGE
    for number in range(3):
        assert new_executor.submit(np.sum, np.full(LARGE, number)).result(SAFETY) == number * LARGE
    assert first.retry().result(SAFETY) == LARGE


def test_a_killed_task_leaves_its_segment_to_the_next(new_executor: NotebookExecutor) -> None:
    new_executor.submit(np.sum, np.ones(LARGE)).result(SAFETY)
    before = memory_files()

    def stubborn(array: Array) -> None:
        array += 1
        while True:
            try:
                time.sleep(60)
            except KeyboardInterrupt:
                array += 1

    for _ in range(3):
        future = new_executor.submit(stubborn, np.ones(LARGE))
        until_running(future)
        assert future.cancel(force=True, timeout=SAFETY)
        del future
    assert memory_files() == before
    assert new_executor.submit(np.sum, np.ones(LARGE)).result(SAFETY) == LARGE


def test_where_the_page_table_tells_nothing_arrays_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/zero", "rb") as file:
        segment = ReusableSegment(np.ones(LARGE))  # type: ignore[arg-type]
        mapping = mmap.map_privately(segment.fd, segment.capacity)
        where = ctypes.addressof(mapping)
        assert mmap.is_unmodified(where, segment.capacity)
        mmap._tells_of_copies.cache_clear()
        monkeypatch.setattr(os, "pread", lambda _, size, __: file.read(size))
        assert not mmap.is_unmodified(where, segment.capacity)
    monkeypatch.undo()
    mmap._tells_of_copies.cache_clear()
    segment.close()


@pytest.mark.parametrize("cause", ["another array is written", "too much is idle"])
def test_a_segment_that_a_signal_handlers_submit_gets_meanwhile_stays_as_it_is(
    cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, array, other = ClientSegments(), np.full(LARGE, 1.0), np.full(LARGE, 2.0)
    original, handled = store._replace, list[SegmentRef]()

    def interrupted(segment: Any) -> None:
        if not handled:
            handled.append(ref_of(store.adopt(task_of("handler", array))))
        original(segment)

    store.adopt(task_of("first", array))
    if cause == "too much is idle":
        monkeypatch.setattr(segments, "MAX_IDLE", 0)
        monkeypatch.setattr(store, "_replace", interrupted)
        store.release("first")
    else:
        store.release("first")
        monkeypatch.setattr(store, "_replace", interrupted)
        store.adopt(task_of("second", other))
    (ref,) = handled
    with open(f"/proc/{ref.pid}/fd/{ref.descriptor}", "rb") as file:
        assert np.array_equal(np.frombuffer(file.read(), dtype=float), array)
    store.close()


def test_a_segment_whose_owner_is_gone_is_not_given_back() -> None:
    store, given = ClientSegments(), GivenSegments()
    arguments = store.adopt(task_of("gone", np.full(LARGE, 1.0))).arguments
    mapped = map_segments(arguments, anew=True)
    elsewhere = replace(arguments, buffers=tuple(replace(each, pid=1 << 22) for each in arguments.buffers))  # type: ignore[type-var]
    given.note(elsewhere, mapped)
    assert all(given.reopen(each) is None for each in mapped.buffers if isinstance(each, memoryview))
    store.close()
