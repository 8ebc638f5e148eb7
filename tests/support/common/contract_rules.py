"""The rules of the cancel contract, held to one task: each message of an assertion is a sentence of the contract.

A :class:`Job` knows what really happened to its task, what the engine was told and has said, and what has reached its
client; whoever simulates the world tells it. From that alone follows what its future must show.
"""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, TimeoutError
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from future_observers import Followers, check_derived

from scaler_notebook import CancelReason, MissingObjects, ProcessorDiedError, ScalerFuture, TaskState
from scaler_notebook.engines.local.scheduler.core.process_deaths import MAX_DISPATCHES
from scaler_notebook.engines.scheduling.retry import FIRST_BACKOFF
from scaler_notebook.protocol.future_events import DeadlineReached
from scaler_notebook.protocol.messages import (
    ClientContext,
    EngineMessage,
    Payload,
    TaskAttemptFailed,
    TaskCancel,
    TaskCancelConfirm,
    TaskCancelConfirmType,
    TaskLog,
    TaskOptions,
    TaskResult,
    TaskResultType,
    TaskStarted,
)
from scaler_notebook.task.task_end import TaskEnd

if TYPE_CHECKING:
    from simulated_client import Connection
    from simulated_process import Process

A: TypeAlias = TaskCancelConfirmType
C: TypeAlias = CancelReason
S: TypeAlias = TaskState
FORGOTTEN = "forgotten"  # the engine has nobody left to tell

SEEN: Counter[str] = Counter()  # what has happened in all the lives together, so that a run can show its worth

ARROWS = {
    S.SUBMITTED: {S.RUNNING, S.CANCELLING, S.FINISHED, S.CANCELLED},
    S.RUNNING: {S.CANCELLING, S.FINISHED, S.CANCELLED},
    S.CANCELLING: {S.SUBMITTED, S.RUNNING, S.CANCELLED},
    S.FINISHED: {S.CANCELLED},
    S.CANCELLED: set(),
}
ERRORS = {
    TaskResultType.FAILED: KeyError,
    TaskResultType.FAILED_WORKER_DIED: ProcessorDiedError,
    TaskResultType.MISSING_OBJECTS: MissingObjects,
}


class Job:
    """One task, from its submission to the end of everything."""

    def __init__(
        self, connection: Connection, number: int, options: TaskOptions, inputs: Sequence[str], keep: bool, parent: str
    ) -> None:
        self.connection = connection
        self.owner = connection.owner
        self.task_id = f"{self.owner.decode()}-{number}"
        self.number = number
        self.options = options
        self.inputs, self.keep, self.submitter = tuple(inputs), keep, parent
        self.future: ScalerFuture[Any] = ScalerFuture(task_id=self.task_id, call="work()", session=cast(Any, self))
        self.followers = Followers(self.future)
        self.grace = 1.0  # of the next request
        # what really happens
        self.process: Process | None = None  # that it was handed to
        self.waits_at: Process | None = None  # that it was prefetched for
        self.was_ahead = False  # was it taken back from there?
        self.handed_to = 0  # how many processes in this try, each but the last of which has died before it began it
        self.failed = 0  # how many tries
        self.rests: float | None = None  # until when it backs off
        self.runs = 0  # how often its code began
        self.end: TaskEnd | None = None  # how its code ended by itself, in this try
        # the engine
        self.arrived = False
        self.place = (0, 0, "")  # in the engine's queue, whenever it is there: the smallest runs first
        self.root = self.owner  # the client that is in no task
        self.parent: Job | None = None  # as long as that runs
        self.depth = 0
        self.children: list[Job] = []
        self.needed: list[Job] = []  # the tasks of which it has inputs
        self.origin = ""  # the one that it falls with
        self.gave = False  # a value to those that need it
        self.fell: TaskResultType | None = None  # how those end if it gave none; None: as it was cancelled
        self.context: ClientContext | None = None  # of its client when it arrived
        self.orphaned = False  # its client is gone
        self.asked: bool | None = None  # strength of the strongest request that the engine has not answered
        self.deadline = 0.0  # of its grace period
        self.stopped = False  # the engine knows that the interrupt ended it
        self.announced = False
        self.last = ""  # the engine's last word about it
        # the client
        self.started = False  # and its client has heard of it
        self.unanswered: set[bool] = set()  # strengths of the requests that were sent
        self.deadline_asked = False  # the first of them
        self.requests = 0
        self.refused = False
        self.ended: S | C | None = None
        self.first_end = ""  # what waiters are to hear
        self.outcome: TaskResultType | None = None
        self.error: Exception | None = None  # that said that its connection has ended
        self.settled: tuple[Any, ...] = ()
        self.frames: list[weakref.ref[Any]] = []  # the memory that its results came in

    def __repr__(self) -> str:
        return f"<{self.future!r} last={self.last!r} runs={self.runs} end={self.end} ended={self.ended}>"

    # ------------------------------------------------------------------ what really happens

    @property
    def held(self) -> bool:
        """As far as the engine can know, its process works on it."""
        return self.process is not None and not self.last

    def handed(self, process: Process, context: ClientContext | None) -> None:
        assert self.arrived
        assert context is self.context, "a task runs in its client's surroundings at the submit"
        assert not self.last, "A task cancelled before it started never starts; a confirmed one never runs again"
        assert self.process is None, "a try that may have begun is handed to no other process"
        assert self.rests is None, "a task that backs off is with nobody"
        self.process, self.waits_at = process, None
        self.handed_to += 1

    def loses_process(self) -> None:
        """It was with a process that has died before it began it, and is where it was before: with nobody."""
        if self.handed_to < MAX_DISPATCHES and not self.announced:
            assert self.runs <= self.failed, "less if a try has failed before it began, with its process"
            self.process = None
            SEEN["put back"] += 1

    @property
    def tried_again(self) -> bool:
        """If its run fails now: it is not asked to stop, its process is not being killed, and it has tries left."""
        return self.failed < self.options.retries and self.asked is None and not self.kill_is_due

    @property
    def queued(self) -> bool:
        """Does it wait for a process alone, or for a capability?"""
        with_nobody = self.process is None and self.waits_at is None
        unheld = self.arrived and with_nobody and self.rests is None and not self.last
        return unheld and all(needed.last for needed in self.needed)

    def due(self, now: float) -> bool:
        """Is its process to go now, as the end of its grace period, or with the task that has submitted it?"""
        over = self.asked is True and now >= self.deadline
        return self.kill_is_due or over or (self.parent is not None and self.parent.due(now))

    def abandons(self) -> None:
        """What it has submitted ends with it."""
        for child in list(self.children):
            child.is_orphaned()

    def is_orphaned(self) -> None:
        """Nobody waits for it any more, nor for what it has submitted."""
        self.orphaned = True
        if self.process is None and not self.last:
            self.last, self.rests = FORGOTTEN, None
            self._leaves_parent()
        elif self.process is not None and not self.process.killed:  # else it has, or does when it is reaped
            self.abandons()

    def _leaves_parent(self) -> None:
        if self.parent is not None:
            self.parent.children.remove(self)
            self.parent = None

    def backs_off(self, now: float) -> None:
        """The engine has heard that its run failed."""
        assert not self.last, "it has tries left, and no result"
        assert self.announced, "each of several tries is heard of"
        self.process, self.end, self.handed_to, self.announced = None, None, 0, False
        self.rests = now + FIRST_BACKOFF * 2**self.failed
        self.failed += 1
        SEEN["tried again"] += 1

    def begins(self) -> None:
        assert not self.last, "A task is confirmed once, and never runs again after its confirmation"
        assert self.runs <= self.failed, "a task runs once per try"
        self.runs += 1

    # ------------------------------------------------------------------ what the engine hears and says

    def asked_to_stop(self, request: TaskCancel, now: float) -> None:
        """A request has reached the engine, and the task is there."""
        if self.asked is None or (request.force and not self.asked):
            SEEN["upgraded"] += self.asked is not None
            self.asked, self.deadline = request.force, now + request.grace

    @property
    def kill_is_due(self) -> bool:
        """Is its process to go at once? It has obeyed, or nobody waits for it."""
        return self.stopped or self.orphaned

    def told(self, owner: bytes, message: EngineMessage, now: float) -> None:
        """The engine says something about it."""
        assert owner == self.owner, "told to somebody else"
        assert not self.last, f"A task is confirmed once, and after its last message there is none: {message}"
        match message:
            case TaskStarted():
                assert self.process is not None, "TaskStarted: it runs"
                assert not self.announced, "started once per try"
                assert message.attempt == self.failed + 1
                self.announced = True
            case TaskAttemptFailed():
                assert self.announced, "its start was told"
                assert message.attempt == self.failed + 1 <= self.options.retries, "another one follows"
            case TaskLog():
                assert self.failed < self.options.retries, "a death is in the output if it is not the result"
            case TaskResult(outcome=TaskResultType.MISSING_OBJECTS):
                assert not self.handed_to
                self.last = "missing"
            case TaskResult(origin=origin) | TaskCancelConfirm(origin=origin) if origin:
                assert not self.handed_to, "what lacks an input never runs"
                result = message.outcome if isinstance(message, TaskResult) else None
                whose = [each for each in self.needed if origin == (each.origin or each.task_id)]
                fell = [each for each in whose if each.last and not each.gave and each.fell is result]
                assert fell, "it falls with an input, and as that did"
                self.origin, self.fell, self.last = origin, result, "fallen"
                SEEN["fell" if result else "fell with a cancel"] += 1
            case TaskResult(outcome=TaskResultType.FAILED_WORKER_DIED):
                assert self.process is not None
                assert self.process.reaped, "FailedWorkerDied: its process is dead"
                assert self.end is None
                assert self.asked is None, "it was asked to stop, and has: Canceled"
                self.fell, self.last = message.outcome, "died"
            case TaskResult():
                assert self.end is (TaskEnd.SUCCESS if message.outcome is TaskResultType.SUCCESS else TaskEnd.FAILED)
                SEEN["a result from a process being killed"] += self.process is not None and self.process.killed
                if self.asked is None and not self.kill_is_due:
                    self.gave = message.outcome is TaskResultType.SUCCESS
                    self.fell = message.outcome
                self._is_left()
                self.last = "result"
            case TaskCancelConfirm(answer=A.CANCEL_FAILED):
                assert self.held, "CancelFailed: it still runs"
                assert (self.asked, message.force) == (False, False), "force=True: after the grace period kill"
                assert now >= self.deadline, "if it still runs after the grace period, answer CancelFailed"
                assert not self.stopped
                assert not self.orphaned
                self.asked = None
            case TaskCancelConfirm(answer=A.CANCELED):
                if self.process is None:
                    assert self.runs <= self.failed
                    SEEN["cancelled in a back-off"] += self.rests is not None
                else:
                    assert self.process.reaped, "Canceled for a task that had started: after its process is reaped"
                    assert self.announced, "TaskStarted decides between stopped and never started"
                if self.asked is None:
                    assert self.kill_is_due, "nobody has asked for this"
                    SEEN["withdrawn"] += 1
                else:
                    assert message.force == self.asked, "the confirm names the force that it answers"
                self.last = "confirmed"
            case _:
                raise AssertionError(f"{message} is not for this task")
        if self.last:
            self.asked = self.rests = None
            self._leaves_parent()

    def _is_left(self) -> None:
        """It has not waited for what it has submitted, which goes on."""
        for child in self.children:
            child.parent = None
        self.children.clear()

    # ------------------------------------------------------------------ what its client does and hears

    def send_cancel(self, request: TaskCancel) -> None:
        """The future's session."""
        assert request.force not in self.unanswered, "At most one unanswered request per strength is on the wire"
        assert True not in self.unanswered, "a weaker request than the one under way is not sent"
        assert self.ended is None
        self.unanswered.add(request.force)
        self.requests += 1
        self.refused = False
        self.connection.post(replace(request, grace=self.grace))

    def cancel(self, force: bool, grace: float, ask: Callable[[], Any], discards: bool = True) -> Any:
        """Somebody calls one of the cancel methods."""
        self.grace = grace
        must_send = self.ended is None and not {force, True} & self.unanswered
        if self.ended is S.FINISHED and discards:
            self.ended = C.DISCARDED
            SEEN[C.DISCARDED.value] += 1
        before = self.requests
        answer = ask()
        assert self.requests - before == must_send, "→ CANCELLING, send once; a stronger force upgrades the request"
        return answer

    def times_out(self, grace: float) -> None:
        """Its deadline has come, perhaps not for the first time."""
        self.grace = grace
        first, before = not self.unanswered, self.requests
        must_send = self.ended is None and True not in self.unanswered
        self.deadline_asked = self.deadline_asked or (first and must_send)
        SEEN["a deadline upgrades"] += must_send and not first
        self.future.handle(DeadlineReached())
        assert self.requests - before == must_send, "the deadline asks by force, and keeps a result"

    def hears(self, message: EngineMessage) -> None:
        """A message is about to reach the future."""
        if isinstance(message, TaskResult):  # an error's too, which is kept until somebody looks at it
            self.frames += [weakref.ref(buffer) for buffer in message.payload.buffers]
        if self.ended is not None:
            return
        match message:
            case TaskStarted():
                self.started = True
            case TaskResult(outcome=outcome):
                self.outcome = outcome
                success = outcome is TaskResultType.SUCCESS
                if self.unanswered:
                    self._is_cancelled(C.FINISHED_FIRST if success else C.FAILED_FIRST)
                else:
                    self._ends(S.FINISHED)
            case TaskCancelConfirm(answer=A.CANCELED, origin=origin) if origin and not self.unanswered:
                self._ends(C.PARENT_CANCELLED)
            case TaskCancelConfirm(answer=A.CANCELED):
                self._is_cancelled(C.STOPPED if self.process is not None or self.failed else C.NEVER_STARTED)
            case TaskCancelConfirm(answer=A.CANCEL_NOT_FOUND) if self.unanswered:
                self._ends(C.NOT_FOUND)
            case TaskCancelConfirm(answer=A.CANCEL_FAILED) if self.unanswered:
                answered = {force for force in self.unanswered if force <= message.force}
                self.unanswered -= answered
                if not self.unanswered:
                    self.refused, self.deadline_asked = True, False
                    SEEN["refused"] += 1
                else:
                    SEEN["a refusal weaker than the request"] += 1

    def loses_engine(self, error: Exception) -> None:
        """Its connection is about to end."""
        if self.ended is None:
            self.error = error
            self._ends(C.DISCONNECTED if self.unanswered else S.FINISHED)

    def _is_cancelled(self, reason: C) -> None:
        """Whoever asked first gives the reason; the trace says what happened."""
        self._ends(C.TIMED_OUT if self.deadline_asked else reason)

    def _ends(self, end: S | C) -> None:
        self.ended = end
        self.unanswered.clear()
        if end is S.FINISHED:
            self.first_end = "result" if self.outcome is TaskResultType.SUCCESS else "exception"
            SEEN[self.outcome.value if self.outcome is not None else "engine lost"] += 1
        else:
            self.first_end = "cancelled"
            SEEN[end.value] += 1

    # ------------------------------------------------------------------ what its future must show

    @property
    def expected(self) -> S | C:
        """State, or reason of the cancel, by all that its client has done and heard."""
        if self.ended is not None:
            return self.ended
        if self.unanswered:
            return S.CANCELLING
        return S.RUNNING if self.started else S.SUBMITTED

    def check(self) -> None:
        """After every step."""
        future, followers = self.future, self.followers
        state, reason = future.state, future.cancel_reason
        check_derived(future)
        assert (reason or state) is self.expected, f"it shows {reason or state}, and is {self.expected}"
        assert followers.states[-1] is state, "a state subscription loses nothing"
        for before, after in pairwise(followers.states):
            assert after in ARROWS[before], f"{before} → {after} is no arrow of the table"
        if self.ended is None:
            assert future.refused == self.refused, "CancelFailed → RUNNING, marked refused"
            assert (followers.waiter.calls, followers.called) == ([], [])
            return
        assert followers.waiter.calls == [self.first_end], "wait and as_completed are told exactly once"
        in_time = followers.callbacks - followers.late
        here = threading.current_thread().name
        once = Counter({("scaler_notebook callbacks", True): in_time, (here, True): followers.late})
        assert Counter(followers.called) == once, "Done-callbacks run exactly once, each on its thread"
        settled = (future.started_at, future.ended_at, future.figures, future.refused)
        self.settled = self.settled or settled
        assert self.settled == settled, "once it has ended, only FINISHED → CANCELLED(discarded) changes anything"
        kept = sum(frame() is not None for frame in self.frames)
        if state is S.CANCELLED:
            assert (kept, future.result_bytes) == (0, 0), "A payload is freed on every path"
            if reason is C.NEVER_STARTED:
                assert self.runs == 0, "never started"
            elif reason is C.STOPPED:
                assert self.process is not None or self.failed, "stopped: it was with a process"
                assert self.process is None or self.process.reaped, "stopped: with none that is there"
            elif reason is C.TIMED_OUT:
                assert self.end is not None or self.process is None or self.process.reaped, "timed out: it is over"
            elif reason in (C.FINISHED_FIRST, C.FAILED_FIRST) and self.end is not None:
                assert (reason is C.FINISHED_FIRST) == (self.end is TaskEnd.SUCCESS)
        elif self.outcome is TaskResultType.SUCCESS:
            assert kept == (not self.keep), "FINISHED when the bytes are on this machine, if they are to be"

    def look(self, value: Any) -> None:
        """Somebody asks for the result; it must be there, or say why not, without waiting."""
        shown: Any
        try:
            shown = self.future.result(0)
        except Exception as error:
            shown = error
        if self.ended is None:
            assert isinstance(shown, TimeoutError)
        elif isinstance(self.ended, C):
            assert isinstance(shown, CancelledError)
            assert self.ended.value in str(shown)
        elif self.outcome is None:
            assert shown is self.error
        elif self.outcome is TaskResultType.SUCCESS:
            assert self.keep or shown == value
        else:
            assert type(shown) is ERRORS[self.outcome]


def harmless(job: Job, message: EngineMessage) -> bool:
    """Is a message that no engine sends, or that comes once more, one that must change nothing?"""
    if job.ended is not None:
        return True
    match message:
        case TaskStarted():
            return job.started
        case TaskCancelConfirm(answer=A.CANCEL_NOT_FOUND):
            return not job.unanswered
        case TaskCancelConfirm(answer=A.CANCEL_FAILED):
            return not job.unanswered or (True in job.unanswered and not message.force)
    return False


def forged(task_id: str, payload: Payload) -> list[EngineMessage]:
    """One message of each kind, about a task that the engine has said nothing of."""
    confirms: list[EngineMessage] = [
        TaskCancelConfirm(task_id, answer, force) for answer in A for force in (True, False)
    ]
    results: list[EngineMessage] = [TaskResult(task_id, outcome, payload) for outcome in TaskResultType]
    return [TaskStarted(task_id, "1", 5.0), *confirms, *results]
