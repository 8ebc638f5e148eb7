"""The widgets that ``widget()`` of a future and of a group returns: views without a display of their own."""

from typing import Any

from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.futures.group import FutureGroup
from scaler_notebook.client.task_state.observed_task import ObservedTask

from .views.board import display
from .views.board.feed import BoardFeed
from .views.board.table import TaskTable
from .views.card.feed import CardFeed
from .views.feed import ViewHost, ViewWidget


def make_widget(shown: ObservedTask | FutureGroup[Any], host: ViewHost) -> ViewWidget:
    """Create a widget that shows a future or a group until the widget is closed.

    Parameters
    ----------
    shown
        The future or the group.
    host
        The host of the kernel.
    """
    if isinstance(shown, FutureGroup):
        return BoardFeed(host, display.title_of(shown), TaskTable(shown), shown).widget
    assert isinstance(shown, ScalerFuture)
    return CardFeed(shown, host).widget
