"""The items of a run on their way to the scheduler, and how many of them were taken on their way back."""

import os
import select
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager

from scaler_notebook.engines.local.ipc.framing import Assembler
from scaler_notebook.engines.local.ipc.messages import WORKER_CODEC, Item, Paused, Run, Taken
from scaler_notebook.engines.local.ipc.outbox import send_blocking
from scaler_notebook.protocol.errors import ProtocolError
from scaler_notebook.protocol.messages import Payload
from scaler_notebook.wording import with_article


class ItemChannel:
    """The way of one run's items, over the socket of its process; on the main thread alone.

    The number of taken items comes over that socket while a task runs, and perhaps runs that were prefetched. Reads and
    writes are out of reach of interrupts, which would tear a message; the waits between them are not.

    Implements :class:`~scaler_notebook.task.current_task.ItemChannel`.

    Parameters
    ----------
    sock
        The blocking socket to the scheduler.
    assembler
        Cuts what comes over it.
    seq
        The number of the run.
    shield
        Makes the context manager for a stretch that is not interrupted.
    receive_run
        Is given the runs that come.
    pid
        The process that runs the task.
    """

    def __init__(
        self,
        sock: socket.socket,
        assembler: Assembler,
        seq: int,
        shield: Callable[[], AbstractContextManager[None]],
        receive_run: Callable[[Run], None],
        pid: int,
    ) -> None:
        self._sock = sock
        self._assembler = assembler
        self._seq = seq
        self._shield = shield
        self._receive_run = receive_run
        self._taken = 0
        self._pid = pid

    def send(self, value: Payload) -> None:
        """Send an item.

        Raises
        ------
        RuntimeError
            This is a process that the task has forked.
        """
        if os.getpid() != self._pid:
            raise RuntimeError("a generator gives its items in the process of its task, and not in a fork of that")
        self._send(Item(self._seq, value))

    def has_taken(self, count: int) -> bool:
        """Return whether so many items were taken, in all."""
        while self._taken < count and select.select([self._sock], [], [], 0)[0]:
            self._read()
        return self._taken >= count

    def wait(self, count: int) -> None:
        """Wait until so many items were taken, in all."""
        self._send(Paused(self._seq, self._taken))
        while self._taken < count:
            select.select([self._sock], [], [])
            self._read()

    async def wait_async(self, count: int) -> None:
        """Do as :meth:`wait`, in a coroutine."""
        import asyncio  # a task without coroutines needs none

        loop = asyncio.get_running_loop()
        self._send(Paused(self._seq, self._taken))
        while self._taken < count:
            readable = asyncio.Event()
            loop.add_reader(self._sock, readable.set)
            try:
                await readable.wait()
            finally:
                loop.remove_reader(self._sock)
            self._read()

    def _send(self, message: Item | Paused) -> None:
        with self._shield():
            send_blocking(self._sock, WORKER_CODEC.encode([message]))

    def _read(self) -> None:
        """Read what has come.

        Raises
        ------
        ProtocolError
            It is something else.
        """
        with self._shield():
            if not self._assembler.read(self._sock):
                os._exit(0)  # the scheduler is gone
            for frames in self._assembler.batches():
                for message in WORKER_CODEC.decode(frames):
                    if isinstance(message, Run):
                        self._receive_run(message)
                    elif not isinstance(message, Taken):
                        raise ProtocolError(f"{with_article(type(message).__name__)} while a task runs")
                    elif message.seq == self._seq:
                        self._taken = max(self._taken, message.count)
