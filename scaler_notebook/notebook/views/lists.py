"""A list of futures, as a cell's last value: a board. Every other list is displayed as before."""

from collections.abc import Callable
from typing import Any

from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.futures.group import FutureGroup


def register(formatter: Any, show_group: Callable[[FutureGroup[Any]], None]) -> None:
    """Have lists of futures displayed, unless the user displays lists in a way of their own.

    Parameters
    ----------
    formatter
        IPython's formatter for objects that display themselves.
    show_group
        Displays a group.
    """

    def show(value: list[Any]) -> None:
        """Display a list of futures; for any other, raise what has IPython go on as if nobody had been registered."""
        if type(value) is not list or not value or not all(isinstance(each, ScalerFuture) for each in value):
            raise NotImplementedError
        show_group(FutureGroup(value))

    if list not in formatter.type_printers:
        formatter.for_type(list, show)
