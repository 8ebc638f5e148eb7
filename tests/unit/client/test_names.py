"""Names are completed where notebooks complete them: by jedi."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jedi
import pytest

from scaler_notebook import FutureGroup, NotebookExecutor
from scaler_notebook.testing import detached_future


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: NotebookExecutor(n_workers=1), {"submit", "map", "grace", "on_interrupt"}),
        (detached_future, {"result", "cancel", "logs", "cancel_reason"}),
        (lambda: FutureGroup([detached_future()]), {"results", "cancel", "name"}),
    ],
    ids=["an executor", "a future", "a group"],
)
def test_tab_lists_what_it_has(make: Callable[[], Any], names: set[str]) -> None:
    value = make()
    listed = {each.name for each in jedi.Interpreter("value.", [{"value": value}]).complete()}
    assert names <= listed
    if isinstance(value, NotebookExecutor):
        value.shutdown()  # a completion may hold it for longer
