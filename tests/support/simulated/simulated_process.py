"""Simulated task processes, and the memory behind what they write."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, cast

from contract_rules import SEEN, Job
from simulated_client import Connection, success

from scaler_notebook.engines.local.ipc.messages import RunFinished
from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.exceptions import failures
from scaler_notebook.protocol.messages import Payload, SegmentRef, TaskFigures
from scaler_notebook.task.task_end import TaskEnd

FAILURE = replace(payloads.dump(failures.capture(KeyError("mine"), ())), buffers=(b"a buffer",))

BRIEF = TaskFigures(started=1.0, ended=1.00001)


class Memory:
    """The memory behind payloads: each piece is freed, or given to a client, once."""

    def __init__(self) -> None:
        self.open: dict[int, bytes] = {}  # by descriptor
        self._descriptors = count(1)

    def taken(self, payload: Payload) -> Payload:
        """What somebody else holds, as ours."""
        return replace(payload, buffers=tuple(self._segment(bytes(cast(Any, buffer))) for buffer in payload.buffers))

    def _segment(self, content: bytes) -> SegmentRef:
        descriptor = next(self._descriptors)
        self.open[descriptor] = content
        return SegmentRef(descriptor, descriptor, len(content))

    def content(self, payload: Payload) -> Payload:
        """As whoever is given it sees it."""
        return replace(payload, buffers=tuple(self.open[descriptor] for descriptor in descriptors(payload)))

    def release_payload(self, payload: Payload) -> None:
        for descriptor in descriptors(payload):
            del self.open[descriptor]


def descriptors(payload: Payload) -> list[int]:
    return [buffer.descriptor for buffer in payload.buffers if isinstance(buffer, SegmentRef)]


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
    offered: list[Run] = field(default_factory=list)  # what it may begin after that, and has not claimed
    over: bool = False  # it begins nothing more
    asked: int = 0  # the run that its page of shared memory names
    begun: int = 0  # the run that it says there to have begun
    written: list[RunFinished] = field(default_factory=list)  # into its socket, and not read yet
    dead: bool = False
    # the scheduler
    ready: bool = False
    importing: bool = False
    modules: str | None = None  # state of the user's modules when it imported them
    outdated: bool = False  # it was found to have imported older ones
    seq: int = 0  # the last run that it was handed
    runs: list[tuple[int, Job]] = field(default_factory=list)  # those that it was handed, and whose end was not read
    killed: bool = False
    client: Connection | None = None  # of its tasks, which submit others
    lingers: bool = False  # it is waited for, but something that it started is not gone yet
    reaped: bool = False

    @property
    def holds(self) -> Job | None:
        """The task that it works at, as far as the scheduler knows."""
        return self.runs[0][1] if self.runs and not self.reaped else None

    @property
    def has_next(self) -> bool:
        """Can it begin a run?"""
        return not self.over and bool(self.offered if self.run is None else not self.run.begun)

    def over_with(self, job: Job) -> bool:
        """Has it written the end of this run?"""
        return any(seq == ended.seq for ended in self.written for seq, held in self.runs if held is job)

    @property
    def works(self) -> bool:
        return self.run is not None and self.run.begun

    @property
    def obeys(self) -> bool:
        """Has the interrupt reached its run, which may end by it?"""
        return self.run is not None and self.run.begun and self.asked == self.run.seq and not self.run.stubborn

    def begin(self) -> None:
        """It takes what it was handed; an ask that came before stops that without a line of it run."""
        if self.run is None:
            self.run = self.offered.pop(0)
            SEEN["went on by itself"] += 1
        run = self.run
        self.begun = run.seq
        if self.asked == run.seq:
            self._write(TaskEnd.STOPPED)
        else:
            run.begun = True
            run.job.begins()

    def end(self, end: TaskEnd) -> None:
        """The task's code ends, and the process writes how."""
        assert self.run is not None
        self.run.job.end = end
        self._write(end)

    def interrupted(self, obeys: bool) -> None:
        """What the interrupt does to the task."""
        assert self.run is not None
        if obeys:
            self.end(TaskEnd.STOPPED)
        else:
            self.run.stubborn = True

    def _write(self, end: TaskEnd) -> None:
        assert self.run is not None
        payload = {TaskEnd.SUCCESS: success(self.run.job.task_id), TaskEnd.FAILED: FAILURE}.get(end, Payload(b""))
        self.written.append(RunFinished(self.run.seq, end, payload, BRIEF))
        self.run, self.over = None, end is TaskEnd.STOPPED

    def die(self) -> None:
        """Whatever killed it. It is not waited for yet."""
        self.dead, self.run = True, None
