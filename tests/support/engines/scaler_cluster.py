"""A real OpenGRIS Scaler cluster, in processes of its own: storage, scheduler, workers, and their task processes."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from leaks import MARKER
from open_files import open_files
from ports import free_port
from scaler.io.ymq import IOContext

MARK = "SCALER_CLUSTER_OF_TESTS"
IOContext()  # the first one of a process makes a pipe for signals (libuv's), which stays to the end

LISTENS = "0A"  # TCP_LISTEN, as the system's table of connections says it
INODE = 9  # the column of that table with the number of the socket
START = 30.0  # seconds until its workers must be there
SUPPORT = Path(__file__).parents[1]
# Where tests have the functions of their tasks.
FUNCTIONS = (*(SUPPORT / name for name in ("common", "engines", "tasks")), SUPPORT.parent / "clusters")
NOWHERE = SUPPORT / "without_package"  # first in a path, it hides this package
SCRIPT = NOWHERE / "start_scaler.py"  # its directory is in the path of all of the cluster


def listens(pid: int, port: int) -> bool:
    """Whether a process listens at a port of this machine. No connection is made: the process would have to end it."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    at_port = [row[INODE] for row in rows if int(row[1].rpartition(":")[2], 16) == port and row[3] == LISTENS]
    is_its_own = bool(at_port) and f"socket:[{at_port[0]}]" in open_files(pid)
    assert not at_port or is_its_own, f"another program has the cluster's port {port}"
    return bool(at_port)


class ScalerCluster:
    """Starts with the constructor.

    Parameters
    ----------
    workers
        How many.
    settings
        Of ``scaler.SchedulerClusterCombo``.
    bare
        Its workers cannot import this package, nor a module of the tests.
    """

    def __init__(self, workers: int = 2, bare: bool = False, **settings: Any) -> None:
        self._mark = secrets.token_hex(8)
        environment = {name: value for name, value in os.environ.items() if name != MARKER}
        ports = ("address", "object_storage_address")
        settings |= {name: f"tcp://127.0.0.1:{free_port()}" for name in ports}
        environment |= {MARK: self._mark, "PYTHONPATH": str(NOWHERE) if bare else os.pathsep.join(map(str, FUNCTIONS))}
        with tempfile.TemporaryDirectory() as directory:
            told = Path(directory) / "told"
            # Without pipes: it outlives the test that starts it, and what a test opens must not.
            self._process = subprocess.Popen(
                [sys.executable, SCRIPT, json.dumps({"n_workers": workers, **settings}), told],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )
            deadline = time.monotonic() + START
            while not told.exists():
                assert self._process.poll() is None, "the cluster did not start"
                assert time.monotonic() < deadline, "the cluster starts too slowly"
                time.sleep(0.01)
            self.address, self.scheduler = json.loads(told.read_text())
        port = int(self.address.rpartition(":")[2])
        while not listens(self.scheduler, port):
            assert time.monotonic() < deadline, "the cluster's scheduler starts too slowly"
            time.sleep(0.01)

    def processes(self) -> set[int]:
        """All of it that runs."""
        wanted = f"{MARK}={self._mark}".encode()
        found = set()
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.add(int(entry.name))
            except OSError:
                continue
        return found

    def kill_scheduler(self) -> None:
        """As if its machine were lost."""
        os.kill(self.scheduler, signal.SIGKILL)

    def stop(self) -> None:
        """End it; nothing of it is left then."""
        self._process.terminate()
        try:
            self._process.wait(3)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        deadline = time.monotonic() + START
        while left := self.processes():
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            assert time.monotonic() < deadline, f"{left} outlive their cluster"
            time.sleep(0.01)

    def __enter__(self) -> ScalerCluster:
        return self

    def __exit__(self, *problem: object) -> None:
        self.stop()


@functools.cache
def shared(workers: int = 2) -> ScalerCluster:
    """One for all tests that harm none; :func:`stop_shared` ends it."""
    _shared.append(cluster := ScalerCluster(workers))
    return cluster


_shared: list[ScalerCluster] = []


def stop_shared() -> None:
    """At the end of the session."""
    while _shared:
        _shared.pop().stop()
