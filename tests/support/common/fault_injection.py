"""Faults for the real engine: finding its processes, stopping and killing them, and seeing what came of it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import stubborn_tasks
from future_observers import callbacks_done
from raw_peers import scheduler_of
from waits import SAFETY, until, until_running

from scaler_notebook import NotebookExecutor, ScalerFuture, TaskState


@contextlib.contextmanager
def engine(workers: int, grace: float = 0.3) -> Iterator[NotebookExecutor]:
    """An executor that ends with its block. Where a test fails, its tasks end with it: they might take for ever."""
    with NotebookExecutor(n_workers=workers, grace=grace) as executor:
        try:
            yield executor
        except BaseException:
            if executor._session is not None:
                executor._session.close()
            raise


# ---------------------------------------------------------------- processes


def eventually(condition: Callable[..., bool], what: str) -> None:
    """Wait for what only the system can tell, by looking again and again."""
    deadline = time.monotonic() + SAFETY
    while not condition():
        assert time.monotonic() < deadline, f"it never came to this: {what}"
        time.sleep(0.001)


def status(pid: int) -> str:
    """The letter of a process's state, as in ``ps``; empty if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def is_alive(pid: int) -> bool:
    """May it still run code? A zombie cannot."""
    return status(pid) not in ("", "Z", "X")


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def freeze(pid: int) -> None:
    """SIGSTOP, and wait until it stands still."""
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: status(pid) in ("T", "Z", ""), f"{pid} stands still")


def thaw(pid: int) -> None:
    """SIGCONT, if it is still there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def children(pid: int) -> list[int]:
    """The children of a process, the oldest first."""
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return list(map(int, found))


def task_processes(executor: NotebookExecutor) -> list[int]:
    """The scheduler's children but for the first, which is the fork server; those that still start are among them."""
    return children(scheduler_of(executor).pid)[1:]


def process_of(future: ScalerFuture[Any]) -> int:
    """The process of a task that has begun, as it says itself."""
    found: list[str] = []

    def look() -> bool:
        found[:] = re.findall(r"begun (\d+)\n", future.logs.stdout)
        return bool(found)

    until(future, look, "say which process it is")
    return int(found[0])


# ---------------------------------------------------------------- what came of it


def works(executor: NotebookExecutor, slots: int = 1) -> None:
    """So many tasks run at the same time, in clean processes."""
    fillers = [executor.submit(stubborn_tasks.rest) for _ in range(slots - 1)]
    for filler in fillers:
        until_running(filler)
    found = executor.submit(stubborn_tasks.probe).result(SAFETY)
    assert found == {"pid": found["pid"], "threads": 1, "blocked": set(), "children": "", "half imported": False}
    for filler in fillers:
        assert filler.cancel(SAFETY)


class Ends:
    """Whether futures end exactly once, as their done-callbacks are told. Follow each from its submit on."""

    def __init__(self) -> None:
        self._told: Counter[ScalerFuture[Any]] = Counter()
        self._futures: list[ScalerFuture[Any]] = []

    def follow(self, future: ScalerFuture[Any]) -> None:
        self._futures.append(future)
        future.add_done_callback(self._tell)

    def _tell(self, future: ScalerFuture[Any]) -> None:
        self._told[future] += 1

    def check(self) -> None:
        """All of them have ended, and each was told of once."""
        assert [future for future in self._futures if not future.done()] == []
        callbacks_done()
        assert [future for future in self._futures if self._told[future] != 1] == []


def outcome(future: ScalerFuture[Any]) -> str:
    """How it ended: ``finished``, the name of its exception's type, or the reason of the cancel."""
    assert future.done(), f"{future} has not ended"
    if future.state is TaskState.CANCELLED:
        assert future.cancelled()
        assert future.cancel_reason is not None
        return future.cancel_reason.value
    error = future.exception(0)
    return type(error).__name__ if error is not None else "finished"


def traces(path: Path) -> tuple[Counter[int], Counter[int]]:
    """How often each task began, and how often it came to its last step."""
    began: Counter[int] = Counter()
    ended: Counter[int] = Counter()
    for line in path.read_text().splitlines():
        step, number, _ = line.split()
        (began if step == "began" else ended)[int(number)] += 1
    return began, ended


# How often a task may have begun, and come to its last step, by how its future ended.
NEVER, ONCE, AT_MOST_ONCE = {0}, {1}, {0, 1}
PERMITTED_TRACES = {
    "finished": (ONCE, ONCE),
    "finished first": (ONCE, ONCE),
    "discarded": (AT_MOST_ONCE, AT_MOST_ONCE),
    "never started": (NEVER, NEVER),
    "stopped": (AT_MOST_ONCE, AT_MOST_ONCE),
    "failed first": (AT_MOST_ONCE, AT_MOST_ONCE),  # its process died
    "ProcessorDiedError": (AT_MOST_ONCE, AT_MOST_ONCE),
}


def check_traces(path: Path, outcomes: dict[int, str]) -> None:
    """No task ran twice, and what its future says fits with what it did."""
    began, ended = traces(path)
    for number, how in outcomes.items():
        assert how in PERMITTED_TRACES, f"task {number} ended as {how}"
        first, last = PERMITTED_TRACES[how]
        assert began[number] in first, f"task {number}, {how}, began {began[number]} times"
        assert ended[number] in last, f"task {number}, {how}, came to its end {ended[number]} times"
