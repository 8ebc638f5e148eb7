"""Which ends are worth a word, and what pages are told of them."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from scaler_notebook.notebook.marimo.host import MarimoHost
from scaler_notebook.notebook.settings_store import settings
from scaler_notebook.notebook.views.board.board_row import Kind
from scaler_notebook.notebook.views.notices import display, feed
from scaler_notebook.notebook.views.notices.feed import NoticeFeed
from scaler_notebook.notebook.views.notices.watch import Notice, Watch


class View:
    """A view whose tasks are what a test says; they are those of all views of the same group."""

    def __init__(self, title: str, group: str = "", **counts: int) -> None:
        self.place = f"place of {title}"
        self.title = title
        self.group = group or title
        self.counts: dict[str, int] = counts

    def tally(self) -> tuple[str, Mapping[Kind, int]]:
        return self.title, self.counts  # type: ignore[return-value]  # kinds, as the test names them

    def kinds(self) -> Mapping[str, Kind]:
        kinds = [kind for kind, count in self.counts.items() for _ in range(count)]
        return {f"{self.group} {n}": kind for n, kind in enumerate(kinds)}  # type: ignore[misc]


def test_an_end_is_told_once_and_only_of_what_was_seen_to_run() -> None:
    watch, fits, over, card = (
        Watch(),
        View("fits", running=2, queued=4),
        View("over", done=3),
        View("load()", running=1),
    )
    for view in (fits, over, card):
        watch.add(view)
    found = watch.look(0)
    assert (found.ended, found.running, found.places) == ([], 3, ["place of fits", "place of load()"])
    fits.counts, card.counts = {"done": 4, "failed": 1, "cancelled": 1}, {"failed": 1}
    assert watch.look(0).ended == [
        Notice("fits", "4 done, 1 cancelled, 1 failed", "place of fits"),
        Notice("load()", "failed", "place of load()"),
    ]
    assert watch.look(0).ended == []
    fits.counts = {"done": 5, "running": 1}  # a retry
    watch.look(0)
    fits.counts = {"done": 6}
    assert [notice.words for notice in watch.look(0).ended] == ["6 done"]


def test_tasks_in_two_views_count_once_and_their_end_is_told_once() -> None:
    watch, one, other = Watch(), View("fits", running=2), View("fits again", group="fits", running=2)
    for view in (one, other):
        watch.add(view)
    assert watch.look(0).running == 2
    one.counts = {"done": 2}
    assert watch.look(0).ended == [], "the other view knows it soon"
    other.counts = {"done": 2}
    assert watch.look(0).ended == [Notice("fits", "2 done", "place of fits")]
    assert watch.look(0).ended == []


def test_a_view_that_cannot_be_looked_at_hides_no_other(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(View):
        def tally(self) -> tuple[str, Mapping[Kind, int]]:
            raise ZeroDivisionError

    watch, broken, view = Watch(), Broken("broken", running=1), View("fits", running=1)
    for each in (broken, view):
        watch.add(each)
    assert watch.look(0).running == 1
    assert "ZeroDivisionError" in caplog.text
    assert list(watch._shown) == [view], "it is told once"


def test_a_cell_shows_a_view_while_another_thread_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    watch, view, new = Watch(), View("fits", running=1), View("new", running=1)
    adding = threading.Thread(target=watch.add, args=[new])

    class Shown(weakref.WeakKeyDictionary[Any, float]):
        def items(self) -> Iterator[Any]:  # type: ignore[override]
            for pair in super().items():
                adding.start()
                adding.join(0.1)  # it waits until the list is made
                yield pair

    watch._shown = Shown({view: 0.0})
    assert watch.look(0).running == 1
    adding.join()
    watch._shown = weakref.WeakKeyDictionary(dict(watch._shown))
    assert watch.look(0).running == 2


def test_what_was_shown_for_a_shorter_time_is_not_told() -> None:
    watch, view = Watch(), View("brief", running=1)
    watch.add(view)
    watch.look(60)
    view.counts = {"done": 1}
    assert watch.look(60).ended == []


def test_a_view_that_has_gone_is_watched_no_more() -> None:
    watch = Watch()
    watch.add(View("gone", done=1))
    assert watch.look(0).running == 0
    assert not watch._shown


WATCH = Watch()


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    calls: list[Any] = []

    class StillPublisher:
        """Calls nothing by itself."""

        mark = forget = staticmethod(lambda view: None)
        call_later = staticmethod(lambda delay, call: calls.append(call))

    monkeypatch.setattr(feed, "publisher", StillPublisher)
    monkeypatch.setattr(feed, "watch", WATCH)
    yield calls
    settings.notify, settings.notify_sound = 0.0, False


def test_pages_are_told_while_the_setting_is_on(later: list[Any]) -> None:
    view = View("fits", running=1)
    WATCH.add(view)
    notices = NoticeFeed(MarimoHost())
    notices._heard(notices.widget, {"type": "ready", "view": "a page"}, [])
    notices.publish()
    assert not later, "nobody has asked for notices"
    settings.notify = 1e-9  # seconds: any
    settings.notify_sound = True
    notices.publish()
    later.pop()()
    told = notices.changes()
    assert told is not None
    assert (told["running"], told["sound"], told["ended"]) == (1, True, [])
    assert notices.changes() is None
    view.counts = {"done": 1}
    later.pop()()
    told = notices.changes()
    assert told is not None
    assert told["ended"] == [{"title": "fits", "words": "done", "place": view.place}]
    settings.notify = 0.0
    later.pop()()
    assert not later
    assert not WATCH._open
    told = notices.changes()
    assert told is not None
    assert (told["after"], told["running"]) == (0, 0)
    notices.close()


def test_a_look_that_fails_is_not_the_last(later: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(least: float) -> None:
        raise ZeroDivisionError

    notices = NoticeFeed(MarimoHost())
    notices._heard(notices.widget, {"type": "ready", "view": "a page"}, [])
    settings.notify = 1e-9
    notices.publish()
    with monkeypatch.context() as patched:
        patched.setattr(WATCH, "look", fails)
        with pytest.raises(ZeroDivisionError):
            later.pop()()
    later.pop()()
    assert len(later) == 1
    notices.close()


def test_what_the_setting_means(later: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    display.show()
    settings.notify = 60.0
    display.show()
    assert capsys.readouterr().out.splitlines() == [
        "no notices: %scaler config notify=60 tells the end of what was shown for a minute or longer",
        "the end of what was shown for 60 s or longer is told in this browser",
    ]
    with pytest.raises(ValueError, match="at least 0"):
        settings.notify = -1.0
