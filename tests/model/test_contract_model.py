"""The cancel contract under random events: client, scheduler and processes in simulated time, then the real engine."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
import traced_tasks
from contract_rules import SEEN, Job
from future_observers import Followers, callbacks_done, check_derived
from hypothesis import Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from leaks import our_processes
from message_recorder import Wire
from simulated_client import value_of
from simulated_engine import Process
from simulation import Simulation
from waits import SAFETY

from scaler_notebook import CancelReason, NotebookExecutor, ProcessorDiedError, ScalerFuture, TaskState, wait
from scaler_notebook.engines.embedded.handling import ANNOUNCE_AFTER
from scaler_notebook.engines.embedded.inner import End
from scaler_notebook.protocol.capabilities import as_tuple
from scaler_notebook.protocol.messages import ClientContext, TaskCancel, TaskOptions
from scaler_notebook.protocol.states import Event

T = TypeVar("T")

CLIENTS = st.integers(0, 1)
COUNTS = st.integers(1, 3)
PICKS = st.integers(0, 9)  # which of several: the one at that place, counted round
FORCES = st.booleans()
GRACES = st.sampled_from([1.0, 0.5, 0.0])
WAYS = ["request", "wait", "keep a result"]
NEEDS = st.sampled_from([{}, {}, {}, {"gpu": 1}, {"disk": 1}, {"gpu": 1, "disk": 2}])
OPTIONS = st.builds(
    TaskOptions,
    priority=st.sampled_from([0, 0, 1, -1]),
    retries=st.sampled_from([0, 0, 0, 1, 2]),
    capabilities=NEEDS.map(as_tuple),
)


def picked(pick: int, candidates: list[T]) -> T:
    return candidates[pick % len(candidates)]


# ---------------------------------------------------------------------- simulated


class Contract(RuleBasedStateMachine):
    """What can happen; after each of it every rule of the contract is checked."""

    def __init__(self) -> None:
        super().__init__()
        self.world = Simulation()
        self.modules = 0
        self.disasters = 0

    def _jobs(self) -> list[Job]:
        """Those that have not ended first."""
        return sorted(self.world.jobs, key=lambda job: job.ended is not None)

    def _working(self) -> list[Process]:
        return [process for process in self.world.engine.processes.values() if process.works]

    @initialize(counts=st.tuples(COUNTS, COUNTS), begun=st.booleans(), asked=st.sampled_from([None, False, True]))
    def the_first_tasks(self, counts: tuple[int, int], begun: bool, asked: bool | None) -> None:
        """So that most runs come to where it gets difficult."""
        for client, count in enumerate(counts):
            self.submit(client, [TaskOptions(retries=client)] * count, edited=False)
        if begun:
            self.everything_moves()
        if asked is not None:
            self.cancel_all(0, asked, 1.0)
        if begun:
            self.everything_moves()

    # ------------------------------------------------------------------ clients

    @rule(client=CLIENTS, options=st.lists(OPTIONS, min_size=1, max_size=3), edited=st.booleans())
    def submit(self, client: int, options: list[TaskOptions], edited: bool) -> None:
        """Some tasks, perhaps after an edit of a module."""
        if edited:
            self.modules += 1
            self.world.clients[client].post(ClientContext("", (), (), str(self.modules)))
        for each in options:
            self.world.submit(client, each)

    @precondition(lambda self: self.world.jobs)
    @rule(pick=PICKS, force=FORCES, grace=GRACES, way=st.sampled_from(WAYS))
    def cancel(self, pick: int, force: bool, grace: float, way: str) -> None:
        job = picked(pick, self._jobs())
        future, unfinished = job.future, job.ended is None
        match way:
            case "request":
                job.cancel(force, grace, lambda: future.request_cancel(force))
            case "wait":
                answer = job.cancel(force, grace, lambda: future.cancel(timeout=0, force=force))
                assert answer is future.cancelled(), "cancel() returns exactly cancelled()"
            case "keep a result":
                asked = job.cancel(force, grace, lambda: future.request_cancel_unfinished(force), discards=False)
                assert asked is unfinished, "Bulk cancels and the views' buttons touch only unfinished tasks"

    @precondition(lambda self: any(job.rests is not None for job in self.world.jobs))
    @rule(pick=PICKS, force=FORCES)
    def somebody_cancels_between_two_tries(self, pick: int, force: bool) -> None:
        """All that its client has sent arrives at once; it may have left, or asked already."""
        job = picked(pick, [job for job in self.world.jobs if job.rests is not None])
        job.cancel(force, 1.0, partial(job.future.request_cancel_unfinished, force), discards=False)
        self.world.engine.deliver(job.connection, len(job.connection.to_engine))

    @precondition(lambda self: any(job.unanswered == {False} for job in self.world.jobs))
    @rule(pick=PICKS, grace=GRACES)
    def somebody_insists(self, pick: int, grace: float) -> None:
        """By force, while a request without is under way; all that its client sent arrives at once."""
        job = picked(pick, [job for job in self.world.jobs if job.unanswered == {False}])
        job.cancel(True, grace, job.future.request_cancel)
        self.world.engine.deliver(job.connection, len(job.connection.to_engine))

    @precondition(lambda self: self.world.jobs)
    @rule(pick=PICKS, grace=GRACES)
    def a_timeout_ends(self, pick: int, grace: float) -> None:
        picked(pick, self._jobs()).times_out(grace)

    @rule(client=CLIENTS, force=FORCES, grace=GRACES)
    def cancel_all(self, client: int, force: bool, grace: float) -> None:
        for job in self.world.clients[client].jobs.values():
            ask = partial(job.future.request_cancel_unfinished, force)
            job.cancel(force, grace, ask, discards=False)

    # ------------------------------------------------------------------ network, processes, time

    @precondition(lambda self: self.world.moves())
    @rule(pick=PICKS, messages=COUNTS)
    def one_thing_moves(self, pick: int, messages: int) -> None:
        """Messages arrive, or a process or the engine takes the next step about a run."""
        self._move(pick, messages)

    @precondition(lambda self: self.world.moves())
    @rule(picks=st.lists(PICKS, min_size=1, max_size=8))
    def some_things_move(self, picks: list[int]) -> None:
        for pick in picks:
            self._move(pick, 8)

    @precondition(lambda self: self.world.moves())
    @rule()
    def everything_moves(self) -> None:
        """Twice: what the engine then says arrives too."""
        self.world.everything_moves()
        self.world.everything_moves()

    def _move(self, pick: int, messages: int) -> None:
        moves = self.world.moves()
        if moves:
            what, move = picked(pick, moves)
            note(f"# {what}")
            move(messages)

    @precondition(lambda self: self._working())
    @rule(pick=PICKS, end=st.sampled_from([End.SUCCESS, End.FAILED]))
    def a_task_ends(self, pick: int, end: End) -> None:
        picked(pick, self._working()).end(end)

    @precondition(lambda self: any(process.obeys for process in self._working()))
    @rule(pick=PICKS, obeys=st.booleans())
    def an_interrupt_arrives(self, pick: int, obeys: bool) -> None:
        """At the task's own code, which may catch it and go on."""
        picked(pick, [process for process in self._working() if process.obeys]).interrupted(obeys)

    @rule(pick=PICKS)
    def somebody_kills_a_process(self, pick: int) -> None:
        picked(pick, list(self.world.engine.processes.values())).die()

    @precondition(lambda self: self.world.engine.core.next_deadline() is not None)
    @rule()
    def the_engine_wakes(self) -> None:
        """When it has something to do."""
        self.world.wake()

    @rule(seconds=st.sampled_from([1.0, 0.25, ANNOUNCE_AFTER]), busy=st.booleans())
    def time_passes(self, seconds: float, busy: bool) -> None:
        """And the engine notices, unless it is too busy."""
        self.world.clock.now += seconds
        if not busy:
            self.world.engine.tick()

    # ------------------------------------------------------------------ what else there is

    @precondition(lambda self: self.world.jobs)
    @rule(pick=PICKS, what=st.sampled_from(["callback", "result"]))
    def somebody_follows(self, pick: int, what: str) -> None:
        job = picked(pick, self._jobs())
        if what == "callback":
            job.followers.add_callback()
        else:
            job.look(value_of(job.task_id))

    @rule()
    def spares_import_modules(self) -> None:
        self.world.engine.warm()

    @precondition(lambda self: self.world.jobs)
    @rule(pick=PICKS, known=st.booleans())
    def messages_are_forged(self, pick: int, known: bool) -> None:
        """The engine says things that it has said already, that nobody asked, or about nobody's task."""
        job = picked(pick, self._jobs())
        job.connection.forge(job.task_id if known else "nobody's")

    @precondition(lambda self: self.world.jobs)
    @rule(pick=PICKS, client=CLIENTS, cancels=st.booleans())
    def a_client_takes_anothers_id(self, pick: int, client: int, cancels: bool) -> None:
        job, connection = picked(pick, self._jobs()), self.world.clients[client]
        if not cancels and job.arrived and not job.last:
            self.world.engine.submit_again(job)
        elif cancels and connection is not job.connection:
            connection.post(TaskCancel(job.task_id, force=True))

    @precondition(lambda self: self.disasters < 2)
    @rule(client=CLIENTS, what=st.sampled_from(["it leaves", "it dies", "the engine dies"]))
    def a_disaster(self, client: int, what: str) -> None:
        self.disasters += 1
        if what == "the engine dies":
            self.world.lose_engine(heard=client * 2)
        else:
            self.world.disconnect(client, leaves=what == "it leaves")

    # ------------------------------------------------------------------ rules

    @invariant()
    def the_contract_holds(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        """Nothing is lost silently: in the end every future has ended."""
        if sys.exc_info()[0] is None:
            self.world.drain()


# Everything that has to happen in a run, or it has proved little.
WORTH = {
    "Success",
    "Failed",
    "FailedWorkerDied",
    "engine lost",
    "stopped",
    "never started",
    "finished first",
    "failed first",
    "discarded",
    "disconnected",
    "timed out",
    "a deadline upgrades",
    "refused",
    "upgraded",
    "a refusal weaker than the request",
    "withdrawn",
    "put back",
    "tried again",
    "waited for a capability",
    "cancelled in a back-off",
    "a result from a process being killed",
    "no such task",
    "forged",
}
EXAMPLES = 1000
MATRIX = pytest.param(10, marks=pytest.mark.matrix)


@pytest.mark.timeout(3600)  # a failure takes minutes to become small, and the matrix many on a busy machine
@pytest.mark.parametrize("times", [1, MATRIX])
def test_the_contract_holds_whatever_happens(times: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "scaler_notebook")  # what is forged makes the client log errors
    SEEN.clear()
    limits = settings(max_examples=EXAMPLES * times, stateful_step_count=50, deadline=None, print_blob=True)
    run_state_machine_as_test(Contract, settings=limits)
    assert {what for what, count in SEEN.items() if count} >= WORTH


# ---------------------------------------------------------------------- real


REAL_TIME = 8.0  # seconds
REAL_WORTH = {"stopped", "never started", "discarded", "finished", "timed out"}


class Watched:
    """A task of the real engine, its future, and the trace that it leaves."""

    def __init__(self, executor: NotebookExecutor, trace: Path, kind: str, retries: int) -> None:
        self.trace, self.kind, self.retries = str(trace), kind, retries
        self.future: ScalerFuture[str] = executor.submit_verbose(traced_tasks.work, (self.trace, kind), retries=retries)
        self.followers = Followers(self.future)
        self.ended: TaskState | CancelReason | None = None
        self.forced = self.timed = False

    def cancel(self, force: bool, ask: Callable[[bool], Any], discards: bool = True) -> Any:
        """Call one of the cancel methods."""
        self.forced |= force
        answer = ask(force)
        if self.ended is TaskState.FINISHED and discards:
            self.ended = CancelReason.DISCARDED
        return answer

    def check(self, killed: set[int]) -> None:
        """What the client must show at any moment, and that it fits what the task has really done."""
        future, told = self.future, self.followers.waiter.calls
        with future._condition:  # the agent's thread goes on meanwhile
            check_derived(future)
            assert len(told) == (self.followers.waits and future.done()), "wait and as_completed are told exactly once"
            ended = (future.cancel_reason or future.state) if future.done() else None
        assert len(self.followers.called) <= self.followers.callbacks
        if self.ended is None:
            self.ended = ended
        assert ended is self.ended, "once it has ended, only FINISHED → CANCELLED(discarded) changes anything"
        if ended is not None:
            SEEN[ended.value] += 1
            self._check_end(ended, killed)

    def check_whole(self, letters: str) -> None:
        """At the end of everything, given the order of its messages."""
        assert self.ended is not None
        assert self.followers.calls.acquire(timeout=SAFETY)
        callbacks_done()
        assert [done for _, done in self.followers.called] == [True], "Done-callbacks run exactly once"
        assert len(re.findall("[ARX]", letters)) <= 1, "A task is confirmed once"
        assert letters.count("C") <= 2 * (letters.count("F") + 1), "one unanswered request per strength"

    def _check_end(self, ended: TaskState | CancelReason, killed: set[int]) -> None:
        runs = traced_tasks.runs(self.trace)
        assert len(runs) <= 1 + self.retries, "a task runs once per try"
        died = self.kind == traced_tasks.EXITS or len(runs) <= self.retries or runs[-1] in killed
        match ended:
            case CancelReason.NEVER_STARTED:
                assert runs == [], "A task cancelled before it started never starts"
            case CancelReason.STOPPED:
                # A process in which a try has failed serves others, and a task may be stopped between its tries.
                alive = [pid for pid in runs if self.kind != traced_tasks.RAISES and Path(f"/proc/{pid}").exists()]
                assert alive == [], "Canceled only after the process that ran it is reaped"
                if self.kind == traced_tasks.IGNORES:
                    assert self.forced or died, "force=False: asked, never killed"
            case CancelReason.FINISHED_FIRST:
                assert len(runs) >= 1
                assert self.kind in (traced_tasks.RETURNS, traced_tasks.IGNORES_FOR_A_WHILE)
            case CancelReason.FAILED_FIRST:
                assert self.kind == traced_tasks.RAISES or died
            case CancelReason.TIMED_OUT:
                assert self.timed, "only the deadline's request times it out"
            case CancelReason.DISCARDED:
                assert self.future.result_bytes == 0
            case TaskState.FINISHED:
                error = self.future.exception(0)
                if error is None:
                    assert self.future.result(0) == self.trace
                    assert len(runs) >= 1
                elif isinstance(error, ProcessorDiedError):
                    assert died, "only the task whose process died fails"
                else:
                    assert repr(error) == repr(KeyError(self.trace))
                    assert len(runs) == 1 + self.retries, "it has no tries left"
            case _:
                raise AssertionError(f"{self.future} must not end so")


class RealContract(RuleBasedStateMachine):
    """What users do to a real executor, and to its processes."""

    executor: NotebookExecutor
    directory: Path
    wire: Wire
    numbers = iter(range(10**9))

    def __init__(self) -> None:
        super().__init__()
        self.tasks: list[Watched] = []
        self.killed: set[int] = set()

    @initialize(kinds=st.lists(st.sampled_from(traced_tasks.KINDS), min_size=1, max_size=4))
    def the_first_tasks(self, kinds: list[str]) -> None:
        for kind in kinds:
            self.submit(kind, 0)

    @rule(kind=st.sampled_from(traced_tasks.KINDS), retries=st.sampled_from([0, 0, 1]))
    def submit(self, kind: str, retries: int) -> None:
        self.tasks.append(Watched(self.executor, self.directory / str(next(self.numbers)), kind, retries))

    @rule(pick=PICKS, force=FORCES)
    def request_cancel(self, pick: int, force: bool) -> None:
        task = picked(pick, self.tasks)
        task.cancel(force, task.future.request_cancel)

    @rule(pick=PICKS, force=FORCES)
    def cancel(self, pick: int, force: bool) -> None:
        task = picked(pick, self.tasks)
        cancelled = task.cancel(force, partial(task.future.cancel, SAFETY))
        assert cancelled is task.future.cancelled()
        assert cancelled or (not force and task.future.refused), "it waits for the answer, which force makes true"

    @rule(pick=PICKS)
    def a_timeout_ends(self, pick: int) -> None:
        task = picked(pick, self.tasks)
        task.timed = True
        task.cancel(True, lambda _: task.future.handle(Event.DEADLINE), discards=False)

    @rule(force=FORCES)
    def cancel_unfinished(self, force: bool) -> None:
        for task in self.tasks:
            task.cancel(force, task.future.request_cancel_unfinished, discards=False)

    @rule(pick=PICKS)
    def a_process_is_killed(self, pick: int) -> None:
        running = {pid for task in self.tasks if not task.future.done() for pid in traced_tasks.runs(task.trace)}
        alive = sorted(running & our_processes())
        if alive:
            victim = picked(pick, alive)
            self.killed.add(victim)
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)

    @rule(pick=PICKS, seconds=st.sampled_from([0.0, 0.01, 0.1]))
    def somebody_waits(self, pick: int, seconds: float) -> None:
        future = picked(pick, self.tasks).future
        assert (future in wait([future], seconds).done) <= future.done()

    @invariant()
    def the_contract_holds(self) -> None:
        for task in self.tasks:
            task.check(self.killed)

    def teardown(self) -> None:
        """Everything can be stopped, and then the slots are free."""
        self.cancel_unfinished(force=True)
        for _ in range(2):
            self.submit(traced_tasks.RETURNS, 0)
        assert wait([task.future for task in self.tasks], SAFETY).not_done == set()
        if sys.exc_info()[0] is None:
            self.the_contract_holds()
            for task in self.tasks:
                task.check_whole(self.wire.of(task.future))


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("times", [1, MATRIX])
def test_the_real_engine_holds_the_contract(times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire()
    wire.tap(monkeypatch.setattr)
    # Without shrinking: what depends on real time seldom fails twice in the same way.
    limits = settings(
        max_examples=5,
        stateful_step_count=20,
        deadline=None,
        print_blob=True,
        database=None,
        phases=[Phase.generate],
    )
    SEEN.clear()
    with NotebookExecutor(n_workers=2, grace=0.1) as executor:
        machine = type("Real", (RealContract,), {"executor": executor, "directory": tmp_path, "wire": wire})
        end = time.monotonic() + REAL_TIME * times
        while time.monotonic() < end or not SEEN.keys() >= REAL_WORTH:
            run_state_machine_as_test(machine, settings=limits)
