"""Objects in the cluster's storage, and until when each is needed."""

import asyncio
import hashlib
import pickle
from collections import OrderedDict
from dataclasses import dataclass

from scaler_notebook.engines.scaler.wire.envelope import Head
from scaler_notebook.engines.scaler.wire.packing import content, pack, unpack
from scaler_notebook.protocol.messages import Buffer, Initializer, Payload, SegmentRef, Task

from .link import Link

LARGE = 1_000_000  # bytes; packing more takes the agent's thread too long
SHARED = 64 * 1024  # bytes of arguments; hashing more costs more than it saves
OVERHEAD = 1024  # bytes that an object costs beside its content, about
MOST_IDLE = 64 * 1024 * 1024  # bytes of shared objects that no task uses now and that are kept for the next
DELETE_AFTER = 0.1  # seconds, so that what is deleted together travels together


@dataclass(slots=True)
class _Shared:
    object_id: bytes
    size: int
    users: int = 0


@dataclass(slots=True)
class Stored:
    """What is stored for one task: the ids of its objects, and how they are let go of."""

    arguments: bytes = b""
    function: bytes = b""
    keys: tuple[bytes, ...] = ()  # of those that are shared
    private: bytes = b""  # the one that is not


class Objects:
    """What this client has stored. Functions and small arguments are stored once, for all tasks that have the same.

    It is also who keeps the values of tasks for others
    (:class:`~scaler_notebook.engines.scheduling.dependencies.PayloadStore`): a payload there is the id of an object.
    """

    def __init__(self, link: Link, loop: asyncio.AbstractEventLoop) -> None:
        self._link, self._loop = link, loop
        self._shared: dict[bytes, _Shared] = {}  # by content
        self._idle: OrderedDict[bytes, _Shared] = OrderedDict()  # of these, the ones without users; the last at the end
        self._idle_size = 0
        self._initializers: dict[str, bytes] = {}  # the stored ones, by their client
        self._garbage: list[bytes] = []

    async def store(
        self, stored: Stored, task: Task, initializer: Initializer, inputs: list[str]
    ) -> tuple[bytes, bytes, bytes]:
        """Store what a task needs beside its inputs, unless that was done for an earlier try; gives the objects' ids.

        Raises
        ------
        ProtocolError
            It cannot be sent.
        """
        if not stored.arguments:
            options = task.options
            head = Head(
                options.name, inputs, options.retry_on.hex(), task.stays, initializer.client, initializer.name
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

    def let_go(self, stored: Stored) -> None:
        """The task is over. Idempotent."""
        for key in stored.keys:
            self.release(key)
        if stored.private:
            self.delete(stored.private)
        stored.keys, stored.private = (), b""

    async def put(self, payload: Payload, header: bytes = b"") -> bytes:
        """Store a payload; gives the object's id."""
        large = payload.nbytes > LARGE
        blob = await self._loop.run_in_executor(None, pack, payload, header) if large else pack(payload, header)
        object_id: bytes = await self._link.put(blob)
        return object_id

    async def get(self, object_id: bytes) -> tuple[bytes, Payload]:
        """Header and payload of an object. Raises a ProtocolError if it is none of ours."""
        blob = await self._link.get(object_id)
        packed = content(blob)
        return await self._loop.run_in_executor(None, unpack, packed) if len(blob) > LARGE else unpack(packed)

    async def acquire(self, payload: Payload, header: bytes = b"") -> tuple[bytes, bytes]:
        """Have a payload stored until :meth:`release` of the key that is given first; the other is the object's id.

        One call at a time.
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
        """A task has no use for it any more."""
        known = self._shared[key]
        known.users -= 1
        if not known.users:
            self._idle[key] = known
            self._idle_size += known.size
        while self._idle_size > MOST_IDLE:
            key, oldest = self._idle.popitem(last=False)
            self._idle_size -= oldest.size
            del self._shared[key]
            self.delete(oldest.object_id)

    def delete(self, object_id: bytes) -> None:
        """It is needed no more."""
        if not self._garbage:
            self._loop.call_later(DELETE_AFTER, self._delete_all)
        self._garbage.append(object_id)

    def retain_payload(self, payload: Payload) -> Payload:
        return payload

    def release_payload(self, payload: Payload) -> None:
        self.delete(bytes(payload.data))

    def _delete_all(self) -> None:
        garbage, self._garbage = self._garbage, []
        self._link.delete(garbage)


def _digest(payload: Payload, header: bytes) -> bytes:
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
