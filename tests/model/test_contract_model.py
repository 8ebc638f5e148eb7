"""The cancel contract under random events: client, scheduler and processes in simulated time."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from functools import partial

import pytest
from contract_rules import SEEN, Job
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from picks import PICKS, picked
from simulated_client import value_of
from simulated_process import Process
from simulation import Simulation

from scaler_notebook.engines.local.scheduler.core import transitions
from scaler_notebook.engines.local.scheduler.core.dispatch import durations
from scaler_notebook.engines.local.scheduler.core.dispatch.slot_lending import STANDSTILL
from scaler_notebook.engines.local.scheduler.core.transitions import ANNOUNCE_AFTER
from scaler_notebook.protocol.capabilities import as_tuple
from scaler_notebook.protocol.messages import (
    ClientContext,
    ClientPause,
    ObjectDelete,
    TaskCancel,
    TaskOptions,
    TaskWaits,
)
from scaler_notebook.task.task_end import TaskEnd

CLIENTS = st.integers(0, 1)
COUNTS = st.integers(1, 3)
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


class Contract(RuleBasedStateMachine):
    """What can happen; after each of it every rule of the contract is checked."""

    def __init__(self) -> None:
        super().__init__()
        self.world = Simulation()
        self.modules = 0
        self.objects = 0
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
            self.submit(client, [TaskOptions(retries=client)] * count)
        if begun:
            self.everything_moves()
        if asked is not None:
            self.cancel_all(0, asked, 1.0)
        if begun:
            self.everything_moves()

    # ------------------------------------------------------------------ clients

    @rule(
        client=CLIENTS,
        options=st.lists(OPTIONS, min_size=1, max_size=3),
        inputs=st.lists(PICKS, max_size=2),
        keep=st.sampled_from([False, False, True]),
        edited=st.booleans(),
    )
    def submit(
        self,
        client: int,
        options: list[TaskOptions],
        inputs: Sequence[int] = (),
        keep: bool = False,
        edited: bool = False,
    ) -> None:
        """Some tasks, perhaps after an edit of a module, perhaps with values of others, or to be kept for others.

        What they have as an input may be another's, and not for them.
        """
        connection, another = self.world.clients[client], self.world.clients[1 - client]
        if edited:
            self.modules += 1
            connection.post(ClientContext("", (), (), str(self.modules)))
        for each in options:
            known = [*another.objects, *connection.objects, *connection.jobs][::-1] or ["nobody's"]
            self.world.submit(client, each, [picked(pick, known) for pick in inputs], keep)

    @rule(client=CLIENTS)
    def create(self, client: int) -> None:
        """An object, for tasks to have as an input."""
        self.objects += 1
        self.world.clients[client].create(f"object{self.objects}")

    @rule(client=CLIENTS, pick=PICKS)
    def delete(self, client: int, pick: int) -> None:
        """The client names one no more, or another's."""
        names = [name for connection in self.world.connections for name in (*connection.objects, *connection.jobs)]
        if names:
            self.world.clients[client].post(ObjectDelete((picked(pick, names),)))

    @precondition(lambda self: self._working())
    @rule(pick=PICKS, options=st.lists(OPTIONS, min_size=1, max_size=2), waits=st.booleans())
    def a_task_submits_others(self, pick: int, options: list[TaskOptions], waits: bool) -> None:
        """And waits for them, or not."""
        process = picked(pick, self._working())
        for each in options:
            self.world.nest(process, each)
        if waits:
            self.a_task_waits(pick, waits)

    @precondition(lambda self: self._working())
    @rule(pick=PICKS, waits=st.booleans())
    def a_task_waits(self, pick: int, waits: bool) -> None:
        """Or goes on."""
        process = picked(pick, self._working())
        assert process.run is not None
        self.world.client_in(process).post(TaskWaits(process.run.job.task_id, waits))

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

    @rule(slots=st.integers(1, 4))
    def somebody_scales_the_engine(self, slots: int) -> None:
        self.world.engine.scale(slots)

    @rule(client=CLIENTS, force=FORCES, grace=GRACES)
    def cancel_all(self, client: int, force: bool, grace: float) -> None:
        for job in self.world.clients[client].jobs.values():
            ask = partial(job.future.request_cancel_unfinished, force)
            job.cancel(force, grace, ask, discards=False)

    @rule(client=CLIENTS, paused=st.booleans())
    def pause(self, client: int, paused: bool) -> None:
        """None of the client's tasks starts, or they do again."""
        self.world.clients[client].post(ClientPause(paused))

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
    @rule(pick=PICKS, end=st.sampled_from([TaskEnd.SUCCESS, TaskEnd.FAILED]))
    def a_task_ends(self, pick: int, end: TaskEnd) -> None:
        picked(pick, self._working()).end(end)

    @precondition(lambda self: any(process.obeys for process in self._working()))
    @rule(pick=PICKS, obeys=st.booleans())
    def an_interrupt_arrives(self, pick: int, obeys: bool) -> None:
        """At the task's own code, which may catch it and go on."""
        picked(pick, [process for process in self._working() if process.obeys]).interrupted(obeys)

    @rule(pick=PICKS)
    def somebody_kills_a_process(self, pick: int) -> None:
        picked(pick, list(self.world.engine.processes.values())).die()

    @rule(pick=PICKS, end=st.sampled_from(TaskEnd), back=st.integers(1, 3))
    def a_process_says_what_is_over(self, pick: int, end: TaskEnd, back: int) -> None:
        self.world.engine.hears_nonsense(picked(pick, list(self.world.engine.processes.values())), end, back)

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


# ---------------------------------------------------------------------- what random events seldom come to


def begun(life: Contract, retries: int = 0) -> None:
    """A task, which runs."""
    life.submit(0, [TaskOptions(retries=retries)])
    life.everything_moves()


def asked(life: Contract, force: bool, grace: float = 1.0) -> None:
    """To stop; and the engine has heard it."""
    life.cancel(0, force, grace, "request")
    life.everything_moves()


def a_refusal_that_comes_when_force_is_asked_for_and_an_end_by_the_deadline(life: Contract) -> None:
    begun(life)
    asked(life, force=False, grace=0.0)
    life.world.engine.tick()
    life.a_timeout_ends(0, 1.0)
    life.everything_moves()


def a_refusal_and_a_late_obedience(life: Contract) -> None:
    begun(life)
    asked(life, force=False, grace=0.0)
    life.world.engine.tick()
    life.everything_moves()
    life.an_interrupt_arrives(0, obeys=True)


def a_second_request_after_a_refusal_and_a_failure_after_the_second(life: Contract) -> None:
    begun(life, retries=1)
    for _ in range(2):
        asked(life, force=False, grace=0.5)
        life.the_engine_wakes()
        life.the_engine_wakes()
        life.everything_moves()
    life.a_task_ends(0, TaskEnd.FAILED)
    life.everything_moves()


def a_stronger_request_by_the_deadline(life: Contract) -> None:
    begun(life)
    asked(life, force=False)
    life.a_timeout_ends(0, 1.0)
    life.everything_moves()


def dies(life: Contract) -> None:
    """The process that has the task, and the engine hears of it."""
    engine = life.world.engine
    process = next(process for process in engine.processes.values() if process.holds)
    process.die()
    engine.reap(process, lingers=False)


def an_end_by_the_deadline(life: Contract) -> None:
    begun(life)
    life.a_timeout_ends(0, 1.0)


def an_end_before_the_answer(life: Contract) -> None:
    for end in (TaskEnd.SUCCESS, TaskEnd.FAILED):
        begun(life)
        asked(life, force=True)
        life.a_task_ends(0, end)
        life.everything_moves()


def failures_back_offs_and_a_cancel_in_one(life: Contract) -> None:
    begun(life, retries=2)
    for _ in range(3):
        life.a_task_ends(0, TaskEnd.FAILED)
        life.everything_moves()
        life.the_engine_wakes()
        life.everything_moves()
    begun(life, retries=1)
    life.a_task_ends(0, TaskEnd.FAILED)
    life.everything_moves()
    life.somebody_cancels_between_two_tries(0, force=False)


def a_result_that_is_discarded(life: Contract) -> None:
    begun(life)
    life.a_task_ends(0, TaskEnd.SUCCESS)
    life.everything_moves()
    life.cancel(0, False, 1.0, "request")


def a_death_and_a_death_before_the_run(life: Contract) -> None:
    begun(life)
    life.submit(0, [TaskOptions()])
    life.world.engine.deliver(life.world.clients[0], 1)
    life.somebody_kills_a_process(0)
    life.somebody_kills_a_process(1)
    life.everything_moves()


def deaths_before_the_run_in_two_tries(life: Contract) -> None:
    life.everything_moves()
    life.submit(0, [TaskOptions(retries=1)])
    life.world.engine.deliver(life.world.clients[0], 9)
    dies(life)
    life.everything_moves()
    dies(life)
    life.everything_moves()
    life.the_engine_wakes()
    dies(life)


def deaths_before_the_run_after_the_start_was_said_and_after_a_request(life: Contract) -> None:
    for asks in (False, True):
        life.everything_moves()
        life.submit(0, [TaskOptions()])
        if asks:
            life.cancel(0, False, 1.0, "request")
        life.world.engine.deliver(life.world.clients[0], 9)
        if not asks:
            life.time_passes(ANNOUNCE_AFTER, busy=False)
        dies(life)
        life.everything_moves()


def a_result_from_a_process_that_is_being_killed(life: Contract) -> None:
    begun(life)
    asked(life, force=True, grace=0.0)
    life.a_task_ends(0, TaskEnd.SUCCESS)
    life.world.engine.tick()
    life.everything_moves()


def an_input_that_fails_and_one_that_is_cancelled(life: Contract) -> None:
    for cancelled in (False, True):
        begun(life)
        life.submit(0, [TaskOptions()] * 2, inputs=[0])  # the second needs the first, which needs what runs
        life.everything_moves()
        if cancelled:
            asked(life, force=True, grace=0.0)
            life.the_engine_wakes()
        else:
            life.cancel(2, False, 1.0, "request")
            life.everything_moves()
            life.a_task_ends(0, TaskEnd.FAILED)
        life.everything_moves()


def inputs_that_come_and_one_that_does_not(life: Contract) -> None:
    life.create(0)
    life.submit(0, [TaskOptions()], inputs=[0], keep=True)
    life.everything_moves()
    life.a_task_ends(0, TaskEnd.SUCCESS)
    life.everything_moves()
    life.submit(0, [TaskOptions()] * 2, inputs=[0, 1])
    life.everything_moves()
    life.delete(0, 0)
    life.delete(0, 1)
    life.everything_moves()
    life.submit(1, [TaskOptions()], inputs=[0])
    life.everything_moves()
    life.submit(1, [TaskOptions()], keep=True)
    life.everything_moves()
    life.a_task_ends(0, TaskEnd.FAILED)
    life.everything_moves()
    life.submit(1, [TaskOptions()], inputs=[0])
    life.everything_moves()


def a_task_within_a_task_that_waits_and_is_killed(life: Contract) -> None:
    begun(life)
    life.a_task_submits_others(0, [TaskOptions()] * 3, waits=True)
    life.everything_moves()
    asked(life, force=True, grace=0.0)
    life.the_engine_wakes()
    for _ in range(3):
        life.everything_moves()
        life.the_engine_wakes()


def a_task_within_a_task_comes_before_the_queue(life: Contract) -> None:
    life.submit(0, [TaskOptions(priority=1)] * 4)
    life.everything_moves()
    life.a_task_submits_others(0, [TaskOptions()], waits=True)
    life.everything_moves()


def a_capability_that_another_task_has(life: Contract) -> None:
    gpu = TaskOptions(capabilities=as_tuple({"gpu": 1}))
    life.submit(0, [gpu] * 4)
    life.submit(0, [TaskOptions()])
    life.everything_moves()
    life.a_task_ends(0, TaskEnd.SUCCESS)
    life.everything_moves()


def a_capability_that_is_lent(life: Contract) -> None:
    gpu = TaskOptions(capabilities=as_tuple({"gpu": 1}))
    for killed in (False, True):
        life.submit(0, [gpu])
        life.everything_moves()
        life.a_task_submits_others(0, [gpu], waits=True)
        life.everything_moves()
        if killed:
            asked(life, force=True, grace=0.0)
            life.the_engine_wakes()
        else:
            life.a_task_waits(0, waits=False)
            life.everything_moves()
        life.submit(1, [gpu] * 2)
        for _ in range(4):
            life.everything_moves()
            if life.world.engine.core.overview.running:
                life.a_task_ends(1, TaskEnd.SUCCESS)


def tasks_that_wait_and_do_not_say_so(life: Contract) -> None:
    life.submit(0, [TaskOptions(capabilities=as_tuple({"gpu": 1})), TaskOptions()])
    life.everything_moves()
    for pick in range(2):
        life.a_task_submits_others(pick, [TaskOptions()], waits=False)
    life.everything_moves()
    life.time_passes(STANDSTILL, busy=False)
    life.everything_moves()


def brief_tasks(life: Contract) -> Process:
    """Two processes have shown that their runs are brief, and have others ahead; returns one that is at the second."""
    life.everything_moves()
    for count in (2, 8):
        life.submit(0, [TaskOptions()] * count)
        life.everything_moves()
        for process in life.world.engine.processes.values():
            if process.works and count == 2:
                process.end(TaskEnd.SUCCESS)
        life.everything_moves()
    process = next(process for process in life.world.engine.processes.values() if process.offered)
    process.end(TaskEnd.SUCCESS)
    process.begin()
    return process


def brief_tasks_before_one_that_is_not(life: Contract) -> None:
    brief_tasks(life)
    life.time_passes(ANNOUNCE_AFTER, busy=False)
    life.everything_moves()


def a_cancel_of_a_brief_task_whose_predecessor_is_not_known_to_have_ended(life: Contract) -> None:
    for force in (False, True):
        run = brief_tasks(life).run
        assert run is not None
        run.job.cancel(force, 0.0, run.job.future.request_cancel)
        life.world.engine.deliver(life.world.clients[0], 9)
        life.the_engine_wakes()
        life.everything_moves()


def a_brief_task_submits_another_before_its_predecessor_is_known_to_have_ended(life: Contract) -> None:
    process = brief_tasks(life)
    life.world.nest(process, TaskOptions())
    assert process.client is not None
    life.world.engine.deliver(process.client, 9)


def a_client_that_leaves_brief_tasks(life: Contract) -> None:
    brief_tasks(life)
    life.world.disconnect(0, leaves=False)


def a_death_before_brief_tasks(life: Contract) -> None:
    brief_tasks(life).die()
    life.everything_moves()


def a_brief_task_of_a_higher_priority(life: Contract) -> None:
    brief_tasks(life)
    life.submit(0, [TaskOptions(priority=1)])
    life.everything_moves()


SELDOM: list[Callable[[Contract], None]] = [
    a_refusal_that_comes_when_force_is_asked_for_and_an_end_by_the_deadline,
    a_refusal_and_a_late_obedience,
    a_second_request_after_a_refusal_and_a_failure_after_the_second,
    a_stronger_request_by_the_deadline,
    an_end_by_the_deadline,
    an_end_before_the_answer,
    failures_back_offs_and_a_cancel_in_one,
    a_result_that_is_discarded,
    a_death_and_a_death_before_the_run,
    deaths_before_the_run_in_two_tries,
    deaths_before_the_run_after_the_start_was_said_and_after_a_request,
    a_result_from_a_process_that_is_being_killed,
    an_input_that_fails_and_one_that_is_cancelled,
    inputs_that_come_and_one_that_does_not,
    a_task_within_a_task_that_waits_and_is_killed,
    a_task_within_a_task_comes_before_the_queue,
    a_capability_that_another_task_has,
    a_capability_that_is_lent,
    tasks_that_wait_and_do_not_say_so,
    brief_tasks_before_one_that_is_not,
    a_cancel_of_a_brief_task_whose_predecessor_is_not_known_to_have_ended,
    a_brief_task_submits_another_before_its_predecessor_is_known_to_have_ended,
    a_client_that_leaves_brief_tasks,
    a_death_before_brief_tasks,
    a_brief_task_of_a_higher_priority,
]
# Everything that has to happen, or little is proved.
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
    "fell",
    "fell with a cancel",
    "parent cancelled",
    "MissingObjects",
    "lent",
    "taken to wait",
    "needed no more",
    "killed with what it has submitted",
    "prefetched",
    "recalled",
    "went on by itself",
    "begun before the recall",
}


def not_permitted(*words: object) -> None:
    raise AssertionError(words)


def test_the_contract_holds_whatever_happens(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level(logging.CRITICAL, "scaler_notebook")  # what is forged makes the client log errors
    monkeypatch.setattr(transitions.log, "error", not_permitted)
    monkeypatch.setattr(durations, "IN_A_ROW", 1)
    SEEN.clear()
    for example in SELDOM:
        life = Contract()
        example(life)
        life.the_contract_holds()
        life.teardown()
    run_state_machine_as_test(Contract)
    assert {what for what, count in SEEN.items() if count} >= WORTH
