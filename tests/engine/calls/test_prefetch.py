"""Brief tasks that follow each other in a process, without a word of the scheduler's between them."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from waits import SAFETY

from scaler_notebook import CancelReason, NotebookExecutor, ProcessorDiedError, ScalerFuture, current_task
from scaler_notebook.task.display.display_publisher import publish


def note(path: str, number: int, dies: bool = False) -> int:
    """Leave a line, by one system call."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{number}\n".encode())
    os.close(file)
    if dies:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def noted(path: str) -> Counter[int]:
    return Counter(map(int, Path(path).read_text().splitlines()))


def in_a_row(executor: NotebookExecutor, path: str) -> None:
    """Let the engine find out that the function is brief."""
    for future in [executor.submit(note, path, -1) for _ in range(20)]:
        assert future.result(SAFETY) == -1


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "notes")


def leave(number: int) -> int:
    """Something of each kind, by turns, that must not land with the next task."""
    match number % 7:
        case 0:
            print("printed", number)
        case 1:
            os.write(1, f"written {number}".encode())
        case 2:
            print("half a line", number, end="", file=sys.stderr)
        case 3:
            publish({"text/plain": f"shown {number}"})
        case 4:
            current_task().report(number, 1000, f"at {number}")
    return number


def test_what_a_brief_task_leaves_is_its_own(executor_of_one: NotebookExecutor) -> None:
    futures = [executor_of_one.submit(leave, number) for number in range(400)]
    for number, future in enumerate(futures):
        assert future.result(SAFETY) == number
        texts = [f"printed {number}\n", f"written {number}", f"half a line {number}"]
        assert str(future.logs) == (texts[number % 7] if number % 7 < 3 else "")
        shown = [display.bundle["text/plain"] for display in future.displays]
        assert shown == ([f"shown {number}"] if number % 7 == 3 else [])
        assert (future.progress is not None) == (number % 7 == 4)


def test_brief_tasks_run_once_or_are_confirmed_and_never_ran(executor: NotebookExecutor, path: str) -> None:
    in_a_row(executor, path)
    dice = random.Random(7)
    futures = []
    for number in range(1500):
        futures.append(executor.submit(note, path, number))
        if number % 3 == 0:
            dice.choice(futures[-40:]).request_cancel()
    for future in futures:
        with contextlib.suppress(BaseException):
            future.result(SAFETY)
    counts = noted(path)
    never = [number for number, future in enumerate(futures) if future.cancel_reason is CancelReason.NEVER_STARTED]
    assert never, "no cancel came in time: nothing is proved"
    assert not [number for number in never if counts[number]], "confirmed, and ran"
    assert not [number for number in range(1500) if counts[number] > 1], "ran twice"
    done = [number for number, future in enumerate(futures) if future.done() and not future.cancelled()]
    assert all(counts[number] == 1 for number in done)


def test_a_death_hits_the_task_that_had_begun_alone(executor_of_one: NotebookExecutor, path: str) -> None:
    in_a_row(executor_of_one, path)
    futures = [executor_of_one.submit(note, path, number, dies=number % 100 == 50) for number in range(400)]
    for number, future in enumerate(futures):
        if number % 100 == 50:
            assert isinstance(future.exception(SAFETY), ProcessorDiedError)
        else:
            assert future.result(SAFETY) == number
    assert noted(path) == {-1: 20, **dict.fromkeys(range(400), 1)}


def maybe_wait(path: str, number: int, waits: bool) -> int:
    while waits and not os.path.exists(path):
        time.sleep(0.001)
    return number


def maybe_meet(path: str, number: int) -> int:
    """Be brief; but 2 is there for others to meet, for which 0 and those from 5 on wait."""
    if number == 2:
        note(path, number)
    return maybe_wait(path, number, waits=number == 0 or number >= 5)


def test_what_waits_for_an_earlier_task_never_keeps_it_from_running(
    executor_of_two: NotebookExecutor, tmp_path: Path
) -> None:
    """If 2 is behind 0 in a process, the other process comes to 5 before 2 is taken back."""
    for turn in range(4):
        path = str(tmp_path / str(turn))
        for future in executor_of_two.map_async(maybe_meet, [path] * 20, [1] * 20):
            assert future.result(SAFETY) == 1
        futures = executor_of_two.map_async(maybe_meet, [path] * 10, range(10))
        assert [future.result(SAFETY) for future in futures] == list(range(10))


def test_no_task_waits_behind_one_that_is_not_brief(executor: NotebookExecutor, path: str) -> None:
    def begin(number: int, waits: bool = False) -> ScalerFuture[int]:
        return executor.submit(maybe_wait, path, number, waits)

    for future in [begin(number) for number in range(50)]:
        future.result(SAFETY)
    futures = [begin(number, waits=number == 30) for number in range(100)]
    for number, future in enumerate(futures):
        if number != 30:
            assert future.result(SAFETY) == number
    assert not futures[30].done()
    Path(path).touch()
    assert futures[30].result(SAFETY) == 30


def parent(number: int) -> int:
    return NotebookExecutor().submit(divmod, number, 10).result()[1] if number % 10 == 9 else 0


def test_brief_tasks_submit_others(executor_of_one: NotebookExecutor) -> None:
    futures = [executor_of_one.submit(parent, number) for number in range(60)]
    assert [future.result(SAFETY) for future in futures] == [9 * (number % 10 == 9) for number in range(60)]


def test_few_tasks_begin_in_the_order_of_their_submission(new_executor: NotebookExecutor, tmp_path: Path) -> None:
    """Whatever the first of them took: no later one has a slot while an earlier one waits."""

    def begin(number: int) -> None:
        (tmp_path / str(number)).touch()
        while number > 1 and not (tmp_path / "go").exists():
            time.sleep(0.001)

    try:
        for _ in range(10):
            futures = [new_executor.submit(begin, number) for number in range(8)]
            deadline = time.monotonic() + SAFETY
            while not all((tmp_path / str(number)).exists() for number in range(4)):
                assert time.monotonic() < deadline
                time.sleep(0.001)
            assert not (tmp_path / "4").exists()
            (tmp_path / "go").touch()
            for future in futures:
                future.result(SAFETY)
            for file in tmp_path.iterdir():
                file.unlink()
    finally:
        new_executor.cancel_all()
