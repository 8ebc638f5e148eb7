"""The connection to a cluster: Scaler's own connectors to the scheduler and the object storage, on the agent's loop.

It speaks the client's side of the protocol (2.9: ``client/agent/client_agent.py``) without ``scaler.Client``, which
waits for each upload, unpickles results on its own, prints the output of all tasks together, and cancels either with
force or not at all.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from scaler_notebook.engines.scaler.wire.processor import own_processor
from scaler_notebook.engines.silence import Silence
from scaler_notebook.protocol.errors import EngineLostError, EngineStartError

from .connecting import connect

INSTALL_COMMAND = "pip install 'opengris-scaler>=2.9,<3'"
LEAVE_TIMEOUT = 2.0  # seconds to send the disconnect


class ClusterConnection:
    """One client's connection to a cluster. Used on one event loop.

    Parameters
    ----------
    address
        The scheduler's address as OpenGRIS writes it, ``tcp://host:port``.
    name
        The address as this package's users write it, for messages.
    storage
        The address of the object storage, where the one that the scheduler tells cannot be reached from here; else
        None.
    heartbeat
        Seconds between two heartbeats.
    silence
        Seconds without an answer after which the cluster counts as lost.

    Raises
    ------
    EngineStartError
        The package ``opengris-scaler`` is missing, or of an unsupported version.
    """

    def __init__(
        self, address: str, name: str, storage: str | None = None, heartbeat: float = 1.0, silence: float = 60.0
    ) -> None:
        try:
            from scaler.config.types.address import AddressConfig
            from scaler.io.network_backends import get_network_backend_from_env
            from scaler.protocol import capnp
            from scaler.utility.identifiers import ClientID, ObjectID, TaskID
        except ImportError as error:
            raise EngineStartError(f"{name} is an OpenGRIS Scaler cluster: {_describe_import_error(error)}") from error
        self.messages: Any = capnp
        self.object_id, self.task_id = ObjectID, TaskID
        self.client = ClientID.generate_client_id("scaler_notebook")
        self.name = name
        self._address = AddressConfig.from_string(address)
        self.endpoint = self._address.host.strip("[]"), self._address.port
        self._storage_address = AddressConfig.from_string(storage) if storage is not None else None
        self._new_address: Any = AddressConfig
        self._heartbeat, self._max_silence, self._silence = heartbeat, silence, Silence(heartbeat)
        self._new_backend = get_network_backend_from_env
        self._backend: Any = None  # owns threads and pipes
        self._scheduler: Any = None
        self._storage: Any = None
        self._storage_ready = asyncio.Event()
        self._outbox: asyncio.Queue[Any] = asyncio.Queue()

    # ------------------------------------------------------------------ its life

    async def serve(self, receive: Callable[[Any], None]) -> None:
        """Connect, and pass the scheduler's messages on until :meth:`close`.

        Parameters
        ----------
        receive
            Called with each message.

        Raises
        ------
        EngineLostError
            The cluster is gone.
        """
        from scaler.io.mixins import ConnectorRemoteType

        async def received(message: Any) -> None:
            if isinstance(message, self.messages.ClientHeartbeatEcho):
                await self._on_echo(message)
            else:
                receive(message)

        self._backend = self._new_backend()
        self._scheduler = self._backend.create_async_connector(self.client, received)
        self._storage = self._backend.create_async_object_storage_connector(self.client)
        try:
            await connect(self._scheduler, self.client, self._address, ConnectorRemoteType.Binder)
            await run_all(
                _repeat(self._scheduler.routine),
                _repeat(self._storage.routine),
                self._send_all(),
                self._send_heartbeats(),
            )
        except EngineLostError:
            raise
        except Exception as error:
            raise EngineLostError(
                f"the cluster at {self.name} has ended or closed the connection, and what it had not ended of this "
                f"client's tasks with it ({type(error).__name__}: {error})"
            ) from error
        finally:
            self.close()

    async def ready(self, timeout: float) -> bool:
        """Return whether the scheduler answers within ``timeout`` seconds."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._storage_ready.wait(), timeout)
        return self._storage_ready.is_set()

    async def leave(self) -> None:
        """Send the disconnect, and wait until it is sent. The scheduler then cancels this client's unfinished tasks."""
        self.send(
            self.messages.ClientDisconnect(disconnectType=self.messages.ClientDisconnect.DisconnectType.disconnect)
        )
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._outbox.join(), LEAVE_TIMEOUT)

    def close(self) -> None:
        """Close the connectors. Idempotent."""
        connectors, self._scheduler, self._storage = (self._scheduler, self._storage), None, None
        for connector in connectors:
            if connector is not None:
                connector.destroy()
                connector._ymq_context = None  # owns threads and pipes, which 2.9 leaks if the connection broke
        if self._backend is not None:
            self._backend.destroy()
        self._backend = None

    # ------------------------------------------------------------------ what goes

    def send(self, message: Any) -> None:
        """Queue a message for the scheduler, in order, without blocking."""
        self._outbox.put_nowait(message)

    def send_task(self, name: bytes, objects: Sequence[bytes], priority: int, capabilities: Mapping[str, int]) -> None:
        """Have a worker run a task, and stream its output.

        Parameters
        ----------
        name
            The name of the try.
        objects
            The ids of the objects that are the arguments of :func:`scaler_notebook.engines.scaler.worker.runner.run`.
        priority
            The priority, not negative.
        capabilities
            What the task needs, by name.
        """
        task = self.messages.Task
        kind = task.Argument.ArgumentType.objectID
        self.send(
            task(
                taskId=self.task_id(name),
                source=self.client,
                metadata=self._flags(priority),
                funcObjectId=self._runner,
                functionArgs=[task.Argument(type=kind, data=self.object_id(each)) for each in objects],
                capabilities=[self.messages.TaskCapability(name=need, value=n) for need, n in capabilities.items()],
            )
        )

    async def put(self, content: bytes) -> Any:
        """Store an object, and return the object's id."""
        return await self._put_as(self.object_id.generate_object_id(self.client), content)

    async def put_code(self, serializer: bytes, runner: bytes) -> None:
        """Store the code that workers load first for this client.

        Parameters
        ----------
        serializer
            Scaler's ``Serializer``, pickled.
        runner
            The function of every task, pickled.
        """
        kind = self.messages.ObjectMetadata.ObjectContentType.serializer
        await self._put_as(self.object_id.generate_serializer_object_id(self.client), serializer, kind)
        self._runner = await self.put(runner)

    async def post(self, name: str, content: bytes) -> None:
        """Store an object under an id that a worker waits for. The object is deleted with this client at the latest.

        Parameters
        ----------
        name
            The id, in hex.
        content
            The content.
        """
        await self._put_as(self.object_id(bytes.fromhex(name)), content)

    async def get(self, object_id: bytes) -> bytes:
        """Return the content of an object, as soon as it exists.

        Raises
        ------
        EngineLostError
            The storage is gone.
        """
        await self._storage_ready.wait()
        try:
            content: bytes = await self._storage.get_object(self.object_id(object_id))
        except Exception as error:
            raise EngineLostError(f"the storage of the cluster at {self.name} does not answer: {error}") from error
        return content

    def delete(self, object_ids: Iterable[bytes]) -> None:
        """Delete objects from the storage and from the workers' memory."""
        self._instruct(self.messages.ObjectInstruction.ObjectInstructionType.delete, objectIds=list(object_ids))

    def _flags(self, priority: int) -> bytes:
        """Return Scaler's options of a task.

        A task that is submitted within a task gets a higher priority than that, which lends its worker.
        """
        from scaler.utility.metadata.task_flags import TaskFlags, retrieve_task_flags_from_task

        processor = own_processor()
        if processor is not None and processor.current_task() is not None:
            priority += retrieve_task_flags_from_task(processor.current_task()).priority + 1
        flags: bytes = TaskFlags(profiling=False, priority=priority, stream_output=True).serialize()
        return flags

    async def _put_as(self, object_id: Any, content: bytes, kind: Any = None) -> Any:
        """Store an object under an id, and register it with the scheduler.

        Parameters
        ----------
        object_id
            The id.
        content
            The content.
        kind
            Scaler's type of the object; None for an ordinary one.
        """
        await self._storage_ready.wait()
        await self._storage.set_object(object_id, content)
        metadata = self.messages.ObjectMetadata
        self._instruct(
            self.messages.ObjectInstruction.ObjectInstructionType.create,
            objectIds=[object_id],
            objectTypes=[kind if kind is not None else metadata.ObjectContentType.object],
            objectNames=[b"scaler_notebook"],
            objectSizes=[len(content)],
        )
        return object_id

    def _instruct(self, kind: Any, **metadata: Any) -> None:
        described = self.messages.ObjectMetadata(**metadata)
        self.send(
            self.messages.ObjectInstruction(instructionType=kind, objectUser=self.client, objectMetadata=described)
        )

    # ------------------------------------------------------------------ on the loop

    async def _send_all(self) -> None:
        while True:
            message = await self._outbox.get()
            await self._scheduler.send(message, detached=False)
            self._outbox.task_done()

    async def _send_heartbeats(self) -> None:
        """Send heartbeats until the cluster has not answered for too long.

        Raises
        ------
        EngineLostError
            The cluster does not answer.
        """
        while True:
            self._silence.ask(time.monotonic())
            if self._silence.seconds > self._max_silence:
                raise EngineLostError(f"the cluster at {self.name} has not answered for {self._silence.seconds:.0f} s")
            nothing = self.messages.Resource(cpu=0, rss=0)
            self.send(
                self.messages.ClientHeartbeat(resource=nothing, latencyMicroseconds=0, hostname=socket.gethostname())
            )
            await asyncio.sleep(self._heartbeat)

    async def _on_echo(self, message: Any) -> None:
        self._silence.end()
        if not self._storage_ready.is_set():
            known = message.objectStorageAddress
            address = self._storage_address or self._new_address.from_string(
                f"{known.scheme}://{known.host}:{known.port}"
            )
            await connect(self._storage, self.client, address)
            self._storage_ready.set()


async def run_all(*work: Coroutine[Any, Any, None]) -> None:
    """Run coroutines together until one raises. That ends the others, and is raised."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _repeat(routine: Callable[[], Awaitable[None]]) -> None:
    while True:
        await routine()


def _describe_import_error(error: ImportError) -> str:
    try:
        installed = version("opengris-scaler")
    except PackageNotFoundError:
        return f"that takes the package opengris-scaler, {INSTALL_COMMAND}"
    return f"this speaks with opengris-scaler 2.9 and its like, and {installed} is installed ({error})"
