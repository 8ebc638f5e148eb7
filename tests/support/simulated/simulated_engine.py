"""A simulated scheduler process: the real core, with effects on simulated task processes, which check."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, cast

from contract_rules import FORGOTTEN, SEEN, Job
from fake_clock import FakeClock
from simulated_client import Connection, success, task_of
from simulated_process import Memory, Process, Run

from scaler_notebook import DisconnectedError
from scaler_notebook.engines.local.ipc.messages import Input, RunFinished
from scaler_notebook.engines.local.scheduler.core.core import Core
from scaler_notebook.engines.local.scheduler.core.dispatch.slot_lending import DEEPEST_FIRST, STANDSTILL
from scaler_notebook.engines.local.scheduler.core.effects import PrefetchedRun
from scaler_notebook.protocol.messages import (
    ClientContext,
    ClientDisconnect,
    ClientMessage,
    ClientPause,
    EngineMessage,
    ObjectCreate,
    ObjectDelete,
    Payload,
    Task,
    TaskCancel,
    TaskCancelConfirm,
    TaskCancelConfirmType,
    TaskResult,
    TaskWaits,
)
from scaler_notebook.protocol.payload_cache import Receiver, completed
from scaler_notebook.task.task_end import TaskEnd

SLOTS, SPARES = 2, 1
CAPABILITIES = {"gpu": 1, "disk": 2}


class Engine:
    """A scheduler process: the real core, with simulated effects."""

    def __init__(self, clock: FakeClock, first_pid: int) -> None:
        self.clock = clock
        self.core = Core(SLOTS, self, CAPABILITIES, clock=clock, spares=SPARES)
        self.standing = SLOTS + SPARES
        self.connections: dict[bytes, Connection] = {}
        self.receivers: dict[bytes, Receiver] = {}
        self.contexts: dict[bytes, ClientContext] = {}
        self.jobs: dict[str, Job] = {}
        self.processes: dict[int, Process] = {}
        self.pids = first_pid
        self.memory = Memory()
        self.homes: dict[bytes, Process] = {}  # of the clients within tasks
        self.turns: dict[bytes, int] = {}  # by client within no task: the turn of its last task
        self.now_serving = 0  # the latest turn of a task that was handed to a process
        self.objects: dict[str, bytes] = {}  # those of clients, and tasks, that may be named: their owners
        self.paused: set[bytes] = set()  # clients
        self.acts = 0
        self.more = 0
        self._fill()

    @property
    def size(self) -> int:
        return self.standing + self.more

    @property
    def slots(self) -> int:
        return self.core.state.slots

    def _fill(self) -> None:
        while len(self.processes) < self.size:
            self.pids += 1
            self.processes[self.pids] = Process(self.pids)

    # ------------------------------------------------------------------ clients

    def connect(self, connection: Connection) -> None:
        self.connections[connection.owner] = connection
        self.receivers[connection.owner] = Receiver()

    def deliver(self, connection: Connection, count: int) -> None:
        """Take the next messages of a client."""
        with self.core.batch():
            for message in connection.arriving(count):
                self._receive(connection, message)

    def _receive(self, connection: Connection, message: ClientMessage) -> None:
        owner = connection.owner
        if owner in self.homes and self.core.overview.has_more(self.homes[owner].pid):
            self.read(self.homes[owner])  # the end of another run, which came before the task that speaks here
        match message:
            case Task():
                job = connection.jobs[message.task_id]
                task = completed(message, self.receivers[owner])
                sent = task_of(job)
                assert (task.function.data, task.arguments) == (sent.function.data, sent.arguments)
                self._submit(job, task)
            case TaskCancel():
                self._cancel(owner, message)
            case ClientContext():
                self.contexts.pop(owner, None)
                self.contexts[owner] = message
                self.core.set_context(owner, message)
            case ObjectCreate():
                content = self.memory.taken(message.content)
                self.core.create(owner, message.object_id, content)
                self.memory.release_payload(content)  # the client's own
                self.objects[message.object_id] = owner
            case ObjectDelete():
                self.core.delete(owner, message.object_ids)
                for name in message.object_ids:
                    if self.objects.get(name) == owner:
                        del self.objects[name]
            case TaskWaits():
                home = self.homes[owner]
                self.core.task_waits(home.pid, message.task_id, message.waits)
                if home.holds is not None and home.holds.task_id == message.task_id:
                    assert (home.pid in self.lent) == message.waits, "a task that waits lends its slot"
            case ClientPause():
                (self.paused.add if message.paused else self.paused.discard)(owner)
                self.core.pause(owner, message.paused)
            case ClientDisconnect():
                self.client_gone(owner)

    def _submit(self, job: Job, task: Task) -> None:
        home = self.homes.get(job.owner)
        job.arrived, job.context = True, self.contexts.get(job.owner)
        priority = task.options.priority
        if home is not None and home.holds is not None and home.holds.task_id == task.parent:
            job.parent = parent = home.holds
            parent.children.append(job)
            job.root, job.depth = parent.root, parent.depth + 1
            priority = max(priority, -parent.place[0])
        before = self.turns.get(job.root, 0)
        self.turns[job.root] = turn = max(before, self.now_serving) + 1
        job.place = -priority, turn - job.depth * DEEPEST_FIRST, job.task_id
        own = {name: other for name, other in self.jobs.items() if other.owner == job.owner and not other.last}
        kept = {name for name, owner in self.objects.items() if owner == job.owner}
        there = own.keys() | {name for name in kept if name not in self.jobs or self.jobs[name].gave}
        claimed = {
            name for other in self.jobs.values() if not other.last and other.owner == job.owner for name in other.inputs
        }
        self.jobs[job.task_id] = job
        job.needed = [own[name] for name in dict.fromkeys(task.inputs) if name in own]
        self.core.submit(job.owner, task, home.pid if home is not None else 0)
        if job.last == "missing":
            self.turns[job.root] = before
            assert not there >= set(task.inputs), "its inputs are there, or to come"
        else:
            assert there | claimed >= set(task.inputs), "nobody has such an input"
            if task.retain:
                self.objects[job.task_id] = job.owner

    @property
    def lent(self) -> set[int]:
        """The processes whose tasks wait for others."""
        return self.core.state.lent

    def _cancel(self, owner: bytes, request: TaskCancel) -> None:
        job = self.jobs.get(request.task_id)
        queued = job is not None and job.owner == owner and not job.last and not self._has_begun(job)
        if job is not None and job.owner == owner and not job.last:
            job.asked_to_stop(request, self.clock.now)
        self.core.cancel(owner, request)
        if queued:
            assert job is not None
            assert job.last == "confirmed", "take the task back if it has not started"

    def _has_begun(self, job: Job) -> bool:
        """Is it with a process that may have begun it?"""
        if job.waits_at is not None:
            return job not in [run.job for run in job.waits_at.offered]
        return job.process is not None

    def submit_again(self, job: Job) -> None:
        """A task whose id is in use."""
        self.core.submit(b"somebody", task_of(job))

    def client_gone(self, owner: bytes) -> None:
        theirs = [
            job
            for job in self.jobs.values()
            if not job.last and (job.root == owner or (job.owner == owner and job.parent is not None))
        ]
        for process in self.processes.values():
            self._note_begun(process)
        for job in theirs:
            job.is_orphaned()
        self.objects = {name: whose for name, whose in self.objects.items() if whose != owner}
        self.core.client_gone(owner)
        self.turns.pop(owner, None)
        self.paused.discard(owner)
        del self.receivers[owner]
        self.contexts.pop(owner, None)
        for job in theirs:
            if job.process is not None and not job.process.killed:
                assert job.process.over_with(job), "what it left is cancelled"

    # ------------------------------------------------------------------ side effects

    def retain_payload(self, payload: Payload) -> Payload:
        return self.memory.taken(self.memory.content(payload))

    def release_payload(self, payload: Payload) -> None:
        self.memory.release_payload(payload)

    def scale(self, slots: int) -> None:
        """What somebody asks for."""
        self.core.scale(slots)
        assert self.standing == slots + SPARES

    def set_standing(self, count: int) -> None:
        SEEN["more processes"] += count > self.standing
        SEEN["fewer processes"] += count < self.standing
        self.standing = count
        self._fill()

    def add_processes(self, extra: int) -> None:
        assert extra == len(self.lent), "a process for each slot that is lent"
        self.more = extra
        SEEN["lent"] += extra > 0
        self._fill()

    def cpu_seconds(self, process: int) -> float:
        """Every other process works; the rest wait."""
        return self.clock.now if process % 2 else 0.0

    def surplus(self) -> int:
        return max(0, sum(not process.killed for process in self.processes.values()) - self.size)

    def send(self, owner: bytes, message: EngineMessage) -> None:
        self.acts += 1
        job = self.jobs.get(cast(Any, message).task_id)
        if isinstance(message, TaskCancelConfirm) and message.answer is TaskCancelConfirmType.CANCEL_NOT_FOUND:
            assert job is None or job.last or job.owner != owner, "CancelNotFound: the engine does not know it"
            SEEN["no such task"] += 1
        else:
            assert job is not None
            job.told(owner, message, self.clock.now)
            if isinstance(message, TaskResult):
                given = self.memory.content(message.payload)
                self.memory.release_payload(message.payload)  # it is the client's now
                message = replace(message, payload=given)
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
        self.acts += 1
        assert taker.ready, "handed to a process that is not ready"
        assert not taker.killed, "handed to a dying process"
        assert not taker.importing
        assert not taker.outdated, "an edited module is never served stale"
        assert taker.holds is None, "handed to a busy process"
        assert seq > taker.seq, "interrupts name the run"
        assert last == (job.failed == job.options.retries)
        assert job is self.next(), "by priority, then by the clients' turns, as far as capabilities are free"
        ahead = [run.job for each in self.processes.values() for run in each.offered if run.job.waits_at is each]
        assert all(job.place < other.place for other in ahead), "a free slot takes the first task of all"
        self.now_serving = max(self.now_serving, job.place[1])
        assert [each.name for each in inputs] == list(dict.fromkeys(task.inputs))
        for each in inputs:
            assert self.memory.content(each.value) == success(each.name), "it has the values that it names"
        job.handed(taker, context)
        taker.seq = seq
        taker.runs.append((seq, job))
        if context is not None:
            taker.modules = context.modules
        if not taker.dead:
            taker.run = Run(seq, job)
        assert self._holding() <= self.slots + len(self.lent), "no more runs than slots"

    def prefetch(self, process: int, runs: Sequence[PrefetchedRun]) -> None:
        taker = self.processes[process]
        holder = taker.holds
        assert holder is not None, "handed to an idle process"
        assert not taker.killed
        assert not holder.announced, "no task waits behind a slow one"
        assert not holder.children
        assert process not in self.lent
        for seq, task, last in runs:
            job = self.jobs[task.task_id]
            assert seq > taker.seq, "interrupts name the run"
            assert last == (job.failed == job.options.retries)
            first = self.next(left_by_core=True)
            assert first is None or job.place < first.place, "by priority, then by the clients' turns"
            assert job.context is holder.context, "a task runs in its client's surroundings at the submit"
            assert not job.inputs
            assert not job.options.capabilities
            assert job.parent is None
            self.now_serving = max(self.now_serving, job.place[1])
            job.waits_at, taker.seq = taker, seq
            taker.runs.append((seq, job))
            taker.offered.append(Run(seq, job))
            SEEN["prefetched"] += 1

    def recall(self, process: int, after: int) -> Collection[int]:
        asked = self.processes[process]
        assert after == asked.runs[0][0]
        left = [run.seq for run in asked.offered if run.seq > after]
        asked.offered = [run for run in asked.offered if run.seq <= after]
        for seq, job in asked.runs:
            if seq in left:
                job.waits_at, job.was_ahead = None, True
                SEEN["recalled"] += 1
        asked.runs = [(seq, job) for seq, job in asked.runs if seq not in left]
        self._note_begun(asked)
        return left

    def _note_begun(self, process: Process) -> None:
        """The tasks that cannot be taken back any more are with their process."""
        offered = [run.job for run in process.offered]
        for _, job in process.runs[1:]:
            if job.waits_at is process and job not in offered and not process.dead:
                job.handed(process, job.context)
                SEEN["begun before the recall"] += 1

    def _holding(self) -> int:
        return sum(process.holds is not None for process in self.processes.values())

    def next(self, left_by_core: bool = False) -> Job | None:
        """The queued task that is to run; if asked, of those that the core has not taken off its queue."""
        free = dict(CAPABILITIES)
        for process in self.processes.values():
            if process.holds is not None and process.pid not in self.lent:
                for used in process.holds.options.capabilities:
                    free[used.name] -= used.amount
        waited_for: set[str] = set()
        records, queue = self.core.state.records, self.core.state.queue
        waiting = [job for job in self.jobs.values() if job.queued and job.owner not in self.paused]
        if left_by_core:
            waiting = [job for job in waiting if records[job.task_id] in queue]
        for job in sorted(waiting, key=lambda job: job.place):
            needs = job.options.capabilities
            names = {wanted.name for wanted in needs}
            if not names & waited_for and all(free[wanted.name] >= wanted.amount for wanted in needs):
                return job
            waited_for |= names
            SEEN["waited for a capability"] += 1
        return None

    def assign_devices(self, process: int, names: tuple[str, ...]) -> None:
        raise AssertionError("there are no devices")

    def tell_taken(self, process: int, seq: int, count: int) -> None:
        raise AssertionError("no task gives items")

    def interrupt(self, process: int, seq: int) -> None:
        self.acts += 1
        asked = self.processes[process]
        runs = dict(asked.runs)
        assert runs, "An interrupt never reaches our own code"
        assert seq in runs, "An interrupt never reaches the next task"
        assert runs[seq].process is asked
        assert runs[seq].asked is not None, "nobody has asked for it"
        asked.asked = seq

    def kill(self, process: int, others: Sequence[int] = ()) -> None:
        self.acts += 1
        victim = self.processes[process]
        assert not victim.killed, "killed once"
        begun = [job for _, job in victim.runs if job.process is victim]
        job = begun[-1] if begun else None  # the others have ended
        running: set[int] = set()
        if job is None:
            assert victim.outdated or self.surplus(), "an idle process has done nothing"
            SEEN["needed no more"] += not victim.outdated
        else:
            assert job.due(self.clock.now), "force=False: asked, never killed; force=True: after the grace period"
            running = {child.process.pid for child in job.children if child.process is not None and child.held}
            job.abandons()
        assert set(others) == running, "it is gone when what it has submitted is"
        assert victim.run is None or not victim.run.begun or victim.run.job is job, "another task is hit"
        SEEN["killed with what it has submitted"] += bool(running)
        victim.killed = True

    # ------------------------------------------------------------------ processes

    def ready(self, process: Process) -> None:
        """It is there, or has imported what it was to."""
        process.ready, process.importing = True, False
        self.core.process_ready(process.pid)

    def warm(self) -> None:
        """The processes that wait for their first task import modules, and take none meanwhile."""
        for pid in self.core.overview.fresh:
            if not self.processes[pid].dead:
                self.processes[pid].importing = True
                self.core.reserve(pid)

    def read(self, process: Process) -> None:
        """Take what it has written."""
        written, process.written = process.written, []
        for ended in written:
            seq, job = process.runs[0]
            assert seq == ended.seq
            again = ended.end is TaskEnd.FAILED and job.tried_again
            if ended.end is TaskEnd.STOPPED:
                job.stopped = True
            else:
                del process.runs[0]
                if process.runs and process.runs[0][1].waits_at is process:
                    process.runs[0][1].handed(process, process.runs[0][1].context)
            if again:
                job.abandons()
            ended = replace(ended, payload=self.memory.taken(ended.payload))
            self.core.process_ended_run(process.pid, ended)
            if again:
                job.backs_off(self.clock.now)
            elif ended.end is TaskEnd.STOPPED:
                assert process.killed
            else:
                assert job.last == "result"

    def reap(self, process: Process, lingers: bool) -> None:
        """Wait for it; a result that it had written counts. What it started may take longer."""
        self.read(process)
        process.lingers = lingers and not process.lingers
        if process.lingers:
            return
        job, begun = process.holds, bool(process.runs) and process.begun == process.runs[0][0]
        process.reaped = True
        for _, other in process.runs[1:]:
            assert other.waits_at is process, "one run at a time begins"
        if job is not None and not begun:
            job.loses_process()
        again = job is not None and job.process is process and job.tried_again
        is_put_back = job is not None and job.process is None and job.asked is None and not job.kill_is_due
        if job is not None:
            job.abandons()
        self.core.process_died(process.pid, "it died", begun)
        process.runs.clear()
        if job is not None and again:
            job.backs_off(self.clock.now)
        assert job is None or bool(job.last) != (is_put_back or again), "else it ends with its process"
        del self.processes[process.pid]
        if process.client is not None:
            self.client_gone(process.client.owner)
            process.client.to_engine.clear()
            process.client.lose(DisconnectedError("gone"))
        self._fill()

    def hears_nonsense(self, process: Process, end: TaskEnd, back: int) -> None:
        """The end of a run that is over, and the death of nobody, change nothing."""
        before = self.acts
        seq = process.runs[0][0] if process.runs else process.seq
        ended = RunFinished(seq - back, end, self.memory.taken(success("late")))
        self.core.process_ended_run(process.pid, ended)
        self.core.process_died(0, "it died", False)
        assert self.acts == before

    # ------------------------------------------------------------------ time

    def tick(self) -> None:
        for job in self.jobs.values():
            if job.rests is not None and job.rests <= self.clock.now:
                job.rests = None
        before, stands, overtaken = len(self.lent), self._stands_still(), self._is_overtaken()
        self.core.tick()
        if len(self.lent) > before:
            assert stands or overtaken, "something may still move"
            SEEN["taken to wait" if stands else "overtaken"] += 1
        deadline = self.core.next_deadline()
        assert deadline is None or deadline > self.clock.now, "it is due and was not done"
        for job in self.jobs.values():
            if job.held and job.asked is not None and self.clock.now >= job.deadline:
                assert job.process is not None
                assert job.process.killed, "after the grace period: CancelFailed, or killed"

    def check(self) -> None:
        for job in self.jobs.values():
            assert job.last or all(needed.gave or not needed.last for needed in job.needed), (
                "it waits for what never comes"
            )
            owner = None if job.last else job.owner
            assert self.core.overview.owner(job.task_id) == owner, (
                "what is over has left the tables, and nothing else has"
            )
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
            assert self.core.overview.holder(process.pid) == held
            assert process.run is None or not process.run.job.last, "a task that is confirmed or done runs on"
        assert next(reversed(self.core.overview.contexts.values()), None) is next(
            reversed(self.contexts.values()), None
        )
        queued = self.next() is not None
        ahead = any(process.runs[1:] for process in self.processes.values())
        assert self.core.overview.has_queue == (queued or ahead)
        assert self.more == len(self.lent)
        assert self.lent <= {process.pid for process in self.processes.values() if process.holds}
        if self._stands_still():
            wakes = self.core.next_deadline()
            assert wakes is not None, "nothing would ever move"
            assert wakes <= self.clock.now + STANDSTILL
        free = [p for p in self.processes.values() if p.ready and not (p.importing or p.killed or p.holds)]
        waits = queued or any(process.offered and process.runs[1:] for process in self.processes.values())
        assert not (waits and free and self._holding() < self.slots + len(self.lent)), (
            "a task waits although a slot and a process are free"
        )

    def _stands_still(self) -> bool:
        """Has every task that runs, and does not say that it waits, submitted others, and does one wait for a slot?"""
        held = [process.holds for process in self.processes.values() if process.holds and process.pid not in self.lent]
        return bool(held) and all(job.children for job in held) and any(job.queued for job in self.jobs.values())

    def _is_overtaken(self) -> bool:
        """Does the next task wait for a slot that tasks have which wait, and does one of them run before its turn?"""
        waits = self.next(left_by_core=True)
        held = [process for process in self.processes.values() if process.holds and process.pid not in self.lent]
        return (
            waits is not None
            and waits.was_ahead
            and len(held) >= self.slots
            and not any(process.pid % 2 for process in held)
            and any(process.holds.place > waits.place for process in held if process.holds is not None)
        )

    def check_empty(self) -> None:
        """When everything has ended, and every client has gone."""
        for owner in list(self.receivers):
            self.client_gone(owner)
        assert self.core.state.records == {}
        assert len(self.core.state.dependencies) == 0, "what nobody can name any more is kept"
        assert self.memory.open == {}, "memory that nobody frees"

    def die(self) -> None:
        """The scheduler dies, and its processes with it."""
        for process in self.processes.values():
            process.die()
            process.reaped = True
        for job in self.jobs.values():
            job.last = job.last or FORGOTTEN
