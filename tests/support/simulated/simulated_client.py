"""The client's end of a simulated connection: real futures, their real manager, and real messages, which wait."""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Sequence
from typing import Any, TypeVar, cast

from contract_rules import SEEN, Job, forged, harmless

from scaler_notebook.client.agent.future_manager import FutureManager
from scaler_notebook.client.agent.outgoing_queue import OutgoingQueue
from scaler_notebook.protocol.encoding.wire import CLIENT_CODEC, ENGINE_CODEC
from scaler_notebook.protocol.messages import ClientMessage, EngineMessage, ObjectCreate, Payload, Task, TaskOptions
from scaler_notebook.protocol.payload_cache import Sender, shortened

T = TypeVar("T")

FUNCTIONS = [Payload(bytes([n]) * 600) for n in range(2)]  # large enough to be sent once and referred to after


class Frame(bytearray):
    """A buffer as it came from the network; can be seen to vanish."""


def value_of(task_id: str) -> Any:
    """What a task returns."""
    return task_id, bytearray(task_id.encode())


def success(task_id: str) -> Payload:
    """The same as a payload with a buffer out of band."""
    buffers: list[pickle.PickleBuffer] = []
    name, data = value_of(task_id)
    pickled = pickle.dumps((name, pickle.PickleBuffer(data)), 5, buffer_callback=buffers.append)
    return Payload(pickled, tuple(buffer.raw() for buffer in buffers))


def taken(queue: deque[T], count: int) -> list[T]:
    """The first ``count``, or all there are."""
    return [queue.popleft() for _ in range(min(count, len(queue)))]


class Connection:
    """One client's connection to one engine: the client's end, and all that is under way in both directions."""

    def __init__(self, owner: bytes) -> None:
        self.owner = owner
        self.manager = FutureManager(OutgoingQueue())
        self.jobs: dict[str, Job] = {}
        self.objects: list[str] = []
        self.sender = Sender()
        self.to_engine: deque[ClientMessage] = deque()
        self.to_client: deque[EngineMessage] = deque()

    def post(self, message: ClientMessage) -> None:
        self.to_engine.append(message)

    def submit(
        self, number: int, options: TaskOptions, inputs: Sequence[str] = (), keep: bool = False, parent: str = ""
    ) -> Job:
        job = Job(self, number, options, inputs, keep, parent)
        self.jobs[job.task_id] = job
        self.manager.add(job.future)
        self.post(task_of(job))
        return job

    def create(self, name: str) -> None:
        self.objects.append(name)
        self.post(ObjectCreate(name, success(name)))

    def arriving(self, count: int) -> list[ClientMessage]:
        """What the client sent, as the engine decodes it: one batch."""
        batch = taken(self.to_engine, count)
        frames = CLIENT_CODEC.encode([shortened(m, self.sender) if isinstance(m, Task) else m for m in batch])
        return CLIENT_CODEC.decode(frames)

    def deliver(self, count: int) -> None:
        """The client gets the next messages, as one batch."""
        self._receive(taken(self.to_client, count))

    def _receive(self, batch: list[EngineMessage]) -> None:
        frames = [Frame(frame) for frame in ENGINE_CODEC.encode(batch)]
        messages = ENGINE_CODEC.decode(frames)
        for message in messages:
            job = self.jobs.get(cast(Any, message).task_id)
            if job is not None:
                job.hears(message)
        self.manager.receive(messages)

    def forge(self, task_id: str) -> None:
        """The client gets every message about a task that is not the engine's to send, and stays as it is."""
        job = self.jobs.get(task_id)
        harmless_ones = [m for m in forged(task_id, success(task_id)) if job is None or harmless(job, m)]
        before, sent = [snapshot(job) for job in self.jobs.values()], len(self.to_engine)
        for message in harmless_ones:
            self._receive([message])
        assert [snapshot(job) for job in self.jobs.values()] == before, "Every other order is rejected without harm"
        assert len(self.to_engine) == sent
        SEEN["forged"] += len(harmless_ones)

    def lose(self, error: Exception) -> None:
        """The client's end is told that there is no engine any more."""
        for job in self.jobs.values():
            job.loses_engine(error)
        self.manager.fail_all(error)

    def check(self) -> None:
        for job in self.jobs.values():
            job.check()
        unfinished = [job.future for job in self.jobs.values() if job.ended is None]
        assert self.manager.unfinished() == unfinished, "An id leaves the tables only on a terminal event"


def task_of(job: Job) -> Task:
    function, arguments = FUNCTIONS[job.number % len(FUNCTIONS)], Payload(job.task_id.encode())
    return Task(job.task_id, function, arguments, job.options, job.inputs, job.keep, job.keep, job.submitter)


def snapshot(job: Job) -> tuple[Any, ...]:
    """All that can be seen of a task's future, and of what its followers were told."""
    future = job.future
    shown = (future.state, future.cancel_reason, future._state, future.refused, future.result_bytes, repr(future))
    return (*shown, list(job.followers.states), list(job.followers.waiter.calls), job.expected)
