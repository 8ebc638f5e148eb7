"""What happens when, from a call to its result, in every process: ``python -m benchmarks.timeline [CASE [REPEATS]]``.

The cases are ``call`` (a no-op, one after the other), ``cancel`` (of a Python loop, by force) and ``crash`` (a task
that kills its process). Each line is a moment: microseconds from the beginning and since the line before (the medians
of the repeats), the part, and the function that is entered (``>``) or left (``<``). To note a moment takes one or two
microseconds, so the whole is a little longer than without.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

HOOK = Path(__file__).parent / "hook"
ENGINE = "scaler_notebook.engines.local"
PROCESSES = f"{ENGINE}.scheduler.processes"
CALL = (
    "scaler_notebook.client.engine_client:EngineClient.submit",
    "scaler_notebook.client.agent.client_agent:Agent._flush",
    "scaler_notebook.client.agent.client_agent:Agent._receive",
    f"{ENGINE}.scheduler.clients:Clients._receive",
    f"{ENGINE}.scheduler.clients:Clients.flush",
    f"{PROCESSES}.task_process:TaskProcess.run",
    f"{ENGINE}.scheduler.process_events:ProcessEvents.ended_run",
    f"{ENGINE}.worker.main:_Worker._run",
    "scaler_notebook.task.runner:TaskRunner.run",
)
END = (
    "scaler_notebook.client.futures.future:ScalerFuture._request",
    "scaler_notebook.client.agent.client_agent:Agent._flush",
    "scaler_notebook.client.agent.client_agent:Agent._receive",
    f"{ENGINE}.scheduler.clients:Clients._receive",
    f"{ENGINE}.scheduler.clients:Clients.flush",
    f"{PROCESSES}.task_process:TaskProcess.interrupt",
    f"{PROCESSES}.task_process:TaskProcess.kill",
    f"{PROCESSES}.reaper:Reaper._ended",
    f"{PROCESSES}.reaper:Reaper._kill_orphans",
    f"{PROCESSES}.process_pool:ProcessPool._gone",
    f"{ENGINE}.scheduler.process_events:ProcessEvents.ended_run",
    f"{ENGINE}.worker.main:_stopped",
)
POINTS = {"call": CALL, "cancel": END, "crash": END}


class Moment(NamedTuple):
    """A moment of one repeat: in which part, and what."""

    part: str
    what: str
    times: int  # how often that has been so in this repeat


def nothing() -> None:
    """Do nothing."""


def loop() -> None:
    """Compute for ever."""
    print("begun", flush=True)
    while True:
        pass


def die(_: object) -> None:
    """Kill the process that runs this."""
    os.kill(os.getpid(), signal.SIGKILL)


def measure(case: str, repeats: int) -> list[tuple[int, int]]:
    """Run a case, and return the first and the last nanosecond of each repeat."""
    from scaler_notebook import NotebookExecutor

    def call() -> None:
        executor.submit(nothing).result()

    def cancel() -> None:
        assert running.cancel(force=True)

    def crash() -> None:
        assert executor.submit(die, 1).exception()

    act: Callable[[], None] = {"call": call, "cancel": cancel, "crash": crash}[case]
    spans = []
    with NotebookExecutor(n_workers=2) as executor:
        for _ in range(4):
            executor.submit(nothing).result()
        time.sleep(2.0)  # spare processes have imported what they import ahead
        for _ in range(repeats):
            if case == "cancel":
                running = executor.submit(loop)
                while "begun" not in running.logs.stdout:
                    time.sleep(0.01)
            time.sleep(0.0 if case == "call" else 0.3)
            began = time.monotonic_ns()
            act()
            spans.append((began, time.monotonic_ns()))
    return spans


def read_moments(directory: Path) -> list[tuple[int, str, str]]:
    """Return nanoseconds, part and what, of all moments in their order."""
    found = []
    for path in directory.iterdir():
        for line in path.read_text().splitlines():
            at, entered, name = line.split()
            found.append((int(at), path.name, f"{'>' if entered == '1' else '<'} {name}"))
    return sorted(found)


def report(spans: list[tuple[int, int]], moments: list[tuple[int, str, str]]) -> str:
    """Return the lines of the timeline."""
    offsets: defaultdict[Moment, list[float]] = defaultdict(list)
    for began, ended in spans:
        seen: Counter[tuple[str, str]] = Counter()
        for at, process, what in moments:
            if began <= at <= ended:
                part = "caller" if process == str(os.getpid()) else part_of(what)
                seen[part, what] += 1
                offsets[Moment(part, what, seen[part, what])].append((at - began) / 1e3)
        offsets[Moment("caller", "< all of it", 1)].append((ended - began) / 1e3)
    usual = {each: statistics.median(at) for each, at in offsets.items() if len(at) > len(spans) / 2}
    before, lines = 0.0, [f"{'µs':>9} {'since':>8}  part          what"]
    for moment, offset in sorted(usual.items(), key=lambda item: item[1]):
        lines.append(f"{offset:9.0f} {offset - before:8.0f}  {moment.part:13} {moment.what}")
        before = offset
    return "\n".join(lines)


def part_of(what: str) -> str:
    """Return the process that has a function of an engine's."""
    return "task process" if any(name in what for name in ("_Worker", "TaskRunner", "_stopped")) else "scheduler"


def main() -> None:
    """Run a case in a new interpreter that notes the moments, and print the timeline."""
    case = sys.argv[1] if len(sys.argv) > 1 else "call"
    repeats = int(sys.argv[2]) if len(sys.argv) > 2 else (500 if case == "call" else 30)
    if directory := os.environ.get("BENCHMARK_TIMELINE"):
        print(report(measure(case, repeats), read_moments(Path(directory))))
        return
    with tempfile.TemporaryDirectory() as directory:
        path = os.pathsep.join(filter(None, (str(HOOK), os.environ.get("PYTHONPATH"))))
        where = {"BENCHMARK_TIMELINE": directory, "BENCHMARK_TIMELINE_POINTS": ",".join(POINTS[case])}
        command = [sys.executable, "-m", "benchmarks.timeline", case, str(repeats)]
        raise SystemExit(subprocess.run(command, env={**os.environ, **where, "PYTHONPATH": path}).returncode)


if __name__ == "__main__":
    main()
