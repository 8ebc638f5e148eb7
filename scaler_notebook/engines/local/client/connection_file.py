"""How an engine's address alone is enough for its owner, and useless to others: a file that only the owner can read.

It lies in the engine's own private directory and goes with it, so that what it says is true as long as it is there, or
until its scheduler is killed.
"""

import contextlib
import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import psutil

from scaler_notebook.engines.local.ipc import runtime_directory
from scaler_notebook.engines.local.ipc.transport import Keys

NAME = "connection.json"
HAS_BOOT_CLOCK = Path("/proc/self/stat").exists() and hasattr(time, "CLOCK_BOOTTIME")
STARTTIME = 19  # of the fields of /proc/PID/stat that follow the process's name, see proc(5)

Owner: TypeAlias = Literal["notebook", "script", "cluster"]


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """How to reach an engine, and whose it is.

    Parameters
    ----------
    address
        What a user gives to reach it.
    endpoint
        Where its socket is: the same, unless the user chose a path for it.
    pid
        Of its scheduler.
    started
        When that was started, as :func:`start_of` says it: its number may be another's by now.
    owner, owner_pid, title
        The process that it ends with, what that is, and the notebook's or script's name ("" where nobody knows).
    protected
        Does it refuse to be shut down by a client?
    """

    address: str
    endpoint: str
    pid: int
    keys: Keys | None
    started: float
    owner: Owner
    owner_pid: int
    title: str
    protected: bool

    @property
    def lives(self) -> bool:
        """Is its scheduler there? A zombie is not."""
        return process_lives(self.pid, self.started)


def process_lives(pid: int, started: float) -> bool:
    """Is there a process of this number that was started then (:func:`start_of`), and is no zombie?"""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE and start_of(pid) == started
    except psutil.Error:
        return False


def start_of(pid: int) -> float:
    """When a process was started, in seconds on a clock that nobody sets; 0 if the process has ended.

    The seconds are those since the machine's boot where the system tells them so, and since the epoch elsewhere. On
    Linux the start since the epoch changes with each correction of the wall clock.
    """
    try:
        if HAS_BOOT_CLOCK:
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
            return int(fields[STARTTIME]) / os.sysconf("SC_CLK_TCK")
        return psutil.Process(pid).create_time()
    except (OSError, psutil.Error):
        return 0.0


def seconds_since(started: float) -> float:
    """Seconds that have passed since a start that :func:`start_of` gave."""
    return (time.clock_gettime(time.CLOCK_BOOTTIME) if HAS_BOOT_CLOCK else time.time()) - started


def owner_of_this_process() -> tuple[Owner, str]:
    """What this process is, and its title."""
    if "ipykernel.kernelapp" in sys.modules:
        return "notebook", os.path.basename(os.environ.get("JPY_SESSION_NAME", ""))
    script = Path(getattr(sys.modules.get("__main__"), "__file__", None) or "")
    return "script", script.parent.name if script.name == "__main__.py" else script.name


def write(directory: Path, connection: ConnectionInfo) -> None:
    """Tell the user's other processes of an engine: all at once, for they may be looking."""
    draft = directory / f"{NAME}.new"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w") as file:
        json.dump(asdict(connection), file)
    draft.rename(directory / NAME)


def read(directory: Path) -> ConnectionInfo | None:
    """What is written there; None if nothing of ours is, or it is going away."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        found = json.loads((directory / NAME).read_text())
        found["keys"] = Keys(**found["keys"]) if found["keys"] is not None else None
        return ConnectionInfo(**found)
    return None


def engines() -> list[ConnectionInfo]:
    """The engines of this user on this machine, the oldest first; each lives, or did a moment ago."""
    found = [
        connection
        for directory in runtime_directory.engine_directories()
        if (connection := read(directory)) is not None
    ]
    return sorted((connection for connection in found if connection.lives), key=lambda found: found.started)


def find(address: str) -> ConnectionInfo | None:
    """The engine of this user at a checked address, if its scheduler lives."""
    return next((connection for connection in engines() if connection.address == address), None)


def is_taken(directory: Path) -> bool:
    """Has the engine of this directory not ended? It lives, or its owner does and starts it."""
    connection = read(directory)
    if connection is not None:
        return connection.lives
    owner, _, _ = directory.name.partition("-")
    return directory.exists() and owner.isdecimal() and psutil.pid_exists(int(owner))
