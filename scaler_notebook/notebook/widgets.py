"""``widget()`` of a future and of a group: the views without a display of their own."""

from typing import Any

from ..client.future import ScalerFuture
from ..client.group import FutureGroup
from ..client.lifecycle import TaskLifecycle
from . import board_display
from .board_rows import TaskTable
from .boards import BoardFeed
from .bridge import KernelHost
from .cards import CardFeed
from .feed import ViewWidget


def of(shown: TaskLifecycle | FutureGroup[Any], host: KernelHost) -> ViewWidget:
    """The widget of a feed that lives until the widget is closed."""
    if isinstance(shown, FutureGroup):
        return BoardFeed(host, board_display.title_of(shown), TaskTable(shown), shown).widget
    assert isinstance(shown, ScalerFuture)
    return CardFeed(shown, host).widget
