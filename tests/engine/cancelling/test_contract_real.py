"""The cancel contract under random events that users, and the system, do to a real engine."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import traced_tasks
from contract_rules import SEEN
from future_observers import Followers, callbacks_done, check_derived
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from leaks import our_processes
from message_recorder import Wire
from picks import PICKS, picked
from waits import SAFETY

from scaler_notebook import CancelReason, NotebookExecutor, ProcessorDiedError, ScalerFuture, TaskState, wait
from scaler_notebook.protocol.future_events import DeadlineReached

ROUNDS = 3  # what comes by chance may need a second one
WORTH = {"stopped", "never started", "discarded", "finished", "timed out"}


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
                    # A try whose process is killed before its first line leaves none, and is told of in the output.
                    lost = str(self.future.logs).count(" died: ")
                    assert len(runs) <= 1 + self.retries <= len(runs) + lost, "it has no tries left"
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

    @rule(pick=PICKS, force=st.booleans())
    def request_cancel(self, pick: int, force: bool) -> None:
        task = picked(pick, self.tasks)
        task.cancel(force, task.future.request_cancel)

    @rule(pick=PICKS, force=st.booleans())
    def cancel(self, pick: int, force: bool) -> None:
        task = picked(pick, self.tasks)
        cancelled = task.cancel(force, partial(task.future.cancel, SAFETY))
        assert cancelled is task.future.cancelled()
        assert cancelled or (not force and task.future.refused), "it waits for the answer, which force makes true"

    @rule(pick=PICKS)
    def a_timeout_ends(self, pick: int) -> None:
        task = picked(pick, self.tasks)
        task.timed = True
        task.cancel(True, lambda _: task.future.handle(DeadlineReached()), discards=False)

    @rule(force=st.booleans())
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


def test_the_real_engine_holds_the_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire()
    wire.tap(monkeypatch.setattr)
    # Without shrinking: what depends on real time seldom fails twice in the same way.
    # Half as many as elsewhere: each takes a tenth of a second per grace period, and not a few.
    once = settings(database=None, phases=[Phase.generate], max_examples=settings().max_examples // 2)
    SEEN.clear()
    with NotebookExecutor(n_workers=2, grace=0.1) as executor:
        machine = type("Real", (RealContract,), {"executor": executor, "directory": tmp_path, "wire": wire})
        for _ in range(ROUNDS):
            run_state_machine_as_test(machine, settings=once)
            if SEEN.keys() >= WORTH:
                break
    assert SEEN.keys() >= WORTH
