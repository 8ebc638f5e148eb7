"""The engine of a client that attaches to a scheduler which another process of the user has started."""

import os
import threading
import time
from typing import TYPE_CHECKING

from scaler_notebook.engines.base import Deliver, Lost
from scaler_notebook.engines.local.ipc.runtime_directory import process_namespace
from scaler_notebook.engines.local.ipc.transport import Keys
from scaler_notebook.engines.silence import Silence
from scaler_notebook.protocol.capabilities import as_dict
from scaler_notebook.protocol.errors import EngineLostError, EngineStartError
from scaler_notebook.protocol.messages import PYTHON, ClientDisconnect, ClientHello, EngineHello, EngineStatusRequest
from scaler_notebook.task.current_task import current_task

from .addresses import checked
from .connection_file import ConnectionInfo, find
from .readiness import wait_until_ready
from .request import ask
from .scheduler_connection import SchedulerConnection

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

ANSWER_TIMEOUT = 5.0  # seconds; a scheduler that runs answers within a millisecond
MIN_HEARTBEATS = 4  # requests without an answer before an engine counts as lost


class AttachedEngine(SchedulerConnection):
    """An engine that somebody else has started, and that goes on when this client leaves.

    Implements :class:`~scaler_notebook.engines.base.Engine`.

    Parameters
    ----------
    address
        The engine's address, as :attr:`~scaler_notebook.client.executor.NotebookExecutor.address` of the executor that
        started the engine, or of a :class:`~scaler_notebook.client.cluster.LocalCluster`, gives it.
    heartbeat
        Seconds between two requests for a sign of life.
    silence
        Seconds without a sign of life after which the engine counts as lost. None: only the end of the scheduler's
        process counts.

    Raises
    ------
    TypeError, ValueError
        ``address`` is no address of a local engine.
    """

    def __init__(self, address: str, heartbeat: float = 1.0, silence: float | None = None) -> None:
        super().__init__()
        self._max_silence = silence
        self._interval = heartbeat if silence is None else min(heartbeat, silence / MIN_HEARTBEATS)  # seconds
        self._silence = Silence(self._interval)
        self.address = checked(address)
        self.slots = 0
        self.capabilities: dict[str, int] = {}
        self.gpus: tuple[str, ...] = ()
        self.limits_memory = self.sends_items = self.scales = self.can_pause = self.runs_here = True
        self._connection: ConnectionInfo | None = None
        self._watch: ProcessWatch | None = None

    def start(self) -> None:
        """Check that the engine runs and answers."""
        self._check_descriptors()
        connection = find(self.address)
        try:
            watch = ProcessWatch(connection.pid) if connection is not None else None
        except ProcessLookupError:  # the scheduler has ended since
            watch = None
        if connection is None or watch is None:
            raise EngineStartError(
                f"nobody answers at {self.address}: no engine of yours runs there on this machine. Is the notebook, "
                "script or cluster that started it still running? `scaler-notebook status` lists what runs."
            )
        try:
            hello = self._ask(connection)
            self._check_python(connection, hello)
        except BaseException:
            watch.close()
            raise
        self._connection, self._watch = connection, watch
        self.slots, self.capabilities, self.gpus = hello.slots, as_dict(hello.capabilities), hello.gpus

    def _ask(self, connection: ConnectionInfo) -> EngineHello:
        """Ask the engine for its slots and capabilities; an answer shows that the scheduler runs."""
        hello = ask(connection, ClientHello(os.getpid(), 0, process_namespace()), EngineHello, ANSWER_TIMEOUT)
        if hello is not None:
            return hello
        raise EngineStartError(
            f"the engine at {self.address} (process {connection.pid}) does not answer within {ANSWER_TIMEOUT:.0f} s: "
            "it hangs, it is stopped, or it is of another version of scaler_notebook. End that process, and start "
            "another engine."
        )

    def _check_python(self, connection: ConnectionInfo, hello: EngineHello) -> None:
        """Raise EngineStartError if the engine runs another version of Python."""
        if hello.python != PYTHON:
            raise EngineStartError(
                f"the engine at {self.address} (process {connection.pid}) runs Python {hello.python} and this process "
                f"Python {PYTHON}: functions do not travel between versions of Python. Use the same on both sides, or "
                "an engine of your own: NotebookExecutor() without an address."
            )

    def connect(self, loop: "AbstractEventLoop", deliver: Deliver, lost: Lost) -> None:
        """Connect from the agent's event loop, introduce this client, and watch for the engine's silence."""
        super().connect(loop, deliver, lost)
        self.send([ClientHello(os.getpid(), current_task().process, process_namespace())])
        if self._max_silence is not None:
            self._check_heartbeat(loop, self._max_silence)

    def _check_heartbeat(self, loop: "AbstractEventLoop", max_silence: float) -> None:
        """Ask for a sign of life, again and again, until there has been none for ``max_silence`` seconds.

        Parameters
        ----------
        loop
            The agent's loop.
        max_silence
            Seconds without a message after which the engine counts as lost.
        """
        self._drain()
        if self._channel is None:
            return
        if self._has_received:
            self._has_received = False
            self._silence.end()
        self._silence.ask(time.monotonic())
        if self._silence.seconds > max_silence:
            self._fail(EngineLostError(self._silence_message(max_silence)))
            return
        self.send([EngineStatusRequest()])
        loop.call_later(self._interval, self._check_heartbeat, loop, max_silence)

    def _silence_message(self, silence: float) -> str:
        """Return what to tell the user of an engine that gives no sign of life."""
        assert self._connection is not None
        return (
            f"the engine at {self.address} (process {self._connection.pid}) has given no sign of life for {silence:g} "
            "s: it hangs, or it is stopped"
        )

    def _endpoint(self) -> tuple[str, Keys | None]:
        assert self._connection is not None
        return self._connection.endpoint, self._connection.keys

    def _end_descriptor(self) -> int:
        assert self._watch is not None
        return self._watch.descriptor

    def _loss_message(self) -> str:
        assert self._connection is not None
        return (
            f"the engine at {self.address} (process {self._connection.pid}) has ended, and all tasks with it: it was "
            "shut down, or died, or its owner did"
        )

    def close(self) -> None:
        """Disconnect, and leave the engine running. Idempotent."""
        if self._watch is not None and self._watch.is_over:
            self._linger = 0.0  # no process is left to receive what is queued
        self.send([ClientDisconnect()])
        super().close()
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()

    def join(self, timeout: float) -> bool:
        """Return True: nothing is left to wait for."""
        return True


class ProcessWatch:
    """A descriptor that becomes readable when a process has ended, be the process a child of this one or not.

    Parameters
    ----------
    pid
        The number of the process.

    Raises
    ------
    ProcessLookupError
        The process has ended already.
    """

    def __init__(self, pid: int) -> None:
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        try:
            self.descriptor = os.pidfd_open(pid)
            return
        except ProcessLookupError:
            raise
        except (OSError, AttributeError):  # a system that has no descriptors of processes, or refuses them
            pass
        self.descriptor, self._write = os.pipe()
        self._thread = threading.Thread(target=self._poll, args=(pid,), name="scaler_notebook watch", daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether the process has ended."""
        return self.wait(0.0)

    def wait(self, timeout: float) -> bool:
        """Wait until the process has ended; False if it has not after ``timeout`` seconds."""
        return wait_until_ready(self.descriptor, timeout) != 0

    def _poll(self, pid: int) -> None:
        """Close the pipe when the process has ended: the thread where ``pidfd_open`` does not work."""
        while not self._over.wait(1.0):
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                break
        os.close(self._write)

    def close(self) -> None:
        """Close the descriptor."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        os.close(self.descriptor)
