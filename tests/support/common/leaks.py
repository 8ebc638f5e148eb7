"""What a test run has made and must not leave: processes, threads, sockets, memory files, directories."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MARKER = "SCALER_NOTEBOOK_TEST_RUN"  # an environment variable: all that a test run starts inherits its value
PATIENCE = 5.0  # seconds until what was ended must be gone


_of_others: set[int] = set()  # found to be no processes of this run when they were looked at last


def our_processes() -> set[int]:
    """Processes of this test run other than this one; zombies count, for somebody forgot to wait for them."""
    wanted = f"{MARKER}={os.environ[MARKER]}".encode()
    there = {int(name) for name in os.listdir("/proc") if name.isdigit()} - {os.getpid()}
    found = set()
    for pid in there - _of_others:
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                environment = file.read()
        except OSError:
            continue
        if wanted in environment.split(b"\0"):
            found.add(pid)
        elif environment:  # a process that has just been forked, or is to become another program, has none
            _of_others.add(pid)
    _of_others.intersection_update(there)
    return found


def our_threads() -> set[threading.Thread]:
    """Threads of the package that must end with their executor (those of callbacks, output and views serve all)."""
    kept = {f"scaler_notebook {name}" for name in ("callbacks", "inputs", "output", "publisher")}
    return {t for t in threading.enumerate() if t.name.startswith("scaler_notebook") and t.name not in kept}


def open_files() -> dict[str, int]:
    """Sockets, memory files and pipes of this process, by kind."""
    counts: dict[str, int] = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            kind = os.readlink(entry).split(":")[0]
        except OSError:
            continue
        if kind in ("socket", "pipe") or kind.startswith("/memfd"):
            counts[kind] = counts.get(kind, 0) + 1
    return counts


def sockets() -> list[str]:
    """What the system's tables say of the open sockets of this process: addresses, states, paths."""
    ours = set()
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # it has just been closed
            ours.add(os.readlink(entry))
    tables = [path for kind in ("tcp", "tcp6", "unix") if (path := Path(f"/proc/net/{kind}")).exists()]
    rows = [line.split() for table in tables for line in table.read_text().splitlines()]
    return [" ".join(row) for row in rows if ours & {f"socket:[{word}]" for word in row}]


def engine_directories() -> set[Path]:
    """Private directories of engines that this process started."""
    base = Path(os.environ["XDG_RUNTIME_DIR"]) / f"scaler_notebook-{os.getuid()}"
    return set(base.glob(f"{os.getpid()}-*"))


class Watch:
    """What is there when a test begins; :meth:`left` is what the test has left beyond that.

    Parameters
    ----------
    shared
        Names of kinds, e.g. ``{"processes", "files"}``, that outlive the test because others of its module use them.
    known_processes
        Gives the ids of processes that others use too, and that may have come during the test.
    """

    def __init__(self, shared: frozenset[str] = frozenset(), known_processes: Callable[[], set[int]] = set) -> None:
        self._shared = shared
        self._known_processes = known_processes
        self._processes = our_processes()
        self._threads = our_threads()
        self._files = open_files()
        self._directories = engine_directories()

    def left(self) -> dict[str, Any]:
        """Wait up to :data:`PATIENCE` seconds for everything to be gone; the rest by kind, empty if all is."""
        begun = time.monotonic()
        collect_at = begun
        while (found := self._found()) and (now := time.monotonic()) < begun + PATIENCE:
            if now >= collect_at:  # what only a cycle of garbage holds is no leak; it may become garbage while we wait
                gc.collect()
                collect_at = now + PATIENCE / 4
            time.sleep(0.01)
        if "files" in found:
            found["sockets"] = sockets()
        return found

    def _found(self) -> dict[str, Any]:
        processes = set() if "processes" in self._shared else our_processes() - self._processes
        found = {
            "processes": processes and processes - self._known_processes(),
            "threads": {thread.name for thread in our_threads() - self._threads},
            "files": {kind: n for kind, n in open_files().items() if n > self._files.get(kind, 0)},
            "directories": engine_directories() - self._directories,
        }
        return {kind: what for kind, what in found.items() if what and kind not in self._shared}
