"""Real OpenGRIS Scaler clusters behind ``scaler://`` addresses.

What every engine does alike is in ``test_message_orders`` and, below, in what begins with "as elsewhere".
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from relay import Relay
from scaler_cluster import ScalerCluster, shared
from waits import SAFETY, until, until_running, until_written

from scaler_notebook import (
    CancelReason,
    Client,
    DisconnectedError,
    EngineLostError,
    EngineStartError,
    InitializerError,
    NotebookExecutor,
    ProcessorDiedError,
    TaskCancelledError,
    TaskState,
    current_task,
    progress,
    wait,
)
from scaler_notebook.engines.scaler.client.connection.cluster_connection import ClusterConnection, run_all
from scaler_notebook.task.display.display_publisher import publish

GONE = 3.0  # seconds after SIGTERM until Scaler's worker kills a process


@pytest.fixture
def address() -> str:
    address: str = shared().address
    return address


@pytest.fixture
def executor(address: str) -> Iterator[NotebookExecutor]:
    with NotebookExecutor(address, grace=0.3) as executor:
        yield executor
        executor.cancel_all()


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    with Client(address, grace=0.3) as client:
        yield client


# ---------------------------------------------------------------------- tasks


def test_a_task_its_output_and_its_figures(executor: NotebookExecutor) -> None:
    def task(a: int, b: int) -> tuple[int, str, str]:
        print("to stdout", a)
        print("to stderr", file=sys.stderr)
        print("no end of line", end="")
        return a + b, current_task().task_id, current_task().name

    future = executor.submit(task, 1, b=2)
    assert future.result(SAFETY) == (3, future.task_id, "task(1, b=2)")
    assert future.logs.stdout == "to stdout 1\nno end of line"
    assert future.logs.stderr == "to stderr\n"
    figures = future.profiling_info()
    assert figures.cpu_time_s is not None
    assert figures.memory_peak is not None
    assert figures.memory_peak > 2**20
    assert figures.processor


def test_workers_need_not_have_the_package(tmp_path: Path) -> None:
    def task(n: int) -> tuple[int, str]:
        from scaler_notebook import current_task, progress

        return sum(progress(range(n))), current_task().name

    def missing() -> None:
        import waits  # noqa: F401  # of these tests

    with ScalerCluster(workers=1, bare=True) as cluster, NotebookExecutor(cluster.address) as executor:
        plain = "try:\n import scaler_notebook\nexcept ModuleNotFoundError: print('not there')"
        run = executor.submit(lambda: subprocess.run([sys.executable, "-c", plain], capture_output=True, text=True))
        assert run.result(SAFETY).stdout == "not there\n", "the test proves nothing"
        assert executor.submit(task, 5).result(SAFETY) == (10, "task(5)")
        assert list(executor.map(abs, range(-5, 0), chunksize=2)) == [5, 4, 3, 2, 1]
        future = executor.submit(missing)
        error = future.exception(SAFETY)
        assert isinstance(error, ModuleNotFoundError)
        assert "has no module 'waits': install it there" in vars(error)["__notes__"][-1]
        child = executor.submit(lambda: Client().submit(abs, -7).result())
        assert child.result(SAFETY) == 7


def test_settings_that_a_task_changes_are_put_back() -> None:
    def change() -> None:
        os.environ["LEFT_BEHIND"] = "1"
        sys.path.append("/nowhere")
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        warnings.simplefilter("error")

    def look() -> Any:
        found = os.environ.get("LEFT_BEHIND"), "/nowhere" in sys.path, repr(signal.getsignal(signal.SIGUSR1))
        return os.getpid(), *found, signal.pthread_sigmask(signal.SIG_BLOCK, ()), len(warnings.filters)

    with ScalerCluster(workers=1) as cluster, NotebookExecutor(cluster.address) as executor:
        first = executor.submit(look).result(SAFETY)
        executor.submit(change).result(SAFETY)
        assert executor.submit(look).result(SAFETY) == first


def test_a_failure_comes_whole(executor: NotebookExecutor) -> None:
    def fails() -> None:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise ValueError("then") from error

    future = executor.submit(fails)
    error = future.exception(SAFETY)
    assert isinstance(error, ValueError)
    assert isinstance(error.__cause__, KeyError)
    assert future.failure is not None
    assert "in fails" in future.failure.traceback
    assert "scaler/worker" not in future.failure.traceback
    assert "remote.py" not in future.failure.traceback


def test_a_class_of_the_notebook_is_caught_as_itself(executor: NotebookExecutor) -> None:
    class Needs(Exception):
        def __init__(self, code: int, *, detail: str) -> None:
            super().__init__(f"code {code}")
            self.code, self.lock = code, threading.Lock()

    def task() -> None:
        raise Needs(3, detail="more")

    with pytest.raises(Needs, match="code 3") as caught:
        executor.submit(task).result(SAFETY)
    assert caught.value.code == 3
    assert not hasattr(caught.value, "lock")


def test_arrays_are_the_tasks_own_both_ways(executor: NotebookExecutor) -> None:
    def doubled(array: Any) -> Any:
        array *= 2
        return array

    for size in (10, 1_000_000):
        array = np.arange(float(size))
        future = executor.submit(doubled, array)
        array[:] = -1
        result = future.result(SAFETY)
        result += 1
        assert (result == 2 * np.arange(size) + 1).all()
        assert (array == -1).all()


def test_graphs_objects_and_futures_stay_at_the_cluster(client: Client) -> None:
    data = client.send_object(list(range(100_000)), "data")
    assert client.submit(lambda a, b: len(a) + len(b["it"]), data, {"it": data}).result(SAFETY) == 200_000

    def pair(x: Any, y: Any) -> Any:
        return x, y

    graph = {"a": 1, "b": data, "c": (len, "b"), "d": (pair, "c", "a"), "e": (pair, "d", "d")}
    assert client.get(graph, ["e", "c"]) == {"e": ((100_000, 1), (100_000, 1)), "c": 100_000}
    first = client.submit(pair, 1, 2)
    assert first.then(len).result(SAFETY) == 2
    nodes = client.get({"a": 0, "b": ((1).__truediv__, "a"), "c": (abs, "b")}, ["c"], block=False)
    assert isinstance(nodes["c"].exception(SAFETY), ZeroDivisionError)
    sleeps = client.submit(time.sleep, 60)
    then = client.submit(str, sleeps)
    assert sleeps.cancel(SAFETY)
    until(then, then.done, "end")
    assert then.cancel_reason is CancelReason.PARENT_CANCELLED


def test_progress_and_displays_while_it_runs(executor: NotebookExecutor) -> None:
    def task() -> None:
        bar: Any = progress(total=10, note="steps")
        bar.update(3)
        print("before")
        publish({"text/plain": "shown"})
        print("after")
        time.sleep(60)

    future = executor.submit(task)
    until_written(future, "after")
    shown = future.progress
    assert shown is not None
    assert (shown.done, shown.total, shown.note) == (3, 10, "steps")
    assert [display.bundle for display in future.displays] == [{"text/plain": "shown"}]


def test_output_that_looks_like_a_sign_is_output(executor: NotebookExecutor) -> None:
    future = executor.submit(print, "\x1b]scaler_notebook;of the user's own\x07")
    future.result(SAFETY)
    assert future.logs.stdout == "\x1b]scaler_notebook;of the user's own\x07\n"


def test_of_a_flood_come_head_and_tail(executor: NotebookExecutor) -> None:
    def flood() -> None:
        print("the beginning")
        for _ in range(20_000):
            print("x" * 999)
        print("the end")

    future = executor.submit(flood)
    future.result(SAFETY)
    text = future.logs.stdout
    assert text.startswith("the beginning\n")
    assert text.endswith("the end\n")
    assert "MB of output dropped" in text
    assert len(text) < 10 * 2**20


def test_what_a_task_leaves_running_speaks_for_nobody(address: str) -> None:
    def leaves() -> None:
        import threading

        def go_on() -> None:
            while True:
                time.sleep(0.01)
                task.report(666, 666)

        task = current_task()
        threading.Thread(target=go_on, daemon=True).start()

    with ScalerCluster(workers=1) as cluster, NotebookExecutor(cluster.address) as executor:
        executor.submit(leaves).result(SAFETY)
        later = executor.submit(time.sleep, 0.3)
        later.result(SAFETY)
        assert later.progress is None


def test_a_task_may_start_processes(executor: NotebookExecutor) -> None:
    def squares() -> list[int]:
        import multiprocessing

        def child(n: int) -> None:
            print("lost, and harmless")
            sender.send(n * n)

        context = multiprocessing.get_context("fork")
        receiver, sender = context.Pipe()
        children = [context.Process(target=child, args=(n,)) for n in range(3)]
        for process in children:
            process.start()
        found = sorted(receiver.recv() for _ in children)
        for process in children:
            process.join()
        return found

    assert executor.submit(squares).result(SAFETY) == [0, 1, 4]


def test_what_cannot_be_sent_fails_alone(executor: NotebookExecutor) -> None:
    bad = executor.submit_verbose(abs, (1,), name="fine")
    assert bad.result(SAFETY) == 1
    session = executor._session
    assert session is not None
    assert bad.task is not None
    future = executor._calls.new_future(session, bad.task.options)
    options = replace(bad.task.options, name=object())  # type: ignore[arg-type]
    session.tasks.submit([(future, replace(bad.task, task_id=future.task_id, options=options))])
    assert "could not be sent to the cluster" in str(future.exception(SAFETY))
    assert executor.submit(abs, -2).result(SAFETY) == 2


# ---------------------------------------------------------------------- cancel


def obeys(trace: str) -> None:
    try:
        print("begun", flush=True)
        time.sleep(60)
    finally:
        Path(trace).write_text("cleaned up")


def refuses(trace: str, seconds: float) -> str:
    begun, end = False, time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if not begun:
                begun = True
                print("begun", flush=True)
            time.sleep(max(0.0, end - time.monotonic()))
        except KeyboardInterrupt:
            Path(trace).write_text("asked")
            print("asked", flush=True)
    return "went on"


@pytest.mark.parametrize("force", [False, True])
def test_a_running_task_is_asked_first_and_its_process_is_gone(
    executor: NotebookExecutor, tmp_path: Path, force: bool
) -> None:
    future = executor.submit(obeys, str(tmp_path / "trace"))
    until_written(future, "begun")
    pid = int(future.processor.split()[0])
    assert future.cancel(SAFETY, force, grace=SAFETY)
    assert future.cancel_reason is CancelReason.STOPPED
    assert (tmp_path / "trace").read_text() == "cleaned up"
    assert not Path(f"/proc/{pid}").exists(), "confirmed before its process was gone"


def test_one_that_refuses_runs_on_or_is_ended(executor: NotebookExecutor, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    future = executor.submit(refuses, str(trace), 2.0)
    until_written(future, "begun")
    assert not future.cancel(SAFETY, force=False, grace=0.2)
    assert (future.state, future.refused) == (TaskState.RUNNING, True)
    until_written(future, "asked")  # the machine may be slower than the grace period
    assert trace.read_text() == "asked"
    assert future.result(SAFETY) == "went on"
    future = executor.submit(refuses, str(trace), 60.0)
    until_written(future, "begun")
    assert not future.cancel(SAFETY, force=False, grace=0.1)
    assert future.cancel(SAFETY, force=True, grace=0.1)
    assert future.cancel_reason is CancelReason.STOPPED


def test_what_hears_nothing_is_killed(executor: NotebookExecutor) -> None:
    def in_c() -> None:
        import hashlib

        print("begun", flush=True)
        hashlib.pbkdf2_hmac("sha256", b"x", b"y", 500_000_000)

    future = executor.submit(in_c)
    until_written(future, "begun")
    assert not future.cancel(SAFETY, force=False, grace=0.1)
    assert future.cancel(GONE + SAFETY, force=True, grace=0.1)
    assert future.cancel_reason is CancelReason.STOPPED


def test_a_shield_holds(executor: NotebookExecutor, tmp_path: Path) -> None:
    def saves(trace: str) -> None:
        with current_task().shielded():
            print("begun", flush=True)
            time.sleep(0.5)
            Path(trace).write_text("whole")
        time.sleep(60)

    future = executor.submit(saves, str(tmp_path / "trace"))
    until_written(future, "begun")
    assert future.cancel(SAFETY, force=False, grace=SAFETY)
    assert (tmp_path / "trace").read_text() == "whole"


async def waits(trace: str) -> None:
    print("begun", flush=True)
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        Path(trace).write_text("cancelled")
        raise


@pytest.mark.parametrize("task", [waits, lambda trace: asyncio.run(waits(trace))], ids=["the task", "in the task"])
def test_a_coroutine_is_cancelled(executor: NotebookExecutor, tmp_path: Path, task: Callable[[str], Any]) -> None:
    future = executor.submit(task, str(tmp_path / "trace"))
    until_written(future, "begun")
    assert future.cancel(SAFETY, force=False, grace=SAFETY)
    assert (tmp_path / "trace").read_text() == "cancelled"


def test_a_generator_is_refused(executor: NotebookExecutor) -> None:
    with pytest.raises(ValueError, match=r"scaler://.* passes on no items before a task's end"):
        executor.submit_stream(range, 3)


def test_its_workers_are_not_ours_to_scale(executor: NotebookExecutor) -> None:
    with pytest.raises(ValueError, match=r"scaler://.* a cluster of OpenGRIS Scaler is scaled where its workers are"):
        executor.scale(3)


def test_its_workers_have_the_gpus_that_they_have(executor: NotebookExecutor) -> None:
    with pytest.raises(ValueError, match=r"gives tasks no GPUs.*capabilities=\{'gpu': 1\} asks for such a one"):
        executor.submit_verbose(abs, (-1,), gpus=1)


def test_a_coroutine_is_run(executor: NotebookExecutor) -> None:
    sleep: Any = asyncio.sleep
    assert executor.submit(sleep, 0, "slept").result(SAFETY) == "slept"


def test_what_is_queued_never_starts(executor: NotebookExecutor, tmp_path: Path) -> None:
    blocking = [executor.submit(time.sleep, 60) for _ in range(2)]
    queued = [executor.submit(obeys, str(tmp_path / str(n))) for n in range(50)]
    for each in blocking:
        until_running(each)
    assert executor.cancel_all(SAFETY)
    assert {each.cancel_reason for each in blocking} == {CancelReason.STOPPED}
    assert {each.cancel_reason for each in queued} == {CancelReason.NEVER_STARTED}
    assert [executor.submit(os.getpid).result(SAFETY) > 0 for _ in range(4)] == [True] * 4
    assert list(tmp_path.iterdir()) == []


def test_never_started_is_never_said_of_what_began(executor: NotebookExecutor, tmp_path: Path) -> None:
    for n in range(20):
        trace = tmp_path / str(n)
        future = executor.submit(lambda trace: (Path(trace).touch(), time.sleep(60)), str(trace))
        time.sleep(n * 0.0005)  # about as long as a task takes to begin
        assert future.cancel(SAFETY, grace=0.0)
        assert trace.exists() <= (future.cancel_reason is CancelReason.STOPPED), n


def test_its_subprocesses_go_with_it(executor: NotebookExecutor) -> None:
    def starts() -> None:
        child = subprocess.Popen(["sleep", "600"])
        print(f"child {child.pid}", flush=True)
        child.wait()

    future = executor.submit(starts)
    until_written(future, "child")
    pid = int(future.logs.stdout.split()[1])
    assert future.cancel(SAFETY)
    stat = Path(f"/proc/{pid}/stat")
    assert not stat.exists() or stat.read_text().split()[2] == "Z"


def test_a_deadline(executor: NotebookExecutor) -> None:
    future = executor.submit_verbose(time.sleep, (60,), timeout=0.5)
    until(future, future.done, "end")
    assert future.cancel_reason is CancelReason.TIMED_OUT


def test_a_deadline_of_the_run(executor: NotebookExecutor) -> None:
    future = executor.submit_verbose(time.sleep, (60,), run_timeout=0.5)
    until(future, future.done, "end")
    assert future.cancel_reason is CancelReason.TIMED_OUT
    assert "TaskStarted" in [entry.message for entry in future.trace()]
    with pytest.raises(TaskCancelledError, match=r"its run_timeout of 0.5 s is over"):
        future.result(0)


def test_a_call_is_made_again_here_with_its_objects(executor: NotebookExecutor) -> None:
    referred, needed = executor.send_object([3, 1]), executor.submit(list, (2,))
    future = executor.submit_verbose(lambda one, two: (sorted([*one, *two]), os.getpid()), (referred, needed))
    assert future.rerun_here() == ([1, 2, 3], os.getpid())
    assert future.result(SAFETY)[1] != os.getpid()


def test_leaving_cancels_what_is_pending(address: str, tmp_path: Path) -> None:
    with Client(address) as client:
        futures = [client.submit(obeys, str(tmp_path / str(n))) for n in range(4)]
        until_running(futures[0])
    assert {each.cancelled() for each in futures} == {True}


def lasts_until(path: str) -> None:
    while not os.path.exists(path):
        time.sleep(0.01)


def test_shutdown_lets_what_runs_finish_and_takes_the_rest_back(address: str, tmp_path: Path) -> None:
    executor = NotebookExecutor(address)
    end = tmp_path / "end"
    running = [executor.submit(lasts_until, str(end)) for _ in range(2)]
    for each in running:
        until_running(each)
    queued = [executor.submit(time.sleep, 60) for _ in range(5)]
    ending = threading.Thread(target=executor.shutdown, kwargs={"cancel_futures": True})
    ending.start()
    assert not wait(queued, SAFETY).not_done
    assert {each.cancel_reason for each in queued} == {CancelReason.NEVER_STARTED}
    end.touch()
    ending.join(SAFETY)
    assert [each.result(0) for each in running] == [None, None]


# ---------------------------------------------------------------------- within tasks


def deeper(depth: int) -> int:
    return depth if not depth else 1 + Client().submit(deeper, depth - 1).result()


@pytest.mark.matrix
def test_tasks_submit_tasks_deeper_than_there_are_workers(executor: NotebookExecutor) -> None:
    assert executor.submit(deeper, 4).result(3 * SAFETY) == 4


def test_a_client_is_an_argument(client: Client) -> None:
    assert client.submit(lambda c: c.submit(abs, -3).result(), client).result(SAFETY) == 3


def test_children_go_with_their_parent(executor: NotebookExecutor, tmp_path: Path) -> None:
    def parent(trace: str) -> None:
        child = Client().submit(obeys, trace)
        until_written(child, "begun")
        print("child runs", flush=True)
        child.result()

    future = executor.submit(parent, str(tmp_path / "trace"))
    until_written(future, "child runs")
    assert future.cancel(SAFETY)
    assert executor.submit(lambda trace: _appears(trace), str(tmp_path / "trace")).result(SAFETY)


def _appears(trace: str) -> bool:
    while not Path(trace).exists():
        time.sleep(0.01)
    return True


# ---------------------------------------------------------------------- failure


def test_the_death_of_its_process_fails_one_task_alone(executor: NotebookExecutor) -> None:
    other = executor.submit(time.sleep, 2.0)
    until_running(other)
    future = executor.submit(lambda: os.kill(os.getpid(), signal.SIGSEGV))
    error = future.exception(SAFETY)
    assert isinstance(error, ProcessorDiedError)
    assert "killed by SIGSEGV" in str(error)
    assert (error.exit_code, error.signal) == (None, signal.SIGSEGV)
    assert other.result(SAFETY) is None
    exits = executor.submit(os._exit, 3).exception(SAFETY)
    assert isinstance(exits, ProcessorDiedError)
    assert exits.exit_code == 3


def tries(trace: str, fails: Callable[[], None], until: int) -> int:
    with open(trace, "a") as file:
        file.write("x")
    count = len(Path(trace).read_text())
    if count < until:
        fails()
    return count


def raises() -> None:
    raise OSError("not yet")


def exits() -> None:
    os._exit(1)


def test_retries(executor: NotebookExecutor, tmp_path: Path) -> None:
    future = executor.submit_verbose(tries, (str(tmp_path / "a"), raises, 3), retries=5, retry_on=OSError)
    assert future.result(SAFETY) == 3
    assert future.tries == 3
    assert future.logs.stderr.count("OSError: not yet") == 2
    future = executor.submit_verbose(tries, (str(tmp_path / "b"), raises, 3), retries=5, retry_on=KeyError)
    assert isinstance(future.exception(SAFETY), OSError)
    future = executor.submit_verbose(tries, (str(tmp_path / "c"), exits, 2), retries=1)
    assert future.result(SAFETY) == 2
    future = executor.submit_verbose(tries, (str(tmp_path / "d"), exits, 9), retries=5, retry_on=KeyError)
    assert isinstance(future.exception(SAFETY), ProcessorDiedError)


def test_an_initializer(address: str) -> None:
    def prepare(value: str) -> None:
        os.environ["PREPARED"] = value

    with NotebookExecutor(address, initializer=prepare, initargs=("yes",)) as executor:
        assert executor.submit(lambda: os.environ.get("PREPARED")).result(SAFETY) == "yes"
    with NotebookExecutor(address, initializer=raises) as executor:
        with pytest.raises(InitializerError, match="not yet"):
            executor.submit(abs, 1).result(SAFETY)
        with pytest.raises(InitializerError):
            executor.submit(abs, 1)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From a call on, who does not listen or answer within a second counts as nobody."""

    def shorten() -> None:
        for timeout in ("LISTEN_TIMEOUT", "ANSWER_TIMEOUT"):
            monkeypatch.setattr(f"scaler_notebook.engines.scaler.client.engine.{timeout}", 1.0)

    return shorten


def test_the_death_of_the_scheduler_is_told_at_once(soon: Callable[[], None]) -> None:
    cluster = ScalerCluster(workers=1)
    try:
        with NotebookExecutor(cluster.address) as executor:
            future = executor.submit(time.sleep, 60)
            until_running(future)
            cluster.kill_scheduler()
            error = future.exception(SAFETY)
            assert isinstance(error, EngineLostError)
            assert cluster.address in str(error)
            soon()
            with pytest.raises(EngineStartError, match="nobody answers at scaler://"):
                executor.submit(abs, 1)
    finally:
        cluster.stop()


def test_a_connection_that_is_reset_is_told_in_time() -> None:
    """So it ends where a scheduler is killed before it has read what it was sent: YMQ would connect anew for 50 s."""
    with ScalerCluster(workers=1) as cluster:
        host, _, port = cluster.address.removeprefix("scaler://").rpartition(":")
        with Relay(host, int(port)) as relay, NotebookExecutor(f"scaler://127.0.0.1:{relay.port}") as executor:
            future = executor.submit(time.sleep, 60)
            until_running(future)
            relay.reset()
            assert isinstance(future.exception(SAFETY), EngineLostError)


def test_a_tunnel_to_a_scheduler_may_close_connections_at_first(address: str) -> None:
    """As one does until its other end is there. YMQ itself connects four times."""
    host, _, port = address.removeprefix("scaler://").rpartition(":")
    with Relay(host, int(port), closes=12) as relay, NotebookExecutor(f"scaler://127.0.0.1:{relay.port}") as executor:
        assert executor.submit(abs, -1).result(SAFETY) == 1


def test_a_scheduler_that_is_silent_counts_as_lost() -> None:
    with ScalerCluster(workers=1) as cluster:
        client = Client(cluster.address, timeout_seconds=1, heartbeat_interval_seconds=0.2)
        future = client.submit(time.sleep, 60)
        until_running(future)
        os.kill(cluster.scheduler, signal.SIGSTOP)
        try:
            error = future.exception(SAFETY)
        finally:
            os.kill(cluster.scheduler, signal.SIGCONT)
        assert isinstance(error, EngineLostError)
        assert "has not answered for" in str(error)
        client.disconnect()


def test_a_client_may_end_a_cluster_that_is_not_protected(client: Client, soon: Callable[[], None]) -> None:
    with pytest.raises(ValueError, match="is protected"):
        client.shutdown()
    with ScalerCluster(workers=1, protected=False) as cluster:
        client = Client(cluster.address)
        future = client.submit(time.sleep, 60)
        client.shutdown()
        assert future.done()
        soon()
        with pytest.raises(EngineStartError):
            Client(cluster.address)


def animates() -> None:
    frames = 0
    while True:
        publish({"text/plain": f"{frames} " + "x" * 100_000}, display_id="frame", update=frames > 0)
        print(frames := frames + 1)


def test_an_animation_keeps_nobody_waiting(executor: NotebookExecutor) -> None:
    frames: set[str] = set()
    future = executor.submit(animates)
    future.watch(lambda future: frames.update(shown.bundle["text/plain"][:10] for shown in future.displays))
    until_written(future, "\n4000\n")
    assert future.cancel(SAFETY)
    assert future.cancel_reason is CancelReason.STOPPED
    assert len(frames) < 400, "most were replaced before anybody could see them"
    assert len(future.displays) == 1


# ---------------------------------------------------------------------- what is kept


def count_objects(address: str) -> int:
    """What the storage of a cluster holds."""

    async def ask() -> int:
        connection = ClusterConnection(address.replace("scaler", "tcp"), address)
        found: list[int] = []

        async def look() -> None:
            assert await connection.ready(SAFETY)
            found.append((await connection._storage.info_get_total()).object_count)
            await connection.leave()
            raise EOFError

        with pytest.raises(EOFError):
            await run_all(connection.serve(lambda message: None), look())
        return found[0]

    return asyncio.run(ask())


@pytest.mark.matrix
def test_nothing_is_kept_that_nobody_needs() -> None:
    with ScalerCluster(workers=1) as cluster:
        before = count_objects(cluster.address)
        with Client(cluster.address) as client:
            reference = client.send_object(b"x" * 100_000)
            client.map(len, [b"y" * 100_000 for _ in range(5)])
            assert client.submit(len, reference).result(SAFETY) == 100_000
            client.get({"a": (bytes, "n"), "n": 200_000, "b": (len, "a")}, ["b"])
            client.submit(time.sleep, 60).cancel(SAFETY)
            client.submit(raises).exception(SAFETY)
            client.submit(exits).exception(SAFETY)
            client.clear()
            # Beside the code and its serializer, functions and small arguments stay, for who sends the same again.
            deadline = time.monotonic() + SAFETY
            while (kept := count_objects(cluster.address) - before) > 2 + 12:
                assert time.monotonic() < deadline, f"{kept} objects are kept"
            session = client._session
            assert session is not None
            engine: Any = session.engine
            nobody = engine._connection.post("ab" * 32, b"to a task that is no more")
            asyncio.run_coroutine_threadsafe(nobody, engine._loop).result(SAFETY)
            tasks = engine._tasks
            assert (len(tasks._dependencies), tasks._records, tasks._by_name) == (0, {}, {})
        deadline = time.monotonic() + SAFETY
        while count_objects(cluster.address) > before:
            assert time.monotonic() < deadline, "it keeps what a client left that has gone"


# ---------------------------------------------------------------------- addresses


@pytest.mark.parametrize("address", ["scaler://", "scaler://host", "scaler://:1", "scaler://h:0x", "scaler://h:1/path"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="is no address of an OpenGRIS Scaler cluster: scaler://HOST:PORT"):
        NotebookExecutor(address)


def test_where_nobody_answers_it_says_so(soon: Callable[[], None]) -> None:
    soon()
    with pytest.raises(EngineStartError, match=r"nobody answers at scaler://127\.0\.0\.1:9"):
        NotebookExecutor("scaler://127.0.0.1:9").start()


def test_a_scheduler_that_ends_while_it_is_asked_counts_as_nobody(soon: Callable[[], None]) -> None:
    """Scaler's own way to connect would block its thread for half a minute: the fixture of leaks saw that thread."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = "scaler://{}:{}".format(*server.getsockname())
        ending = threading.Thread(target=lambda: (server.accept()[0].close(), server.close()))
        ending.start()
        soon()
        with pytest.raises(EngineStartError, match="nobody answers at"):
            NotebookExecutor(address).start()
        ending.join(SAFETY)


def test_a_program_that_is_no_scheduler_is_said_to_be_there(soon: Callable[[], None]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        soon()
        with pytest.raises(EngineStartError, match="within 1 s, though a program listens there: is an OpenGRIS Scaler"):
            NotebookExecutor("scaler://{}:{}".format(*server.getsockname())).start()


def test_without_scalers_package_it_says_what_to_install(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scaler.config.types.address", None)
    with pytest.raises(EngineStartError, match=r"this speaks with opengris-scaler 2\.9 and its like"):
        NotebookExecutor(address).start()
    monkeypatch.setattr("scaler_notebook.engines.scaler.client.connection.cluster_connection.version", _not_installed)
    with pytest.raises(EngineStartError, match=r"pip install 'opengris-scaler>=2\.9,<3'"):
        NotebookExecutor(address).start()


def _not_installed(name: str) -> str:
    from importlib.metadata import PackageNotFoundError

    raise PackageNotFoundError(name)


def test_a_forked_child_connects_anew(executor: NotebookExecutor) -> None:
    running = executor.submit(time.sleep, 60)
    until_running(running)
    ear, mouth = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.write(mouth, repr((type(running.exception()), executor.submit(abs, -1).result(SAFETY))).encode())
        finally:
            os._exit(0)
    os.close(mouth)
    try:
        assert select.select([ear], [], [], 2 * SAFETY)[0]
        assert os.read(ear, 1000).decode() == repr((DisconnectedError, 1))
    finally:
        os.close(ear)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert executor.submit(abs, -2).result(SAFETY) == 2
    assert not running.done()
    assert running.cancel()
