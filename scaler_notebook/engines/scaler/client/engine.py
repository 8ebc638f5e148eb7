"""An OpenGRIS Scaler cluster as an engine: a client of the cluster in the agent's event loop."""

import asyncio
import contextlib
import logging
from asyncio import AbstractEventLoop
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from scaler_notebook.engines.base import Deliver, Lost
from scaler_notebook.engines.scaler.wire.address import parsed
from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.errors import EngineLostError
from scaler_notebook.protocol.messages import (
    ClientContext,
    ClientMessage,
    ClientShutdown,
    ClientShutdownResponse,
    ClientWithdraw,
    EngineMessage,
    EngineStatus,
    EngineStatusRequest,
    ObjectCreate,
    ObjectDelete,
    Payload,
    Task,
    TaskCancel,
)

from . import code_shipping
from .cluster_tasks import ClusterTasks
from .connection.cluster_connection import ClusterConnection, run_all
from .connection.probe import probe

log = logging.getLogger(__name__)

LISTEN_TIMEOUT = 3.0  # seconds; a scheduler that is starting listens in half a second
ANSWER_TIMEOUT = 10.0  # seconds; an idle scheduler answers in milliseconds, one with much to do lets its clients wait


class ScalerEngine:
    """The engine of a Scaler cluster, which goes on when this client leaves.

    Implements :class:`~scaler_notebook.engines.base.Engine`. The engine cannot: say how many tasks run at the same
    time, change that, or say what capabilities there are (Scaler tells nothing of it to a client); give tasks the
    notebook's directory, path and environment; have two tasks with a memory hint wait for each other. A task whose
    worker is lost, and not just its process, Scaler runs again, asked or not.

    Parameters
    ----------
    address
        ``scaler://host:port`` of the cluster's scheduler.
    heartbeat, silence, storage
        As for :class:`~.connection.cluster_connection.ClusterConnection`.

    Raises
    ------
    ValueError
        The address is not that of a Scaler cluster.
    """

    slots = 0
    limits_memory = sends_items = scales = can_pause = runs_here = False
    capabilities: Mapping[str, int] | None = None
    gpus: tuple[str, ...] | None = None

    def __init__(self, address: str, heartbeat: float = 1.0, silence: float = 60.0, storage: str | None = None) -> None:
        self._wire = parsed(address)
        self.address = address
        self._settings = {"storage": storage, "heartbeat": heartbeat, "silence": silence}
        self._loop: AbstractEventLoop | None = None

    def start(self) -> None:
        """Check that the cluster answers.

        Raises
        ------
        EngineStartError
            The cluster does not answer, or the package ``opengris-scaler`` is missing.
        """
        probe(self._new_link, LISTEN_TIMEOUT, ANSWER_TIMEOUT)

    def _new_link(self) -> ClusterConnection:
        return ClusterConnection(self._wire, self.address, **self._settings)  # type: ignore[arg-type]

    def connect(self, loop: AbstractEventLoop, deliver: Deliver, lost: Lost) -> None:
        """Connect from the agent's event loop.

        Parameters
        ----------
        loop
            The agent's loop.
        deliver
            Called with each batch of messages.
        lost
            Called with the reason when the cluster is gone.
        """
        self._loop, self._deliver, self._lost = loop, deliver, lost
        self._connection = self._new_link()
        self._tasks = ClusterTasks(self._connection, loop, self._publish)
        self._serving = loop.create_task(self._serve())

    async def _serve(self) -> None:
        """Serve the connection, and report the cluster lost if the connection breaks."""
        try:
            await run_all(self._connection.serve(self._receive), self._work())
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if not isinstance(error, EngineLostError):
                words = f"the connection to the cluster at {self.address} broke ({type(error).__name__}: {error})"
                error = EngineLostError(words)
            await self._tasks.close()
            self._loop = None
            self._lost(error)

    async def _work(self) -> None:
        await self._connection.put_code(code_shipping.SERIALIZER, code_shipping.runner())
        await self._tasks.send_all()

    def adopt(self, task: Task) -> tuple[Task, Task]:
        """Copy a task's buffers, and return the task to send, which also serves for other tries."""
        task = replace(task, function=payloads.copied(task.function), arguments=payloads.copied(task.arguments))
        return task, task

    def adopt_object(self, object_id: str, content: Payload) -> Payload:
        """Copy an object's buffers, and return the content to send.

        Parameters
        ----------
        object_id
            The id of the object.
        content
            The pickled value.
        """
        return payloads.copied(content)

    def disown(self, name: str) -> None:
        """Do nothing: copies are freed with the messages that hold them."""

    def send(self, messages: Sequence[ClientMessage]) -> None:
        """Hand a batch of messages to the cluster, in order."""
        if self._loop is None:
            return
        for message in messages:
            match message:
                case Task():
                    self._tasks.accept(message)
                case TaskCancel():
                    self._tasks.cancel(message)
                case ObjectCreate():
                    self._tasks.create(message.object_id, message.content)
                case ObjectDelete():
                    self._tasks.delete(message.object_ids)
                case ClientWithdraw():
                    self._tasks.withdraw()
                case ClientContext():
                    self._tasks.initializer = message.initializer
                case EngineStatusRequest():
                    self._publish(EngineStatus(self.slots, self._tasks.queued))
                case ClientShutdown():
                    kind = self._connection.messages.ClientDisconnect
                    self._connection.send(kind(disconnectType=kind.DisconnectType.shutdown))

    def close(self) -> None:
        """Leave the cluster, which cancels this client's unfinished tasks. Idempotent."""
        loop, self._loop = self._loop, None
        if loop is None or loop.is_closed():
            return
        leaving = loop.create_task(self._leave())  # the agent has stopped the loop, so it is run here
        while not leaving.done():
            with contextlib.suppress(Exception):  # a stop of the loop that was on its way raises a RuntimeError
                loop.run_until_complete(leaving)

    async def _leave(self) -> None:
        try:
            await self._connection.leave()
        finally:
            await self._tasks.close()
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)
            self._connection.close()

    def join(self, timeout: float) -> bool:
        """Return True: :meth:`close` has waited for the end of the connection."""
        return True

    def _receive(self, message: Any) -> None:
        if isinstance(message, self._connection.messages.ClientShutdownResponse):
            self._publish(ClientShutdownResponse(message.accepted))
        else:
            try:
                self._tasks.receive(message)
            except Exception:  # one bad message must not affect the others
                log.exception("a message of the cluster could not be handled")

    def _publish(self, message: EngineMessage) -> None:
        if self._loop is not None:
            self._deliver([message])
