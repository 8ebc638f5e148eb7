"""The options of a task, against the real engine: what they do, what races with them, what they refuse."""

from __future__ import annotations

import gc
import inspect
import math
import mmap
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
import types
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from retried_tasks import append, exits, fails, tries
from shared_things import gates, wait_at_gate
from waits import SAFETY, until, until_running, until_written

from scaler_notebook import (
    CancelReason,
    CapabilityError,
    NotebookExecutor,
    ProcessorDiedError,
    ProtocolError,
    ScalerFuture,
    TaskCancelledError,
    TaskSerializationError,
    TaskState,
    WorkerDiedError,
    wait,
)
from scaler_notebook.client.submission.options import task_options
from scaler_notebook.engines.local.resource_limits import available_memory
from scaler_notebook.protocol.future_events import DeadlineReached
from scaler_notebook.protocol.messages import (
    Capability,
    Payload,
    Task,
    TaskAttemptFailed,
    TaskCancel,
    TaskOptions,
    TaskStarted,
)
from scaler_notebook.testing import InMemoryExecutor, memory_executor


def gives(*args: Any, **kwargs: Any) -> tuple[Any, ...]:
    return args, kwargs


@pytest.fixture
def alone(executor_of_one: NotebookExecutor) -> NotebookExecutor:
    """An executor with one worker, which has run a task already."""
    return executor_of_one


# ---------------------------------------------------------------------- the call


def test_the_arguments_are_those_of_the_call(executor: NotebookExecutor) -> None:
    assert executor.submit_verbose(gives, (1, "two"), {"three": 3}).result(SAFETY) == ((1, "two"), {"three": 3})
    assert executor.submit_verbose(gives, [1, 2]).result(SAFETY) == ((1, 2), {})
    assert executor.submit_verbose(gives).result(SAFETY) == ((), {})


BAD_CALLS: dict[str, tuple[tuple[Any, ...], dict[str, Any], type[Exception], str]] = {
    "no function": ((3,), {}, TypeError, r"fn is a function.*not 3 \(an int\)"),
    "text for arguments": ((gives, "ab"), {}, TypeError, "args is a tuple or a list.*not 'ab'"),
    "one argument": ((gives, 7), {}, TypeError, "args is a tuple or a list.*not 7"),
    "keywords as pairs": ((gives, (), [("a", 1)]), {}, TypeError, "kwargs is a dictionary.*not a list"),
    "numbers for names": ((gives, (), {1: 1}), {}, TypeError, "kwargs is a dictionary.*not a dict"),
    "an option that there is not": ((gives,), {"nam": "x"}, TypeError, "no option 'nam'; did you mean 'name'\\?"),
    "retries, misspelt": ((gives,), {"retrys": 3}, TypeError, "no option 'retrys'; did you mean 'retries'\\?"),
    "an argument of the function": ((gives, ()), {"x": 3}, TypeError, "'x': there are fn, .*goes into kwargs="),
    "a number for a name": ((gives,), {"name": 5}, TypeError, r"name is a text, not 5 \(an int\)"),
    "an empty name": ((gives,), {"name": " \n"}, ValueError, "name is a text with something in it"),
    "a priority in words": ((gives,), {"priority": "high"}, TypeError, r"priority is an integer, not 'high'"),
    "a fraction": ((gives,), {"priority": 1.5}, TypeError, "priority is an integer, not 1.5"),
    "a truth": ((gives,), {"priority": True}, TypeError, "priority is an integer, not True"),
    "half a retry": ((gives,), {"retries": 0.5}, TypeError, "retries is an integer, not 0.5"),
    "fewer than no retries": ((gives,), {"retries": -1}, ValueError, "retries is at least 0.*not -1"),
    "no end of retries": ((gives,), {"retries": 2**31}, ValueError, "retries is at least 0"),
    "a capability alone": ((gives,), {"capabilities": "gpu"}, TypeError, "capabilities is a dictionary.*not 'gpu'"),
    "a capability by number": ((gives,), {"capabilities": {0: 1}}, TypeError, "name of a capability is a text, not 0"),
    "half a capability": ((gives,), {"capabilities": {"gpu": 0.5}}, TypeError, "'gpu' is an integer, not 0.5"),
    "none of it": ((gives,), {"capabilities": {"gpu": 0}}, ValueError, "'gpu' is between 1 and .* not 0"),
    "an error in words": (
        (gives,),
        {"retry_on": "OSError"},
        TypeError,
        "retry_on is an exception class.*not 'OSError'",
    ),
    "errors in words": ((gives,), {"retry_on": ("OSError",)}, TypeError, "ConnectionError, and 'OSError' .* is none"),
    "an error that happened": ((gives,), {"retry_on": OSError(7)}, TypeError, "retry_on is an .* not an OSError"),
    "errors that happened": ((gives,), {"retry_on": [OSError(7)]}, TypeError, "and an OSError is none"),
    "a class of no errors": ((gives,), {"retry_on": (OSError, dict)}, TypeError, "and the class dict is none"),
    "no errors at all": ((gives,), {"retry_on": ()}, ValueError, "retry_on is empty: nothing would be tried again"),
    "a resource alone": (
        (gives,),
        {"resources": 2e9},
        TypeError,
        "resources is a dictionary, e.g. .* not 2000000000.0",
    ),
    "resources by number": ((gives,), {"resources": {1: 1}}, TypeError, "name of a resource is a text, not 1"),
    "a misspelt resource": ((gives,), {"resources": {"memroy": 1}}, ValueError, "did you mean 'memory'\\? Cores"),
    "cores": (
        (gives,),
        {"resources": {"cores": 2}},
        ValueError,
        "no resource 'cores', only memory. Cores are .*n_work",
    ),
    "memory in words": (
        (gives,),
        {"resources": {"memory": "2GB"}},
        TypeError,
        "memory, in bytes, is an integer, not '2",
    ),
    "a limit in words": ((gives,), {"memory_limit": "2GB"}, TypeError, "memory_limit, in bytes, is an integer"),
    "a limit that is none": ((gives,), {"memory_limit": True}, TypeError, "memory_limit, in bytes, is an integer"),
    "a limit beyond all": ((gives,), {"memory_limit": 10**400}, ValueError, "memory_limit is in bytes, .* at most"),
    "no limit": ((gives,), {"memory_limit": 0}, ValueError, "memory_limit is in bytes, at least 1 .* not 0"),
    "half a byte": ((gives,), {"resources": {"memory": 0.5}}, TypeError, "memory, in bytes, is an integer, not 0.5"),
    "no memory": ((gives,), {"resources": {"memory": 0}}, ValueError, "memory is in bytes, at least 1 .* not 0"),
    "endless memory": ((gives,), {"resources": {"memory": math.inf}}, TypeError, "memory, in bytes, is an integer"),
    "more than a message holds": ((gives,), {"resources": {"memory": 1e30}}, ValueError, "at most 2..63 - 1"),
    "a timeout in words": ((gives,), {"timeout": "1"}, TypeError, "timeout is a number of seconds, not '1'"),
    "no timeout at all": ((gives,), {"timeout": math.nan}, TypeError, "timeout is a number of seconds, not nan"),
    "numpy's true timeout": ((gives,), {"timeout": np.True_}, TypeError, "timeout is a number of seconds, not"),
    "a true timeout": ((gives,), {"timeout": True}, TypeError, "timeout is a number of seconds, not True"),
    "a timeout that is over": ((gives,), {"timeout": 0}, ValueError, "timeout is in seconds, more than 0 and finite"),
    "a run_timeout in words": ((gives,), {"run_timeout": "1"}, TypeError, "run_timeout is a number of seconds"),
    "a run_timeout that is over": ((gives,), {"run_timeout": -1}, ValueError, "run_timeout is in seconds, more than 0"),
    "an endless timeout": ((gives,), {"timeout": math.inf}, ValueError, "timeout is .* more than 0 and finite"),
    "a priority that no message holds": ((gives,), {"priority": 2**63}, ValueError, "priority is between"),
}


@pytest.mark.parametrize("case", BAD_CALLS)
def test_what_is_wrong_is_said_at_the_call_and_nothing_is_submitted(case: str) -> None:
    args, options, error, words = BAD_CALLS[case]
    with memory_executor() as executor:
        with pytest.raises(error, match=words):
            executor.submit_verbose(*args, **options)
        assert executor.unfinished() == []


@pytest.mark.parametrize("amount", [2e9, np.float64(2e9), np.float32(2e9), np.int64(2e9), 2_000_000_000])
def test_an_amount_of_memory_may_be_a_number_of_numpys(amount: Any) -> None:
    options = task_options("f()", memory_limit=amount, resources={"memory": amount})
    assert (options.memory_limit, options.memory) == (2_000_000_000, 2_000_000_000)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"chunk_size": 5}, r"map\(\) has no option 'chunk_size'; did you mean 'chunksize'\?"),
        ({"retries": 5}, r"map\(\) has no option 'retries': there are fn, timeout, chunksize, buffersize"),
    ],
)
def test_map_names_the_option_that_was_meant(options: dict[str, Any], words: str) -> None:
    with memory_executor() as executor:
        with pytest.raises(TypeError, match=words):
            executor.map(abs, [1], **options)
        assert executor.unfinished() == []


@pytest.mark.parametrize("items", [[], [1]])
@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"retires": 2}, TypeError, r"map_async\(\) has no option 'retires'; did you mean 'retries'\?"),
        ({"colour": "red"}, TypeError, r"map_async\(\) has no option 'colour': there are name, priority, "),
        ({"retries": -1}, ValueError, "retries is at least 0"),
    ],
)
def test_map_async_looks_at_its_options_whether_there_are_items_or_not(
    items: list[int], options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with memory_executor() as executor:
        with pytest.raises(error, match=words):
            executor.map_async(abs, items, **options)
        assert executor.unfinished() == []
        with pytest.raises(TypeError, match=r"starmap\(\) has no option 'chunk_size'; did you mean 'chunksize'\?"):
            executor.starmap(abs, [], chunk_size=2)  # type: ignore[call-arg]


def test_a_subclass_may_have_options_of_its_own() -> None:
    class Coloured(InMemoryExecutor):
        def submit_verbose(
            self, fn: Any, args: Any = (), kwargs: Any = None, *, colour: str = "", **options: Any
        ) -> Any:
            return super().submit_verbose(fn, args, kwargs, name=colour, **options)

    with Coloured() as executor:
        assert len(executor.map_async(abs, [], colour="red")) == 0
        assert executor.map_async(abs, [1], colour="red")[0].call == "red"
        executor.cancel_all(0)


def test_signatures_are_what_they_were_for_help_and_completion() -> None:
    for method, last in ((NotebookExecutor.submit_verbose, "gpus"), (NotebookExecutor.map, "buffersize")):
        parameters = inspect.signature(method).parameters
        assert list(parameters)[:2] == ["self", "fn"]
        assert list(parameters)[-1] == last
        assert "Parameters" in (inspect.getdoc(method) or "")
    with memory_executor(auto=True) as executor:
        assert list(executor.map(pow, [2, 3], [2, 2], timeout=SAFETY)) == [4, 9]


# ---------------------------------------------------------------------- name


def test_a_name_stands_wherever_the_call_would(executor: NotebookExecutor) -> None:
    future = executor.submit_verbose(divmod, (1, 0), name="model  7,\n  fold 3")
    assert future.call == "model 7, fold 3"
    assert "model 7, fold 3" in repr(future)
    assert isinstance(future.exception(SAFETY), ZeroDivisionError)
    assert future.retry().call == "model 7, fold 3"
    assert executor.submit_verbose(divmod, (1, 0)).call == "divmod(1, 0)"


def test_a_name_is_fit_for_browsers() -> None:
    with memory_executor() as executor:
        assert executor.submit_verbose(gives, name="a\udc80").call == "a\\udc80"
        assert executor.submit_verbose(gives, name="x" * 500).call == "x" * 199 + "…"


# ---------------------------------------------------------------------- priority


def test_the_highest_priority_runs_first_and_equal_ones_in_order(alone: NotebookExecutor, tmp_path: Path) -> None:
    blocker = alone.submit(time.sleep, 60)
    until_running(blocker)
    order: dict[str, Any] = {
        "normal": 0,
        "low": -5,
        "high": 7,
        "also normal": 0,
        "also high": np.int64(7),
        "highest": 2**63 - 1,
    }
    tasks = [alone.submit_verbose(append, (tmp_path / "order", n), priority=p) for n, p in order.items()]
    tasks.append(alone.submit(append, tmp_path / "order", "plain"))
    assert blocker.cancel(SAFETY)
    assert wait(tasks, SAFETY).not_done == set()
    lines = (tmp_path / "order").read_text().splitlines()
    assert lines == ["highest", "high", "also high", "normal", "also normal", "plain", "low"]


def test_a_task_tried_again_keeps_its_options() -> None:
    with memory_executor(capabilities={"gpu": 2, "disk": 2}) as executor:
        needs = {"gpu": 2, "disk": 1}
        options = {"priority": 3, "retries": 2, "timeout": 60, "capabilities": needs, "retry_on": OSError}
        options |= {"resources": {"memory": 2e9}, "run_timeout": 7}
        future = executor.submit_verbose(gives, **options)  # type: ignore[arg-type]
        again = future.retry()
    assert again.task is not None
    amounts = Capability("disk", 1), Capability("gpu", 2)
    assert again.task.options == TaskOptions(
        "gives()", 3, 2, 60.0, amounts, pickle.dumps((OSError,), 5), False, 2 * 10**9, 0, 7.0
    )


# ---------------------------------------------------------------------- timeout


LONG = 3600.0  # seconds; more than any test takes


def timed_out(future: ScalerFuture[Any]) -> bool:
    """It ends, and for this reason."""
    with pytest.raises(TaskCancelledError, match="timed out") as caught:
        future.result(SAFETY)
    return caught.value.reason is future.cancel_reason is CancelReason.TIMED_OUT


def test_a_task_that_takes_longer_is_stopped_and_frees_its_slot(alone: NotebookExecutor) -> None:
    running = alone.submit_verbose(time.sleep, (60,), timeout=1.5)
    queued = alone.submit_verbose(time.sleep, (60,), timeout=0.1)
    assert timed_out(queued)
    assert timed_out(running)
    assert "TaskStarted" in [entry.message for entry in running.trace()]
    assert "TaskStarted" not in [entry.message for entry in queued.trace()]
    assert "timed out" in running.trace()[-2].detail
    assert alone.submit(abs, -1).result(SAFETY) == 1


def swallows_interrupts() -> None:
    while True:
        try:
            print("begun", flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            print("swallowed", flush=True)


def test_a_task_that_does_not_obey_is_killed_after_the_grace_period(alone: NotebookExecutor) -> None:
    future = alone.submit_verbose(swallows_interrupts, timeout=LONG)
    until_written(future, "begun")
    future.handle(DeadlineReached())
    assert timed_out(future)
    assert "swallowed" in future.logs.stdout
    assert "grace 0.3 s" in future.trace()[-2].detail


def test_what_ends_in_time_is_left_alone_and_its_timer_is_gone(executor: NotebookExecutor) -> None:
    class Value:
        pass

    def value() -> Any:
        return Value()

    ends: list[Any] = [
        executor.submit_verbose(value, timeout=LONG),
        executor.submit_verbose(divmod, (1, 0), timeout=LONG),
        executor.submit_verbose(time.sleep, (60,), timeout=LONG),
    ]
    ends[2].request_cancel()
    assert wait(ends, SAFETY).not_done == set()
    assert [future.cancel_reason for future in ends[:2]] == [None, None]
    assert ends[2].cancel_reason in (CancelReason.STOPPED, CancelReason.NEVER_STARTED)
    assert not any(future._watchers for future in ends)
    gone = [weakref.ref(future) for future in ends]
    ends.clear()
    executor.submit(abs, -1).result(SAFETY)  # the agent's thread has left the last message behind
    gc.collect()
    assert [future() for future in gone] == [None, None, None]


def test_a_users_own_request_that_came_first_keeps_its_reason() -> None:
    with memory_executor() as executor:
        future = executor.submit_verbose(abs, (-1,), timeout=0.5)
        future.request_cancel(force=False)
        assert executor.engine.sent.next(TaskCancel).force is False
        assert executor.engine.sent.next(TaskCancel).force is True  # the deadline's
        executor.engine.confirm(future)
        assert future.cancel_reason is CancelReason.NEVER_STARTED


@pytest.mark.parametrize("fails", [False, True])
def test_what_ends_after_its_deadline_is_timed_out_all_the_same(fails: bool) -> None:
    with memory_executor() as executor:
        future = executor.submit_verbose(abs, (-1,), timeout=0.01)
        executor.engine.sent.next(TaskCancel)
        assert future.state is TaskState.CANCELLING
        future.request_cancel()  # too late to be the reason
        if fails:
            executor.engine.fail(future, KeyError("mine"))
        else:
            executor.engine.finish(future, 1)
        assert timed_out(future)
        assert future.trace()[-1].detail == ("Failed" if fails else "Success")
        assert len(executor.engine.sent.all(TaskCancel)) == 1


def test_a_deadline_that_races_with_the_end_gives_one_of_the_two(executor: NotebookExecutor) -> None:
    executor.submit(abs, -1).result(SAFETY)
    for _ in range(20):
        tasks = [executor.submit_verbose(time.sleep, (n / 200,), timeout=0.02) for n in range(8)]
        assert wait(tasks, SAFETY).not_done == set()
        assert {task.cancel_reason for task in tasks} <= {None, CancelReason.TIMED_OUT}
        assert [task.exception(0) for task in tasks if not task.cancelled()] == [None] * sum(
            not t.cancelled() for t in tasks
        )
        assert tasks[-1].cancel_reason is CancelReason.TIMED_OUT, "it takes longer"
    assert [executor.submit(abs, -n).result(SAFETY) for n in range(4)] == [0, 1, 2, 3]


def test_an_engine_that_cannot_stop_it_says_so_and_the_result_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(gates, "end", gate := threading.Event())
    with memory_executor(1, auto=True) as executor:
        running = executor.submit_verbose(wait_at_gate, ("end", 2 * SAFETY), timeout=0.1)
        queued = executor.submit_verbose(abs, (-1,), timeout=0.1)
        until(running, lambda: running.refused, "be refused")
        assert timed_out(queued)
        gate.set()
        assert running.result(SAFETY) is True


def test_each_of_many_deadlines_is_kept_without_a_thread_of_its_own(executor: NotebookExecutor) -> None:
    executor.submit(abs, -1).result(SAFETY)
    before = threading.active_count()
    tasks = [executor.submit_verbose(time.sleep, (60,), timeout=0.3) for _ in range(100)]
    assert threading.active_count() <= before + 1, "that of callbacks begins with the first task that ends meanwhile"
    assert all(timed_out(task) for task in tasks)


# ---------------------------------------------------------------------- run_timeout


def test_a_run_timeout_counts_from_the_start_and_a_task_may_wait_for_longer(alone: NotebookExecutor) -> None:
    tasks = [alone.submit_verbose(time.sleep, (60,), run_timeout=0.3) for _ in range(3)]
    assert all(timed_out(task) for task in tasks)
    with pytest.raises(TaskCancelledError, match=r"sleep\(60\): timed out, its run_timeout of 0.3 s is over"):
        tasks[2].result(0)
    assert "TaskStarted" in [entry.message for entry in tasks[2].trace()], "it has run, after the others had"
    assert not any(task._watchers for task in tasks)


def test_a_run_timeout_waits_for_the_start_and_a_timeout_does_not() -> None:
    with memory_executor() as executor:
        waits = executor.submit_verbose(abs, (-1,), run_timeout=0.01)
        queued = executor.submit_verbose(abs, (-1,), timeout=0.01)
        assert executor.engine.sent.next(TaskCancel).task_id == queued.task_id
        executor.engine.confirm(queued)
        with pytest.raises(TaskCancelledError, match="timed out, its timeout, from the submit on, is over"):
            queued.result(0)
        assert waits.state is TaskState.SUBMITTED
        executor.engine.start_task(waits)
        assert executor.engine.sent.next(TaskCancel).force is True
        executor.engine.refuse(waits)
        executor.engine.finish(waits, 1)
        assert waits.result(0) == 1, "an engine that refused, and a result that counts"


def test_each_try_has_the_run_timeout_for_itself_and_the_wait_between_two_is_no_part_of_it() -> None:
    with memory_executor() as executor:
        future = executor.submit_verbose(abs, (-1,), run_timeout=LONG, retries=5)
        timers = []
        for attempt in (1, 2, 3):
            executor.engine.tell(TaskStarted(future.task_id, "1", time.time(), attempt))
            timers += [the_timer(future)]
            executor.engine.tell(TaskAttemptFailed(future.task_id, attempt))
            assert timers[-1].cancelled()
            assert the_timer(future) is None, "between two tries no time passes"
        assert len({timer.when() for timer in timers}) == 3
        executor.engine.tell(TaskAttemptFailed(future.task_id, 1))  # once more, and late
        executor.engine.tell(TaskStarted(future.task_id, "1", time.time(), 4))
        timer = the_timer(future)
        executor.engine.finish(future, 1)
        assert timer.cancelled()
        assert not future._watchers


def the_timer(future: ScalerFuture[Any]) -> Any:
    """The timer of its run, None if none is set."""
    (limit,) = (each.__self__._timer for each in future._watchers if hasattr(each, "__self__"))
    return limit


def test_a_try_that_runs_for_too_long_is_the_last_one(alone: NotebookExecutor, tmp_path: Path) -> None:
    future = alone.submit_verbose(
        tries, (tmp_path / "trace", fails, partial(time.sleep, 60)), retries=5, run_timeout=0.5
    )
    assert timed_out(future)
    assert future.tries == count(tmp_path / "trace") == 2


def test_a_task_within_a_task_has_a_run_timeout_of_its_own(alone: NotebookExecutor) -> None:
    def asks() -> str:
        with NotebookExecutor(n_workers=1) as inner:
            try:
                return str(inner.submit_verbose(time.sleep, (60,), run_timeout=0.1).result())
            except TaskCancelledError as error:
                return str(error)

    assert "its run_timeout of 0.1 s is over" in alone.submit(asks).result(SAFETY)


# ---------------------------------------------------------------------- retries


def works() -> str:
    return "it works"


def sleeps() -> None:
    time.sleep(60)


def count(trace: Path) -> int:
    return len(trace.read_text().splitlines())


@pytest.mark.parametrize(("way", "said"), [(fails, "ValueError: it never works"), (exits, "exit status 3")])
def test_the_same_future_until_a_try_succeeds(
    alone: NotebookExecutor, tmp_path: Path, way: Callable[[], Any], said: str
) -> None:
    trace, states = tmp_path / "trace", []
    future = alone.submit_verbose(tries, (trace, way, way, works), retries=5)
    future.watch(lambda changed: states.append(changed.state))
    assert future.result(SAFETY) == "it works"
    assert (count(trace), future.tries) == (3, 3)
    assert set(states[:-1]) <= {TaskState.SUBMITTED, TaskState.RUNNING}
    started = [entry.detail.partition(", ")[2] for entry in future.trace() if entry.message == "TaskStarted"]
    assert started == ["", "try 2", "try 3"]
    assert future.logs.stdout.splitlines() == ["this is try 1", "this is try 2", "this is try 3"]
    assert future.logs.stderr.count(said) == 2
    last = next(entry for entry in reversed(future.trace()) if entry.message == "TaskStarted")
    assert last.detail.startswith(f"process {future.processor}")


def test_without_tries_left_its_last_error_is_the_result(alone: NotebookExecutor, tmp_path: Path) -> None:
    none = alone.submit_verbose(tries, (tmp_path / "none", fails))
    two = alone.submit_verbose(tries, (tmp_path / "two", fails, exits, fails), retries=2)
    died = alone.submit_verbose(tries, (tmp_path / "died", fails, exits), retries=1)
    assert isinstance(none.exception(SAFETY), ValueError)
    assert isinstance(two.exception(SAFETY), ValueError)
    assert isinstance(died.exception(SAFETY), ProcessorDiedError)
    assert [count(tmp_path / name) for name in ("none", "two", "died")] == [1, 3, 2]
    assert none.logs.stderr == ""
    assert two.logs.stderr.count("ValueError: ") == 1, "the last one is the result"
    again = two.retry()
    assert isinstance(again.exception(SAFETY), ValueError)
    assert count(tmp_path / "two") == 6


def test_others_run_while_it_backs_off(alone: NotebookExecutor, tmp_path: Path) -> None:
    future = alone.submit_verbose(tries, (tmp_path / "trace", fails), retries=1000)
    until_written(future, "ValueError")
    assert alone.submit(abs, -1).result(SAFETY) == 1
    assert not future.done()


@pytest.mark.parametrize("force", [pytest.param(True, marks=pytest.mark.matrix), False])
def test_a_cancel_between_two_tries_is_the_end_of_it(alone: NotebookExecutor, tmp_path: Path, force: bool) -> None:
    future = alone.submit_verbose(tries, (tmp_path / "trace", fails), retries=1000)
    until(future, lambda: future.logs.stderr.count("ValueError: ") == 3, "fail three times")
    assert future.cancel(SAFETY, force)
    assert future.cancel_reason in (CancelReason.STOPPED, CancelReason.FAILED_FIRST)
    before = count(tmp_path / "trace")
    alone.submit(time.sleep, 1.0).result(SAFETY)  # longer than it would have backed off
    assert count(tmp_path / "trace") == before


def test_cancels_that_race_with_tries_leave_none_behind(executor: NotebookExecutor, tmp_path: Path) -> None:
    traces = [tmp_path / str(number) for number in range(30)]
    random = Random(1)
    tasks = [executor.submit_verbose(tries, (trace, random.choice([fails, exits])), retries=1000) for trace in traces]
    for task in tasks:
        task_tries = random.choice([0, 1, 1, 2])
        until(task, lambda: task.tries >= task_tries, "be tried")  # noqa: B023
        task.request_cancel(grace=random.choice([0.0, 0.3]))
    assert wait(tasks, SAFETY).not_done == set()
    assert {task.cancelled() for task in tasks} == {True}
    before = [count(trace) if trace.exists() else 0 for trace in traces]
    executor.submit(time.sleep, 1.0).result(SAFETY)  # longer than most of them would have backed off
    assert [count(trace) if trace.exists() else 0 for trace in traces] == before


def test_a_cancel_in_a_later_try_stops_it(alone: NotebookExecutor, tmp_path: Path) -> None:
    future = alone.submit_verbose(tries, (tmp_path / "trace", fails, sleeps), retries=1000)
    until_written(future, "try 2")
    assert future.cancel(SAFETY)
    assert future.cancel_reason is CancelReason.STOPPED
    alone.submit(time.sleep, 0.5).result(SAFETY)
    assert count(tmp_path / "trace") == 2


def denies() -> None:
    raise PermissionError("not for you")


def of_the_notebook() -> tuple[type[Exception], type[Exception], Callable[[], None]]:
    """Two classes of errors, and a function that raises what is one of the first: all travel by value."""

    class Flaky(Exception):
        pass

    class Other(Exception):
        pass

    class Flakier(Flaky):
        pass

    def flakes() -> None:
        raise Flakier("once more")

    return Flaky, Other, flakes


Flaky, Other, flakes = of_the_notebook()
NAMED: dict[str, tuple[Any, Callable[[], None], bool]] = {
    "the class": (PermissionError, denies, True),
    "a class above it": ((KeyError, OSError), denies, True),
    "a list": ([OSError], denies, True),
    "the notebook's own": (Flaky, flakes, True),
    "another class": ((KeyError, ConnectionError), denies, False),
    "another of the notebook": (Other, flakes, False),
    "a death, and it failed": (WorkerDiedError, denies, False),
    "a death": (ProcessorDiedError, exits, True),
    "a death, by its wider name": ([KeyError, WorkerDiedError], exits, True),
    "whatever is an error": (Exception, exits, True),
    "errors, and it died": ((OSError, KeyError), exits, False),
}
ENDS = {denies: "PermissionError", flakes: "Flakier", exits: "ProcessorDiedError"}


@pytest.mark.parametrize("case", NAMED)
def test_it_is_tried_again_on_the_errors_that_were_named_alone(
    alone: NotebookExecutor, tmp_path: Path, case: str
) -> None:
    classes, way, again = NAMED[case]
    future = alone.submit_verbose(tries, (tmp_path / "trace", way, works), retries=3, retry_on=classes)
    error = future.exception(SAFETY)
    assert type(error).__name__ == ("NoneType" if again else ENDS[way])
    assert (future.logs.stderr != "") == again, "what tells of a try that failed; the last error is the result"
    assert future.tries == count(tmp_path / "trace") == 1 + again


def test_the_first_error_of_another_class_is_the_result(alone: NotebookExecutor, tmp_path: Path) -> None:
    call = tries, (tmp_path / "trace", fails, exits, fails, denies, works)
    future = alone.submit_verbose(*call, retries=9, retry_on=(ValueError, ProcessorDiedError))
    assert isinstance(future.exception(SAFETY), PermissionError)
    assert count(tmp_path / "trace") == future.tries == 4
    assert future.logs.stderr.count("ValueError: ") == 2
    assert "PermissionError" not in future.logs.stderr


def test_a_class_that_the_task_cannot_have_is_no_reason(
    alone: NotebookExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = types.ModuleType("_only_here")
    monkeypatch.setitem(sys.modules, "_only_here", here)
    gone = type("Gone", (Exception,), {"__module__": "_only_here"})
    monkeypatch.setattr(here, "Gone", gone, raising=False)
    future = alone.submit_verbose(tries, (tmp_path / "trace", fails), retries=3, retry_on=gone)
    assert isinstance(future.exception(SAFETY), ValueError)
    assert count(tmp_path / "trace") == 1
    assert "what retry_on names cannot be loaded in this process: ModuleNotFoundError" in future.logs.stderr


def test_a_class_that_cannot_travel_is_named_at_the_call() -> None:
    class Held(Exception):
        lock = threading.Lock()

    with memory_executor() as executor:
        with pytest.raises(TaskSerializationError, match="retry_on cannot be pickled"):
            executor.submit_verbose(gives, retries=1, retry_on=Held)
        assert executor.unfinished() == []


@pytest.mark.parametrize("way", [fails, pytest.param(exits, marks=pytest.mark.matrix)])
def test_a_timeout_is_for_all_tries_together(alone: NotebookExecutor, tmp_path: Path, way: Callable[[], Any]) -> None:
    future = alone.submit_verbose(tries, (tmp_path / "trace", way), retries=1000, timeout=LONG)
    until(future, lambda: future.tries == 3, "be tried a third time")
    assert len(future._watchers) == 1, "its deadline stands"
    future.handle(DeadlineReached())
    assert timed_out(future)
    assert not future._watchers
    before = count(tmp_path / "trace")
    alone.submit(time.sleep, 1.0).result(SAFETY)
    assert count(tmp_path / "trace") == before


def changes(array: Any, trace: Path) -> float:
    array += 1
    return tries(trace, fails, lambda: float(array[0]))  # type: ignore[no-any-return]


def test_each_try_has_its_arguments_as_they_were(new_executor: NotebookExecutor, tmp_path: Path) -> None:
    for length in (3, 2_000_000):
        future = new_executor.submit_verbose(changes, (np.zeros(length), tmp_path / str(length)), retries=1)
        assert future.result(SAFETY) == 1.0


def test_leaving_with_waits_for_the_last_try(tmp_path: Path) -> None:
    with NotebookExecutor(n_workers=1) as executor:
        future = executor.submit_verbose(tries, (tmp_path / "trace", fails, fails, works), retries=2)
    assert future.result(0) == "it works"


# ---------------------------------------------------------------------- capabilities


@pytest.fixture
def with_gpus() -> Iterator[NotebookExecutor]:
    """Three workers, two GPUs."""
    with NotebookExecutor(n_workers=3, grace=0.3, capabilities={"gpu": 2}) as executor:
        yield executor
        executor.cancel_all()


def test_two_share_what_there_is_and_the_third_waits_alone(with_gpus: NotebookExecutor) -> None:
    one, two, three = (with_gpus.submit_verbose(time.sleep, (60,), capabilities={"gpu": 1}) for _ in range(3))
    until_running(one)
    until_running(two)
    assert with_gpus.submit(abs, -1).result(SAFETY) == 1
    assert three.state is TaskState.SUBMITTED
    both = with_gpus.submit_verbose(abs, (-1,), capabilities={"gpu": 2})
    assert one.cancel(SAFETY)
    until_running(three)
    assert both.state is TaskState.SUBMITTED
    assert two.cancel(SAFETY)
    assert three.cancel(SAFETY)
    assert both.result(SAFETY) == 1


def test_one_that_waits_for_a_capability_is_cancelled_as_any_other(with_gpus: NotebookExecutor) -> None:
    both = with_gpus.submit_verbose(time.sleep, (60,), capabilities={"gpu": 2})
    waits = with_gpus.submit_verbose(abs, (-1,), capabilities={"gpu": 1})
    until_running(both)
    assert waits.cancel(SAFETY)
    assert waits.cancel_reason is CancelReason.NEVER_STARTED
    timed = with_gpus.submit_verbose(abs, (-1,), capabilities={"gpu": 1}, timeout=0.1)
    assert timed_out(timed)


def share(part: float) -> dict[str, float]:
    """A hint of so much of all memory."""
    return {"memory": int(part * available_memory())}


def test_what_would_not_fit_into_memory_runs_one_after_the_other(with_gpus: NotebookExecutor) -> None:
    most = with_gpus.submit_verbose(time.sleep, (60,), resources=share(0.6))
    until_running(most)
    waits = with_gpus.submit_verbose(time.sleep, (60,), resources=share(0.6))
    behind = with_gpus.submit_verbose(time.sleep, (60,), resources=share(0.1))
    assert with_gpus.submit(abs, -1).result(SAFETY) == 1, "it says nothing of memory"
    assert with_gpus.submit_verbose(abs, (-1,), capabilities={"gpu": 2}).result(SAFETY) == 1
    assert waits.state is behind.state is TaskState.SUBMITTED, "nothing overtakes one that waits for the same"
    assert most.cancel(SAFETY)
    until_running(waits)
    until_running(behind)


def test_what_takes_more_than_there_is_runs_alone(with_gpus: NotebookExecutor) -> None:
    least = with_gpus.submit_verbose(time.sleep, (60,), resources={"memory": 1})
    until_running(least)
    whole = with_gpus.submit_verbose(time.sleep, (60,), resources={"memory": 1e18})
    assert with_gpus.submit(abs, -1).result(SAFETY) == 1
    assert whole.state is TaskState.SUBMITTED
    assert least.cancel(SAFETY)
    until_running(whole)
    after = with_gpus.submit_verbose(abs, (-1,), resources={"memory": 1})
    assert with_gpus.submit(abs, -1).result(SAFETY) == 1
    assert after.state is TaskState.SUBMITTED
    assert whole.cancel(SAFETY)
    assert after.result(SAFETY) == 1


@pytest.mark.parametrize("call", [(divmod, (1, 0)), (os._exit, (3,)), (abs, (-1,))])
def test_memory_is_given_back_however_it_ends(with_gpus: NotebookExecutor, call: Any) -> None:
    tasks = [with_gpus.submit_verbose(*call, resources=share(1.0), retries=1) for _ in range(3)]
    assert wait(tasks, SAFETY).not_done == set()
    assert with_gpus.submit_verbose(abs, (-1,), resources=share(1.0)).result(SAFETY) == 1


def lacking(executor: NotebookExecutor, needs: dict[str, int]) -> str:
    """What is said of a task that needs more than there is."""
    with pytest.raises(CapabilityError) as caught:
        executor.submit_verbose(abs, (-1,), capabilities=needs)
    ((name, amount),) = needs.items()
    error = caught.value
    assert (error.capability, error.wanted, error.there) == (name, amount, (executor.capabilities or {}).get(name, 0))
    assert isinstance(error, ValueError)
    assert executor.unfinished() == []
    return str(error)


def test_what_the_engine_does_not_have_is_said_at_the_call(with_gpus: NotebookExecutor) -> None:
    assert "needs 3 of the capability 'gpu', and its engine has 2 of it" in lacking(with_gpus, {"gpu": 3})
    assert "needs 1 of the capability 'tpu', and its engine has none (gpu)" in lacking(with_gpus, {"tpu": 1})
    assert with_gpus._session is None, "no engine was started for that"
    with NotebookExecutor() as executor:
        assert "has none (no capability). Give the executor" in lacking(executor, {"gpu": 1})
        assert executor.capabilities == {}


def test_who_attaches_shares_them_too(with_gpus: NotebookExecutor) -> None:
    with NotebookExecutor(with_gpus.address) as guest:
        assert guest.capabilities == {"gpu": 2}
        assert "has 2 of it" in lacking(guest, {"gpu": 3})
        holds = with_gpus.submit_verbose(time.sleep, (60,), capabilities={"gpu": 2})
        until_running(holds)
        waits = guest.submit_verbose(abs, (-1,), capabilities={"gpu": 1})
        assert guest.submit(abs, -1).result(SAFETY) == 1
        assert waits.state is TaskState.SUBMITTED
        assert holds.cancel(SAFETY)
        assert waits.result(SAFETY) == 1


@pytest.mark.parametrize(
    "needs",
    [(Capability("gpu", 3),), (Capability("tpu", 1),), (Capability("gpu", 1),) * 2, (Capability("gpu", -1),)],
)
def test_a_client_that_asks_for_the_impossible_all_the_same_is_told(
    with_gpus: NotebookExecutor, needs: tuple[Capability, ...]
) -> None:
    whole = with_gpus.submit_verbose(abs, (-1,), capabilities={"gpu": 2})
    session = with_gpus._session
    assert session is not None
    future: ScalerFuture[Any] = ScalerFuture("bad", "abs(-1)", session)
    assert whole.task is not None
    options = TaskOptions("abs(-1)", capabilities=needs)
    session.tasks.submit([(future, Task("bad", whole.task.function, Payload(b""), options))])
    assert isinstance(future.exception(SAFETY), ProtocolError)
    assert with_gpus.submit_verbose(abs, (-1,), capabilities={"gpu": 2}).result(SAFETY) == 1


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"capabilities": ["gpu"]}, TypeError, "capabilities is a dictionary"),
        ({"capabilities": {"gpu": -1}}, ValueError, "between 1 and"),
        ({"capabilities": {"gpu": 1}, "address": "tcp://127.0.0.1:1"}, ValueError, "has its capabilities"),
    ],
)
def test_an_executors_capabilities_are_amounts(options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        NotebookExecutor(**options)


def takes(size: int, in_child: bool = False) -> int:
    if in_child:
        code = f"import time; held = bytearray({size}); print(len(held), flush=True); time.sleep(60)"
        subprocess.run([sys.executable, "-c", code], check=True)
    held = bytearray(size)
    signal.pause() if size > 200_000_000 else None
    return len(held)


@pytest.mark.parametrize("in_child", [False, True], ids=["itself", "a child"])
def test_a_task_over_its_memory_limit_is_stopped_alone_and_says_so(executor: NotebookExecutor, in_child: bool) -> None:
    def waits() -> str:
        signal.pause()
        return "never"

    other = executor.submit(waits)
    over = executor.submit_verbose(takes, (400_000_000, in_child), memory_limit=3e8)
    error = over.exception(SAFETY)
    assert isinstance(error, ProcessorDiedError)
    assert error.out_of_memory
    assert re.search(
        r"it had (3|4|5)\d\d\.\d MB of memory, and its memory_limit is 300\.0 MB\. Have it hold less", str(error)
    )
    assert executor.submit_verbose(takes, (100_000_000,), memory_limit=1e9).result(SAFETY) == 100_000_000
    assert not other.done()
    other.cancel(SAFETY)


def test_memory_that_forks_share_counts_once(executor: NotebookExecutor) -> None:
    def forks() -> int:
        held = bytearray(b"x") * 150_000_000
        children = []
        for _ in range(4):
            if (pid := os.fork()) == 0:
                sum(held[:: mmap.PAGESIZE])
                time.sleep(0.3)  # some looks of the scheduler
                os._exit(0)
            children.append(pid)
        for pid in children:
            os.waitpid(pid, 0)
        return len(held)

    assert executor.submit_verbose(forks, memory_limit=4e8).result(SAFETY) == 150_000_000


def test_where_no_limit_is_enforced_it_is_refused() -> None:
    with memory_executor() as ex, pytest.raises(ValueError, match="does not enforce a memory_limit"):
        ex.submit_verbose(gives, (), memory_limit=1e9)
