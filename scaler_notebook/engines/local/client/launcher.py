"""Starts the scheduler process, and holds its lifeline: the pipe by which it is told what to be."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Mapping
from io import FileIO
from pathlib import Path

from scaler_notebook import forks
from scaler_notebook.engines.local.ipc.runtime_directory import SOCKET, mark, private_base, remove, sweep
from scaler_notebook.engines.local.ipc.scheduler_config import Config
from scaler_notebook.engines.local.ipc.transport import Keys, needs_keys
from scaler_notebook.engines.local.resource_limits import thread_environment
from scaler_notebook.protocol.errors import EngineStartError
from scaler_notebook.task import top_level
from scaler_notebook.task.modules.installation import installed_first
from scaler_notebook.task.modules.search_path import search_path

from . import addresses, connection_file
from .connection_file import Connection, Owner

START_TIMEOUT = 30.0  # seconds until a scheduler that says nothing is given up; it takes 0.2 on an idle machine
LOG_TAIL = 2000  # characters of the scheduler's log that an error quotes

# Nothing of the user's runs in the scheduler, so no __main__ guard is needed; our package is found where we found it.
# No module of the user's is taken for one of Python's, either: the directory of the kernel is not on the path at first.
# But the user's sitecustomize has run: its prints, and what it has started, have the standard streams for themselves.
BOOT = """
import sys
sys.path[:] = filter(None, sys.path)
import json, os
lifeline = int(sys.argv.pop())
for stream in filter(None, (sys.stdout, sys.stderr)):
    stream.flush()
os.dup2(lifeline, 0)
os.close(lifeline)
line = b""
while not line.endswith(b"\\n"):
    data = os.read(0, 65536)
    if not data:
        os._exit(0)
    line += data
path, config = json.loads(line)
sys.path[:] = path
os.set_inheritable(config["hello"], False)
from scaler_notebook.engines.local.scheduler.main import main
main(config)
"""


_started: "weakref.WeakSet[SchedulerProcess]" = weakref.WeakSet()


@forks.in_child
def _forget() -> None:
    """A lifeline that a child still held would keep the parent from cutting it."""
    for scheduler in _started:
        scheduler.let_go()


class SchedulerProcess:
    """One scheduler of this kernel.

    Parameters
    ----------
    slots
        How many tasks run at the same time.
    capabilities
        What they share.
    max_runs
        How many tasks a process runs before another takes its place; None: as many as come.
    spares
        How many more processes wait to take the place of one that was stopped.
    address
        A checked one (:func:`scaler_notebook.engines.local.client.addresses.checked`), where it is to be; by default
        wherever this machine has a place.
    owner
        What the user's other processes are told of who has it; by default what this process is.
    protected
        Does it refuse to be shut down by a client?
    """

    def __init__(
        self,
        slots: int,
        capabilities: Mapping[str, int],
        spares: int = 1,
        *,
        max_runs: int | None = None,
        address: str = "",
        owner: Owner | None = None,
        protected: bool = True,
    ) -> None:
        self.slots = slots
        self.capabilities = dict(capabilities)
        self.max_runs = max_runs
        self.spares = spares
        self.address = ""  # until it is started
        self.endpoint = ""
        self.keys = Keys.new() if needs_keys() else None
        self._wanted = address
        self._owner = owner
        self._protected = protected
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline: FileIO | None = None
        self._hello: FileIO | None = None  # what it says once; open for as long as it lives
        self._directory: Path | None = None
        self._started_by = 0  # a process id: what is forked of that process has a copy of this, and no engine

    def start(self) -> None:
        """Start it and wait for its address.

        Raises
        ------
        EngineStartError
            It did not start; nothing of it is left.
        RuntimeError
            A module is being imported in a process of an engine; see :mod:`scaler_notebook.task.top_level`.
        """
        top_level.refuse_at_top_level()
        top_level.refuse_to_nest_deeper()
        self._started_by = os.getpid()
        _started.add(self)
        try:
            base = private_base()
            sweep(base)
            if self._wanted and connection_file.find(self._wanted) is not None:
                raise EngineStartError(
                    f"the address {self._wanted} is in use by another engine of yours; {addresses.ADVICE}"
                )
            self._directory = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=base))
            mark(self._directory)
            if self._path:
                addresses.claim(self._path, str(self._directory / SOCKET), base)
            self._process = self._spawn(self._directory)
            self.endpoint = self._handshake()
            if self._path:
                self.address = self._wanted
            connection_file.write(self._directory, self._connection(self._process.pid))
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

    @property
    def _path(self) -> str:
        """The one that the user chose for its socket, if any."""
        return addresses.path_of(self._wanted)

    def _connection(self, pid: int) -> Connection:
        owner, title = connection_file.owner_of_this_process()
        started = connection_file.start_of(pid)
        whose = self._owner or owner, os.getpid(), title
        return Connection(self.address, self.endpoint, pid, self.keys, started, *whose, self._protected)

    def _spawn(self, directory: Path) -> "subprocess.Popen[bytes]":
        lifeline, self._lifeline = _pipe()
        with lifeline:
            self._hello, hello = _pipe()
            with hello, open(directory / "log", "wb") as log:
                config = self._config(directory, hello.fileno())
                process = self._run(lifeline.fileno(), hello.fileno(), log.fileno())
        told = json.dumps([installed_first(search_path()), config]).encode() + b"\n"
        with contextlib.suppress(BrokenPipeError):  # it has ended already: the handshake finds out
            while told:
                told = told[self._lifeline.write(told) :]
        return process

    def _config(self, directory: Path, hello: int) -> Config:
        return {
            "directory": str(directory),
            "slots": self.slots,
            "spares": self.spares,
            "capabilities": self.capabilities,
            "max_runs": self.max_runs,
            "kernel": os.getpid(),
            "keys": self.keys.as_dict() if self.keys is not None else None,
            "port": addresses.port_of(self._wanted) if self._wanted.startswith("tcp:") else None,
            "link": self._path,
            "protected": self._protected,
            "hello": hello,
        }

    def _run(self, lifeline: int, hello: int, log: int) -> "subprocess.Popen[bytes]":
        nested = {top_level.VARIABLE: str(top_level.depth() + 1)}
        return subprocess.Popen(
            [sys.executable, "-c", BOOT, str(lifeline)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(lifeline, hello),
            env={**os.environ, **thread_environment(max(1, self.slots)), **nested},
            start_new_session=True,  # Jupyter interrupts the kernel's whole process group
        )

    def _handshake(self) -> str:
        said = self.end_of_life()
        line = b""
        deadline = time.monotonic() + START_TIMEOUT
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([said], [], [], max(0.0, deadline - time.monotonic()))
            data = os.read(said, 65536) if ready else b""
            if not data:
                what = "ended at once" if ready else f"said nothing for {START_TIMEOUT:.0f} s"
                raise EngineStartError(f"the scheduler process {what}.{self.log_tail()}")
            line += data
        hello = json.loads(line)
        if "error" in hello:
            raise EngineStartError(f"the engine could not start: {hello['error']}")
        self.address = str(hello["address"])
        return str(hello["endpoint"])

    @property
    def pid(self) -> int:
        """The scheduler's process id."""
        return self._process.pid if self._process is not None else 0

    @property
    def runs(self) -> bool:
        """Is its process there?"""
        if self._started_by != os.getpid():  # nor is it ours to wait for, then
            return bool(self.address) and connection_file.find(self.address) is not None
        return self._process is not None and self._process.poll() is None

    def wait(self, timeout: float | None) -> bool:
        """Wait until it ends by itself, or by a client; False after ``timeout`` seconds. :meth:`join` cleans up."""
        process = self._process
        if process is None or process.poll() is not None:
            return True
        ended, _, _ = select.select([self.end_of_life()], [], [], timeout)
        if ended:
            process.wait()  # its end of the pipe is closed some moments before it is gone
        return bool(ended)

    def problem(self) -> str:
        """Why its process ended, if not as it should; empty otherwise, while it runs, and after :meth:`join`."""
        if self._process is None or not self._process.poll():
            return ""
        code = self._process.returncode
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit status {code}"
        return f"the scheduler process {how}.{self.log_tail()}"

    def end_of_life(self) -> int:
        """A descriptor that becomes readable, at its end, when the scheduler process ends."""
        assert self._hello is not None
        return self._hello.fileno()

    def log_tail(self) -> str:
        """The last lines of its log, ready to be put behind an error; empty if there are none."""
        with contextlib.suppress(OSError):
            if self._directory is not None:
                text = (self._directory / "log").read_text(errors="replace").strip()[-LOG_TAIL:]
                return f" Its log ends:\n{text}" if text else ""
        return ""

    def cut_lifeline(self) -> None:
        """Let it end, with everything it runs. Returns at once; any thread, any number of times."""
        if self._lifeline is not None:
            with contextlib.suppress(OSError):
                self._lifeline.close()

    def let_go(self) -> None:
        """In a forked child: close what leads to the parent's scheduler."""
        for pipe in (self._lifeline, self._hello):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

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
        if self._started_by != os.getpid():
            return
        if process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.5 if process.poll() is None else 0)
            if process.poll() is None:
                process.kill()
                process.wait()
        if self._hello is not None:
            self._hello.close()
        if self._directory is not None:
            remove(self._directory, self._path)


def _pipe() -> tuple[FileIO, FileIO]:
    """The end to read from, and the end to write to."""
    ear, mouth = os.pipe()
    return FileIO(ear), FileIO(mouth, "wb")
