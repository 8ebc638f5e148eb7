"""Whether a task costs more when there are many: ``python -m benchmarks.hot_path --growth``.

Each column is a number of tasks that are queued behind as many blocked slots as there are, and so all there at the
same time. What does not depend on that number has the same cost in every column.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from scaler_notebook import FutureGroup, NotebookExecutor, ScalerFuture

from .cpu_clocks import Part, Usage
from .engine_parts import find_parts
from .growth_plot import draw_growth

BLOCKED = 600.0  # seconds that a blocking task would wait
LOOK = 0.005  # seconds between two looks at whether it may end

Costs = dict[str, float]  # seconds per task, by what was done


def nothing(value: object) -> object:
    """Give back what was given: the task."""
    return value


def hold(gate: str) -> None:
    """Hold a slot until a file exists."""
    end = time.monotonic() + BLOCKED
    while not Path(gate).exists() and time.monotonic() < end:
        time.sleep(LOOK)


class Clock:
    """Wall-clock seconds of a step, and the CPU seconds of each part during the step."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self._before = [part.usage() for part in parts]
        self._began = time.perf_counter()

    def read(self) -> tuple[float, dict[str, Usage]]:
        """Give both since this clock was made."""
        seconds = time.perf_counter() - self._began
        return seconds, {p.name: p.usage().since(b) for p, b in zip(self._parts, self._before, strict=True)}


def block_slots(executor: NotebookExecutor, gate: Path) -> None:
    """Have every slot run a task that ends when a file exists.

    Parameters
    ----------
    executor
        Whose slots.
    gate
        The path of the file.
    """
    blocking = [executor.submit(hold, str(gate)) for _ in range(executor.n_workers)]
    while not all(each.running() for each in blocking):
        time.sleep(LOOK)


def submit_queued(executor: NotebookExecutor, tasks: int) -> list[ScalerFuture[object]]:
    """Submit tasks that do nothing; with every slot blocked they wait.

    Parameters
    ----------
    executor
        Whose engine runs the tasks.
    tasks
        How many.
    """
    return [executor.submit(nothing, n) for n in range(tasks)]


def measure_run(executor: NotebookExecutor, parts: Sequence[Part], tasks: int, gate: Path) -> Costs:
    """Measure tasks that are submitted, wait, run and settle.

    Parameters
    ----------
    executor
        Whose engine runs the tasks.
    gate
        A file; the slots are freed when it exists.
    parts
        What the CPU time is asked of.
    tasks
        How many.
    """
    block_slots(executor, gate)
    clock = Clock(parts)
    futures = submit_queued(executor, tasks)
    submitted, _ = clock.read()
    wait_until_taken_in(executor)
    _, taken_in = clock.read()
    clock = Clock(parts)
    gate.touch()
    futures[-1].result()
    for each in futures:
        each.result()
    ran, used = clock.read()
    scheduler, agent = "scheduler's main thread", "agent's thread"
    costs = {
        "submit: seconds of the caller": submitted,
        "submit: CPU of agent and scheduler": taken_in[agent].cpu + taken_in[scheduler].cpu,
        "start and end: CPU of the scheduler": used[scheduler].cpu,
        "run: CPU of the task processes": used["task processes"].cpu,
        "settle: CPU of the agent": used[agent].cpu,
        "first start to last result: seconds": ran,
    }
    return {what: seconds / tasks for what, seconds in costs.items()}


def measure_cancel(executor: NotebookExecutor, parts: Sequence[Part], tasks: int, gate: Path) -> Costs:
    """Measure the cancel of one task among many that wait, and of all the others at once.

    Parameters
    ----------
    executor
        Whose engine runs the tasks.
    gate
        A file; the slots are freed when it exists.
    parts
        What the CPU time is asked of.
    tasks
        How many.
    """
    block_slots(executor, gate)
    futures = submit_queued(executor, tasks)
    wait_until_taken_in(executor)
    clock = Clock(parts)
    assert futures[tasks // 2].cancel(timeout=None)
    one, _ = clock.read()
    clock = Clock(parts)
    assert FutureGroup(futures).cancel(timeout=None)
    all_of_them, used = clock.read()
    gate.touch()
    cpu = sum(each.cpu for each in used.values())
    return {
        "cancel of one: seconds until confirmed": one,
        "cancel of all: seconds until confirmed": all_of_them / tasks,
        "cancel of all: CPU": cpu / tasks,
    }


def wait_until_taken_in(executor: NotebookExecutor) -> None:
    """Wait until the scheduler has everything that was submitted: a message that comes last is answered last."""
    last = executor.submit(nothing, None)
    assert last.cancel(timeout=None)


def measure_growth(tasks: int, workers: int) -> Costs:
    """Measure the cost per task, in seconds, of so many tasks, with an engine of their own.

    Parameters
    ----------
    tasks
        How many.
    workers
        How many task processes the engine has.
    """
    with tempfile.TemporaryDirectory() as directory, NotebookExecutor(n_workers=workers) as executor:
        for _ in range(200):
            executor.submit(nothing, 0).result()
        parts = find_parts(executor)
        costs = measure_run(executor, parts, tasks, Path(directory) / "run")
        return {**costs, **measure_cancel(executor, parts, tasks, Path(directory) / "cancel")}


def print_growth(sizes: Sequence[int], workers: int, picture: Path) -> None:
    """Measure numbers of tasks, and print a table of what each costs per task; draw the same as a picture.

    Parameters
    ----------
    sizes
        Numbers of tasks, one for each column.
    workers
        How many task processes an engine has.
    picture
        The path of the picture.
    """
    columns = [measure_growth(size, workers) for size in sizes]
    print("| µs per task | " + " | ".join(f"{size:,} tasks" for size in sizes) + " |")
    print("| --- |" + " ---: |" * len(sizes))
    for what in columns[0]:
        print(f"| {what} | " + " | ".join(f"{1e6 * column[what]:,.1f}" for column in columns) + " |")
    draw_growth(sizes, columns, picture)
    print(f"\n{picture}")
