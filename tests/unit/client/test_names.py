"""Names are completed where notebooks complete them: by jedi."""

from __future__ import annotations

from typing import Any

import jedi
import pytest

from scaler_notebook import FutureGroup, NotebookExecutor
from scaler_notebook.testing import detached_future


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (NotebookExecutor(n_workers=1), {"submit", "map", "grace", "on_interrupt"}),
        (detached_future(), {"result", "cancel", "logs", "cancel_reason"}),
        (FutureGroup([detached_future()]), {"results", "cancel", "name"}),
    ],
    ids=["an executor", "a future", "a group"],
)
def test_tab_lists_what_it_has(value: Any, names: set[str]) -> None:
    listed = {each.name for each in jedi.Interpreter("value.", [{"value": value}]).complete()}
    assert names <= listed
