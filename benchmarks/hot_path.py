"""CPU time that a task costs which does nothing: ``python -m benchmarks.hot_path`` (Linux).

Microseconds per task in the caller's thread, the agent's thread, the scheduler process and the task processes, in some
ways of calling: many submits and then all results, one call at a time, a map, and a map in chunks (per call).
``--profile`` says where in the code of each process the time goes, ``--growth`` whether a task costs more if there are
many.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scaler_notebook import NotebookExecutor

from .cpu_clocks import Part, Usage
from .engine_parts import find_parts
from .growth import print_growth
from .machine import ROOT, describe_machine, installed_versions, refuse_elsewhere
from .profiles import new_profiler

OUTPUT = ROOT / "output" / "hot_path"
DISTRIBUTIONS = ("scaler-notebook", "pyzmq", "msgpack", "cloudpickle")
GROWTH = "100,10000,100000"  # numbers of tasks
CHUNK, TIMES_AS_MANY = 100, 10  # calls in a chunk of a map; so many times more calls are mapped in chunks
ONE_AT_A_TIME = 10  # so many times fewer tasks are called one at a time: each waits for its result


@dataclass(frozen=True)
class Phase:
    """One way of calling, measured: wall-clock seconds and usage by part, for a number of tasks."""

    tasks: int
    seconds: float
    usage: dict[str, Usage]


def nothing(value: object) -> object:
    """Give back what was given: the task. A function of ``__main__``, as a notebook's are."""
    return value


def call_together(executor: NotebookExecutor, tasks: int) -> None:
    """Submit all tasks, then take all results.

    Parameters
    ----------
    executor
        Whose engine runs the tasks.
    tasks
        How many.
    """
    futures = [executor.submit(nothing, n) for n in range(tasks)]
    for future in futures:
        future.result()


def call_in_turn(executor: NotebookExecutor, tasks: int) -> None:
    """Take each result before the next submit.

    Parameters
    ----------
    executor
        Whose engine runs the tasks.
    tasks
        How many.
    """
    for n in range(tasks):
        executor.submit(nothing, n).result()


def call_as_map(executor: NotebookExecutor, tasks: int, chunksize: int = 1) -> None:
    """Take all results of one map.

    Parameters
    ----------
    executor
        Whose engine runs the calls.
    tasks
        How many calls.
    chunksize
        How many calls are one task.
    """
    for _ in executor.map(nothing, range(tasks), chunksize=chunksize):
        pass


def measure(parts: Sequence[Part], tasks: int, call: Callable[[], None]) -> Phase:
    """Measure one call that runs so many tasks.

    Parameters
    ----------
    parts
        What the usage is asked of.
    tasks
        How many the call runs.
    call
        What is measured.
    """
    before = [part.usage() for part in parts]
    began = time.perf_counter()
    call()
    seconds = time.perf_counter() - began
    time.sleep(0.1)  # what a task leaves to be done after its result belongs to it
    return Phase(tasks, seconds, {p.name: p.usage().since(b) for p, b in zip(parts, before, strict=True)})


def measured_phases(options: argparse.Namespace) -> dict[str, list[Phase]]:
    """Run every phase ``options.rounds`` times after a warm-up; gives them by title."""
    found: dict[str, list[Phase]] = {}
    few, many = max(1, options.tasks // ONE_AT_A_TIME), TIMES_AS_MANY * options.tasks
    with NotebookExecutor(n_workers=options.workers) as executor:
        call_together(executor, max(100, options.tasks // 10))
        parts = find_parts(executor)
        for _ in range(options.rounds):
            together = measure(parts, options.tasks, lambda: call_together(executor, options.tasks))
            in_turn = measure(parts, few, lambda: call_in_turn(executor, few))
            found.setdefault(f"{options.tasks:,} submits, then their results", []).append(together)
            found.setdefault(f"{few:,} calls, one at a time", []).append(in_turn)
            as_map = measure(parts, options.tasks, lambda: call_as_map(executor, options.tasks))
            found.setdefault(f"a map of {options.tasks:,}", []).append(as_map)
            in_chunks = measure(parts, many, lambda: call_as_map(executor, many, CHUNK))
            found.setdefault(f"a map of {many:,} in chunks of {CHUNK}", []).append(in_chunks)
    return found


def table(title: str, phases: Sequence[Phase]) -> str:
    """Draw a phase's table: medians over its rounds, per task.

    Parameters
    ----------
    title
        What was called, for a person.
    phases
        Its rounds.
    """

    def median(value: Callable[[Phase], float]) -> float:
        return statistics.median(value(phase) / phase.tasks for phase in phases)

    lines = [f"\n{title} (medians of {len(phases)})\n"]
    lines += ["| part | CPU, µs per task | of which system | time slices per task |", "| --- | ---: | ---: | ---: |"]
    for name in phases[0].usage:
        cpu = 1e6 * median(lambda phase, name=name: phase.usage[name].cpu)  # type: ignore[misc]
        system = 1e6 * median(lambda phase, name=name: phase.usage[name].system)  # type: ignore[misc]
        slices = median(lambda phase, name=name: phase.usage[name].slices)  # type: ignore[misc]
        lines.append(f"| {name} | {cpu:.1f} | {system:.1f} | {slices:.2f} |")
    total = 1e6 * median(lambda phase: sum(each.cpu for each in phase.usage.values()))
    lines.append(f"| together | {total:.1f} | | |")
    lines.append(f"| by the clock on the wall | {1e6 * median(lambda phase: phase.seconds):.1f} | | |")
    return "\n".join(lines)


def print_cpu(options: argparse.Namespace) -> None:
    """Measure CPU time by part, print the tables, and write them as JSON."""
    about = {"machine": describe_machine(), "versions": installed_versions(DISTRIBUTIONS)}
    phases = measured_phases(options)
    print("\n".join(f"{what}: {value}" for each in about.values() for what, value in each.items()))
    for title, rounds in phases.items():
        print(table(title, rounds))
    rounds_as_json = {
        title: [
            {"tasks": p.tasks, "seconds": p.seconds, "usage": {k: v._asdict() for k, v in p.usage.items()}}
            for p in rounds
        ]
        for title, rounds in phases.items()
    }
    OUTPUT.mkdir(parents=True, exist_ok=True)
    path = OUTPUT / "hot_path.json"
    path.write_text(json.dumps({**about, "workers": options.workers, "phases": rounds_as_json}, indent=1) + "\n")
    print(f"\nEvery round is in {path.relative_to(ROOT)}.")


def print_profiles(options: argparse.Namespace) -> None:
    """Profile each process during one phase of many tasks, and print where its time goes."""
    with new_profiler(options.profile, OUTPUT) as profiler, NotebookExecutor(n_workers=options.workers) as executor:
        call_together(executor, max(100, options.tasks // 10))
        with profiler.measuring(find_parts(executor)):
            call_together(executor, options.tasks)
    print(profiler.report())


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hot_path", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--tasks", type=int, default=20_000, help="per round (20,000)")
    parser.add_argument("--workers", type=int, default=2, help="task processes (2)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each phase is measured (3)")
    parser.add_argument(
        "--profile",
        nargs="?",
        const="auto",
        choices=("auto", "py-spy", "cprofile"),
        help="profile each process instead: by py-spy if it is installed, else by cProfile",
    )
    parser.add_argument(
        "--growth",
        nargs="?",
        const=GROWTH,
        metavar="NUMBERS",
        help=f"cost per task among so many instead ({GROWTH})",
    )
    parser.add_argument("--quick", action="store_true", help="few tasks: does it run? The figures mean nothing")
    options = parser.parse_args(arguments)
    refuse_elsewhere()
    if options.quick:
        options.tasks, options.rounds = 500, 1
    if options.profile:
        print_profiles(options)
    elif options.growth:
        numbers = "100,1000" if options.quick else options.growth
        print_growth([int(number) for number in numbers.split(",")], options.workers, OUTPUT / "growth.svg")
    else:
        print_cpu(options)


if __name__ == "__main__":
    main()
