"""A list of futures is a board for IPython, and every other list what it was."""

from __future__ import annotations

from typing import Any

from IPython.core.formatters import DisplayFormatter

from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.futures.group import FutureGroup
from scaler_notebook.notebook.views import lists


class Named(list[Any]):
    """A list of the user's own kind."""


def displayed(formatter: DisplayFormatter, value: Any) -> str | None:
    """What IPython shows as text; None if the value has displayed itself."""
    data: dict[str, str] = formatter.format(value)[0]
    return data.get("text/plain")


def test_a_list_of_futures_is_a_board_and_other_lists_are_not() -> None:
    shown: list[FutureGroup[Any]] = []
    formatter = DisplayFormatter()
    lists.register(formatter.ipython_display_formatter, shown.append)
    futures: list[ScalerFuture[Any]] = [ScalerFuture(str(n)) for n in range(3)]
    assert displayed(formatter, futures) is None
    assert [list(group) for group in shown] == [futures]
    others: list[Any] = [[], [1, 2], [*futures, None], [[futures[0]]], Named(futures), tuple(futures)]
    plain = DisplayFormatter()
    assert [displayed(formatter, each) for each in others] == [displayed(plain, each) for each in others]
    assert len(shown) == 1


def test_a_display_of_lists_of_the_users_own_stays() -> None:
    seen: list[Any] = []
    formatter = DisplayFormatter()
    formatter.ipython_display_formatter.for_type(list, seen.append)
    lists.register(formatter.ipython_display_formatter, lambda group: None)
    value: list[ScalerFuture[Any]] = [ScalerFuture("1")]
    assert displayed(formatter, value) is None
    assert seen == [value]
