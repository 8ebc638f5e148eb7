"""Whether a cell that computes holds up what is queued: ``python -m benchmarks.busy_kernel``.

While the main thread is in a loop of pure Python, which has the interpreter's lock most of the time, queued tasks run,
and another thread cancels a running one, as a click does that a subshell hears. Beside it the same with the loop in
another process, so that the processor is as busy. The two take turns.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from scaler_notebook import NotebookExecutor, ScalerFuture

from .growth import block_slots, submit_queued, wait_until_taken_in
from .machine import describe_machine

Futures = Sequence[ScalerFuture[object]]


def loop_until_done(futures: Futures) -> None:
    """Compute in this thread until the last future is done."""
    while not futures[-1].done():
        for _ in range(1000):
            pass


def wait_beside_a_loop(futures: Futures) -> None:
    """Wait, while another process computes, until the last future is done."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        futures[-1].exception()
        process.kill()


def never_ends() -> None:
    """Compute until somebody stops this task."""
    while True:
        pass


def measure_rate(tasks: int, workers: int, stay: Callable[[Futures], None]) -> float:
    """Return the tasks per second that run while this thread stays in a call.

    Parameters
    ----------
    tasks
        How many.
    workers
        How many task processes the engine has.
    stay
        Returns when the last future is done.
    """
    with tempfile.TemporaryDirectory() as directory, NotebookExecutor(n_workers=workers) as executor:
        gate = Path(directory) / "gate"
        block_slots(executor, gate)
        futures = submit_queued(executor, tasks)
        wait_until_taken_in(executor)
        began = time.perf_counter()
        gate.touch()
        stay(futures)
        for each in futures:
            each.result()
        return tasks / (time.perf_counter() - began)


def measure_cancels(cancels: int) -> list[float]:
    """Return the seconds from a cancel, in a thread beside the main one that computes, to its confirmation."""
    found: list[float] = []

    def cancel_all(executor: NotebookExecutor) -> None:
        for _ in range(cancels):
            future = executor.submit(never_ends)
            while future.state.value != "running":
                time.sleep(0.01)
            began = time.perf_counter()
            assert future.cancel(timeout=None)
            found.append(time.perf_counter() - began)

    with NotebookExecutor(n_workers=1) as executor:
        executor.submit(abs, 1).result()
        thread = threading.Thread(target=cancel_all, args=(executor,))
        thread.start()
        while thread.is_alive():
            for _ in range(1000):
                pass
    return found


def main() -> None:
    """Measure what the command line says, and print it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.busy_kernel", description=(__doc__ or "").split(":")[0])
    parser.add_argument("--tasks", type=int, default=20_000, help="of a round (20,000)")
    parser.add_argument("--workers", type=int, default=2, help="task processes (2)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (3)")
    parser.add_argument("--cancels", type=int, default=30, help="how many tasks are cancelled (30)")
    options = parser.parse_args()
    for what, value in describe_machine().items():
        print(f"* {what}: {value}")
    here, beside = [], []
    for _ in range(options.rounds):
        here.append(measure_rate(options.tasks, options.workers, loop_until_done))
        beside.append(measure_rate(options.tasks, options.workers, wait_beside_a_loop))
    ratio = statistics.median(here) / statistics.median(beside)
    print(f"\ntasks per second, the loop in this process: {', '.join(f'{rate:,.0f}' for rate in here)}")
    print(f"tasks per second, the loop in another one: {', '.join(f'{rate:,.0f}' for rate in beside)}")
    print(f"ratio of the medians: {ratio:.0%}")
    confirmed = sorted(1000 * each for each in measure_cancels(options.cancels))
    print(f"a cancel until confirmed, in ms: median {statistics.median(confirmed):.1f}, longest {confirmed[-1]:.1f}")


if __name__ == "__main__":
    main()
