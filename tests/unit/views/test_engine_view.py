"""The view of an executor: what it shows of engine, groups and processes, and what its buttons do."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from scaler_notebook.client import engine_report
from scaler_notebook.client.waiting.host import PlainHost, current_host, install_host
from scaler_notebook.notebook.marimo.host import MarimoHost
from scaler_notebook.notebook.views.engine import feed as engine_feed
from scaler_notebook.notebook.views.engine import static_html
from scaler_notebook.notebook.views.engine.contents import ContentsReader
from scaler_notebook.notebook.views.engine.feed import EngineFeed
from scaler_notebook.notebook.views.engine.samples import KEPT, ProcessSamples, Sample
from scaler_notebook.notebook.views.publisher import publisher as the_publisher
from scaler_notebook.protocol.messages import ClientPause, EngineStatus, EngineStatusRequest
from scaler_notebook.testing import InMemoryExecutor, memory_executor


class HostOfCellThree(PlainHost):
    """A notebook whose third cell runs."""

    cell_number = 3


@pytest.fixture
def executor() -> Iterator[InMemoryExecutor]:
    before = current_host()
    install_host(HostOfCellThree())
    with memory_executor() as made:
        yield made
        for future in made.unfinished():
            made.engine.finish(future)
    install_host(before)


def test_what_it_shows(executor: InMemoryExecutor) -> None:
    reader = ContentsReader(lambda: executor)
    assert static_html.headline(reader.read()) == "an engine that is not started; the first task starts it"
    group = executor.map_async(abs, range(5), name="fits")
    executor.engine.start_task(group[0])
    executor.engine.finish(group[1], 1)
    executor.engine.fail(group[2], ValueError())
    engine_report.ask(executor)
    executor.engine.sent.next(EngineStatusRequest)
    executor.engine.tell(EngineStatus(2, 2, (os.getpid(), 0), (group[0].task_id, "another's")))
    executor.engine.finish(group[3], 1)  # heard behind the status
    group[3].result(5)
    reader.sample()
    contents = reader.read()
    assert contents["groups"] == [
        {"name": "fits", "cell": 3, "counts": {"queued": 1, "running": 1, "done": 2, "failed": 1}}
    ]
    ours, another = contents["workers"]
    assert (ours["call"], ours["task"], another["call"]) == (group[0].call, group[0].task_id, "")
    assert len(ours["cpu"]) == len(ours["memory"]) == 1
    words = static_html.text("the executor", contents)
    assert "2 running, 2 queued" in words
    assert "fits (cell 3): 2 done · 1 failed · 1 running · 1 queued" in words
    assert group[0].call in static_html.html(contents)
    contents["slots"], contents["queued"] = 1000, 10_000
    assert static_html.headline(contents).startswith("an engine with 1\u2009000 workers: 2 running, 10\u2009000 queued")
    contents["slots"], contents["address"] = 0, "scaler://there"
    assert static_html.headline(contents).endswith("there, 10\u2009000 of this client's tasks queued")
    executor.pause()
    assert reader.read()["state"] == "paused"


def test_it_shows_gpus_where_the_engine_has_some(executor: InMemoryExecutor) -> None:
    reader = ContentsReader(lambda: executor)
    executor.engine.gpus = ("a", "b")
    future, other = executor.submit(abs, 1), executor.submit(abs, 2)
    engine_report.ask(executor)
    executor.engine.sent.next(EngineStatusRequest)
    executor.engine.tell(EngineStatus(2, 0, (1, 2), (future.task_id, ""), gpus=("a, b", "")))
    executor.engine.finish(other, 1)  # heard behind the status
    other.result(5)
    contents = reader.read()
    assert contents["gpus"] == ["a", "b"]
    assert [worker["gpus"] for worker in contents["workers"]] == ["a, b", ""]
    assert "workers and 2 GPUs: 1 running" in static_html.headline(contents)
    assert "process 1 on GPUs a, b:" in static_html.html(contents)


def test_a_group_that_is_retried_is_counted_again(executor: InMemoryExecutor) -> None:
    reader = ContentsReader(lambda: executor)
    group = executor.map_async(abs, range(2))
    for future in group:
        executor.engine.fail(future, ValueError())
    group.wait(5)
    for _ in range(2):
        assert reader.read()["groups"][0]["counts"] == {"failed": 2}
    for future in group.retry():
        executor.engine.finish(future, 1)
    group.wait(5)
    assert reader.read()["groups"][0]["counts"] == {"done": 2}


class ConstantSamples(ProcessSamples):
    """Samples of processes that do nothing."""

    def take(self, pids: Iterable[int]) -> None:
        for pid in pids:
            self._samples.setdefault(pid, deque(maxlen=KEPT)).append(Sample(0.0, 1))


def test_the_time_of_a_task_goes_on_while_its_process_does_nothing(
    executor: InMemoryExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(the_publisher, "call_later", lambda delay, call: None)
    feed = EngineFeed(MarimoHost(), executor)
    feed._reader._samples = ConstantSamples()
    future, other = executor.submit(abs, 1), executor.submit(abs, 2)
    executor.engine.start_task(future)
    engine_report.ask(executor)
    executor.engine.sent.next(EngineStatusRequest)
    executor.engine.tell(EngineStatus(2, 0, (1,), (future.task_id,)))
    executor.engine.finish(other, 1)  # heard behind the status
    other.result(5)

    def samples_sent() -> int | None:
        content = feed.changes()
        return None if content is None else len(content["workers"][0]["cpu"])

    feed._sample()
    assert samples_sent() == 1
    assert samples_sent() is None, "nothing was sampled since"
    feed._sample()
    assert samples_sent() == 1
    executor.engine.tell(EngineStatus(2, 0, (1,), ("",)))
    executor.engine.finish(future, 1)
    future.result(5)
    feed._sample()
    assert samples_sent() == 1
    for _ in range(3):
        feed._sample()
        assert samples_sent() is None, "it is idle, and all is as before"
    executor.pause()
    assert samples_sent() == 3, "the line skips none"
    feed.close()


def test_its_buttons(executor: InMemoryExecutor) -> None:
    feed = EngineFeed(MarimoHost(), executor)
    future = executor.submit(abs, -1)
    assert feed.act({"type": "pause"})
    assert executor.engine.sent.next(ClientPause) == ClientPause(True)
    content = feed.changes()
    assert content is not None
    assert (content["state"], content["answer"]) == (
        "paused",
        "paused: nothing that is queued starts, what runs goes on",
    )
    assert feed.changes() is None, "nothing has changed"
    assert feed.act({"type": "resume"})
    assert executor.engine.sent.next(ClientPause) == ClientPause(False)
    assert not feed.act({"type": "explode"})
    executor.engine.finish(future, 1)
    future.result(5)
    assert feed.act({"type": "stop"})
    assert executor.is_shut_down
    assert feed.snapshot()["state"] == "shut down"
    feed.close()


def test_an_executor_that_nobody_holds_is_not_held_by_its_view() -> None:
    feed = EngineFeed(MarimoHost(), memory_executor())
    assert feed.snapshot()["state"] == "shut down"
    feed.act({"type": "pause"})
    assert feed.snapshot()["answer"] == "nothing holds this executor any more"
    feed.close()


def test_the_end_of_an_executor_that_nobody_holds_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    later, marked, told = list[Any](), list[Any](), list[Any]()

    class StillPublisher:
        """Calls nothing by itself."""

        mark, forget = marked.append, staticmethod(lambda view: None)
        call_later = staticmethod(lambda delay, call: later.append(call))

    executor = memory_executor()
    feed = EngineFeed(MarimoHost(), executor, lambda: told.append("the static form"))
    monkeypatch.setattr(engine_feed, "publisher", StillPublisher)
    with the_publisher._lock:  # its thread sends nothing meanwhile
        feed._heard(feed.widget, {"type": "ready", "view": "one"}, [])
        feed.publish()
        later.pop(0)()  # a sample
        marked.clear()
        told.clear()
        del executor
        gc.collect()
        later.pop(0)()
        assert (marked, told, later) == ([feed], ["the static form"], [])
        content = feed.changes()
        assert content is not None
        assert content["state"] == "shut down"
        feed.publish()
        assert not later, "it is asked no more"
        feed.close()


def test_samples_are_bounded_and_a_process_that_has_ended_has_none() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    samples = ProcessSamples()
    for _ in range(KEPT + 1):
        samples.take([os.getpid(), ended.pid])
    assert len(samples.of(os.getpid())) == KEPT
    assert samples.of(os.getpid())[0].memory > 1e6
    assert samples.of(ended.pid) == []
    samples.take([])
    assert samples.of(os.getpid()) == []


def test_it_asks_while_somebody_looks(executor: InMemoryExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    later: list[Any] = []

    class StillPublisher:
        """Calls nothing by itself."""

        mark = forget = staticmethod(lambda view: None)
        call_later = staticmethod(lambda delay, call: later.append(call))

    monkeypatch.setattr(engine_feed, "publisher", StillPublisher)
    executor.start()
    feed = EngineFeed(MarimoHost(), executor)
    feed.publish()
    assert not later
    feed._heard(feed.widget, {"type": "ready", "view": "one"}, [])
    feed.publish()
    executor.engine.sent.next(EngineStatusRequest)
    (sample,) = later
    sample()
    _, ask = later
    feed._heard(feed.widget, {"type": "left", "view": "one"}, [])
    ask()
    assert len(later) == 2
    assert len(executor.engine.sent.all(EngineStatusRequest)) == 1
    feed.close()
