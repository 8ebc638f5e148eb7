"""What a front end that draws widgets itself is sent with them."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any, cast

import pytest

from scaler_notebook.notebook.views.board.display import Board
from scaler_notebook.notebook.views.board.table import TaskTable
from scaler_notebook.notebook.views.live_display import WIDGET_VIEW
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
