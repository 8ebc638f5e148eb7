"""What a front end that draws widgets itself is sent with them, and what every output says when its cell ends."""

from __future__ import annotations

import sys
import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest

from scaler_notebook.notebook.marimo.host import MarimoHost
from scaler_notebook.notebook.views.board import display
from scaler_notebook.notebook.views.board.display import Board, GroupBoard
from scaler_notebook.notebook.views.board.table import TaskTable
from scaler_notebook.notebook.views.card.feed import CardFeed
from scaler_notebook.notebook.views.live_display import WIDGET_VIEW, cell_ends
from scaler_notebook.notebook.views.notices.watch import Watch
from scaler_notebook.notebook.views.publisher import publisher as the_publisher
from scaler_notebook.testing import detached_future


def test_colab_is_told_which_widget_manager_draws_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    output = SimpleNamespace(
        enable_custom_widget_manager=lambda: None, _widgets=SimpleNamespace(_installed_url="https://the-manager")
    )
    for name, module in (("google.colab", object()), ("google.colab.output", output)):
        monkeypatch.setitem(sys.modules, name, cast(Any, module))
    sent: list[dict[str, Any]] = []
    publisher = SimpleNamespace(publish=lambda **message: sent.append(message))
    shell = SimpleNamespace(display_pub=publisher)
    host = SimpleNamespace(shell=shell, display_pub=publisher, our_comms=set(), takes_whole_modules=False)
    board = Board(cast(Any, host), "some tasks", TaskTable([detached_future()]))
    for update in (False, True):
        board.send(board._feed.widget, update=update)
    board._feed.close()
    for message in sent:
        assert message["data"][WIDGET_VIEW]["model_id"]
        assert message["metadata"][WIDGET_VIEW]["colab"]["custom_widget_manager"]["url"] == "https://the-manager"


def test_a_board_says_what_its_tasks_did_last_before_the_cell_ends() -> None:
    sent: list[dict[str, Any]] = []
    publisher = SimpleNamespace(publish=lambda **message: sent.append(message))
    # The front end makes a model for a widget that is not in an output.
    parent: dict[str, Any] = {"metadata": {"deletedCells": []}}
    shell = SimpleNamespace(display_pub=publisher, get_parent=lambda: parent)
    host = SimpleNamespace(shell=shell, display_pub=publisher, our_comms=set(), takes_whole_modules=False)
    future = detached_future()
    board = Board(cast(Any, host), "some tasks", TaskTable([future]))
    board.send(board._feed.widget, update=False)
    with the_publisher._lock:  # its thread can take in nothing until the end of the cell waits for it
        future.start()
        cell_ends(None)
    board._feed.close()
    assert "1 running" in sent[-1]["data"]["text/html"]


def test_a_front_end_that_was_slow_once_is_waited_for_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    publisher = SimpleNamespace(publish=lambda **message: None)
    waits: list[float] = []
    host = SimpleNamespace(
        shell=SimpleNamespace(display_pub=publisher),
        display_pub=publisher,
        our_comms=set(),
        takes_whole_modules=False,
        wait=lambda signal, patience: waits.append(patience),  # in vain
    )
    monkeypatch.setattr(GroupBoard, "awaited_from", 0.0)
    board = GroupBoard("fits", [detached_future()], cast(Any, host))
    for _ in range(2):
        board.wait_until_drawn()
    assert len(waits) == 1, "not again within a minute"
    monkeypatch.setattr(GroupBoard, "awaited_from", 0.0)
    monkeypatch.setattr(display, "DRAW_PAUSE", 0.0)
    for _ in range(2):
        board.wait_until_drawn()
    assert len(waits) == 3
    board._board._feed.close()


def test_what_a_message_could_not_tell_comes_with_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    feed = CardFeed(detached_future(), MarimoHost())
    sent: list[Any] = []
    monkeypatch.setattr(feed.widget, "send", sent.append)
    with the_publisher._lock:  # its thread sends nothing meanwhile
        feed._heard(feed.widget, {"type": "ready", "view": "one"}, [])
        with monkeypatch.context() as patched:
            patched.setattr(feed, "snapshot", lambda: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                feed.publish()
        monkeypatch.setattr(feed, "changes", lambda: None)
        feed.publish()
    assert [message["type"] for message in sent] == ["row"]
    feed.close()


def test_a_card_that_lets_go_shows_the_task_that_is_submitted_again_just_then(monkeypatch: pytest.MonkeyPatch) -> None:
    ended, again = detached_future(), detached_future()
    ended.start()
    ended.fail(ValueError())
    feed = CardFeed(ended, MarimoHost())
    feed._heard(feed.widget, {"type": "ready", "view": "one"}, [])
    retry, snapshot = threading.Thread(target=feed._show, args=[again]), feed.snapshot

    def snapshot_meanwhile() -> Any:
        monkeypatch.undo()
        retry.start()
        retry.join(0.1)  # it waits until the card has let go
        return snapshot()

    monkeypatch.setattr(feed, "snapshot", snapshot_meanwhile)
    feed.retire()
    retry.join()
    assert feed.runs
    feed.close()


def test_a_board_that_is_closed_before_its_tasks_end_is_watched_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    publisher = SimpleNamespace(publish=lambda **message: None)
    shell = SimpleNamespace(display_pub=publisher)
    host = SimpleNamespace(shell=shell, display_pub=publisher, our_comms=set(), takes_whole_modules=False)
    monkeypatch.setattr(display, "watch", watch := Watch())
    future = detached_future()
    future.start()
    board = Board(cast(Any, host), "some tasks", TaskTable([future]))
    board.show()
    assert watch.look(0).running == 1
    board.close()
    assert watch.look(0).running == 0
