"""The scheduler process of a client: how it is started, watched and ended."""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence

from scaler_notebook.engines.local.client import addresses, connection_file
from scaler_notebook.engines.local.client.connection_file import ConnectionInfo, Owner
from scaler_notebook.engines.local.client.readiness import wait_until_ready
from scaler_notebook.engines.local.ipc.runtime_directory import private_base, remove_stale
from scaler_notebook.engines.local.ipc.scheduler_config import Config
from scaler_notebook.engines.local.ipc.transport import Keys, needs_keys
from scaler_notebook.protocol.errors import EngineStartError
from scaler_notebook.task import top_level
from scaler_notebook.task.modules.installation import installed_first
from scaler_notebook.task.modules.search_path import search_path

from .boot import boot_scheduler
from .engine_directory import EngineDirectory
from .scheduler_pipes import SchedulerPipes

START_TIMEOUT = 30.0  # seconds until a scheduler that sends nothing is given up; on an idle machine it takes 0.2


class SchedulerProcess:
    """One scheduler process of this kernel.

    Parameters
    ----------
    slots
        How many tasks run at the same time.
    capabilities
        How much there is of each capability in all, to be shared by the tasks that run.
    spares
        How many more task processes wait to take the place of one that was stopped.
    max_runs
        How many tasks a task process runs before another process takes its place; None for any number.
    gpus
        The names of the devices that tasks may be given.
    idle_timeout
        Seconds after which an idle task process goes, to come back on demand; None for never.
    address
        The address to be reached at, as :func:`~scaler_notebook.engines.local.client.addresses.checked` gives it; by
        default a Unix socket in the engine's private directory or, where there are none, any free port.
    owner
        What the connection file says of the process that the engine ends with; by default what this process is.
    protected
        Does the scheduler refuse to be shut down by a client?
    """

    def __init__(
        self,
        slots: int,
        capabilities: Mapping[str, int],
        spares: int = 1,
        *,
        max_runs: int | None = None,
        gpus: Sequence[str] = (),
        idle_timeout: float | None = None,
        address: str = "",
        owner: Owner | None = None,
        protected: bool = True,
    ) -> None:
        self.slots = slots
        self.capabilities = dict(capabilities)
        self.max_runs = max_runs
        self.gpus = tuple(gpus)
        self.idle_timeout = idle_timeout
        self.spares = spares
        self.address = ""  # until :meth:`start`
        self.endpoint = ""  # likewise
        self.keys = Keys.new() if needs_keys() else None
        self._requested_address = address
        self._owner = owner
        self._protected = protected
        self._process: subprocess.Popen[bytes] | None = None
        self._pipes: SchedulerPipes | None = None
        self._directory: EngineDirectory | None = None
        self._started_by = 0  # a process id: a fork of that process has a copy of this object, and no scheduler

    # ------------------------------------------------------------------ start

    def start(self) -> None:
        """Start the process, and wait until the scheduler can be reached.

        Raises
        ------
        EngineStartError
            The scheduler did not start; nothing of it is left.
        """
        self.launch()
        self.complete_start()

    def launch(self) -> None:
        """Start the process, which then loads its modules; :meth:`complete_start` is to follow.

        Raises
        ------
        EngineStartError
            The process cannot be started; nothing of it is left.
        """
        top_level.refuse_to_nest_deeper()
        self._started_by = os.getpid()
        with self._nothing_left():
            base = private_base()
            remove_stale(base)
            if self._requested_address and connection_file.find(self._requested_address) is not None:
                raise EngineStartError(
                    f"the address {self._requested_address} is in use by another engine of yours; {addresses.ADVICE}"
                )
            self._directory = EngineDirectory(base, self._link)
            self._directory.prepare()
            self._pipes = SchedulerPipes()
            self._process = self._boot(self._directory, self._pipes)

    def complete_start(self) -> None:
        """Wait until the scheduler can be reached.

        Raises
        ------
        EngineStartError
            The scheduler did not start; nothing of it is left.
        """
        with self._nothing_left():
            assert self._process is not None
            assert self._directory is not None
            assert self._pipes is not None
            self.endpoint = self._receive_hello(self._pipes)
            if self._link:
                self.address = self._requested_address
            connection_file.write(self._directory.path, self._connection_info(self._process.pid))

    @contextlib.contextmanager
    def _nothing_left(self) -> Iterator[None]:
        """Clean up when the start fails within the ``with`` block; what the system refuses is an EngineStartError."""
        try:
            yield
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
    def _link(self) -> str:
        """The path that the user has chosen for the socket; empty for none."""
        return addresses.path_of(self._requested_address)

    def _connection_info(self, pid: int) -> ConnectionInfo:
        """Return the contents of the connection file."""
        owner, title = connection_file.owner_of_this_process()
        started = connection_file.start_of(pid)
        whose = self._owner or owner, os.getpid(), title
        return ConnectionInfo(self.address, self.endpoint, pid, self.keys, started, *whose, self._protected)

    def _boot(self, directory: EngineDirectory, pipes: SchedulerPipes) -> "subprocess.Popen[bytes]":
        """Start the process, and send the process its configuration."""
        lifeline, hello = pipes.scheduler_ends
        try:
            with open(directory.log, "wb") as log:
                process = boot_scheduler(lifeline, hello, log.fileno(), self.slots)
        finally:
            pipes.close_scheduler_ends()
        pipes.write(json.dumps([installed_first(search_path()), self._config(directory, hello)]).encode() + b"\n")
        return process

    def _config(self, directory: EngineDirectory, hello: int) -> Config:
        """Return the configuration of the scheduler."""
        port = addresses.port_of(self._requested_address)
        return {
            "directory": str(directory.path),
            "slots": self.slots,
            "spares": self.spares,
            "capabilities": self.capabilities,
            "gpus": list(self.gpus),
            "max_runs": self.max_runs,
            "idle_timeout": self.idle_timeout or 0.0,
            "kernel": os.getpid(),
            "keys": self.keys.as_dict() if self.keys is not None else None,
            "port": port if self._requested_address.startswith("tcp:") else None,
            "link": self._link,
            "protected": self._protected,
            "hello": hello,
        }

    def _receive_hello(self, pipes: SchedulerPipes) -> str:
        """Wait for the scheduler's hello, which has the engine's address, and return the address of the socket."""
        try:
            hello = json.loads(pipes.read_hello(START_TIMEOUT))
        except EOFError:
            raise EngineStartError(f"the scheduler process ended at once.{self.log_tail()}") from None
        except TimeoutError:
            words = f"said nothing for {START_TIMEOUT:.0f} s"
            raise EngineStartError(f"the scheduler process {words}.{self.log_tail()}") from None
        if "error" in hello:
            raise EngineStartError(f"the engine could not start: {hello['error']}")
        self.address = str(hello["address"])
        return str(hello["endpoint"])

    # ------------------------------------------------------------------ the running process

    @property
    def pid(self) -> int:
        """The process id of the scheduler; 0 before :meth:`start` and after :meth:`join`."""
        return self._process.pid if self._process is not None else 0

    @property
    def is_running(self) -> bool:
        """Whether the scheduler runs."""
        if self._started_by != os.getpid():  # a fork, of whose parent the process is the child
            return bool(self.address) and connection_file.find(self.address) is not None
        return self._process is not None and self._process.poll() is None

    def wait(self, timeout: float | None) -> bool:
        """Wait until the process ends, by itself or because a client has shut it down. :meth:`join` cleans up.

        Parameters
        ----------
        timeout
            Seconds to wait; None for any time.

        Returns
        -------
        bool
            Has the process ended?
        """
        process = self._process
        if process is None or process.poll() is not None:
            return True
        ended = wait_until_ready(self.end_descriptor(), timeout)
        if ended:
            process.wait()  # the pipe closes some moments before the process is gone
        return bool(ended)

    def problem(self) -> str:
        """Return why the process ended with an error; empty if it did not, while it runs, and after :meth:`join`."""
        if self._process is None or not self._process.poll():
            return ""
        code = self._process.returncode
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit status {code}"
        return f"the scheduler process {how}.{self.log_tail()}"

    def end_descriptor(self) -> int:
        """Return a descriptor that becomes readable, at the end of its stream, when the process ends."""
        assert self._pipes is not None
        return self._pipes.end_descriptor()

    def log_tail(self) -> str:
        """Return the last lines of the scheduler's log, ready to be put behind an error; empty if there are none."""
        return self._directory.log_tail() if self._directory is not None else ""

    # ------------------------------------------------------------------ end

    def kill(self) -> None:
        """Kill the process by SIGKILL and wait for its end; its task processes die with it. :meth:`join` cleans up."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def cut_lifeline(self) -> None:
        """Let the process end, with every task process. Returns at once; any thread, any number of times."""
        if self._pipes is not None:
            self._pipes.cut_lifeline()

    def join(self, timeout: float) -> bool:
        """Wait for the end of the process, and clean up.

        Parameters
        ----------
        timeout
            Seconds after which the process is killed.

        Returns
        -------
        bool
            Has the process ended by itself?
        """
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
        """End the process if it runs, close the pipes, and remove the directory; in a fork, cut the lifeline alone."""
        self.cut_lifeline()
        process, self._process = self._process, None
        if self._started_by != os.getpid():
            return
        if process is not None:
            try:
                process.wait(0.5 if process.poll() is None else 0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._pipes is not None:
            self._pipes.close_hello()
        if self._directory is not None:
            self._directory.remove()
