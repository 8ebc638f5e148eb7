"""Another client of an embedded engine that runs already on this machine: another notebook's, or a script's."""

import os
import select
import threading
import time
from asyncio import AbstractEventLoop

from scaler_notebook.engines.base import Deliver, Lost
from scaler_notebook.engines.local.ipc.runtime_directory import process_namespace
from scaler_notebook.engines.local.ipc.transport import Keys
from scaler_notebook.protocol.capabilities import as_dict
from scaler_notebook.protocol.errors import EngineLostError, EngineStartError
from scaler_notebook.protocol.messages import PYTHON, ClientDisconnect, ClientHello, EngineHello, EngineStatusRequest
from scaler_notebook.task.current_task import current_task

from .addresses import checked
from .connection_file import Connection, find
from .engine import SchedulerConnection
from .request import ask

ANSWER_TIMEOUT = 5.0  # seconds; an engine that lives answers in a millisecond
BEATS = 4  # it is asked at least so often before it counts as lost


class AttachedEngine(SchedulerConnection):
    """Implements :class:`~scaler_notebook.engines.base.Engine`; the engine goes on when this client leaves.

    Parameters
    ----------
    address
        As :attr:`~scaler_notebook.client.executor.NotebookExecutor.address` of the executor that started it, or of a
        :class:`~scaler_notebook.client.cluster.LocalCluster`.
    heartbeat
        After how many seconds it is asked for a sign of life again.
    silence
        After how many seconds without one it counts as lost; None: when it has ended, and not before.

    Raises
    ------
    TypeError, ValueError
        It is no address of an embedded engine.
    """

    def __init__(self, address: str, heartbeat: float = 1.0, silence: float | None = None) -> None:
        super().__init__()
        self._silence = silence
        self._beat_every = heartbeat if silence is None else min(heartbeat, silence / BEATS)
        self._silent = 0.0  # seconds that the engine has said nothing while we listened
        self._beaten: float | None = None  # when it was asked last
        self.address = checked(address)
        self.slots = 0
        self.capabilities: dict[str, int] = {}
        self.limits_memory = True
        self._connection: Connection | None = None
        self._watch: ProcessWatch | None = None

    def start(self) -> None:
        connection = find(self.address)
        try:
            watch = ProcessWatch(connection.pid) if connection is not None else None
        except ProcessLookupError:  # it has ended since
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
        self.slots, self.capabilities = hello.slots, as_dict(hello.capabilities)

    def _ask(self, connection: Connection) -> EngineHello:
        """What it has, which shows that it lives."""
        hello = ask(connection, ClientHello(os.getpid(), 0, process_namespace()), EngineHello, ANSWER_TIMEOUT)
        if hello is not None:
            return hello
        raise EngineStartError(
            f"the engine at {self.address} (process {connection.pid}) does not answer within {ANSWER_TIMEOUT:.0f} s: "
            "it hangs, it is stopped, or it is of another version of scaler_notebook. End that process, and start "
            "another engine."
        )

    def _check_python(self, connection: Connection, hello: EngineHello) -> None:
        if hello.python != PYTHON:
            raise EngineStartError(
                f"the engine at {self.address} (process {connection.pid}) runs Python {hello.python} and this process "
                f"Python {PYTHON}: functions do not travel between versions of Python. Use the same on both sides, or "
                "an engine of your own: NotebookExecutor() without an address."
            )

    def connect(self, loop: AbstractEventLoop, deliver: Deliver, lost: Lost) -> None:
        super().connect(loop, deliver, lost)
        self.send([ClientHello(os.getpid(), current_task().process, process_namespace())])
        if self._silence is not None:
            self._beat(loop, self._silence)

    def _beat(self, loop: AbstractEventLoop, silence: float) -> None:
        """Ask for a sign of life, unless there has been none for too long.

        Time in which this process did not come to listen (it was stopped, or computed) is not the engine's silence.
        """
        self._drain()
        if self._socket is None:
            return
        now = time.monotonic()
        if self._heard:
            self._heard, self._silent = False, 0.0
        elif self._beaten is not None:
            self._silent += min(now - self._beaten, 2 * self._beat_every)
        if self._silent > silence:
            self._fail(EngineLostError(self._silence_words(silence)))
            return
        self._beaten = now
        self.send([EngineStatusRequest()])
        loop.call_later(self._beat_every, self._beat, loop, silence)

    def _silence_words(self, silence: float) -> str:
        assert self._connection is not None
        return (
            f"the engine at {self.address} (process {self._connection.pid}) has given no sign of life for {silence:g} "
            "s: it hangs, or it is stopped"
        )

    def _endpoint(self) -> tuple[str, Keys | None]:
        assert self._connection is not None
        return self._connection.endpoint, self._connection.keys

    def _end_of_life(self) -> int:
        assert self._watch is not None
        return self._watch.descriptor

    def _lost_words(self) -> str:
        assert self._connection is not None
        return (
            f"the engine at {self.address} (process {self._connection.pid}) has ended, and all tasks with it: it was "
            "shut down, or died, or its owner did"
        )

    def close(self) -> None:
        if self._socket is not None and self._watch is not None and self._watch.is_over:
            self._socket.linger = 0  # nobody is there to hear our last words
        self.send([ClientDisconnect()])
        super().close()
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()

    def join(self, timeout: float) -> bool:
        return True


class ProcessWatch:
    """A descriptor that becomes readable when a process, child of ours or not, has ended.

    Raises
    ------
    ProcessLookupError
        It has ended already.
    """

    def __init__(self, pid: int) -> None:
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        if hasattr(os, "pidfd_open"):
            self.descriptor = os.pidfd_open(pid)
            return
        self.descriptor, self._write = os.pipe()
        self._thread = threading.Thread(target=self._look, args=(pid,), name="scaler_notebook watch", daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Has it ended?"""
        return bool(select.select([self.descriptor], [], [], 0)[0])

    def _look(self, pid: int) -> None:
        while not self._over.wait(1.0):  # where no descriptor tells, somebody has to look
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                break
        os.close(self._write)

    def close(self) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        os.close(self.descriptor)
