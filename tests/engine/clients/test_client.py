"""``Client``, as those know it who come from Scaler."""

from __future__ import annotations

import functools
import io
import itertools
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from killed_schedulers import kill_scheduler
from waits import SAFETY, until_running

from scaler_notebook import (
    Client,
    DefaultSerializer,
    DisconnectedError,
    EngineLostError,
    EngineStartError,
    LocalCluster,
    MissingObjects,
    NotebookExecutor,
    Serializer,
)
from scaler_notebook.engines.local.client import connection_file


def double(x: Any) -> Any:
    return x * 2


def add(a: int, b: int, c: int = 0) -> int:
    return a + b + c


def fail(x: Any) -> None:
    raise ValueError(x)


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(n_workers=2, protected=False) as cluster:
        yield cluster


@pytest.fixture
def client(cluster: LocalCluster) -> Iterator[Client]:
    with Client(cluster.get_address()) as client:
        yield client


def test_submit_map_and_starmap(client: Client) -> None:
    assert client.submit(double, 4).result(SAFETY) == 8
    assert client.submit(add, 1, b=2, c=3).result(SAFETY) == 6
    assert client.submit(functools.partial(add, 5), 6).result(SAFETY) == 11
    assert client.submit_verbose(add, (1,), {"b": 2}).result(SAFETY) == 3
    assert client.map(double, [1, 2, 3]) == [2, 4, 6]
    assert client.map(add, [1, 2], [3, 4, 5]) == [4, 6]
    assert client.map(double, []) == []
    assert client.starmap(add, [(1, 2), (3, 4, 5)]) == [3, 12]
    assert client.map_async(double, [1, 2], reserialize=True, retries=1).results(SAFETY) == [2, 4]
    with pytest.raises(TypeError, match=r"map_async\(\) has no option 'retires'; did you mean 'retries'"):
        client.map_async(double, [], reserialize=True, retires=1)


@pytest.mark.parametrize(
    ("args", "kwargs", "words"),
    [((1,), {}, "missing a required argument: 'b'"), ((1, 2, 3, 4), {}, "too many"), ((1, 2), {"d": 1}, "unexpected")],
)
def test_arguments_that_do_not_fit_are_met_at_the_call(
    client: Client, args: tuple[int, ...], kwargs: dict[str, int], words: str
) -> None:
    with pytest.raises(TypeError, match=words):
        client.submit(add, *args, **kwargs)
    assert client.unfinished() == []


def test_options_that_do_not_exist_are_named(client: Client) -> None:
    with pytest.raises(TypeError, match="did you mean 'retries'"):
        client.submit_verbose(double, (1,), {}, retrys=1)
    with pytest.raises(TypeError, match="did you mean 'capabilities'"):
        client.map(double, [1], capability={"gpu": 1})  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="did you mean 'block'"):
        client.get({"a": 1}, ["a"], blocking=True)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="did you mean 'serializer'"):
        Client("tcp://127.0.0.1:1", serialiser=None)  # type: ignore[call-arg]


def test_a_function_without_a_signature_is_called_all_the_same(client: Client) -> None:
    assert client.submit(max, 1, 2).result(SAFETY) == 2
    with pytest.raises(TypeError, match="can be called"):
        client.submit(5)  # type: ignore[arg-type]


def test_map_needs_something_to_map(client: Client) -> None:
    with pytest.raises(TypeError, match="at least one iterable"):
        client.map(double)
    with pytest.raises(ValueError, match="no end"):
        client.map(double, itertools.count())


def test_a_map_that_fails_cancels_the_rest_and_stays_connected(client: Client) -> None:
    with pytest.raises(ValueError, match="7"):
        client.starmap(lambda f, x: f(x), [(time.sleep, 60), (fail, 7)])
    assert client.cancel_all(SAFETY)
    assert client.submit(double, 1).result(SAFETY) == 2


def test_leaving_with_cancels_what_is_pending(cluster: LocalCluster) -> None:
    with Client(cluster.address) as client:
        running = client.submit(time.sleep, 60)
        until_running(running)
        graph = client.get({"x": 60, "slow": (time.sleep, "x"), "next": (double, "slow")}, ["next"], block=False)
    assert running.cancelled()
    assert graph["next"].cancelled()
    for call in (lambda: client.submit(double, 1), lambda: client.send_object(1), lambda: client.get({"a": 1}, ["a"])):
        with pytest.raises(DisconnectedError, match="disconnected"):
            call()
    client.disconnect()  # again
    assert "disconnected" in repr(client)


def test_shutdown_ends_the_cluster_unless_it_is_protected(cluster: LocalCluster) -> None:
    other = Client(cluster.address)
    running = other.submit(time.sleep, 60)
    until_running(running)
    Client(cluster.address).shutdown(SAFETY)
    assert not cluster.is_running
    assert isinstance(running.exception(SAFETY), EngineLostError)
    with LocalCluster(n_workers=1) as protected, Client(protected.address) as stays:
        refused = Client(protected.address)
        with pytest.raises(ValueError, match="protected"):
            refused.shutdown(SAFETY)
        assert stays.submit(double, 1).result(SAFETY) == 2
    with NotebookExecutor(n_workers=1) as owner:
        guest = Client(owner.address)
        with pytest.raises(ValueError, match="protected"):
            guest.shutdown(SAFETY)


def test_the_schedulers_death_is_told_by_name(cluster: LocalCluster, client: Client) -> None:
    running = client.submit(time.sleep, 60)
    until_running(running)
    kill_scheduler(cluster)
    with pytest.raises(DisconnectedError, match="engine"):
        running.result(SAFETY)


def test_a_lost_engine_is_a_timeout_for_a_client_and_not_for_an_executor(cluster: LocalCluster, client: Client) -> None:
    with NotebookExecutor(cluster.get_address()) as executor:
        futures = [each.submit(time.sleep, 60) for each in (client, executor)]
        for future in futures:
            until_running(future)
        kill_scheduler(cluster)
        errors = [future.exception(SAFETY) for future in futures]
    assert [type(error).__mro__.count(EngineLostError) for error in errors] == [1, 1]
    assert [isinstance(error, TimeoutError) for error in errors] == [True, False]
    assert str(errors[0]) == str(errors[1])


def test_a_stopped_scheduler_counts_as_lost_after_timeout_seconds(cluster: LocalCluster) -> None:
    address = cluster.get_address()
    engine = connection_file.find(address)
    assert engine is not None
    with Client(address) as patient, Client(address, timeout_seconds=1) as impatient:
        kept, lost = patient.submit(time.sleep, 0), impatient.submit(time.sleep, 60)
        assert kept.result(SAFETY) is None
        until_running(lost)
        os.kill(engine.pid, signal.SIGSTOP)
        try:
            kept = patient.submit(double, 4)
            with pytest.raises(EngineLostError, match="no sign of life for 1 s") as caught:
                lost.result(SAFETY)
            assert isinstance(caught.value, TimeoutError)
            assert not kept.done()
        finally:
            os.kill(engine.pid, signal.SIGCONT)
        assert kept.result(SAFETY) == 8
        assert not impatient.unfinished()


def test_time_in_which_nobody_listened_is_no_silence_of_the_engine(cluster: LocalCluster) -> None:
    with Client(cluster.get_address(), timeout_seconds=2) as client:
        agent = client._running_session()._agent
        agent._call(lambda: time.sleep(2.5))
        assert client.submit(double, 4).result(SAFETY) == 8


# ---------------------------------------------------------------------- options of older versions of Scaler


def takes_profiling(x: int, profiling: bool = False) -> tuple[int, bool]:
    return x, profiling


def takes_anything(x: int, **options: bool) -> tuple[int, dict[str, bool]]:
    return x, options


@pytest.mark.parametrize(
    "function", [double, functools.partial(add, 1), abs, int], ids=["function", "partial", "C", "type"]
)
def test_profiling_of_a_submit_is_ignored_with_one_warning(client: Client, function: Any) -> None:
    with pytest.warns(UserWarning, match="profiling") as caught:
        future = client.submit(function, 4, profiling=True)
    assert [Path(warning.filename) for warning in caught] == [Path(__file__)]
    assert future.result(SAFETY) == function(4)
    assert future.profiling_info().duration_s >= 0


def test_profiling_is_an_argument_of_a_function_that_takes_it(client: Client) -> None:
    assert client.submit(takes_profiling, 4, profiling=True).result(SAFETY) == (4, True)
    assert client.submit(takes_anything, 4, profiling=True).result(SAFETY) == (4, {"profiling": True})
    with pytest.raises(TypeError, match="unexpected"):
        client.submit(double, 4, profile=True)


# ---------------------------------------------------------------------- workers, addresses, arguments


def test_tasks_wait_for_workers_that_never_come_and_can_be_cancelled() -> None:
    with LocalCluster(n_workers=0) as cluster, Client(cluster.address) as client:
        future = client.submit(round, 31.416)
        graph = client.get({"a": 3.14, "b": (round, "a"), "c": (add, "a", "b")}, ["c"], block=False)
        assert future.cancel(SAFETY)
        assert graph["c"].cancel(SAFETY)


@pytest.mark.usefixtures("no_shared_executor")
def test_without_an_address_outside_of_a_task() -> None:
    with pytest.raises(ValueError, match=r"No scheduler address provided.*not running inside a worker context"):
        Client()
    with NotebookExecutor(n_workers=1) as executor:
        address = executor.address
        with Client() as client:
            assert client.submit(double, 1).result(SAFETY) == 2
            assert address in repr(client)


def test_without_an_address_and_as_an_argument_within_a_task(client: Client) -> None:
    def nested(x: int) -> int:
        with Client() as inner:
            found: int = inner.submit(double, x).result()
            return found

    def fibonacci(client: Client, n: int) -> int:
        if n < 2:
            return n
        both = [client.submit(fibonacci, client, n - i) for i in (1, 2)]
        return sum(future.result() for future in both)

    assert client.submit(nested, 5).result(SAFETY) == 10
    assert client.submit(fibonacci, client, 5).result(SAFETY) == 5


def test_a_pickled_client_is_another_of_the_same_engine(client: Client) -> None:
    other = pickle.loads(pickle.dumps(client))
    try:
        assert other.identity != client.identity
        assert other.submit(double, 1).result(SAFETY) == 2
    finally:
        other.disconnect()


def test_objects(client: Client, cluster: LocalCluster) -> None:
    first, second = client.send_object("abcdef"), client.send_object([1, 2, 3], name="list")
    assert client.map(len, [first, second]) == [6, 3]
    assert client.submit(lambda a, b: a + b, second, [4]).result(SAFETY) == [1, 2, 3, 4]
    unfinished = client.submit(lambda _: time.sleep(60), first)
    finished = client.submit(double, 1)
    finished.result(SAFETY)
    client.clear()
    assert unfinished.cancelled()
    assert not finished.cancelled()
    with pytest.raises(MissingObjects, match="list"):
        client.submit(len, second)
    assert client.submit(double, 1).result(SAFETY) == 2


class Marked(Serializer):
    @staticmethod
    def serialize(obj: Any) -> bytes:
        import cloudpickle

        data: bytes = cloudpickle.dumps(obj)
        return b"MARK" + data

    @staticmethod
    def deserialize(payload: bytes) -> Any:
        assert payload[:4] == b"MARK"
        return pickle.loads(payload[4:])


class Unmarked(Marked):
    @staticmethod
    def deserialize(payload: bytes) -> Any:
        raise ArithmeticError("cannot read it")


def test_a_serializer_of_ones_own(cluster: LocalCluster) -> None:
    with Client(cluster.address, serializer=Marked()) as client:
        assert client.submit(add, 1, b=2).result(SAFETY) == 3
        assert client.get({"a": 1, "b": (double, "a"), "c": (double, "b")}, ["c"]) == {"c": 4}
        assert client.submit(sum, client.send_object([1, 2])).result(SAFETY) == 3
        assert client.submit(double, client.submit(double, 1)).result(SAFETY) == 4
    with Client(cluster.address, serializer=Unmarked()) as client, pytest.raises(ArithmeticError, match="cannot read"):
        client.submit(double, 1).result(SAFETY)
    with Client(cluster.address, serializer=DefaultSerializer()) as client:
        assert client.submit(double, 1).result(SAFETY) == 2
    with pytest.raises(TypeError, match="serializer is a Serializer"):
        Client(cluster.address, serializer=5)  # type: ignore[arg-type]


class Heard(io.StringIO):
    """A stream that tells when it has a whole line. (What reads and empties one can lose what comes in between.)"""

    def __init__(self) -> None:
        super().__init__()
        self.line = threading.Event()

    def write(self, text: str) -> int:
        written = super().write(text)
        if "\n" in text:
            self.line.set()
        return written


def test_output_is_streamed_if_asked_for(cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    with Client(cluster.address, stream_output=True) as client:
        monkeypatch.setattr(sys, "stdout", heard := Heard())
        client.submit(print, "streamed").result(SAFETY)
        assert heard.line.wait(SAFETY)
    assert heard.getvalue() == "print('streamed') | streamed\n"


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"address": "tcp://example.org:1"}, ValueError, "not this machine"),
        ({"address": "nonsense"}, ValueError, "no address"),
        ({"address": "nonsense", "timeout_seconds": np.int64(1)}, ValueError, "no address"),
        ({"timeout_seconds": 0}, ValueError, "timeout_seconds is a positive number"),
        ({"heartbeat_interval_seconds": "1"}, ValueError, "heartbeat_interval_seconds"),
        ({"address": "tcp://127.0.0.1:1"}, EngineStartError, "nobody answers"),
    ],
)
def test_mistakes_at_its_making(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Client(**arguments)
