"""Boards: what their feeds send, replayed, is the true state of the tasks; what their buttons do."""

from __future__ import annotations

import gc
import gzip
import itertools
import json
import logging
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from leaks import our_processes
from waits import SAFETY

from scaler_notebook import FutureGroup, NotebookExecutor, ScalerFuture, TaskState
from scaler_notebook.client.session_log import live_futures
from scaler_notebook.notebook.views import feed, rows
from scaler_notebook.notebook.views.board import display, open_rows, static_html
from scaler_notebook.notebook.views.board import feed as boards
from scaler_notebook.notebook.views.board.board_row import KINDS, BoardRow, read_row
from scaler_notebook.notebook.views.board.feed import BoardFeed
from scaler_notebook.notebook.views.board.table import SessionTable, TaskTable
from scaler_notebook.notebook.views.row import read_progress
from scaler_notebook.protocol.messages import (
    DisplayKind,
    LogStream,
    Payload,
    TaskActivity,
    TaskBrief,
    TaskDisplay,
    TaskLog,
    TaskNested,
    TaskProgress,
)
from scaler_notebook.testing import DetachedFuture, detached_future, memory_executor

COLUMNS = ("call", "kind", "processor", "submitted", "started", "ended", "note", "flags", "tries", "cpu")


class StillPublisher:
    """Publishes when it is told to: what a test does between two messages is the test's choice."""

    def __init__(self) -> None:
        self.marked: dict[Any, None] = {}

    def mark(self, view: Any) -> None:
        self.marked[view] = None

    def forget(self, view: Any) -> None:
        self.marked.pop(view, None)

    def call_later(self, delay: float, call: Callable[[], None]) -> None:
        call()

    def run(self) -> None:
        while self.marked:
            view = next(iter(self.marked))
            del self.marked[view]
            view.publish()


class StillHost:
    """A kernel whose loop runs what is posted when a test says so."""

    takes_whole_modules = False

    def __init__(self) -> None:
        self.our_comms: set[str] = set()
        self.posted: deque[Callable[[], object]] = deque()

    def post(self, call: Callable[[], object]) -> None:
        self.posted.append(call)

    def run(self) -> None:
        while self.posted:
            self.posted.popleft()()


class Page:
    """A front end as board.js is one: what it knows is what it was told."""

    def __init__(self, board: BoardFeed) -> None:
        self.seq: int | None = None
        self.strings: list[str] = []
        self.columns: dict[str, list[Any]] = {}
        self.details: dict[int, Any] = {}
        self.progress: dict[int, tuple[Any, ...]] = {}
        self.nested: dict[int, tuple[Any, ...]] = {}  # call, kind, row of the board, nested row above
        self.omitted: dict[int, int] = {}
        self.answers: list[str] = []
        self.outputs: list[dict[str, Any]] = []
        self.received = 0
        self.lossy = False
        self._board = board
        board.widget.send = self._take

    def say(self, content: Any) -> None:
        self._board._heard(self._board.widget, content, [])

    def _take(self, message: dict[str, Any]) -> None:
        if self.lossy:
            return
        if message["type"] == "output":
            self.outputs.append(message)
            return
        self.received += 1
        whole = message.get("whole", False)
        if not whole and (self.seq is None or message["seq"] != self.seq + 1):
            self.say({"type": "gap"})
            return
        self.seq = message["seq"]
        if whole:
            self.strings, self.columns = [], {name: [] for name in COLUMNS}
            self.epoch = message["epoch"]
        self.strings += message["strings"]
        for name, values in zip(COLUMNS, message["columns"], strict=False):
            column = self.columns[name]
            for i, value in enumerate(values):
                number = i if whole else message["numbers"][i]
                column += [None] * (number + 1 - len(column))
                column[number] = value
        self.progress.update({number: tuple(rest) for number, *rest in message["progress"]})
        self.details.update({detail["number"]: detail for detail in message["details"]})
        if nested := message["nested"]:
            calls, kinds = nested["columns"][:2]
            places = zip(nested["numbers"], calls, kinds, nested["below"], nested["parent"], strict=True)
            self.nested |= {number: (self.strings[call], KINDS[kind], *place) for number, call, kind, *place in places}
            self.omitted.update(nested["omitted"])
        if message["answer"]:
            self.answers.append(message["answer"]["text"])

    def rows(self) -> list[tuple[Any, ...]]:
        """All that it knows, in the terms of :func:`truth`."""
        assert all(len(column) == len(self.columns["kind"]) for column in self.columns.values())
        return [
            (
                self.strings[self.columns["call"][i]],
                KINDS[kind],
                self.strings[self.columns["processor"][i]],
                *(self._seconds(self.columns[name][i]) for name in ("submitted", "started", "ended")),
                self.strings[self.columns["note"][i]],
                bool(self.columns["flags"][i] & 1),
            )
            for i, kind in enumerate(self.columns["kind"])
        ]

    def _seconds(self, milliseconds: int | None) -> float | None:
        return None if milliseconds is None else round(self.epoch + milliseconds / 1000, 2)


def truth(future: ScalerFuture[Any]) -> tuple[Any, ...]:
    """What a board must say of a future."""
    kind: str = future.state.value
    note = future.cancel_reason.value if future.cancel_reason else ""
    if future.state is TaskState.SUBMITTED:
        kind = "queued"
    elif future.state is TaskState.FINISHED:
        kind = "lost" if future.lost else "failed" if future.failed else "done"
        note = " ".join(future.failure.headline.split()) if future.failure else ""
    times = (future.submitted_at, future.started_at, future.ended_at)
    return (
        future.call,
        kind,
        future.processor,
        *(None if at is None else round(at, 2) for at in times),
        note,
        future.refused,
    )


def agree(page: Page, futures: list[Any]) -> None:
    for seen, future in zip(page.rows(), futures, strict=True):
        expected = truth(future)
        times = slice(3, 6)
        assert seen[:3] + seen[6:] == expected[:3] + expected[6:]
        assert [at and pytest.approx(at, abs=0.011) for at in seen[times]] == list(expected[times])


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> StillPublisher:
    publisher = StillPublisher()
    for module in (boards, feed):
        monkeypatch.setattr(module, "publisher", publisher)
    return publisher


@pytest.fixture
def host() -> StillHost:
    return StillHost()


@pytest.fixture
def board(still: StillPublisher, host: StillHost) -> Iterator[Callable[..., tuple[BoardFeed, Page]]]:
    """Makes boards of futures, with a page that looks at them."""
    made: list[BoardFeed] = []

    def make(futures: Any, **options: Any) -> tuple[BoardFeed, Page]:
        table = futures if isinstance(futures, TaskTable) else TaskTable(futures)
        made.append(BoardFeed(host, "the title", table, **options))
        page = Page(made[-1])
        page.say({"type": "ready"})
        still.run()
        return made[-1], page

    yield make
    for each in made:
        each.close()


EVENTS = ["start", "progress", "finish", "fail", "log", "request", "confirm", "refuse", "discard", "die", "lose"]


class Replay(RuleBasedStateMachine):
    """Any order of events, messages, losses and reloads: in the end the page knows the truth."""

    @initialize()
    def open_the_board(self) -> None:
        self.patch = pytest.MonkeyPatch()
        self.publisher, self.host = StillPublisher(), StillHost()
        for module in (boards, feed):
            self.patch.setattr(module, "publisher", self.publisher)
        self.futures: list[DetachedFuture] = []
        self.steps = itertools.count(1.0)
        self.table = TaskTable([])
        self.board = BoardFeed(self.host, "t", self.table)
        self.page = Page(self.board)
        self.page.say({"type": "ready"})

    @rule(call=st.sampled_from(["f()", "g(1)", "fit(X)"]))
    def submit(self, call: str) -> None:
        self.futures.append(detached_future(call))
        self.table.add(self.futures[-1])

    @precondition(lambda self: self.futures)
    @rule(
        data=st.data(),
        event=st.sampled_from(
            ["start", "finish", "fail", "log", "request", "confirm", "refuse", "discard", "die", "lose"]
        ),
    )
    def happen(self, data: st.DataObject, event: str) -> None:
        future = data.draw(st.sampled_from(self.futures))
        actions: dict[str, Callable[[], object]] = {
            "start": future.start,
            "finish": lambda: future.finish(1),
            "fail": lambda: future.fail(ValueError("no\nconvergence")),
            "log": lambda: future.log("text\n"),
            "progress": lambda: future.add_progress(TaskProgress(future.task_id, next(self.steps), -1.0, "step")),
            "request": lambda: future.request_cancel_unfinished(False),
            "confirm": future.confirm,
            "refuse": future.refuse,
            "discard": future.request_cancel,
            "die": future.worker_died,
            "lose": future.lose_engine,
        }
        logging.disable(logging.CRITICAL)  # some orders are not permitted, and the future says so
        try:
            actions[event]()
        finally:
            logging.disable(logging.NOTSET)

    @precondition(lambda self: self.futures)
    @rule(data=st.data(), type=st.sampled_from(["open", "close"]))
    def look(self, data: st.DataObject, type: str) -> None:
        self.page.say({"type": type, "row": data.draw(st.integers(0, len(self.futures) - 1))})

    @rule()
    def send(self) -> None:
        self.publisher.run()

    @rule()
    def lose(self) -> None:
        """A message that never arrives."""
        self.page.lossy = True
        self.publisher.run()
        self.page.lossy = False

    @rule()
    def reload(self) -> None:
        self.page = Page(self.board)
        self.page.say({"type": "ready"})

    @rule()
    def load_the_previews(self) -> None:
        self.host.run()

    @rule()
    def compare(self) -> None:
        """The next message shows what was lost, if anything was."""
        self.submit("compare()")
        self.publisher.run()
        self.host.run()
        self.publisher.run()
        agree(self.page, self.futures)
        for number, future in enumerate(self.futures):
            if future.progress is not None and not future.done():
                done = future.progress.done
                assert self.page.progress[number] == (done, None, f"{done:g}", "", "step")
        for number in self.board._open_rows.numbers():
            shown, future = self.page.details[number], self.futures[number]
            assert shown["row"]["state"] == future.state.value
            assert shown["row"]["output"] == str(future.logs)
            assert shown["row"]["refused"] == future.refused
            assert shown["trace"].startswith(future.task_id)  # what changed nothing may come into it later

    def teardown(self) -> None:
        if hasattr(self, "page"):
            self.compare()
            self.board.close()
            self.patch.undo()


TestReplay = Replay.TestCase


def test_real_tasks_on_real_threads_end_up_as_they_are(still: StillPublisher, host: StillHost) -> None:
    """Submits, results and messages at the same time."""
    with memory_executor(auto=True) as executor:
        table = SessionTable()
        board = BoardFeed(host, "session", table)
        page = Page(board)
        page.say({"type": "ready"})
        futures: list[ScalerFuture[Any]] = []
        submitted = threading.Event()

        def submit() -> None:
            for number in range(400):
                futures.append(executor.submit(divmod, 7, number % 5))
            submitted.set()

        thread = threading.Thread(target=submit)
        thread.start()
        while not submitted.wait(0.001):  # a loop without a wait leaves the other thread a turn every 5 ms
            still.run()
        thread.join()
        assert FutureGroup(futures).wait(SAFETY)
        for future in futures:
            future.request_cancel_unfinished()
        still.run()
        numbers = {future.task_id: number for number, future in enumerate(futures)}
        shown = [table.future(number) for number in range(len(table))]
        ours = [number for number, future in enumerate(shown) if future is not None and future.task_id in numbers]
        rows = page.rows()
        assert [rows[number][1] for number in ours] == ["failed" if n % 5 == 0 else "done" for n in range(400)]
        assert page.received > 1
        board.close()


# ---------------------------------------------------------------- what is sent


def test_a_delta_has_the_changed_rows_alone(board: Any, still: StillPublisher) -> None:
    futures = [detached_future(f"f({n})") for n in range(100)]
    _, page = board(futures)
    agree(page, futures)
    received = page.received
    sent: list[dict[str, Any]] = []
    take = page._board.widget.send
    page._board.widget.send = lambda message: (sent.append(message), take(message))
    futures[7].start()
    futures[70].finish(1)
    still.run()
    assert page.received == received + 1
    assert sent[0]["numbers"] == [7, 70]
    assert len(sent[0]["columns"][0]) == 2
    assert "f(7)" not in sent[0]["strings"], "a string is sent once"
    agree(page, futures)
    futures[7].log("nothing that a row shows\n")
    still.run()
    assert len(sent) == 1


def test_nothing_is_sent_when_nobody_looks_and_all_of_it_when_somebody_does_again(
    board: Any, still: StillPublisher
) -> None:
    futures = [detached_future() for _ in range(3)]
    _, page = board(futures)
    page.say({"type": "ready", "view": "other"})
    page.say({"type": "left", "view": "other"})
    futures[2].start()
    still.run()
    agree(page, futures)
    page.say({"type": "left", "view": ""})
    received = page.received
    futures[0].finish(1)
    still.run()
    assert page.received == received
    page.say({"type": "ready"})
    still.run()
    agree(page, futures)
    page.say({"type": "left", "view": "never there"})
    futures[1].finish(1)
    still.run()
    agree(page, futures)


def test_a_page_that_lacks_the_module_is_sent_it(board: Any, still: StillPublisher) -> None:
    shown, _ = board([detached_future()])
    shown.widget.front_end._sent_at.clear()
    sent: list[bytes] = []
    shown.widget.send = lambda content, buffers: sent.extend(buffers)
    for page in ("a page", "a page", "another page"):
        shown._heard(shown.widget, {"type": "module", "page": page}, [])
    still.run()
    packed, _ = sent  # each page once
    answer = json.loads(gzip.decompress(packed))
    assert answer["script"] == shown.widget.front_end.script
    assert ".scaler-board" in answer["style"]
    assert ".scaler-card" in answer["style"]


def test_a_note_has_no_colours_of_a_terminal() -> None:
    future = detached_future()
    future.start()
    future.fail(ValueError("\x1b[31mno\x1b[0m\nconvergence"))
    assert read_row(future).note == "ValueError: no convergence"


def test_gaps_are_answered_by_one_snapshot_a_second(
    board: Any, still: StillPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, page = board([detached_future()])
    delays: list[float] = []
    monkeypatch.setattr(still, "call_later", lambda delay, call: (delays.append(delay), call()))
    received = page.received
    page.say({"type": "gap"})
    page.say({"type": "gap"})
    still.run()
    assert page.received == received + 1
    assert delays[0] == 0
    assert 0.9 < delays[1] <= 1


def test_a_board_holds_no_future_that_has_ended(board: Any, still: StillPublisher) -> None:
    futures = [detached_future("big()"), detached_future("small()")]
    _, page = board(futures)
    page.say({"type": "open", "row": 1})
    futures[0].finish(list(range(1000)))
    still.run()
    gone = weakref.ref(futures[0])
    del futures[0]
    gc.collect()
    assert gone() is None
    assert [row[1] for row in page.rows()] == ["done", "queued"]
    page.say({"type": "open", "row": 0})
    still.run()
    assert page.details[0]["row"] is None


def test_a_closed_board_watches_nothing(board: Any) -> None:
    future = detached_future()
    feed, page = board([future])
    page.say({"type": "open", "row": 0})
    assert future._watchers
    feed.close()
    assert not future._watchers
    feed.close()


def test_a_widget_that_the_user_closes_ends_its_feed(board: Any, still: StillPublisher) -> None:
    future = detached_future()
    feed, _ = board([future])
    feed.widget.close()
    future.start()
    still.run()
    assert not future._watchers


def test_a_future_that_goes_runs_no_code_of_ours() -> None:
    """Python drops an interrupt that comes within a callback of a weak reference: the stop button would do nothing."""

    class Living:
        task_id = "some task"

    living: Any = Living()
    live_futures.add(living)
    assert living in live_futures.living()
    called: list[str] = []
    sys.setprofile(lambda frame, event, _: called.append(frame.f_code.co_name) if event == "call" else None)
    try:
        del living
    finally:
        sys.setprofile(None)
    assert called == []
    assert not any(isinstance(future, Living) for future in live_futures.living())


def test_the_roster_knows_who_lives_and_tells_of_new_ones_while_somebody_listens() -> None:
    class Ears:
        def __init__(self) -> None:
            self.heard: list[str] = []

        def add(self, future: ScalerFuture[Any]) -> None:
            self.heard.append(future.task_id)

    first, second = Ears(), Ears()
    live_futures.subscribe(first)
    live_futures.subscribe(second)
    with memory_executor() as executor:
        one = executor.submit(abs, -1)
        assert one.task_id in [future.task_id for future in live_futures.living()], "it is on its way already"
        executor.engine.tell()  # nothing, behind what the agent has to do
        live_futures.unsubscribe(first)
        gone = weakref.ref(second)
        del second
        gc.collect()
        assert gone() is None, "who looks must not live on because of it"
        two = executor.submit(abs, -2)
        assert first.heard == [one.task_id]
        ids = [future.task_id for future in live_futures.living()]
        assert [task_id for task_id in ids if task_id in (one.task_id, two.task_id)] == [one.task_id, two.task_id]
        executor.engine.finish(two, 2)
        gone_two, two_id = weakref.ref(two), two.task_id
        del two
        gc.collect()
        assert gone_two() is None
        assert two_id not in [future.task_id for future in live_futures.living()]


# ---------------------------------------------------------------- what is asked


def states(futures: Any) -> list[str]:
    return [future.state.value for future in futures]


def test_cancel_asks_those_that_are_meant_and_says_who_had_ended(board: Any, still: StillPublisher) -> None:
    futures = [detached_future() for _ in range(6)]
    futures[0].finish("kept")
    futures[1].start()
    _, page = board(futures)
    page.say({"type": "cancel", "rows": [0, 1, 2, 2], "force": False})
    still.run()
    assert states(futures[:4]) == ["finished", "cancelling", "cancelling", "submitted"]
    assert futures[0].result(0) == "kept"
    assert page.answers == ["2 tasks asked to stop; 1 had already ended"]
    assert [request.force for request in futures[2].requests] == [False]
    futures[1].refuse()
    page.say({"type": "cancel", "rows": [1], "force": True})
    still.run()
    assert (futures[1].requests[-1].force, futures[1].requests[-1].grace) == (True, 0.0), "it had its grace period"
    assert page.answers[-1] == "1 task to be killed"
    page.say({"type": "cancel", "rows": "all", "force": False})
    still.run()
    assert states(futures[3:]) == ["cancelling"] * 3
    for future in futures[1:]:
        future.confirm()
    page.say({"type": "cancel", "rows": [0, 5], "force": False})
    still.run()
    assert page.answers[-1] == "2 had already ended"
    page.say({"type": "cancel", "rows": "all", "force": False})
    still.run()
    assert page.answers[-1] == "0 tasks asked to stop"
    assert len(page.answers) == 5, "an answer is given once"
    agree(page, futures)


def test_a_future_that_comes_twice_has_one_row(board: Any, still: StillPublisher) -> None:
    future = detached_future()
    feed, page = board([future])
    feed._table.add(future)
    feed._table.add(future)
    still.run()
    assert len(page.rows()) == 1
    assert len(future._watchers) == 1


def test_a_click_on_all_means_those_that_came_since_the_last_message_too(board: Any) -> None:
    futures = [detached_future()]
    feed, page = board(futures)
    futures.append(detached_future())
    feed._table.add(futures[1])
    page.say({"type": "cancel", "rows": "all", "force": False})
    assert states(futures) == ["cancelling", "cancelling"]


JUNK: list[Any] = [
    None,
    7,
    "cancel",
    [],
    {},
    {"type": "cancel"},
    {"type": "cancel", "rows": [0]},
    {"type": "cancel", "rows": [0], "force": 1},
    {"type": "cancel", "rows": [], "force": False},
    {"type": "cancel", "rows": [0, 99], "force": False},
    {"type": "cancel", "rows": [-1], "force": False},
    {"type": "cancel", "rows": [True], "force": False},
    {"type": "cancel", "rows": ["0"], "force": False},
    {"type": "cancel", "rows": 0, "force": False},
    {"type": "cancel", "rows": {"0": 0}, "force": False},
    {"type": "cancel", "rows": "every", "force": False},
    {"type": "retry", "rows": [99]},
    {"type": "retry"},
    {"type": "open", "row": 99},
    {"type": "open", "row": True},
    {"type": "open", "row": "0"},
    {"type": "close", "row": -1},
    {"type": "rows"},
    {"type": ["cancel"]},
]


def test_junk_does_nothing_and_is_logged_once(
    board: Any, still: StillPublisher, caplog: pytest.LogCaptureFixture
) -> None:
    futures = [detached_future(), detached_future()]
    _, page = board(futures)
    received = page.received
    for content in JUNK:
        page.say(content)
    still.run()
    assert states(futures) == ["submitted", "submitted"]
    assert page.received == received
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_only_a_few_rows_are_open_at_a_time(board: Any, still: StillPublisher) -> None:
    futures = [detached_future() for _ in range(10)]
    _, page = board(futures)
    for number in range(10):
        page.say({"type": "open", "row": number})
    still.run()
    page.details.clear()
    for future in futures:
        future.log("more\n")
    still.run()
    assert len(page.details) == open_rows.MAX_OPEN
    page.say({"type": "close", "row": 9})
    page.details.clear()
    futures[9].log("more\n")
    still.run()
    assert not page.details
    assert len(futures[0]._watchers) == 1


def joined(name: str) -> None:
    for thread in threading.enumerate():
        if thread.name == name:
            thread.join(SAFETY)


def test_a_retry_is_another_try_of_the_same_row_and_takes_its_place_in_the_group(
    board: Any, still: StillPublisher
) -> None:
    with memory_executor() as executor:
        group = executor.map_async(abs, [-1, -2, -3])
        table = TaskTable(group)
        _, page = board(table, group=group)
        page.say({"type": "open", "row": 0})
        failed = list(group[:2])
        for future in failed:
            executor.engine.fail(future, ValueError("flaky"))
        still.run()
        page.say({"type": "retry", "rows": [0, 2]})  # the other one runs
        joined("scaler_notebook retry")
        still.run()
        assert page.answers == ["1 task submitted again"]
        assert [row[1] for row in page.rows()] == ["queued", "failed", "queued"]
        assert page.columns["tries"] == [2, 1, 1]
        assert page.details[0]["row"]["task_id"] == group[0].task_id
        assert group[0] not in failed
        assert group[1] in failed
        failed[0].add_log(TaskLog(failed[0].task_id, LogStream.STDOUT, "late"))
        still.run()
        assert page.rows()[0][1] == "queued"
        page.say({"type": "retry", "rows": "all"})
        page.say({"type": "retry", "rows": "all"})
        joined("scaler_notebook retry")
        still.run()
        assert page.answers[-1] == "0 tasks submitted again", "what was submitted again is so once"
        for future, value in zip(group, [1, 2, 3], strict=True):
            executor.engine.finish(future, value)
        assert group.results(SAFETY) == [1, 2, 3]


def test_what_is_being_stopped_is_submitted_again_when_it_has_stopped(board: Any, still: StillPublisher) -> None:
    with memory_executor() as executor:
        group = executor.map_async(abs, [-1, -2, -3])
        _, page = board(group, group=group)
        for future in group[1:]:
            executor.engine.start_task(future)
        page.say({"type": "cancel", "rows": "all", "force": False})
        executor.engine.confirm(group[0])
        still.run()
        page.say({"type": "retry", "rows": [0, 1, 2]})
        joined("scaler_notebook retry")
        still.run()
        assert page.answers[-1] == "1 task submitted again; 2 tasks will be, once stopped"
        assert [row[1] for row in page.rows()] == ["queued", "cancelling", "cancelling"]
        executor.engine.confirm(group[1])
        executor.engine.refuse(group[2])
        still.run()
        joined("scaler_notebook retry")
        still.run()
        assert [row[1] for row in page.rows()] == ["queued", "queued", "running"]
        assert page.columns["tries"] == [2, 2, 1]


def test_every_board_follows_a_retry_by_code_and_what_runs_keeps_its_row(still: StillPublisher, board: Any) -> None:
    with memory_executor() as executor:
        future = executor.submit(abs, -1)
        executor.engine.fail(future, ValueError("flaky"))
        _, of_group = board([future])
        _, of_session = board(SessionTable())
        others = len(of_session.rows()) - 1
        first = future.retry()
        executor.engine.tell()  # nothing, behind what the agent has to do
        still.run()
        assert [row[1] for row in of_group.rows()] == ["queued"]
        assert len(of_session.rows()) == others + 1
        executor.engine.start_task(first)
        second = future.retry()
        executor.engine.tell()
        still.run()
        assert [row[1] for row in of_group.rows()] == ["running", "queued"]
        assert of_group.columns["tries"] == [2, 1]
        assert len(of_session.rows()) == others + 2
        for each in (first, second):
            executor.engine.finish(each, 1)
        still.run()
        assert [row[1] for row in of_group.rows()] == ["done", "done"]


def test_a_retry_that_cannot_be_says_why(board: Any, still: StillPublisher) -> None:
    with memory_executor() as executor:
        future = executor.submit(abs, -1)
        executor.engine.fail(future, ValueError("flaky"))
    _, page = board([future])
    page.say({"type": "retry", "rows": "all"})
    joined("scaler_notebook retry")
    still.run()
    assert page.answers[0].startswith("0 tasks submitted again; the executor is shut down")


# ---------------------------------------------------------------- its static forms


def test_the_card_of_an_open_row_has_all_lines_on_demand(board: Any, still: StillPublisher) -> None:
    future = detached_future("chatty()")
    _, page = board([future])
    future.log("one\ntwo\n" * 10_000)
    question = {"type": "output", "view": "mine", "rewrites": 0}
    for row, start in ((0, 0), (0, 79_996), (1, 0), ("0", 0)):
        page.say({**question, "row": row, "question": start + 7, "from": start})
    answers = [(len(each["text"]), each["from"], each["view"], each["question"]) for each in page.outputs]
    assert answers == [(80_000, 0, "mine", 7), (4, 79_996, "mine", 80_003)]


def test_what_a_task_has_cleared_is_no_begin_of_what_it_writes_later(board: Any, still: StillPublisher) -> None:
    future = detached_future("redraws()")
    _, page = board([future])
    future.log("epoch 1")
    future._deliver(TaskDisplay(future.task_id, Payload(b""), Payload(b""), DisplayKind.CLEAR))
    future.log("epoch 2, and more")
    for rewrites in (0, 1):
        question = {"type": "output", "view": "mine", "question": 1, "from": 7, "rewrites": rewrites}
        page.say({**question, "row": 0})
    assert [(each["text"], each["from"], each["rewrites"]) for each in page.outputs] == [
        ("epoch 2, and more", 0, 1),
        (", and more", 7, 1),
    ]


def brief(name: str, parent: str, activity: TaskActivity, submitted: float = 1.0) -> TaskBrief:
    ended = 3.0 if activity in (TaskActivity.DONE, TaskActivity.FAILED, TaskActivity.CANCELLED) else 0.0
    return TaskBrief(name, f"{name}()", activity, submitted, 2.0, 7, parent, ended)


def test_what_a_task_has_submitted_has_rows_below_its_own(board: Any, still: StillPublisher) -> None:
    """They come in any order, go on after its end, and count as no tasks of the board's."""
    running, done = TaskActivity.RUNNING, TaskActivity.DONE
    alone, future = detached_future("alone()"), detached_future("top()")
    table = TaskTable([alone, future])
    _, page = board(table)
    below = (brief("inner", "a", running, 2.0), brief("a", future.task_id, done), brief("x", "unheard of", running))
    future._deliver(TaskNested(future.task_id, below))
    still.run()
    assert page.nested == {0: ("a()", "done", 1, None), 1: ("inner()", "running", 1, 0)}
    assert table.counts() == {"queued": 2}
    future.finish(1)
    still.run()
    future._deliver(TaskNested(future.task_id, (brief("inner", "a", TaskActivity.FAILED, 2.0),), 40))
    still.run()
    assert page.nested[1] == ("inner()", "failed", 1, 0)
    assert page.omitted == {1: 40}
    page.seq = None
    page.nested = {}
    alone.start()
    still.run()
    assert len(page.nested) == 2, "a snapshot has them"
    page.say({"type": "cancel", "rows": "all", "force": False})
    still.run()
    assert page.answers == ["1 task asked to stop"]


def test_what_is_below_a_task_is_lost_with_its_engine(board: Any, still: StillPublisher) -> None:
    future = detached_future("top()")
    _, page = board([future])
    below = brief("a", future.task_id, TaskActivity.RUNNING), brief("b", future.task_id, TaskActivity.DONE)
    future._deliver(TaskNested(future.task_id, below))
    future.lose_engine()
    still.run()
    assert [row[:2] for row in page.nested.values()] == [("a()", "lost"), ("b()", "done")]


def test_a_card_shows_those_below_its_task_that_matter_most() -> None:
    future = detached_future("top()")
    below = [brief(f"d{n}", future.task_id, TaskActivity.DONE, 10.0 + n) for n in range(30)]
    below += [brief("inner", "outer", TaskActivity.FAILED, 2.0), brief("outer", future.task_id, TaskActivity.DONE)]
    future._deliver(TaskNested(future.task_id, tuple(below), 5))
    shown = rows.row(future)
    assert shown["nested_words"] == "37 tasks that it has submitted: 1 failed, 31 done, 5 more"
    future._deliver(TaskNested(future.task_id, (), 5000))
    words = "5\u2009032 tasks that it has submitted: 1 failed, 31 done, 5\u2009000 more"
    assert rows.row(future)["nested_words"] == words
    assert len(shown["nested"]) == 20
    future._deliver(
        TaskNested(future.task_id, tuple(replace(each, activity=TaskActivity.QUEUED) for each in below[:18]))
    )
    assert [(each["call"], each["depth"]) for each in rows.row(future)["nested"]][:2] == [("inner()", 1), ("d0()", 0)]


def board_row(kind: str = "running", **changes: Any) -> BoardRow:
    row = BoardRow("fit(1)", KINDS.index(kind), "77", 100.0, 101.0, None, "", False)
    return row._replace(**changes)


def test_the_static_forms_say_what_counts() -> None:
    rows = [board_row("done", call=f"fit({n})", ended=103.0) for n in range(20)]
    rows.append(board_row("failed", call="fit(<b>)", ended=103.0, note="ValueError: <i>"))
    rows.append(board_row("queued", call="fit(99)", started=None))
    counts: Any = {"queued": 1, "done": 20, "failed": 1}
    lines = static_html.text("fit × 22", counts, rows, now=104.0).splitlines()
    assert lines[0] == "fit × 22: 20 done · 1 failed · 1 queued"
    assert lines[1] == "  failed  2.0 s  fit(<b>)  ValueError: <i>"
    assert lines[2] == "  queued  fit(99)"
    assert lines[-1] == "  … 14 more"
    page = static_html.html("fit <22>", counts, rows, remark="say <this>", now=104.0)
    assert "fit &lt;22&gt;" in page
    assert "fit(&lt;b&gt;)" in page
    assert "ValueError: &lt;i&gt;" in page
    assert "14 more; as of" in page
    assert "say &lt;this&gt;" in page
    assert "<b>)" not in page
    assert "as of" not in static_html.html("t", {"done": 1}, rows[:1])
    assert static_html.text("t", {}, []) == "t: no tasks"
    assert "no tasks" in static_html.html("t", {}, [])
    assert display.title_of(FutureGroup([])) == "an empty group"
    assert display.title_of(FutureGroup([], "f × 0")) == "f × 0, an empty group"


def test_the_static_forms_count_errors_that_say_the_same() -> None:
    notes = ["ValueError: no <data>"] * 3 + ["KeyError: 1", "KeyError: 22", "OSError: once"]
    rows = [board_row("failed", note=note, ended=103.0) for note in notes]
    counted = ["ValueError: no <data> × 3", "KeyError: … × 2"]
    assert static_html.text("t", {"failed": 6}, rows).splitlines()[1:3] == [f"  {each}" for each in counted]
    page = static_html.html("t", {"failed": 6}, rows)
    assert "ValueError: no &lt;data&gt; × 3" in page
    assert "once ×" not in page


GISTS = json.loads((Path(__file__).parents[2] / "support" / "notebooks" / "error_gists.json").read_text("utf-8"))


@pytest.mark.parametrize("case", GISTS, ids=[case["name"] for case in GISTS])
def test_errors_that_say_the_same_have_one_gist(case: dict[str, Any]) -> None:
    """board_errors.test.js has the live board read the same table."""
    assert {static_html.gist_of(error) for error in case["errors"]} == {case["gist"]}


def test_the_static_forms_say_how_far_a_task_is() -> None:
    progress = read_progress(TaskProgress("a1-1", 340.0, 1000.0, "loss=0.3", 12.1), over=False)
    rows = [board_row(progress=progress), board_row("done", progress=progress, ended=103.0)]
    words = "34 % · 340 of 1\u2009000 · 12.1 it/s · about 55 s left · loss=0.3"
    for form in (static_html.text("t", {"running": 1, "done": 1}, rows), static_html.html("t", {}, rows)):
        assert form.count(words) == 1


def test_without_a_kernel_there_is_text_and_no_widget(capsys: pytest.CaptureFixture[str]) -> None:
    group = FutureGroup([detached_future("f(1)")])
    display.show(group)
    assert capsys.readouterr().out == "1 task: 1 queued\n  queued  f(1)\n"
    assert not group[0]._watchers
    for shown in (group, group[0]):
        with pytest.raises(RuntimeError, match="Jupyter kernel"):
            shown.widget()


def test_the_process_of_a_task_that_is_over_before_it_is_announced_is_known(executor: NotebookExecutor) -> None:
    quick = executor.map_async(abs, range(50))
    quick.results(SAFETY)
    pids = our_processes()
    assert {int(future.processor) for future in quick} <= pids
    slow = executor.submit(pow, 2, 3)
    slow.result(SAFETY)
    assert int(slow.processor) in pids
    assert read_row(slow).cpu == slow.profiling_info().cpu_time_s is not None
