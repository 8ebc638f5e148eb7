"""The objects that this client has in the cluster's storage, and how long each is needed."""

import asyncio
import hashlib
import pickle
from collections import OrderedDict
from dataclasses import dataclass

from scaler_notebook.engines.scaler.wire.envelope import TaskHeader
from scaler_notebook.engines.scaler.wire.packing import content, pack, unpack
from scaler_notebook.protocol.messages import Buffer, Initializer, Payload, SegmentRef, Task

from .connection.cluster_connection import ClusterConnection

LARGE = 1_000_000  # bytes; larger payloads are packed on another thread than the agent's
SHARED = 64 * 1024  # bytes of arguments; hashing larger ones costs more than it saves
OVERHEAD = 1024  # bytes that an object costs beside its content, roughly
MAX_IDLE = 64 * 1024 * 1024  # bytes of shared objects that are retained though no task uses them now
DELETE_AFTER = 0.1  # seconds, so that deletions share a message


@dataclass(slots=True)
class _Shared:
    """An object that several tasks may use."""

    object_id: bytes
    size: int
    users: int = 0


@dataclass(slots=True)
class StoredTask:
    """The objects that are stored for one task.

    Parameters
    ----------
    arguments, function
        The ids of the objects.
    keys
        The keys of the shared ones among them.
    private
        The id of the one that is not shared; empty if all are.
    """

    arguments: bytes = b""
    function: bytes = b""
    keys: tuple[bytes, ...] = ()
    private: bytes = b""


class ObjectStore:
    """The objects that this client has stored. Equal functions and small arguments are stored once, for all tasks.

    The store is also where the values of tasks are retained for other tasks
    (:class:`~scaler_notebook.engines.scheduling.dependencies.PayloadStore`): such a payload is the id of an object.

    Parameters
    ----------
    connection
        The connection to the cluster.
    loop
        The agent's event loop.
    """

    def __init__(self, connection: ClusterConnection, loop: asyncio.AbstractEventLoop) -> None:
        self._connection, self._loop = connection, loop
        self._shared: dict[bytes, _Shared] = {}  # by content
        self._idle: OrderedDict[bytes, _Shared] = OrderedDict()  # the shared objects without users, oldest first
        self._idle_size = 0
        self._initializers: dict[str, bytes] = {}  # object ids, by client
        self._garbage: list[bytes] = []

    async def store(
        self, stored: StoredTask, task: Task, initializer: Initializer, inputs: list[str]
    ) -> tuple[bytes, bytes, bytes]:
        """Store a task's arguments, function and initializer, unless that was done for an earlier try.

        Parameters
        ----------
        stored
            Receives the ids and keys of the objects.
        task
            The task.
        initializer
            The call before the client's first task in each process.
        inputs
            The ids of the task's inputs.

        Returns
        -------
        tuple of bytes
            The ids of the objects with the arguments, the function and the initializer.

        Raises
        ------
        ProtocolError
            The task cannot be sent.
        """
        if not stored.arguments:
            options = task.options
            head = TaskHeader(
                options.name, inputs, options.retry_on.hex(), task.omit_value, initializer.client, initializer.name
            ).encode()
            key, stored.function = await self.acquire(task.function)
            stored.keys += (key,)
            if task.arguments.nbytes <= SHARED:
                key, stored.arguments = await self.acquire(task.arguments, head)
                stored.keys += (key,)
            else:
                stored.arguments = stored.private = await self.put(task.arguments, head)
        if initializer.client not in self._initializers:
            both = Payload(pack(initializer.function), (pack(initializer.arguments),))
            self._initializers[initializer.client] = await self.put(both)
        return stored.arguments, stored.function, self._initializers[initializer.client]

    def release_task(self, stored: StoredTask) -> None:
        """Release the objects of a task that is over. Idempotent."""
        for key in stored.keys:
            self.release(key)
        if stored.private:
            self.delete(stored.private)
        stored.keys, stored.private = (), b""

    async def put(self, payload: Payload, header: bytes = b"") -> bytes:
        """Store a payload, and return the object's id.

        Parameters
        ----------
        payload
            The payload.
        header
            The header in front of the payload.
        """
        large = payload.nbytes > LARGE
        blob = await self._loop.run_in_executor(None, pack, payload, header) if large else pack(payload, header)
        object_id: bytes = await self._connection.put(blob)
        return object_id

    async def get(self, object_id: bytes) -> tuple[bytes, Payload]:
        """Return header and payload of an object.

        Raises
        ------
        ProtocolError
            The object was not stored by this package.
        """
        blob = await self._connection.get(object_id)
        packed = content(blob)
        return await self._loop.run_in_executor(None, unpack, packed) if len(blob) > LARGE else unpack(packed)

    async def acquire(self, payload: Payload, header: bytes = b"") -> tuple[bytes, bytes]:
        """Have a payload stored until :meth:`release`. One call at a time.

        Parameters
        ----------
        payload
            The payload.
        header
            The header in front of the payload.

        Returns
        -------
        tuple of bytes
            The key for :meth:`release`, and the object's id.
        """
        key = _digest(payload, header)
        known = self._shared.get(key)
        if known is None:
            known = self._shared[key] = _Shared(await self.put(payload, header), payload.nbytes + OVERHEAD)
        if self._idle.pop(key, None) is not None:
            self._idle_size -= known.size
        known.users += 1
        return key, known.object_id

    def release(self, key: bytes) -> None:
        """Release a shared object that a task has acquired."""
        known = self._shared[key]
        known.users -= 1
        if not known.users:
            self._idle[key] = known
            self._idle_size += known.size
        while self._idle_size > MAX_IDLE:
            key, oldest = self._idle.popitem(last=False)
            self._idle_size -= oldest.size
            del self._shared[key]
            self.delete(oldest.object_id)

    def delete(self, object_id: bytes) -> None:
        """Delete an object soon, together with others."""
        if not self._garbage:
            self._loop.call_later(DELETE_AFTER, self._delete_all)
        self._garbage.append(object_id)

    def retain_payload(self, payload: Payload) -> Payload:
        """Return the payload, whose object stays in the storage until :meth:`release_payload`."""
        return payload

    def release_payload(self, payload: Payload) -> None:
        """Delete the object that a payload names."""
        self.delete(bytes(payload.data))

    def _delete_all(self) -> None:
        garbage, self._garbage = self._garbage, []
        self._connection.delete(garbage)


def _digest(payload: Payload, header: bytes) -> bytes:
    """Return a key for the content of a payload and its header."""
    sizes = [len(payload.data)]
    for buffer in payload.buffers:
        assert not isinstance(buffer, SegmentRef)
        sizes.append(_as_bytes(buffer).nbytes)
    found = hashlib.blake2b(pickle.dumps((header, sizes)), digest_size=32)
    found.update(payload.data)
    for buffer in payload.buffers:
        assert not isinstance(buffer, SegmentRef)
        found.update(_as_bytes(buffer))
    return found.digest()


def _as_bytes(buffer: Buffer) -> memoryview:
    return memoryview(buffer).cast("B")
