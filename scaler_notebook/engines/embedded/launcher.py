"""Starts the scheduler process, and holds its lifeline: the pipe behind its stdin."""

import contextlib
import json
import os
import select
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from ...protocol.errors import EngineStartError
from . import connection_file
from .connection_file import Connection
from .cores import thread_environment
from .scheduler import Config
from .transport import Keys, needs_keys

START_TIMEOUT = 30.0  # seconds until a scheduler that says nothing is given up; it takes 0.2 on an idle machine
MAX_SOCKET_PATH = 100  # bytes; the system's limit is 107 on Linux, 103 on macOS
LAST_RESORT = "/tmp"  # where TMPDIR is too long for a socket
LOG_TAIL = 2000  # characters of the scheduler's log that an error quotes

# Nothing of the user's runs in the scheduler, so no __main__ guard is needed; our package is found where we found it.
BOOT = """
import json, os, sys
line = b""
while not line.endswith(b"\\n"):
    data = os.read(0, 65536)
    if not data:
        os._exit(0)
    line += data
path, config = json.loads(line)
sys.path[:] = path
from scaler_notebook.engines.embedded.scheduler import main
main(config)
"""


def private_base() -> Path:
    """The directory that only this user can enter, in which every engine has its own.

    Raises
    ------
    EngineStartError
        It cannot be made, or it belongs to somebody else.
    """
    candidates = [os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), LAST_RESORT]
    name = f"scaler_notebook-{os.getuid()}"
    problem = "no directory for temporary files"
    for parent in filter(None, candidates):
        base = Path(parent) / name
        if len(os.fsencode(base)) > MAX_SOCKET_PATH - 40:  # room for the engine's own directory and socket
            continue
        try:
            base.mkdir(mode=0o700, exist_ok=True)
            info = base.lstat()
            if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid():
                problem = f"{base} belongs to somebody else"
                continue
            base.chmod(0o700)
            return base
        except OSError as error:
            problem = str(error)
    raise EngineStartError(
        f"no private directory for the engine's socket: {problem}. Set TMPDIR or XDG_RUNTIME_DIR to a short path "
        "that you can write to."
    )


def sweep(base: Path) -> None:
    """Remove what engines left whose machine or whose every process was killed: the name holds the kernel's pid."""
    for directory in base.iterdir():
        pid, _, _ = directory.name.partition("-")
        if pid.isdigit() and not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists():
            with contextlib.suppress(OSError):
                if time.time() - directory.stat().st_mtime > 60:
                    shutil.rmtree(directory, ignore_errors=True)


class SchedulerProcess:
    """One scheduler of this kernel.

    Parameters
    ----------
    slots
        How many tasks run at the same time.
    capabilities
        What they share.
    spares
        How many more processes wait to take the place of one that was stopped.
    """

    def __init__(self, slots: int, capabilities: Mapping[str, int], spares: int = 1) -> None:
        self.slots = slots
        self.capabilities = dict(capabilities)
        self.spares = spares
        self.address = ""
        self.keys = Keys.new() if needs_keys() else None
        self._process: subprocess.Popen[bytes] | None = None
        self._directory: Path | None = None

    def start(self) -> None:
        """Start it and wait for its address.

        Raises
        ------
        EngineStartError
            It did not start; nothing of it is left.
        """
        try:
            base = private_base()
            sweep(base)
            self._directory = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=base))
            self._process = self._spawn(self._directory)
            self.address = self._handshake(self._process)
            connection_file.write(self._directory, Connection(self.address, self._process.pid, self.keys))
        except EngineStartError:
            self._clean_up()
            raise
        except OSError as error:
            self._clean_up()
            raise EngineStartError(
                f"the scheduler process could not be started: {error}. This machine refuses it (permissions, disk, "
                "memory, or a limit on processes); nothing was submitted."
            ) from error
        except BaseException:
            self._clean_up()
            raise

    def _spawn(self, directory: Path) -> "subprocess.Popen[bytes]":
        config: Config = {
            "directory": str(directory),
            "slots": self.slots,
            "spares": self.spares,
            "capabilities": self.capabilities,
            "kernel": os.getpid(),
            "keys": self.keys.as_dict() if self.keys is not None else None,
        }
        with open(directory / "log", "wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", BOOT],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **thread_environment(self.slots)},
                start_new_session=True,  # Jupyter interrupts the kernel's whole process group
                bufsize=0,
            )
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended already: the handshake finds out
            process.stdin.write(json.dumps([sys.path, config]).encode() + b"\n")
        return process

    def _handshake(self, process: "subprocess.Popen[bytes]") -> str:
        assert process.stdout is not None
        line = b""
        deadline = time.monotonic() + START_TIMEOUT
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            data = os.read(process.stdout.fileno(), 65536) if ready else b""
            if not data:
                what = "ended at once" if ready else f"said nothing for {START_TIMEOUT:.0f} s"
                raise EngineStartError(f"the scheduler process {what}.{self.log_tail()}")
            line += data
        hello = json.loads(line)
        if "error" in hello:
            raise EngineStartError(f"the scheduler could not start: {hello['error']}")
        return str(hello["address"])

    @property
    def pid(self) -> int:
        """The scheduler's process id."""
        return self._process.pid if self._process is not None else 0

    def end_of_life(self) -> int:
        """A descriptor that becomes readable, at its end, when the scheduler process ends."""
        assert self._process is not None
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def log_tail(self) -> str:
        """The last lines of its log, ready to be put behind an error; empty if there are none."""
        with contextlib.suppress(OSError):
            if self._directory is not None:
                text = (self._directory / "log").read_text(errors="replace").strip()[-LOG_TAIL:]
                return f" Its log ends:\n{text}" if text else ""
        return ""

    def cut_lifeline(self) -> None:
        """Let it end, with everything it runs. Returns at once; any thread, any number of times."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    def join(self, timeout: float) -> bool:
        """Wait for its end; kill it after ``timeout`` seconds. False if it had to be killed."""
        if self._process is None:
            return True
        in_time = True
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            in_time = False
        self._clean_up()
        return in_time

    def _clean_up(self) -> None:
        self.cut_lifeline()
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.5 if process.poll() is None else 0)
            if process.poll() is None:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
