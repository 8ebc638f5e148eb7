"""A simulated scheduler process: the real core, with hands that act on simulated task processes, and check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from contract_rules import FORGOTTEN, SEEN, Job
from simulated_client import Connection, success, task_of
from unused_effects import UnusedEffects

from scaler_notebook.engines.embedded.core import Core
from scaler_notebook.engines.embedded.inner import End, Ended, Input
from scaler_notebook.protocol import failures, payloads
from scaler_notebook.protocol.addressing import Receiver, completed
from scaler_notebook.protocol.messages import (
    ClientContext,
    ClientDisconnect,
    ClientMessage,
    EngineMessage,
    Payload,
    Task,
    TaskCancel,
    TaskCancelConfirm,
    TaskCancelConfirmType,
)

SLOTS, SPARES = 2, 1
CAPABILITIES = {"gpu": 1, "disk": 2}
EPOCH = 1_000_000.0  # seconds since the epoch when a simulation begins
FAILURE = payloads.dump(failures.describe(KeyError("mine"), ()))


@dataclass
class Clock:
    now: float = 0.0  # monotonic, as far as the simulation goes

    @property
    def time(self) -> float:
        return EPOCH + self.now


@dataclass
class Run:
    """A run as its process sees it."""

    seq: int
    job: Job
    begun: bool = False
    stubborn: bool = False  # it has caught the interrupt, and goes on


@dataclass
class Process:
    """A task process, and the scheduler's view of it."""

    pid: int
    # the process itself
    run: Run | None = None
    asked: int = 0  # the run that its page of shared memory names
    begun: int = 0  # the run that it says there to have begun
    written: list[Ended] = field(default_factory=list)  # into its socket, and not read yet
    dead: bool = False
    # the scheduler
    ready: bool = False
    importing: bool = False
    modules: str | None = None  # state of the user's modules when it imported them
    outdated: bool = False  # it was found to have imported older ones
    seq: int = 0
    holds: Job | None = None
    killed: bool = False
    lingers: bool = False  # it is waited for, but something that it started is not gone yet
    reaped: bool = False

    @property
    def works(self) -> bool:
        return self.run is not None and self.run.begun

    @property
    def obeys(self) -> bool:
        """Has the interrupt reached its run, which may end by it?"""
        return self.run is not None and self.run.begun and self.asked == self.run.seq and not self.run.stubborn

    def begin(self) -> None:
        """It takes what it was handed; an ask that came before stops that without a line of it run."""
        run = self.run
        assert run is not None
        self.begun = run.seq
        if self.asked == run.seq:
            self._write(End.STOPPED)
        else:
            run.begun = True
            run.job.begins()

    def end(self, end: End) -> None:
        """The task's code ends, and the process writes how."""
        assert self.run is not None
        self.run.job.end = end
        self._write(end)

    def interrupted(self, obeys: bool) -> None:
        """What the interrupt does to the task."""
        assert self.run is not None
        if obeys:
            self.end(End.STOPPED)
        else:
            self.run.stubborn = True

    def _write(self, end: End) -> None:
        assert self.run is not None
        payload = {End.SUCCESS: success(self.run.job.task_id), End.FAILED: FAILURE}.get(end, Payload(b""))
        self.written.append(Ended(self.run.seq, end, payload))
        self.run = None

    def die(self) -> None:
        """Whatever killed it. It is not waited for yet."""
        self.dead, self.run = True, None


class Engine(UnusedEffects):
    """A scheduler process: the real core, with simulated hands."""

    def __init__(self, clock: Clock, first_pid: int) -> None:
        self.clock = clock
        self.core = Core(SLOTS, self, CAPABILITIES)
        self.connections: dict[bytes, Connection] = {}
        self.receivers: dict[bytes, Receiver] = {}
        self.contexts: dict[bytes, ClientContext] = {}
        self.jobs: dict[str, Job] = {}
        self.processes: dict[int, Process] = {}
        self.pids = first_pid
        self._fill()

    def _fill(self) -> None:
        while len(self.processes) < SLOTS + SPARES:
            self.pids += 1
            self.processes[self.pids] = Process(self.pids)

    # ------------------------------------------------------------------ clients

    def connect(self, connection: Connection) -> None:
        self.connections[connection.owner] = connection
        self.receivers[connection.owner] = Receiver()

    def deliver(self, connection: Connection, count: int) -> None:
        """Take the next messages of a client."""
        for message in connection.arriving(count):
            self._receive(connection, message)

    def _receive(self, connection: Connection, message: ClientMessage) -> None:
        owner, now = connection.owner, self.clock.now
        match message:
            case Task():
                job = connection.jobs[message.task_id]
                task = completed(message, self.receivers[owner])
                sent = task_of(job)
                assert (task.function.data, task.arguments) == (sent.function.data, sent.arguments)
                job.arrived, job.context = True, self.contexts.get(owner)
                job.place = -task.options.priority, len(self.jobs)
                self.jobs[job.task_id] = job
                self.core.submit(owner, task, now, self.clock.time)
            case TaskCancel():
                self._cancel(owner, message)
            case ClientContext():
                self.contexts.pop(owner, None)
                self.contexts[owner] = message
                self.core.move(owner, message)
            case ClientDisconnect():
                self.client_gone(owner)

    def _cancel(self, owner: bytes, request: TaskCancel) -> None:
        job = self.jobs.get(request.task_id)
        queued = job is not None and job.owner == owner and not job.last and job.process is None
        if job is not None and job.owner == owner and not job.last:
            job.asked_to_stop(request, self.clock.now)
        self.core.cancel(owner, request, self.clock.now, self.clock.time)
        if queued:
            assert job is not None
            assert job.last == "confirmed", "take the task back if it has not started"

    def submit_again(self, job: Job) -> None:
        """A task whose id is in use."""
        self.core.submit(b"somebody", task_of(job), self.clock.now, self.clock.time)

    def client_gone(self, owner: bytes) -> None:
        theirs = [job for job in self.jobs.values() if job.owner == owner and not job.last]
        for job in theirs:
            job.orphaned = True
            if job.process is None:
                job.last, job.rests = FORGOTTEN, None
        self.core.client_gone(owner, self.clock.now, self.clock.time)
        del self.receivers[owner]
        self.contexts.pop(owner, None)
        assert all(job.process.killed for job in theirs if job.process is not None), "what it left is cancelled"

    # ------------------------------------------------------------------ the core's hands

    def tell(self, owner: bytes, message: EngineMessage) -> None:
        job = self.jobs.get(message.task_id)
        if isinstance(message, TaskCancelConfirm) and message.answer is TaskCancelConfirmType.CANCEL_NOT_FOUND:
            assert job is None or job.last or job.owner != owner, "CancelNotFound: the engine does not know it"
            SEEN["no such task"] += 1
        else:
            assert job is not None
            job.told(owner, message, self.clock.now)
        self.connections[owner].to_client.append(message)

    def suits(self, process: int, context: ClientContext | None) -> bool:
        found = self.processes[process]
        found.outdated = context is not None and found.modules not in (None, context.modules)
        return not found.outdated

    def run_task(
        self,
        process: int,
        seq: int,
        task: Task,
        context: ClientContext | None,
        last: bool,
        inputs: tuple[Input, ...],
    ) -> None:
        job, taker = self.jobs[task.task_id], self.processes[process]
        assert taker.ready, "handed to a process that is not ready"
        assert not taker.killed, "handed to a dying process"
        assert not taker.importing
        assert not taker.outdated, "an edited module is never served stale"
        assert taker.holds is None, "handed to a busy process"
        assert seq > taker.seq, "interrupts name the run"
        assert last == (job.failed == job.options.retries)
        assert job is self.next(), "by priority, then in the order of submission, as far as capabilities are free"
        job.handed(taker, context)
        taker.seq, taker.holds = seq, job
        if context is not None:
            taker.modules = context.modules
        if not taker.dead:
            taker.run = Run(seq, job)
        assert sum(p.holds is not None for p in self.processes.values()) <= SLOTS, "no more runs than slots"

    def next(self) -> Job | None:
        """The queued task that is to run."""
        free = dict(CAPABILITIES)
        for process in self.processes.values():
            for used in process.holds.options.capabilities if process.holds is not None else ():
                free[used.name] -= used.amount
        assert min(free.values()) >= 0, "no more of a capability than there is"
        waited_for: set[str] = set()
        queued = [job for job in self.jobs.values() if job.process is None and job.rests is None and not job.last]
        for job in sorted((job for job in queued if job.arrived), key=lambda job: job.place):
            needs = job.options.capabilities
            names = {wanted.name for wanted in needs}
            if not names & waited_for and all(free[wanted.name] >= wanted.amount for wanted in needs):
                return job
            waited_for |= names
            SEEN["waited for a capability"] += 1
        return None

    def interrupt(self, process: int, seq: int) -> None:
        asked = self.processes[process]
        assert asked.holds is not None, "An interrupt never reaches our own code"
        assert asked.seq == seq, "An interrupt never reaches the next task"
        assert asked.holds.asked is not None, "nobody has asked for it"
        asked.asked = seq

    def kill(self, process: int, others: Sequence[int] = ()) -> None:
        victim = self.processes[process]
        assert not victim.killed, "killed once"
        job = victim.holds
        if job is None:
            assert victim.outdated, "an idle process has done nothing"
        else:
            due = job.asked is True and self.clock.now >= job.deadline
            assert job.kill_is_due or due, "force=False: asked, never killed; force=True: after the grace period"
        victim.killed = True

    # ------------------------------------------------------------------ processes

    def ready(self, process: Process) -> None:
        """It is there, or has imported what it was to."""
        process.ready, process.importing = True, False
        self.core.process_ready(process.pid, self.clock.now, self.clock.time)

    def warm(self) -> None:
        """The processes that wait for their first task import modules, and take none meanwhile."""
        for pid in self.core.fresh:
            if not self.processes[pid].dead:
                self.processes[pid].importing = True
                self.core.hold(pid)

    def read(self, process: Process) -> None:
        """Take what it has written."""
        written, process.written = process.written, []
        for ended in written:
            job = process.holds
            assert job is not None
            again = ended.end is End.FAILED and job.tried_again
            if ended.end is End.STOPPED:
                job.stopped = True
            else:
                process.holds = None
            self.core.process_ended_run(process.pid, ended, self.clock.now, self.clock.time)
            if again:
                job.backs_off(self.clock.now)
            elif ended.end is End.STOPPED:
                assert process.killed
            else:
                assert job.last == "result"

    def reap(self, process: Process, lingers: bool) -> None:
        """Wait for it; a result that it had written counts. What it started may take longer."""
        self.read(process)
        process.lingers = lingers and not process.lingers
        if process.lingers:
            return
        process.reaped = True
        job, process.holds = process.holds, None
        begun = process.begun == process.seq
        if job is not None and not begun:
            job.loses_process()
        again = job is not None and job.process is process and job.tried_again
        if process.ready:
            self.core.process_died(process.pid, "it died", begun, self.clock.now, self.clock.time)
        if job is not None and again:
            job.backs_off(self.clock.now)
        assert job is None or job.last or job.process is not process, "a task ends with its process, once it has begun"
        del self.processes[process.pid]
        self._fill()

    # ------------------------------------------------------------------ time

    def tick(self) -> None:
        for job in self.jobs.values():
            if job.rests is not None and job.rests <= self.clock.now:
                job.rests = None
        self.core.tick(self.clock.now, self.clock.time)
        deadline = self.core.next_deadline()
        assert deadline is None or deadline > self.clock.now, "it is due and was not done"
        for job in self.jobs.values():
            if job.held and job.asked is not None and self.clock.now >= job.deadline:
                assert job.process is not None
                assert job.process.killed, "after the grace period: CancelFailed, or killed"

    def check(self) -> None:
        for job in self.jobs.values():
            owner = None if job.last else job.owner
            assert self.core.owner(job.task_id) == owner, "what is over has left the tables, and nothing else has"
            if job.held and job.asked is not None and job.process is not None and not job.process.killed:
                wakes = self.core.next_deadline()
                assert wakes is not None, "nobody would wake for the end of the grace period"
                assert wakes <= max(job.deadline, self.clock.now)
            if job.rests is not None:
                wakes = self.core.next_deadline()
                assert wakes is not None, "nobody would wake for the end of the back-off"
                assert wakes <= max(job.rests, self.clock.now)
        for process in self.processes.values():
            held = (process.holds.task_id, process.holds.owner) if process.holds is not None else None
            assert self.core.holder(process.pid) == held
            assert process.run is None or not process.run.job.last, "a task that is confirmed or done runs on"
        assert self.core.latest_context is next(reversed(self.contexts.values()), None)
        queued = self.next() is not None
        assert self.core.has_queue == queued
        busy = sum(process.holds is not None for process in self.processes.values())
        free = [p for p in self.processes.values() if p.ready and not (p.importing or p.killed or p.holds)]
        assert not (queued and free and busy < SLOTS), "a task waits although a slot and a process are free"

    def die(self) -> None:
        """The scheduler dies, and its processes with it."""
        for process in self.processes.values():
            process.die()
            process.reaped = True
        for job in self.jobs.values():
            job.last = job.last or FORGOTTEN
