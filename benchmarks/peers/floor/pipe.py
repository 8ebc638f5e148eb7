"""Workers at the other end of a pipe each: a pickled list of calls there, a pickled list of results back."""

from __future__ import annotations

import mmap
import multiprocessing
import os
import pickle
import statistics
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np

from .. import tasks
from ..cases.arrays import new_arrays
from ..cases.calls import BEGAN
from ..cases.memory import QUIET
from ..cases.support import now, quantile
from ..outcome import Outcome
from ..peer import WORKERS
from ..processes import proportional_memory, run_processes
from ..sizes import Sizes

SHARED = "/dev/shm" if Path("/dev/shm").is_dir() else tempfile.gettempdir()
RUN_ON = 60.0  # seconds of a loop that is killed
Call = tuple[Callable[..., Any], tuple[Any, ...]]


def serve(connection: Connection) -> None:
    """Run the calls that arrive, until the pipe ends: the life of a worker."""
    try:
        while True:
            calls = pickle.loads(connection.recv_bytes())
            connection.send_bytes(pickle.dumps([function(*args) for function, args in calls], 5))
    except EOFError:
        return


class Worker:
    """A process that runs calls."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()

    def send(self, calls: Sequence[Call]) -> None:
        """Send calls."""
        self.connection.send_bytes(cloudpickle.dumps(calls))

    def receive(self) -> list[Any]:
        """Wait for the results of what was sent first."""
        values: list[Any] = pickle.loads(self.connection.recv_bytes())
        return values

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run one call, and wait for its result."""
        self.send([(function, args)])
        return self.receive()[0]


def measure_cold_start(sizes: Sizes) -> Outcome:
    """Start as many workers as a peer has."""
    began = float(os.environ[BEGAN])
    workers = [Worker() for _ in range(WORKERS)]
    workers[0].call(tasks.nothing, 1)
    first = now() - began
    for each in workers:
        each.call(tasks.nothing, 1)
    return Outcome({"cold_start": first, "cold_start_all": now() - began})


def measure_round_trip(sizes: Sizes) -> Outcome:
    """One worker, calls one at a time."""
    worker, seconds = Worker(), []
    for n in range(50):
        worker.call(tasks.nothing, n)
    for n in range(sizes.round_trips):
        began = now()
        worker.call(tasks.nothing, n)
        seconds.append(now() - began)
    return Outcome({"round_trip": statistics.median(seconds), "round_trip_p99": quantile(seconds, 0.99)})


def measure_submit(sizes: Sizes) -> Outcome:
    """One worker, all calls sent while a thread takes the results."""
    submitted, total = _pipelined(sizes.tasks, 1)
    return Outcome({"submit": submitted, "submit_rate": sizes.tasks / total})


def measure_map(sizes: Sizes) -> Outcome:
    """The same, several calls in a message."""
    _, total = _pipelined(sizes.tasks, sizes.chunk)
    return Outcome({"map_chunks_rate": sizes.tasks / total})


def _pipelined(calls: int, chunk: int) -> tuple[float, float]:
    """Seconds until the last call is sent, and until the last result is there."""
    worker = Worker()
    worker.call(tasks.nothing, 0)
    batches = [range(first, min(first + chunk, calls)) for first in range(0, calls, chunk)]
    values: list[Any] = []

    def read() -> None:
        for _ in batches:
            values.extend(worker.receive())

    reader = threading.Thread(target=read)
    began = now()
    reader.start()
    for batch in batches:
        worker.send([(tasks.nothing, (n,)) for n in batch])
    submitted = now() - began
    reader.join()
    total = now() - began
    assert values == list(range(calls))
    return submitted, total


@contextmanager
def shared_file(size: int) -> Any:
    """A file in memory of so many bytes; gives its path and a numpy view of all of it."""
    handle, path = tempfile.mkstemp(dir=SHARED)
    try:
        os.ftruncate(handle, size)
        with mmap.mmap(handle, size) as mapped:
            view = np.frombuffer(mapped, dtype=np.float64)
            yield path, view
            del view
    finally:
        os.close(handle)
        os.unlink(path)


_mapped: dict[str, tasks.Array] = {}


def take_shared(path: str) -> int:
    """In a worker: look at an array in a shared file, which stays mapped."""
    return tasks.take(_map(path))


def give_shared(path: str) -> None:
    """In a worker: write an array that is there already to a shared file."""
    mapped = _map(path)
    mapped[:] = tasks.give(mapped.size)


def _map(path: str) -> tasks.Array:
    if path not in _mapped:
        _mapped[path] = np.memmap(path, dtype=np.float64, mode="r+")
    return _mapped[path]


def measure_arrays(sizes: Sizes) -> Outcome:
    """One copy each way, through memory that is mapped on both sides and used again."""
    outcome = Outcome()
    worker = Worker()
    for name, megabytes, repeats in (
        ("small", sizes.small_mb, sizes.small_repeats),
        ("large", sizes.large_mb, sizes.large_repeats),
    ):
        arrays = new_arrays(megabytes, repeats + 1)
        found: dict[str, list[float]] = {"in": [], "out": [], "echo": []}
        with shared_file(arrays[0].nbytes) as (path, view):
            for array in arrays:
                began = now()
                view[:] = array
                worker.call(take_shared, path)
                found["in"].append(now() - began)
                began = now()
                worker.call(give_shared, path)
                view.copy()
                found["out"].append(now() - began)
                began = now()
                view[:] = array
                worker.call(take_shared, path)
                view.copy()
                found["echo"].append(now() - began)
            del view
        outcome.figures.update({f"{name}_{way}": statistics.median(each[1:]) for way, each in found.items()})
    return outcome


def measure_shared_argument(sizes: Sizes) -> Outcome:
    """One copy into shared memory, and a small call for each task."""
    worker = Worker()
    (array,) = new_arrays(sizes.large_mb, 1)
    worker.call(tasks.nothing, 0)
    with shared_file(array.nbytes) as (path, view):
        began = now()
        view[:] = array
        for _ in range(sizes.sharers):
            worker.call(take_shared, path)
        seconds = now() - began
        del view
    return Outcome({"shared_argument": seconds})


def measure_memory(sizes: Sizes) -> Outcome:
    """Workers with what they need to run a call, and their caller."""
    workers = [Worker() for _ in range(WORKERS)]
    for each in workers:
        each.call(tasks.nap, QUIET)
    there = run_processes()
    return Outcome({"idle_memory": proportional_memory(there), "processes": len(there)})


def measure_cancel(sizes: Sizes) -> Outcome:
    """Kill the process of a loop and wait for its end, then start another and run a call there."""
    worker = Worker()
    path = Path(tempfile.mkdtemp()) / "runs"
    worker.send([(tasks.loop_on, (str(path), RUN_ON))])
    while not path.exists():
        pass
    began = now()
    worker.process.kill()
    worker.process.join()
    ended = now() - began
    Worker().call(tasks.nothing, 7)
    return Outcome({"cancel": ended, "cancel_free": now() - began})


MEASURED: dict[str, Callable[[Sizes], Outcome]] = {
    "cold_start": measure_cold_start,
    "round_trip": measure_round_trip,
    "submit": measure_submit,
    "map": measure_map,
    "arrays": measure_arrays,
    "shared_argument": measure_shared_argument,
    "memory": measure_memory,
    "cancel_loop": measure_cancel,
}
