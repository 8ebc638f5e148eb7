"""A Scaler cluster in memory, moved by hand, and a client's real Tasks on it.

Scheduler, workers and storage decide as 2.9's do (``scheduler/controllers/task_controller.py``,
``worker/agent/task_manager.py``, ``worker/agent/processor_manager.py``); the first is held to the installed package by
``test_scaler_tasks``. Messages, processes, the storage's answers and the clock each move only when told to, so that
they are late in every order that they can be late in. What passes is held to the rules of the contract.
"""

from __future__ import annotations

import asyncio
import itertools
import pickle
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import Any

from scaler.protocol import capnp
from scaler.utility.exceptions import ProcessorDiedError
from scaler.utility.exitcode import describe_exitcode
from scaler.utility.identifiers import ClientID, ObjectID, TaskID

from scaler_notebook.engines.scaler.client.cluster_tasks import ClusterTasks
from scaler_notebook.engines.scaler.client.object_store import DELETE_AFTER
from scaler_notebook.engines.scaler.wire import inband_events
from scaler_notebook.engines.scaler.wire.envelope import ResultHeader, TaskFailedError, TaskHeader
from scaler_notebook.engines.scaler.wire.packing import content, pack, unpack
from scaler_notebook.engines.scaler.wire.task_names import task_of
from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.exceptions import failures
from scaler_notebook.protocol.messages import (
    EngineMessage,
    ObjectCreated,
    Payload,
    Task,
    TaskAttemptFailed,
    TaskCancel,
    TaskCancelConfirm,
    TaskCancelConfirmType,
    TaskOptions,
    TaskResult,
    TaskResultType,
    TaskStarted,
)
from scaler_notebook.task.task_end import TaskEnd

QUEUE = 2  # tasks that a worker holds at most
FAILURE = payloads.dump(failures.capture(KeyError("mine"), ()))
ANSWERS = capnp.TaskCancelConfirmType
RESULTS = capnp.TaskResultType
INSTRUCTIONS = capnp.ObjectInstruction.ObjectInstructionType

SEEN: Counter[str] = Counter()  # what has happened in all the lives together, so that a run can show its worth

Move = tuple[str, Callable[[], object]]


class SteppedLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes when it is told to, and which never waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self._calls = 0
        self._at: list[asyncio.TimerHandle] = []
        self.errors: list[Any] = []
        super().__init__()
        self.set_exception_handler(lambda _, context: self.errors.append(context))

    def time(self) -> float:
        return self.now

    def call_soon(self, *args: Any, **kwargs: Any) -> asyncio.Handle:  # type: ignore[override]
        self._calls += 1
        return super().call_soon(*args, **kwargs)

    def call_at(self, *args: Any, **kwargs: Any) -> asyncio.TimerHandle:  # type: ignore[override]
        timer = super().call_at(*args, **kwargs)
        self._at.append(timer)
        return timer

    def timers(self) -> list[asyncio.TimerHandle]:
        """Those that are still to fire, the next one first."""
        self._at = sorted((t for t in self._at if not t.cancelled() and t.when() > self.now), key=lambda t: t.when())
        return self._at

    def settle(self) -> None:
        """Everything that can go on does, as far as it comes."""
        calls = -1
        while calls != self._calls:
            self.call_soon(self.stop)
            calls = self._calls
            self.run_forever()
        assert not self.errors, self.errors

    def pass_time(self, seconds: float) -> None:
        """Each timer fires when it is due."""
        until = self.now + seconds
        while (timers := self.timers()) and timers[0].when() <= until:
            self.now = timers[0].when()
            self.settle()
        self.now = until
        self.settle()

    def wake(self) -> bool:
        """Time passes until the next timer; False if there is none."""
        timers = self.timers()
        if timers:
            self.pass_time(timers[0].when() - self.now)
        return bool(timers)


# ---------------------------------------------------------------------- the wire


class Storage:
    """Scaler's object storage, and what its scheduler knows of that. Requests are answered one at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.objects: dict[bytes, bytes] = {}
        self.tracked: set[bytes] = set()  # the scheduler deletes no others
        self.requests: list[tuple[bytes, bytes | None, asyncio.Future[bytes]]] = []

    async def request(self, object_id: bytes, stored: bytes | None = None) -> bytes:
        """Store something, or get what there is as soon as it is there."""
        answer: asyncio.Future[bytes] = self._loop.create_future()
        self.requests.append((object_id, stored, answer))
        return await answer

    def answerable(self) -> list[tuple[bytes, bytes | None, asyncio.Future[bytes]]]:
        """Those that need not wait for an object."""
        return [each for each in self.requests if each[1] is not None or each[0] in self.objects]

    def answer(self) -> None:
        """The oldest request that can be."""
        request = self.answerable()[0]
        self.requests.remove(request)
        object_id, stored, answer = request
        if stored is not None:
            self.objects[object_id] = stored
        if not answer.done():
            answer.set_result(self.objects[object_id])

    def instruct(self, instruction: Any) -> None:
        """As the scheduler does."""
        ids = {bytes(each) for each in instruction.objectMetadata.objectIds}
        if instruction.instructionType == INSTRUCTIONS.create:
            self.tracked |= ids
            return
        for object_id in ids & self.tracked:
            self.tracked.remove(object_id)
            del self.objects[object_id]


class SimulatedConnection:
    """In place of a :class:`~scaler_notebook.engines.scaler.client.connection.cluster_connection.ClusterConnection`."""

    def __init__(self, storage: Storage) -> None:
        self.messages = capnp
        self.object_id, self.task_id = ObjectID, TaskID
        self.client = ClientID.generate_client_id("simulated")
        self.storage = storage
        self.sent: deque[Any] = deque()  # to the scheduler
        self.letters: set[bytes] = set()
        self.posted: list[tuple[str, bytes]] = []
        self._runner = b""

    def send(self, message: Any) -> None:
        self.sent.append(message)

    def send_task(self, name: bytes, objects: Sequence[bytes], priority: int, capabilities: Mapping[str, int]) -> None:
        kind = capnp.Task.Argument.ArgumentType.objectID
        self.send(
            capnp.Task(
                taskId=TaskID(name),
                source=self.client,
                metadata=b"",
                funcObjectId=self._runner,
                functionArgs=[capnp.Task.Argument(type=kind, data=ObjectID(each)) for each in objects],
                capabilities=[capnp.TaskCapability(name=need, value=n) for need, n in capabilities.items()],
            )
        )

    async def put(self, content: bytes) -> Any:
        return await self._put_as(ObjectID.generate_object_id(self.client), content)

    async def put_code(self, serializer: bytes, runner: bytes) -> None:
        await self._put_as(ObjectID.generate_serializer_object_id(self.client), serializer)
        self._runner = await self.put(runner)

    async def post(self, name: str, content: bytes) -> None:
        self.letters.add(bytes.fromhex(name))
        self.posted.append((name, content))
        await self._put_as(ObjectID(bytes.fromhex(name)), content)

    async def get(self, object_id: bytes) -> bytes:
        return await self.storage.request(object_id)

    def delete(self, object_ids: Iterable[bytes]) -> None:
        self._instruct(INSTRUCTIONS.delete, list(object_ids))

    async def _put_as(self, object_id: Any, content: bytes) -> Any:
        await self.storage.request(object_id, content)
        self._instruct(INSTRUCTIONS.create, [object_id])
        return object_id

    def _instruct(self, kind: Any, object_ids: list[Any]) -> None:
        described = capnp.ObjectMetadata(objectIds=object_ids)
        self.send(capnp.ObjectInstruction(instructionType=kind, objectUser=self.client, objectMetadata=described))


# ---------------------------------------------------------------------- the cluster


class Standing(Enum):
    """What the scheduler knows of a task that it has; its ``TaskState``."""

    INACTIVE, RUNNING, CANCELING, BALANCE_CANCELING = range(4)


class Scheduler:
    """Scaler's decisions about tasks; ``to_client`` is what one client is told."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.to_client: deque[Any] = deque()
        self.workers: list[Worker] = []
        self.standing: dict[bytes, Standing] = {}
        self.holder: dict[bytes, Worker] = {}
        self._tasks: dict[bytes, Any] = {}
        self._unassigned: deque[bytes] = deque()

    def hear_client(self, message: Any) -> None:
        """What a client has sent arrives."""
        match message:
            case capnp.Task():
                name = bytes(message.taskId)
                assert name not in self.standing, "each try has a name of its own"
                self._tasks[name] = message
                self._dispatch(name)
            case capnp.TaskCancel():
                self._cancel(message)
            case capnp.ObjectInstruction():
                self._storage.instruct(message)

    def hear_worker(self, worker: Worker, message: Any) -> None:
        """What a worker has sent arrives."""
        if isinstance(message, capnp.ObjectInstruction):
            self._storage.instruct(message)
            return
        name = bytes(message.taskId)
        standing = self.standing.get(name)
        if isinstance(message, capnp.TaskLog):
            if standing is not None:
                self.to_client.append(message)
            return
        if standing is None or self.holder.get(name, worker) is not worker:
            return
        if isinstance(message, capnp.TaskResult):
            if standing in (Standing.RUNNING, Standing.BALANCE_CANCELING):
                self._finish(name, message)
            elif standing is Standing.CANCELING:
                SEEN["a result that Scaler drops"] += 1
            return
        answer, asked = (
            ANSWERS(message.cancelConfirmType.value),
            standing
            in (
                Standing.CANCELING,
                Standing.BALANCE_CANCELING,
            ),
        )
        if not asked:
            return
        if answer == ANSWERS.cancelFailed:
            self.standing[name] = Standing.RUNNING
        elif standing is Standing.CANCELING:
            self._finish(name, message)
        else:
            SEEN["balanced away"] += 1
            del self.holder[name]
            self._dispatch(name)

    def balance(self, name: bytes) -> None:
        """It thinks that this task had better be elsewhere."""
        if self.standing.get(name) is Standing.RUNNING:
            self.standing[name] = Standing.BALANCE_CANCELING
            flags = capnp.TaskCancel.TaskCancelFlags(force=False)
            self.holder[name].inbox.append(capnp.TaskCancel(taskId=TaskID(name), flags=flags))

    def join(self, worker: Worker) -> None:
        """A worker connects."""
        self.workers.append(worker)
        self._retry_unassigned()

    def lose(self, worker: Worker) -> None:
        """It has not heard of a worker for too long."""
        self.workers.remove(worker)
        lost = [name for name, holder in self.holder.items() if holder is worker]
        for name in lost:
            del self.holder[name]
        for name in lost:
            if self.standing[name] is Standing.CANCELING:
                self._finish(name, _confirm(name, ANSWERS.canceled))
            else:
                SEEN["rerouted"] += 1
                self._dispatch(name)

    def _cancel(self, message: Any) -> None:
        name = bytes(message.taskId)
        match self.standing.get(name):
            case None:
                self.to_client.append(_confirm(name, ANSWERS.cancelNotFound))
            case Standing.INACTIVE:
                self._unassigned.remove(name)
                self._finish(name, _confirm(name, ANSWERS.canceled))
            case Standing.RUNNING:
                self.standing[name] = Standing.CANCELING
                self.holder[name].inbox.append(message)
            case Standing.BALANCE_CANCELING:
                self.standing[name] = Standing.CANCELING
            case Standing.CANCELING:
                SEEN["a cancel that Scaler drops"] += 1

    def _finish(self, name: bytes, message: Any) -> None:
        del self.standing[name], self._tasks[name]
        self.holder.pop(name, None)
        self.to_client.append(message)
        self._retry_unassigned()

    def _dispatch(self, name: bytes) -> None:
        worker = self._free_worker()
        if worker is None:
            self.standing[name] = Standing.INACTIVE
            self._unassigned.append(name)
        else:
            self.standing[name] = Standing.RUNNING
            self.holder[name] = worker
            worker.inbox.append(self._tasks[name])

    def _retry_unassigned(self) -> None:
        while self._unassigned and self._free_worker() is not None:
            self._dispatch(self._unassigned.popleft())

    def _free_worker(self) -> Worker | None:
        loads = Counter(self.holder.values())
        free = [worker for worker in self.workers if loads[worker] < QUEUE]
        return min(free, key=lambda worker: loads[worker], default=None)


@dataclass(eq=False)
class Process:
    """A worker's process; what it has said may have left it when it dies."""

    number: int
    mailbox: bytes
    task: Any = None  # that the agent has handed to it
    begun: bool = False  # the task's code
    announced: bool = False
    asked: bool = False  # a letter has come; the interrupt has not, yet
    stopped: bool = False  # the code has obeyed
    dead: bool = False
    said: deque[Any] = field(default_factory=deque)

    @property
    def name(self) -> bytes:
        """The task's, at the cluster."""
        return bytes(self.task.taskId)

    @property
    def works(self) -> bool:
        """Does a task's own code run there?"""
        return self.begun and not self.stopped and not self.dead


class Worker:
    """Its agent, which has a queue and one process at a time."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.inbox: deque[Any] = deque()
        self.outbox: deque[Any] = deque()
        self.queue: dict[bytes, Any] = {}
        self.processing: set[bytes] = set()
        self.process = cluster.new_process()
        self.former: list[Process] = []  # whose last words have not been read

    def moves(self) -> Iterator[Move]:
        """What can go on by itself, a task's own code apart."""
        if self.inbox:
            yield "an agent hears the scheduler", self.hear_scheduler
        if self.queue and self.process.task is None and not self.process.dead:
            yield "an agent hands a task to its process", self.hand
        for process in (self.process, *self.former):
            if process.said:
                yield "an agent hears a process", partial(self.hear_process, process)
        if self.process.dead:
            yield "an agent notices a death", self.notice_death
        else:
            yield from self._process_moves(self.process)

    def _process_moves(self, process: Process) -> Iterator[Move]:
        cluster = self._cluster
        if process.task is not None and not process.begun and not process.said:
            yield "a task begins", partial(cluster.begin, process)
        if process.works and not process.announced:
            yield "a task says that it has started", partial(cluster.announce, process)
        if process.mailbox in cluster.storage.objects:
            yield "a letter is read", partial(cluster.read_letter, process)

    def hear_scheduler(self) -> None:
        """A task, or a cancel."""
        message = self.inbox.popleft()
        name = bytes(message.taskId)
        if isinstance(message, capnp.Task):
            self.queue[name] = message
        elif name in self.processing:
            if not message.flags.force:
                self.outbox.append(_confirm(name, ANSWERS.cancelFailed))
                return
            self.processing.remove(name)
            if self.process.task is not None and self.process.name == name:
                self.replace()
            self.outbox.append(_confirm(name, ANSWERS.canceled))
        elif name in self.queue:
            del self.queue[name]
            self.outbox.append(_confirm(name, ANSWERS.canceled))
        else:
            self.outbox.append(_confirm(name, ANSWERS.cancelNotFound))

    def hand(self) -> None:
        """The oldest task of the queue."""
        name = next(iter(self.queue))
        self.processing.add(name)
        self.process.task = self.queue.pop(name)

    def hear_process(self, process: Process) -> None:
        """What it has said first."""
        message = process.said.popleft()
        if isinstance(message, capnp.TaskLog):
            self.outbox.append(message)
        elif process is self.process:  # of one that was replaced it forwards output only
            if isinstance(message, capnp.TaskResult):
                process.task = None
                process.begun = process.announced = process.asked = False
                self.processing.discard(bytes(message.taskId))
            self.outbox.append(message)
        if not process.said and process in self.former:
            self.former.remove(process)

    def notice_death(self) -> None:
        """It makes the task's result itself."""
        process = self.process
        self.replace()
        if process.task is None:
            return
        words = f"process_status='zombie' exitcode={describe_exitcode(-9)}"
        died = pickle.dumps(ProcessorDiedError(words))
        self.outbox += self._cluster.result(process.name, RESULTS.failed, died)
        self.processing.remove(process.name)

    def replace(self) -> None:
        """SIGTERM, then SIGKILL: in the end it is dead, and there is another."""
        self.process.dead = True
        self.former += [self.process] * bool(self.process.said)
        self.process = self._cluster.new_process()


class Cluster:
    """Scheduler, workers, storage, and the facts about what runs there."""

    def __init__(self, loop: asyncio.AbstractEventLoop, workers: int, scheduler: type[Scheduler]) -> None:
        self.storage = Storage(loop)
        self.scheduler = scheduler(self.storage)
        self.connection = SimulatedConnection(self.storage)
        self._numbers = itertools.count(1)
        self.processes: list[Process] = []
        self.begun: Counter[str] = Counter()  # how often the code of a task has
        self.unheard: set[str] = set()  # tasks whose words went with their worker, or were not passed on before
        self.over: set[str] = set()  # tasks of which the client was told so
        for _ in range(workers):
            self.join()

    @property
    def workers(self) -> list[Worker]:
        """Those that the scheduler knows."""
        return self.scheduler.workers

    def join(self) -> None:
        """One worker more."""
        self.scheduler.join(Worker(self))

    def lose(self, worker: Worker, heard: int) -> None:
        """Its machine is gone; the first of its words that were under way arrive."""
        for _ in range(min(heard, len(worker.outbox))):
            self.scheduler.hear_worker(worker, worker.outbox.popleft())
        process = worker.process
        words = itertools.chain(worker.outbox, process.said, *(former.said for former in worker.former))
        names = {bytes(word.taskId) for word in words if not isinstance(word, capnp.ObjectInstruction)}
        names |= {process.name} if process.begun else set()
        held = {name for name, holder in self.scheduler.holder.items() if holder is worker}
        names |= {name for name in held if self.scheduler.standing[name] is Standing.CANCELING}  # a result is dropped
        self.unheard |= {task_of(name.decode()) for name in names}
        process.dead = True
        self.scheduler.lose(worker)

    def new_process(self) -> Process:
        """Waits for a letter, as each does."""
        number = next(self._numbers)
        process = Process(number, number.to_bytes(32, "big"))
        self.processes.append(process)
        return process

    def running(self, task_id: str) -> list[Process]:
        """The processes in which a task's code has begun, and which are there."""
        self.processes = [process for process in self.processes if not process.dead]
        return [p for p in self.processes if p.begun and task_of(p.name.decode()) == task_id]

    def moves(self) -> list[Move]:
        """What can go on by itself, a task's own code apart."""
        moves: list[Move] = []
        if self.connection.sent:
            moves.append(("the scheduler hears the client", self.hear_client))
        if self.storage.answerable():
            moves.append(("the storage answers", self.storage.answer))
        for worker in self.workers:
            if worker.outbox:
                moves.append(("the scheduler hears a worker", partial(self.hear_worker, worker)))
            moves += worker.moves()
        return moves

    def hear_client(self) -> None:
        self.scheduler.hear_client(self.connection.sent.popleft())

    def hear_worker(self, worker: Worker) -> None:
        self.scheduler.hear_worker(worker, worker.outbox.popleft())

    # ------------------------------------------------------------------ in a process

    def begin(self, process: Process) -> None:
        """It has what it needs, and calls the task's code."""
        task_id = task_of(process.name.decode())
        assert task_id not in self.over, "A task is confirmed once, and never runs again after its confirmation"
        for argument in process.task.functionArgs:
            assert bytes(argument.data) in self.storage.objects, "what a task needs is there as long as it may run"
        process.begun = True
        self.begun[task_id] += 1

    def announce(self, process: Process) -> None:
        """Its first words."""
        if not process.announced:
            process.announced = True
            self.tell(process, inband_events.StartedEvent(process.number, "there", process.mailbox.hex()))

    def tell(self, process: Process, event: inband_events.InbandEvent) -> None:
        """One event."""
        self._write(process, inband_events.encode(event))

    def write(self, process: Process, text: str) -> None:
        """The task prints."""
        self.announce(process)
        self._write(process, text)

    def _write(self, process: Process, text: str) -> None:
        kind = capnp.TaskLog.LogType.stdout
        process.said.append(capnp.TaskLog(taskId=process.task.taskId, logType=kind, content=text))

    def read_letter(self, process: Process) -> None:
        """Each mailbox is good for one; what it has to do with this task or not."""
        letter = self.storage.objects.pop(process.mailbox)
        process.mailbox = (int.from_bytes(process.mailbox, "big") + 2**128).to_bytes(32, "big")
        if process.announced and not process.stopped:
            self.tell(process, inband_events.MailboxEvent(process.mailbox.hex()))
        if process.works and letter == process.name:
            process.asked = True

    def interrupted(self, process: Process, obeys: bool) -> None:
        """The task's code, which catches it, or not."""
        process.asked = False
        if obeys:
            process.stopped = True
            self.announce(process)
            self.tell(process, inband_events.StoppedEvent())

    def end(self, process: Process, how: str) -> None:
        """The task's code ends by itself."""
        ended = ResultHeader(how, 1.0, 2.0, 0.5, 1024)
        head = TaskHeader.decode(unpack(content(self.storage.objects[bytes(process.task.functionArgs[0].data)]))[0])
        if how == TaskEnd.SUCCESS.value:
            if head.omit_value:
                self.announce(process)
                self.tell(process, inband_events.EndedEvent(ended.encode().decode()))
            kind, value = RESULTS.success, pack(Payload(b"value of " + process.name), ended.encode())
        else:
            kind, value = (
                RESULTS.failed,
                pickle.dumps(TaskFailedError(pack(FAILURE, ended.encode()), "KeyError: 'mine'")),
            )
        process.said += self.result(process.name, kind, value)
        process.begun = False

    def die(self, process: Process) -> None:
        """By itself, or by somebody's signal."""
        process.dead = True

    def result(self, name: bytes, kind: Any, value: bytes) -> list[Any]:
        """Store what a task has come to, and say so."""
        object_id = ObjectID.generate_object_id(self.connection.client)
        self.storage.objects[object_id] = value
        created = capnp.ObjectInstruction(
            instructionType=INSTRUCTIONS.create,
            objectUser=self.connection.client,
            objectMetadata=capnp.ObjectMetadata(objectIds=[object_id]),
        )
        return [created, capnp.TaskResult(taskId=TaskID(name), resultType=kind, metadata=b"", results=[object_id])]


def _confirm(name: bytes, answer: Any) -> Any:
    return capnp.TaskCancelConfirm(taskId=TaskID(name), cancelConfirmType=answer)


# ---------------------------------------------------------------------- the client


@dataclass
class Told:
    """What the client knows of one task."""

    task: Task
    said: list[EngineMessage] = field(default_factory=list)
    requests: list[bool] = field(default_factory=list)  # unanswered; their strength
    end: str = ""

    @property
    def started(self) -> bool:
        return any(isinstance(message, TaskStarted) for message in self.said)


class World:
    """One client's Tasks and its cluster; whatever is said is held to the contract."""

    def __init__(self, workers: int = 1, scheduler: type[Scheduler] = Scheduler) -> None:
        self.loop = SteppedLoop()
        self.cluster = Cluster(self.loop, workers, scheduler)
        self.connection, self.storage, self.scheduler = (
            self.cluster.connection,
            self.cluster.storage,
            self.cluster.scheduler,
        )
        self.tasks = ClusterTasks(self.connection, self.loop, self._say)  # type: ignore[arg-type]
        self.told: dict[str, Told] = {}
        self.created: list[str] = []
        self.objects: list[str] = []  # that the client may name, tasks' values included
        self.known: set[bytes] = set()  # objects that the client was told of
        self._serving = self.loop.create_task(self._serve())
        self.settle()

    async def _serve(self) -> None:
        await self.connection.put_code(b"serializer", b"runner")
        await self.tasks.send_all()

    def close(self) -> None:
        """Nothing of it is left."""
        self._serving.cancel()
        for *_, answer in self.storage.requests:
            answer.cancel()
        self.loop.settle()
        self.loop.close()

    # ------------------------------------------------------------------ what the client does

    def submit(self, task_id: str, inputs: Sequence[str] = (), keep: bool = False, **fields: Any) -> Told:
        """A task of the name."""
        stays = fields.pop("stays", False)
        arguments = Payload(fields.pop("arguments", b"arguments"))
        options = TaskOptions(name="work()", **fields)
        task = Task(task_id, Payload(b"function"), arguments, options, tuple(inputs), keep, stays)
        told = self.told[task_id] = Told(task)
        if keep:
            self.objects.append(task_id)
        self.tasks.accept(task)
        self.loop.settle()
        return told

    def cancel(self, task_id: str, force: bool = True, grace: float = 1.0) -> None:
        """Ask for its end."""
        told = self.told[task_id]
        if not told.end:
            told.requests.append(force)
        self.tasks.cancel(TaskCancel(task_id, force, grace))
        self.loop.settle()

    def create(self, name: str) -> None:
        """An object."""
        self.objects.append(name)
        self.tasks.create(name, Payload(name.encode()))
        self.loop.settle()

    def delete(self, *names: str) -> None:
        """The client names them no more."""
        self.objects = [name for name in self.objects if name not in names]
        self.tasks.delete(names)
        self.loop.settle()

    def withdraw(self) -> None:
        """Take back what has not started."""
        self.tasks.withdraw()
        self.loop.settle()

    def _say(self, message: EngineMessage) -> None:
        if isinstance(message, ObjectCreated):
            self.created.append(message.object_id)
            return
        assert hasattr(message, "task_id")
        told, running = self.told[message.task_id], self.cluster.running(message.task_id)
        late = isinstance(message, TaskCancelConfirm) and message.answer is TaskCancelConfirmType.CANCEL_NOT_FOUND
        assert not told.end or late, f"{message} after the end: {told.end}"
        told.said.append(message)
        if isinstance(message, TaskResult):
            assert not running, "a result is told when the code has ended"
            if told.requests and not message.origin:
                SEEN["finished first"] += 1
            self._ends(told, message.outcome.value)
        elif isinstance(message, TaskCancelConfirm):
            self._confirmed(told, message, running)

    def _confirmed(self, told: Told, message: TaskCancelConfirm, running: list[Process]) -> None:
        task_id = message.task_id
        if message.answer is TaskCancelConfirmType.CANCEL_FAILED:
            assert told.requests, "nobody has asked"
            assert message.force is False, "what is asked by force is not refused"
            assert True not in told.requests, "an answer weaker than the strongest request outstanding"
            SEEN["refused, not started" if not told.started else "refused"] += 1
            told.requests.clear()
            return
        if told.end:
            return
        if told.requests and not message.origin:
            assert message.force == any(told.requests), "the force that it answers"
        assert not running, "Canceled is told after the process that ran it is gone"
        if message.answer is TaskCancelConfirmType.CANCELED and not told.started:
            began = self.cluster.begun[task_id] and task_id not in self.cluster.unheard
            assert not began, "never started is told of tasks whose code has not begun"
        known = "stopped" if told.started else "never started"
        self._ends(told, known if message.answer is TaskCancelConfirmType.CANCELED else "not found")

    def _ends(self, told: Told, word: str) -> None:
        told.end = word
        told.requests.clear()
        self.cluster.over.add(told.task.task_id)
        SEEN[word] += 1

    # ------------------------------------------------------------------ time and messages

    def moves(self) -> list[Move]:
        """What can go on by itself, a task's own code apart."""
        moves = self.cluster.moves()
        if self.scheduler.to_client:
            moves.append(("the client hears the scheduler", self.hear))
        return moves

    def hear(self) -> None:
        """The next message."""
        message = self.scheduler.to_client.popleft()
        if isinstance(message, capnp.TaskResult):
            self.known |= {bytes(each) for each in message.results}
        self.tasks.receive(message)

    def move(self, move: Move) -> None:
        move[1]()
        self.loop.settle()

    def settle(self, *but: str) -> None:
        """Everything moves until nothing does, but what is named here."""
        self.loop.settle()
        for _ in range(10_000):
            moves = [move for move in self.moves() if move[0] not in but]
            if not moves:
                return
            self.move(moves[0])
        raise AssertionError("it goes on for ever")

    def passes(self, seconds: float, *but: str) -> None:
        """Time, and what that leads to; everything moves, but what is named here."""
        until = self.loop.now + seconds
        self.settle(*but)
        while (timers := self.loop.timers()) and timers[0].when() <= until:
            self.loop.wake()
            self.settle(*but)
        self.loop.pass_time(until - self.loop.now)
        self.settle(*but)

    def process(self, task_id: str) -> Process:
        """Where its code runs."""
        [process] = self.cluster.running(task_id)
        return process

    def working(self) -> list[Process]:
        """The processes in which a task's own code runs."""
        return [worker.process for worker in self.cluster.workers if worker.process.works]

    def words(self, task_id: str) -> list[str]:
        """What was told of a task, in short."""
        return [_short(message) for message in self.told[task_id].said]

    def check(self) -> None:
        """What holds at every moment."""
        for task_id, told in self.told.items():
            if told.end:
                assert not self.cluster.running(task_id), "it does not go on after its end was told"
                assert task_id not in self.tasks._records
            else:
                assert task_id in self.tasks._records

    # ------------------------------------------------------------------ the end

    def drain(self) -> None:
        """Every message arrives, every task ends, time passes: then everything has ended, and nothing is held."""
        if not self.cluster.workers:
            self.cluster.join()
        self.delete(*self.objects)
        for _ in range(20 + 20 * len(self.told)):
            self.settle()
            for process in self.working():
                if process.asked:
                    self.cluster.interrupted(process, obeys=True)
                else:
                    self.cluster.end(process, TaskEnd.SUCCESS.value)
            self.settle()
            if all(told.end for told in self.told.values()) and not self.loop.timers():
                break
            self.loop.pass_time(DELETE_AFTER)
            self.loop.wake()
        assert all(told.end for told in self.told.values()), f"nothing is lost silently: {self.told}"
        self.check_empty()

    def check_empty(self) -> None:
        """Nothing is held, here or there, but what later tasks may share."""
        tasks = self.tasks
        held = (tasks._records, tasks._by_name, tasks._background._tasks, self.loop.timers(), tasks._outgoing.qsize())
        assert not any(held), f"after the end nothing is held: {held}"
        assert len(tasks._dependencies) == 0, tasks._dependencies
        assert tasks.queued == 0
        shared = tasks._objects._shared
        assert all(each.users == 0 for each in shared.values()), f"nobody uses them: {shared}"
        assert tasks._objects._idle == shared
        kept = {bytes(each.object_id) for each in shared.values()} | set(
            map(bytes, tasks._objects._initializers.values())
        )
        kept |= {bytes(self.connection._runner), bytes(ObjectID.generate_serializer_object_id(self.connection.client))}
        # a result that Scaler dropped is unknown here, and a letter that nobody takes goes with its client
        left = self.storage.objects.keys() - kept - self.connection.letters
        assert not left & (self.known | self.storage.tracked - self.unknown()), f"objects that nobody needs: {left}"
        assert kept <= self.storage.objects.keys()

    def unknown(self) -> set[bytes]:
        """What workers have stored and the client was never told of."""
        there = self.storage.tracked & self.storage.objects.keys()  # a letter that was taken is not
        return {each for each in there - self.known if self._is_result(each)}

    def _is_result(self, object_id: bytes) -> bool:
        stored = self.storage.objects[object_id]
        return b"value of " in stored or b"Failed" in stored or b"ProcessorDied" in stored


def _short(message: EngineMessage) -> str:
    match message:
        case TaskStarted():
            return "started" if message.attempt == 1 else f"started {message.attempt}"
        case TaskAttemptFailed():
            return f"failed {message.attempt}"
        case TaskCancelConfirm():
            return message.answer.value + (" by force" if message.force else "")
        case TaskResult(outcome=TaskResultType.FAILED) if message.payload.data != FAILURE.data:
            return f"Failed: {payloads.load(message.payload).links[0].headline.strip()}"
        case TaskResult():
            return message.outcome.value
    return type(message).__name__
