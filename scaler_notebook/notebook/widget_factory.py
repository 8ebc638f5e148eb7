"""The widgets that ``widget()`` of a future and of a group returns, and those of marimo: views without a display."""

from typing import Any

from scaler_notebook.client.engine_client import EngineClient
from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.futures.group import FutureGroup
from scaler_notebook.client.task_state.observed_task import ObservedTask

from .views.board import display
from .views.board.feed import BoardFeed
from .views.board.table import TaskTable
from .views.card.feed import CardFeed
from .views.engine.feed import EngineFeed
from .views.feed import ViewHost, ViewWidget


def make_widget(shown: ObservedTask | FutureGroup[Any] | EngineClient, host: ViewHost) -> ViewWidget:
    """Create a widget that shows a future, a group or an executor until the widget is closed.

    Parameters
    ----------
    shown
        The future, the group or the executor.
    host
        The host of the kernel.
    """
    if isinstance(shown, FutureGroup):
        return BoardFeed(host, display.title_of(shown), TaskTable(shown), shown).widget
    if isinstance(shown, EngineClient):
        return EngineFeed(host, shown).widget
    assert isinstance(shown, ScalerFuture)
    return CardFeed(shown, host, alone=True).widget
