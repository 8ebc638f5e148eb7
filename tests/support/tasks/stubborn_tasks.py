"""Tasks for fault injection: hard to stop, or leaving traces that tell how far they came and how often they ran.

They run in task processes, by reference: what is imported here is imported there, so it is little.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import itertools
import mmap
import multiprocessing
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

Buffer = bytes | bytearray | memoryview


def begin() -> None:
    """Say that the task has come this far, and in which process."""
    print("begun", os.getpid(), flush=True)


def rest() -> None:
    """Sleep until somebody ends it."""
    while True:
        time.sleep(1)


def wait_for(path: str) -> None:
    """Until there is something."""
    while not os.path.exists(path):
        time.sleep(0.001)


# ---------------------------------------------------------------- traces


def trace(path: str, step: str, number: int) -> None:
    """Append one line; a write of a few bytes in append mode is never torn."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{step} {number} {os.getpid()}\n".encode())
    finally:
        os.close(descriptor)


def spend(seconds: float, spin: bool) -> None:
    """Take that long, in Python code or asleep."""
    if not spin:
        time.sleep(max(0.0, seconds))
        return
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def brief(path: str, number: int, seconds: float = 0.0, spin: bool = False) -> int:
    """Leaves a trace as its first and as its last step."""
    trace(path, "began", number)
    spend(seconds, spin)
    trace(path, "ended", number)
    return number


def echo(path: str, number: int, seconds: float, spin: bool, data: Buffer) -> pickle.PickleBuffer:
    """The same, with an argument and a result that travel in shared memory."""
    brief(path, number, seconds, spin)
    return pickle.PickleBuffer(data)


def with_child(path: str, number: int, seconds: float, spin: bool) -> int:
    """The same, with a child that outlives it if nobody ends it."""
    with subprocess.Popen(["sleep", "1000"]) as child:
        try:
            return brief(path, number, seconds, spin)
        finally:
            child.kill()


def brief_but_for(flag: str, path: str, number: int) -> int:
    """The same, waiting for something at ``flag`` in between."""
    trace(path, "began", number)
    wait_for(flag)
    trace(path, "ended", number)
    return number


def deaf(path: str, number: int, seconds: float, spin: bool) -> int:
    """The same, swallowing the one interrupt that a task gets."""
    trace(path, "began", number)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(KeyboardInterrupt):
            spend(end - time.monotonic(), spin)
    trace(path, "ended", number)
    return number


def refuses(path: str = "") -> str:
    """Swallows the interrupt, and says so; ends when there is something at ``path``."""
    said = False
    while True:
        try:
            if not said:
                said = True
                begin()
            if path and os.path.exists(path):
                return "finished all the same"
            time.sleep(0.01)
        except KeyboardInterrupt:
            print("refused", flush=True)


def obeys() -> None:
    """Takes long, and ends with the interrupt."""
    begin()
    rest()


def where(seconds: float) -> int:
    """The process that it runs in."""
    time.sleep(seconds)
    return os.getpid()


def probe() -> dict[str, object]:
    """What a task finds in its process."""
    return {
        "pid": os.getpid(),
        "threads": threading.active_count(),
        "blocked": set(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "children": Path(f"/proc/self/task/{os.getpid()}/children").read_text(),
        "half imported": "half_imported" in sys.modules,
    }


# ---------------------------------------------------------------- hard to stop


def ignores_the_signal() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    begin()
    rest()


def blocks_the_signal() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    begin()
    rest()


def blocks_the_signal_until(path: str) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    begin()
    wait_for(path)


def lets_signals_through() -> int:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    return where(0.02)


def catches_it_again_and_again() -> None:
    said = False
    while True:
        with contextlib.suppress(KeyboardInterrupt):
            if not said:
                said = True
                begin()
            while True:
                pass


def multiplies_matrices() -> None:
    import numpy

    ones = numpy.ones((3000, 3000), dtype=numpy.int64)  # no BLAS for integers: half a minute
    begin()
    ones @ ones


def holds_the_gil() -> None:
    begin()
    collections.deque(itertools.repeat(0), maxlen=0)


def holds_the_gil_beside_a_thread() -> None:
    threading.Thread(target=rest).start()
    holds_the_gil()


def matches_a_bad_pattern() -> None:
    begin()
    re.match("(a+)+$", "a" * 100 + "b")


def imports_what_loops(directory: str) -> None:
    sys.path.insert(0, directory)
    begin()
    import half_imported  # type: ignore[import-not-found]  # noqa: F401


def is_in_a_finally() -> None:
    try:
        begin()
    finally:
        while True:
            pass


def stays_in_a_finally() -> None:
    try:
        begin()
        rest()
    finally:
        rest()


class Clings:
    """Takes long to go."""

    def __del__(self) -> None:
        rest()


def is_in_a_del() -> None:
    begin()
    Clings()
    rest()


def is_in_one_del_after_another() -> None:
    begin()
    while True:
        Clings()


def acquires_a_lock() -> None:
    lock = threading.Lock()
    lock.acquire()
    begin()
    lock.acquire()


def joins_a_thread_that_loops() -> None:
    def loop() -> None:
        while True:
            pass

    thread = threading.Thread(target=loop)
    thread.start()
    begin()
    thread.join()


def runs_a_subprocess() -> None:
    subprocess.run(["sh", "-c", f"echo begun {os.getpid()}; exec sleep 1000"])


def runs_a_subprocess_that_ignores_the_signal() -> None:
    subprocess.run(["sh", "-c", f"trap '' INT; echo begun {os.getpid()}; sleep 1000; sleep 1000"])


def ignore() -> None:
    """Not interested in interrupts."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def forked(prepare: Callable[[], object], then: Callable[[], object] = rest) -> None:
    """A child that has prepared when this returns, and never comes back."""
    ready, done = os.pipe()
    if os.fork() == 0:
        try:
            prepare()
            os.write(done, b"+")
            then()
        finally:
            os._exit(1)
    os.read(ready, 1)


def returns_twice(raises: bool) -> str:
    """As whoever forgets ``os._exit`` in the child."""
    child = os.fork()
    if child:
        return f"the task; its child ended with {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}"
    if raises:
        raise ValueError("in the child")
    return "the child"


def forks_children() -> None:
    forked(lambda: None)
    forked(ignore)
    forked(os.setsid)
    forked(lambda: (ignore(), os.setsid()))
    begin()
    rest()


def forks_children_and_refuses() -> None:
    forked(ignore)
    forked(os.setsid)
    refuses()


def leaves() -> None:
    """Go to another session, and rest there."""
    os.setsid()
    rest()


def starts_multiprocessing_children() -> None:
    fork = multiprocessing.get_context("fork")
    children = [fork.Process(target=target) for target in (rest, ignores_the_signal, leaves)]
    for child in children:
        child.start()
    begin()
    for child in children:
        child.join()


def runs_a_pool() -> None:
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
        for _ in range(4):
            pool.submit(rest)
        begin()
        rest()


# ---------------------------------------------------------------- counting in a mapped file


def count(path: str) -> None:
    """Writes a counter into the file as fast as it can: proof of life, for whoever reads it twice."""
    with open(path, "r+b") as file:
        words = memoryview(mmap.mmap(file.fileno(), 8)).cast("Q")
    while True:
        words[0] += 1


def counts_and_refuses(path: str) -> None:
    while True:
        with contextlib.suppress(KeyboardInterrupt):
            count(path)


def counts_in_a_thread(path: str) -> None:
    threading.Thread(target=count, args=(path,)).start()
    rest()


def counts_in_a_forked_child(path: str) -> None:
    child_that_counts(ignore, path)
    rest()


def counts_in_a_child_of_another_session(path: str) -> None:
    child_that_counts(os.setsid, path)
    rest()


def child_that_counts(prepare: Callable[[], object], path: str) -> None:
    """It begins when the fork is behind us: Python swallows an interrupt in what runs at a fork."""
    wait, go = os.pipe()
    forked(prepare, lambda: (os.read(wait, 1), count(path)))
    os.write(go, b"+")


def counts_in_a_subprocess(path: str) -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); import stubborn_tasks; stubborn_tasks.count(sys.argv[2])"
    subprocess.run([sys.executable, "-c", code, os.path.dirname(__file__), path])
