"""The view of an executor: what it shows of engine, groups and processes, and what its buttons do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from scaler_notebook.client import engine_report
from scaler_notebook.client.waiting.host import PlainHost, current_host, install_host
from scaler_notebook.notebook.marimo.host import MarimoHost
from scaler_notebook.notebook.views.engine import feed as engine_feed
from scaler_notebook.notebook.views.engine import static_html
from scaler_notebook.notebook.views.engine.contents import ContentsReader
from scaler_notebook.notebook.views.engine.feed import EngineFeed
from scaler_notebook.notebook.views.engine.samples import KEPT, ProcessSamples
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
