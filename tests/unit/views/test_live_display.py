"""What a front end that draws widgets itself is sent with them, and what every output says when its cell ends."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any, cast

import pytest

from scaler_notebook.notebook.views.board.display import Board
from scaler_notebook.notebook.views.board.table import TaskTable
from scaler_notebook.notebook.views.live_display import WIDGET_VIEW, cell_ends
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
