"""The connection file of an engine: how to reach the engine, readable for its user alone.

By this file the engine's address is enough for the user's other processes, and useless to other users. The file lies in
the engine's private directory and is removed with the directory; it is out of date only if the scheduler was killed.
"""

import contextlib
import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Literal, TypeAlias

from scaler_notebook.engines.local.ipc import runtime_directory
from scaler_notebook.engines.local.ipc.transport import Keys
from scaler_notebook.protocol.frozen import frozen

NAME = "connection.json"
HAS_BOOT_CLOCK = Path("/proc/self/stat").exists() and hasattr(time, "CLOCK_BOOTTIME")
STATE, STARTTIME = 0, 19  # indexes among the fields of /proc/PID/stat that follow the process's name, see proc(5)
ZOMBIE = "Z"

Owner: TypeAlias = Literal["notebook", "script", "cluster"]


@frozen
class ConnectionInfo:
    """How to reach an engine, and which process owns the engine.

    Parameters
    ----------
    address
        What a user gives to reach the engine.
    endpoint
        The address of the scheduler's socket: the same as ``address``, unless the user has chosen one.
    pid
        The process id of the scheduler.
    keys
        The keys to the socket; None if the socket needs none.
    started
        When the scheduler was started, as :func:`start_of` gives it: ``pid`` may be another process's by now.
    owner
        What kind of process the engine ends with.
    owner_pid
        The id of that process.
    title
        The name of the notebook or script; empty if unknown.
    protected
        Does the engine refuse to be shut down by a client?
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
        """Whether the scheduler runs. A zombie does not."""
        return process_lives(self.pid, self.started)


def process_lives(pid: int, started: float) -> bool:
    """Return whether the process with this number that was started at that time runs. A zombie does not.

    Parameters
    ----------
    pid
        The number.
    started
        The time, as :func:`start_of` gives it.
    """
    state, found = _state_and_start(pid)
    return state != ZOMBIE and found == started


def start_of(pid: int) -> float:
    """Return when a process was started, in seconds; 0 if the process has ended.

    On Linux the seconds count from the machine's boot, because there the start time since the epoch changes with each
    correction of the wall clock. Elsewhere they count from the epoch.
    """
    return _state_and_start(pid)[1]


def _state_and_start(pid: int) -> tuple[str, float]:
    """Return the state of a process, and what :func:`start_of` says; a process that has ended counts as a zombie."""
    if HAS_BOOT_CLOCK:
        try:
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
            return fields[STATE].decode(), int(fields[STARTTIME]) / os.sysconf("SC_CLK_TCK")
        except OSError:
            return ZOMBIE, 0.0
    import psutil  # here, because Linux does without

    try:
        process = psutil.Process(pid)
        return ZOMBIE if process.status() == psutil.STATUS_ZOMBIE else "", process.create_time()
    except (OSError, psutil.Error):
        return ZOMBIE, 0.0


def seconds_since(started: float) -> float:
    """Return the seconds that have passed since a start time that :func:`start_of` gave."""
    return (time.clock_gettime(time.CLOCK_BOOTTIME) if HAS_BOOT_CLOCK else time.time()) - started


def owner_of_this_process() -> tuple[Owner, str]:
    """Return what kind of process this one is, and the name of the notebook or script, empty if unknown."""
    if "ipykernel.kernelapp" in sys.modules:
        return "notebook", os.path.basename(os.environ.get("JPY_SESSION_NAME", ""))
    script = Path(getattr(sys.modules.get("__main__"), "__file__", None) or "")
    return "script", script.parent.name if script.name == "__main__.py" else script.name


def write(directory: Path, connection: ConnectionInfo) -> None:
    """Write the connection file of an engine, atomically: other processes may be reading.

    Parameters
    ----------
    directory
        The engine's private directory.
    connection
        How to reach the engine.
    """
    draft = directory / f"{NAME}.new"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w") as file:
        json.dump(asdict(connection), file)
    draft.rename(directory / NAME)


def read(directory: Path) -> ConnectionInfo | None:
    """Read the connection file in an engine's directory; None if there is none that can be read."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        found = json.loads((directory / NAME).read_text())
        found["keys"] = Keys(**found["keys"]) if found["keys"] is not None else None
        return ConnectionInfo(**found)
    return None


def engines() -> list[ConnectionInfo]:
    """Return the engines of this user that run on this machine, the oldest first."""
    found = [
        connection
        for directory in runtime_directory.engine_directories()
        if (connection := read(directory)) is not None
    ]
    return sorted((connection for connection in found if connection.lives), key=lambda found: found.started)


def find(address: str) -> ConnectionInfo | None:
    """Return this user's running engine at an address that :func:`~.addresses.checked` gave; None if there is none."""
    return next((connection for connection in engines() if connection.address == address), None)


def is_taken(directory: Path) -> bool:
    """Return whether the engine of this directory runs, or its owner is about to start the scheduler."""
    connection = read(directory)
    if connection is not None:
        return connection.lives
    owner, _, _ = directory.name.partition("-")
    return directory.exists() and owner.isdecimal() and start_of(int(owner)) > 0.0
