"""Graphs: what runs, in which order, what falls with what; any graph against a plain evaluator."""

from __future__ import annotations

import functools
import gc
import graphlib
import operator
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from traced_tasks import RETURNS, runs, work
from waits import SAFETY, until_running

from scaler_notebook import (
    CancelReason,
    MissingObjects,
    NotebookExecutor,
    ScalerFuture,
    TaskCancelledError,
    TaskSerializationError,
    TaskState,
)
from scaler_notebook.client.task_graph import GraphFutures


def inc(x: int) -> int:
    return x + 1


def fail(x: Any) -> None:
    raise ValueError(f"cannot do {x}")


def nap(x: Any) -> Any:
    time.sleep(60)
    return x


def total(*values: int) -> int:
    return sum(values)


PLAIN = {
    "a": 2,
    "b": 2,
    "c": (inc, "a"),
    "d": (operator.add, "a", "b"),
    "e": (operator.sub, "d", "c"),
}


def futures_of(executor: NotebookExecutor, graph: dict[str, Any], keys: list[str]) -> GraphFutures:
    futures = executor.get(graph, keys, block=False)
    assert isinstance(futures, GraphFutures)
    return futures


def node(futures: GraphFutures, key: str) -> ScalerFuture[Any]:
    return next(future for future in futures.group if future.call.startswith(f"{key} = "))


# ---------------------------------------------------------------------- values


@pytest.mark.parametrize("keys", [["e"], ["e", "d", "c"], ["a"], ["c", "a"], []])
def test_the_keys_values_in_the_order_of_the_keys(executor: NotebookExecutor, keys: list[str]) -> None:
    values = {"a": 2, "b": 2, "c": 3, "d": 4, "e": 1}
    got = executor.get(PLAIN, keys)
    assert list(got.items()) == [(key, values[key]) for key in keys]


def test_none_a_dependency_used_twice_and_a_call_without_any(executor: NotebookExecutor) -> None:
    graph = {
        "none": None,
        "two": (operator.add, "one", "one"),
        "one": (lambda: 1,),
        "pair": (lambda *x: x, "none", "two"),
    }
    assert executor.get(graph, ["pair"]) == {"pair": (None, 2)}


def test_a_tuple_that_begins_with_no_function_is_a_value(executor: NotebookExecutor) -> None:
    assert executor.get({"t": (1, 2), "empty": (), "n": (len, "t"), "m": (len, "empty")}, ["t", "n", "m"]) == {
        "t": (1, 2),
        "n": 2,
        "m": 0,
    }


def test_references_are_values_of_a_graph(executor: NotebookExecutor) -> None:
    five = executor.send_object(5, name="five")
    assert executor.get({"five": five, "six": (inc, "five")}, ["five", "six"]) == {"five": 5, "six": 6}


def test_what_the_keys_do_not_need_does_not_run(executor: NotebookExecutor, tmp_path: Path) -> None:
    traces = {name: str(tmp_path / name) for name in ("needed", "other")}
    graph: dict[str, Any] = {**{f"{name}?": trace for name, trace in traces.items()}, "how": RETURNS}
    graph |= {name: (work, f"{name}?", "how") for name in traces}
    assert executor.get(graph, ["needed"]) == {"needed": traces["needed"]}
    assert executor.submit(abs, -1).result(SAFETY) == 1
    assert len(runs(traces["needed"])) == 1
    assert runs(traces["other"]) == []


def test_a_value_that_nobody_asked_for_stays_with_the_engine(executor: NotebookExecutor) -> None:
    futures = futures_of(executor, {"big": (bytes, "n"), "n": 3_000_000, "size": (len, "big")}, ["size"])
    assert futures["size"].result(SAFETY) == 3_000_000
    big = node(futures, "big")
    assert big.state is TaskState.FINISHED
    assert big.result_bytes == 0
    assert big.exception(0) is None
    with pytest.raises(LookupError, match="stayed with the engine"):
        big.result(0)


def test_arrays_go_from_task_to_task(executor: NotebookExecutor) -> None:
    graph = {"n": 1_000_000, "ones": (np.ones, "n"), "twice": (operator.add, "ones", "ones"), "sum": (np.sum, "twice")}
    got = executor.get(graph, ["sum", "twice"])
    assert got["sum"] == 2_000_000
    got["twice"] += 1
    assert got["twice"][0] == 3


def test_the_group_has_every_node_that_is_computed_and_the_edges_between(executor: NotebookExecutor) -> None:
    futures = futures_of(executor, PLAIN, ["e"])
    futures.results(SAFETY)
    calls = [future.call for future in futures.group]
    assert sorted(calls) == ["c = inc(a)", "d = add(a, b)", "e = sub(d, c)"]
    assert {(calls[a][0], calls[b][0]) for a, b in futures.group.edges} == {("c", "e"), ("d", "e")}


def test_a_long_chain(executor: NotebookExecutor) -> None:
    graph: dict[str, Any] = {"0": 0, **{str(n): (inc, str(n - 1)) for n in range(1, 1501)}}
    assert executor.get(graph, ["1500"]) == {"1500": 1500}


# ---------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("graph", "keys", "error", "words"),
    [
        (PLAIN, ["x"], KeyError, "'x' is asked for"),
        (PLAIN, ["c", "d", "c"], KeyError, "'c'"),
        (PLAIN, "e", TypeError, "list of keys"),
        (PLAIN, 5, TypeError, "list of keys"),
        ([1], ["a"], TypeError, "dictionary"),
        ({1: 2, "a": 1}, ["a"], TypeError, "texts, not 1"),
        ({"a": (inc, 5)}, ["a"], TypeError, "key of its own"),
        ({"a": (inc, "beta"), "betas": 1}, ["a"], KeyError, "did you mean 'betas'"),
        ({"a": (inc, "b"), "b": (inc, "c"), "c": (inc, "a")}, ["c"], graphlib.CycleError, "cycle"),
        ({"a": (inc, "a")}, ["a"], graphlib.CycleError, "cycle"),
    ],
)
def test_a_mistake_is_named_and_nothing_is_sent(
    executor: NotebookExecutor, graph: Any, keys: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        executor.get(graph, keys)
    assert executor.unfinished() == []


def test_a_node_that_cannot_be_pickled_is_named_and_nothing_is_sent(executor: NotebookExecutor, tmp_path: Path) -> None:
    trace = str(tmp_path / "trace")
    with open(tmp_path / "file", "w") as file, pytest.raises(TaskSerializationError, match="repr"):
        executor.get({"t": trace, "how": RETURNS, "w": (work, "t", "how"), "f": file, "r": (repr, "f")}, ["w", "r"])
    assert executor.submit(abs, -1).result(SAFETY) == 1
    assert runs(trace) == []


# ---------------------------------------------------------------------- what falls


def test_what_needs_a_node_that_fails_fails_with_it_and_is_told_whose_failure_it_is(executor: NotebookExecutor) -> None:
    graph = {"x": 1, "bad": (fail, "x"), "next": (inc, "bad"), "last": (inc, "next"), "good": (inc, "x")}
    futures = futures_of(executor, graph, ["last", "good"])
    assert futures["good"].result(SAFETY) == 2
    with pytest.raises(ValueError, match="cannot do 1") as raised:
        futures["last"].result(SAFETY)
    assert any("bad = fail(x)" in note for note in vars(raised.value)["__notes__"])
    assert futures["last"].origin == node(futures, "bad").task_id
    assert futures["last"].tries == 0
    assert str(node(futures, "next").exception(0)) == "cannot do 1"


def test_get_cancels_the_rest_of_a_graph_that_has_failed(executor: NotebookExecutor) -> None:
    graph = {"x": 1, "slow": (nap, "x"), "bad": (fail, "x")}
    with pytest.raises(ValueError, match="cannot do"):
        executor.get(graph, ["slow", "bad"])
    assert executor.cancel_all(SAFETY)


def test_a_cancelled_node_takes_along_what_needs_it_and_nothing_else(executor: NotebookExecutor) -> None:
    graph = {"x": 1, "slow": (nap, "x"), "next": (inc, "slow"), "last": (inc, "next"), "good": (inc, "x")}
    futures = futures_of(executor, graph, ["last", "good"])
    slow = node(futures, "slow")
    until_running(slow)
    assert slow.cancel(SAFETY)
    with pytest.raises(TaskCancelledError, match=r"parent cancelled, slow = nap\(x\)"):
        futures["last"].result(SAFETY)
    assert node(futures, "next").cancel_reason is CancelReason.PARENT_CANCELLED
    assert futures["good"].result(SAFETY) == 2


def test_a_cancelled_graph_never_starts_what_becomes_ready_later(executor: NotebookExecutor, tmp_path: Path) -> None:
    trace = str(tmp_path / "trace")
    graph = {
        "x": 1,
        "t": trace,
        "slow": (nap, "x"),
        "then": (lambda _, t, how: work(t, how), "slow", "t", "how"),
        "how": RETURNS,
    }
    futures = futures_of(executor, graph, ["then"])
    until_running(node(futures, "slow"))
    assert futures.cancel(SAFETY)
    assert futures["then"].cancelled()
    assert executor.submit(abs, -1).result(SAFETY) == 1
    assert runs(trace) == []


def test_a_node_whose_process_dies_fails_what_needs_it(executor: NotebookExecutor) -> None:
    import os

    futures = futures_of(executor, {"code": 3, "dead": (os._exit, "code"), "next": (inc, "dead")}, ["next"])
    error = futures["next"].exception(SAFETY)
    assert type(error).__name__ == "ProcessorDiedError"
    assert futures["next"].origin == node(futures, "dead").task_id


def test_a_node_is_tried_again_before_it_fails_others(executor: NotebookExecutor, tmp_path: Path) -> None:
    path = tmp_path / "tries"

    def third(_: int) -> int:
        with open(path, "a") as file:
            file.write("x")
        if path.stat().st_size < 3:
            raise ConnectionError
        return path.stat().st_size

    assert executor.get({"x": 1, "n": (third, "x"), "next": (inc, "n")}, ["next"], retries=2) == {"next": 4}


def test_a_node_whose_inputs_were_kept_for_its_graph_alone_is_not_tried_again(executor: NotebookExecutor) -> None:
    futures = futures_of(executor, {"x": 1, "a": (inc, "x"), "bad": (fail, "a")}, ["bad"])
    assert futures["bad"].exception(SAFETY) is not None
    with pytest.raises(RuntimeError, match=r"a = inc\(x\); call get\(\) again"):
        futures["bad"].retry()
    futures = futures_of(executor, {"x": 1, "a": (inc, "x"), "bad": (fail, "a")}, ["a", "bad"])
    assert futures["bad"].exception(SAFETY) is not None
    with pytest.raises(ValueError, match="cannot do 2"):
        futures["bad"].retry().result(SAFETY)


# ---------------------------------------------------------------------- futures and objects as arguments


def test_a_future_stands_for_its_value_before_and_after_its_end(executor: NotebookExecutor) -> None:
    first = executor.submit(inc, 1)
    assert executor.submit(inc, first).result(SAFETY) == 3
    first.result(SAFETY)
    assert executor.submit(inc, first).result(SAFETY) == 3
    assert executor.submit(total, *[executor.submit(inc, n) for n in range(50)]).result(SAFETY) == sum(range(1, 51))
    assert executor.submit(len, {"deep": [first, (first,)]}).result(SAFETY) == 1


def test_a_future_in_a_function_is_no_value(executor: NotebookExecutor) -> None:
    future = executor.submit(inc, 1)
    with pytest.raises(TaskSerializationError, match=r"refers to the future of inc\(1\)\. Pass the future"):
        executor.submit(lambda: future.result())
    assert executor.submit(functools.partial(inc, future)).result(SAFETY) == 3


def test_a_future_that_ended_badly_is_the_end_of_what_needs_it(executor: NotebookExecutor) -> None:
    bad = executor.submit(fail, 1)
    assert bad.exception(SAFETY) is not None
    with pytest.raises(ValueError, match="cannot do 1"):
        executor.submit(inc, bad).result(SAFETY)
    slow = executor.submit(nap, 1)
    assert slow.cancel(SAFETY)
    late = executor.submit(inc, slow)
    with pytest.raises(TaskCancelledError, match="parent cancelled"):
        late.result(SAFETY)


def test_an_object_is_what_it_was_when_it_was_sent(executor: NotebookExecutor) -> None:
    data = [1, 2, 3]
    reference = executor.send_object(data, name="data")
    data.append(100)
    assert executor.submit(sum, reference).result(SAFETY) == 6
    assert executor.submit(lambda: sum(reference)).result(SAFETY) == 6
    assert executor.submit(lambda both: both[0] is both[1]["it"], [reference, {"it": reference}]).result(SAFETY)
    assert "data" in repr(reference)


def test_a_reference_after_clear_and_one_of_another_client(executor: NotebookExecutor) -> None:
    reference = executor.send_object([1], name="mine")
    queued = executor.submit(nap, reference)
    with NotebookExecutor(executor.address) as other:
        with pytest.raises(MissingObjects, match="mine"):
            other.submit(sum, reference)
        with pytest.raises(ValueError, match="of another client"):
            other.submit(inc, queued)
        other_queued = other.submit(inc, 1)
        assert other_queued.result(SAFETY) == 2
    assert executor.clear(SAFETY)
    assert queued.cancelled()
    with pytest.raises(MissingObjects, match="it was cleared"):
        executor.submit(sum, reference)
    assert executor.submit(abs, -1).result(SAFETY) == 1


def test_what_stands_for_a_value_is_pickled_nowhere_else(executor: NotebookExecutor) -> None:
    import pickle

    reference = executor.send_object(1)
    for what in (reference, executor.submit(abs, -1)):
        with pytest.raises(TypeError, match="only within the arguments of a task"):
            pickle.dumps(what)


def test_nothing_is_kept_of_a_graph_that_is_over() -> None:
    with NotebookExecutor(n_workers=1) as executor:
        futures = futures_of(
            executor, {"n": 2_000_000, "b": (bytes, "n"), "size": (len, "b"), "bad": (fail, "b")}, ["size"]
        )
        futures.results(SAFETY)
        with pytest.raises(ValueError, match="cannot"):
            executor.get({"x": 1, "bad": (fail, "x"), "next": (inc, "bad")}, ["next"])
        held = [weakref.ref(future) for future in (*futures.group, *futures.values())]
        del futures
        gc.collect()
        assert [reference() for reference in held if reference() is not None] == []
        count = executor.submit(_files_in_memory_of_the_scheduler).result(SAFETY)
        assert count == executor.submit(_files_in_memory_of_the_scheduler).result(SAFETY)
        reference = executor.send_object(bytes(2_000_000))
        assert executor.submit(len, reference).result(SAFETY) == 2_000_000
        executor.clear(SAFETY)
        executor.submit(abs, -1).result(SAFETY)
        assert executor.submit(_files_in_memory_of_the_scheduler).result(SAFETY) == count


def _files_in_memory_of_the_scheduler() -> int:
    import os

    base = f"/proc/{os.getppid()}/fd"
    return sum("memfd:segment" in os.readlink(f"{base}/{name}") for name in os.listdir(base))


# ---------------------------------------------------------------------- any graph


@st.composite
def graphs(draw: st.DrawFn) -> tuple[dict[str, Any], list[str]]:
    graph: dict[str, Any] = {}
    names = [f"n{i}" for i in range(draw(st.integers(1, 9)))]
    for place, name in enumerate(names):
        before = names[:place]
        if not before or draw(st.booleans()):
            graph[name] = draw(st.none() | st.integers(-9, 9))
        else:
            needs = draw(st.lists(st.sampled_from(before), max_size=4))
            function = draw(st.sampled_from([as_sum, as_sum, as_sum, fail]))
            graph[name] = (function, *needs)
    keys = draw(st.lists(st.sampled_from(names), unique=True, max_size=4))
    return dict(draw(st.permutations(list(graph.items())))), keys


def as_sum(*values: int | None) -> int:
    return sum(value or 0 for value in values)


def plainly(graph: dict[str, Any], key: str) -> tuple[Any, set[type[Exception]]]:
    """The value of a key, or what may be its error: of inputs that fail, the first that has failed is passed on."""
    wanted = graph[key]
    if not isinstance(wanted, tuple):
        return wanted, set()
    inputs = [plainly(graph, name) for name in wanted[1:]]
    if any(errors for _, errors in inputs):
        return None, set().union(*(errors for _, errors in inputs))
    try:
        return wanted[0](*(value for value, _ in inputs)), set()
    except (ValueError, TypeError) as error:
        return None, {type(error)}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(graphs())
def test_any_graph_is_what_a_plain_evaluator_says(
    executor: NotebookExecutor, drawn: tuple[dict[str, Any], list[str]]
) -> None:
    graph, keys = drawn
    futures = futures_of(executor, graph, keys)
    assert list(futures) == keys
    for key in keys:
        value, errors = plainly(graph, key)
        assert type(futures[key].exception(SAFETY)) in (errors or {type(None)})
        assert errors or futures[key].result(0) == value
    assert futures.group.wait(SAFETY)
    assert all(future.state is TaskState.FINISHED for future in futures.group)
