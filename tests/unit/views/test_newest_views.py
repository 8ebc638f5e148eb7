"""Which views stay live when their tasks have ended."""

from __future__ import annotations

from scaler_notebook.notebook.views.live_display import NewestViews


class View:
    """What is asked of a view."""

    def __init__(self, runs: bool = False, is_left: bool = False) -> None:
        self.runs = runs
        self.is_left = is_left
        self.closed = False

    def close(self) -> None:
        self.closed = True


def closed_of(views: list[View], most: int) -> list[bool]:
    newest = NewestViews()
    for view in views:
        newest.add(view, most)
    return [view.closed for view in views]


def test_what_pages_have_left_is_closed_unless_its_task_runs() -> None:
    views = [View(is_left=True), View(runs=True, is_left=True), View()]
    assert closed_of(views, 10) == [True, False, False]


def test_what_is_closed_anyway_does_not_count() -> None:
    views = [View(), View(), View(), View()]
    newest = NewestViews()
    for view in views[:3]:
        newest.add(view, 3)
    views[1].is_left = True
    newest.add(views[3], 3)
    assert [view.closed for view in views] == [False, True, False, False]


def test_the_oldest_beyond_the_bound_are_closed() -> None:
    views = [View(), View(runs=True), View(), View()]
    assert closed_of(views, 2) == [True, False, False, False]
