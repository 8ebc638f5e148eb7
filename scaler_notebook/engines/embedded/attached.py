"""Another client of an embedded engine that runs already on this machine: another notebook's, or a script's."""

import contextlib
import os
import threading
from asyncio import AbstractEventLoop
from urllib.parse import urlsplit

import zmq

from ...protocol.capabilities import as_dict
from ...protocol.errors import EngineStartError, ProtocolError
from ...protocol.messages import ClientDisconnect, ClientHello, EngineHello
from ...protocol.wire import CLIENT_CODEC, ENGINE_CODEC
from ..base import Deliver, Lost
from .connection_file import Connection, find
from .engine import SchedulerConnection
from .transport import Keys, connect

ANSWER_TIMEOUT = 5.0  # seconds; an engine that lives answers in a millisecond
LOOPBACK = {"localhost", "127.0.0.1", "::1", "0.0.0.0"}


class AttachedEngine(SchedulerConnection):
    """Implements :class:`~scaler_notebook.engines.base.Engine`; the engine goes on when this client leaves.

    Parameters
    ----------
    address
        As :attr:`~scaler_notebook.client.executor.NotebookExecutor.address` of the executor that started it.

    Raises
    ------
    ValueError
        It is no address of an embedded engine.
    """

    def __init__(self, address: str) -> None:
        super().__init__()
        parts = urlsplit(address)
        if parts.scheme not in ("ipc", "tcp"):
            raise ValueError(f"{address!r} is no address of an embedded engine: tcp://127.0.0.1:PORT or ipc://PATH")
        if parts.scheme == "tcp" and parts.hostname not in LOOPBACK:
            raise ValueError(f"{parts.hostname} is not this machine, and an embedded engine serves one machine alone")
        self.address = f"tcp://127.0.0.1:{parts.port}" if parts.scheme == "tcp" else address
        self.slots = 0
        self.capabilities: dict[str, int] = {}
        self._connection: Connection | None = None
        self._watch: _ProcessWatch | None = None

    def start(self) -> None:
        connection = find(self.address)
        if connection is None:
            raise EngineStartError(
                f"nobody answers at {self.address}: no engine of yours runs there on this machine. Is the notebook or "
                "script that started it still running?"
            )
        self._connection = connection
        hello = self._ask(connection)
        self.slots, self.capabilities = hello.slots, as_dict(hello.capabilities)

    def _ask(self, connection: Connection) -> EngineHello:
        """What it has, which shows that it lives."""
        with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
            socket.linger = 0
            connect(socket, connection.address, connection.keys)
            socket.send_multipart(CLIENT_CODEC.encode([ClientHello(os.getpid())]))
            if socket.poll(int(ANSWER_TIMEOUT * 1000)):
                with contextlib.suppress(ProtocolError):
                    for message in ENGINE_CODEC.decode(socket.recv_multipart()):
                        if isinstance(message, EngineHello):
                            return message
        raise EngineStartError(
            f"the engine at {self.address} (process {connection.pid}) does not answer within {ANSWER_TIMEOUT:.0f} s: "
            "it hangs, or it is stopped. End that process, and start another engine."
        )

    def connect(self, loop: AbstractEventLoop, deliver: Deliver, lost: Lost) -> None:
        super().connect(loop, deliver, lost)
        self.send([ClientHello(os.getpid())])

    def _endpoint(self) -> tuple[str, Keys | None]:
        assert self._connection is not None
        return self._connection.address, self._connection.keys

    def _end_of_life(self) -> int:
        assert self._connection is not None
        self._watch = _ProcessWatch(self._connection.pid)
        return self._watch.descriptor

    def _lost_words(self) -> str:
        return f"the engine at {self.address} has ended, and all tasks with it; its owner has shut it down, or died"

    def close(self) -> None:
        self.send([ClientDisconnect("")])
        super().close()
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()

    def join(self, timeout: float) -> bool:
        return True


class _ProcessWatch:
    """A descriptor that becomes readable when a process, which is no child of ours, has ended."""

    def __init__(self, pid: int) -> None:
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        if hasattr(os, "pidfd_open"):
            self.descriptor = os.pidfd_open(pid)
            return
        self.descriptor, self._write = os.pipe()
        self._thread = threading.Thread(target=self._look, args=(pid,), name="scaler_notebook watch", daemon=True)
        self._thread.start()

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
