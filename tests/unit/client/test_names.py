"""Names for users: those that ``dir`` lists of a future exist, and are completed by jedi, as in notebooks."""

from __future__ import annotations

import concurrent.futures
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jedi
import pytest

from scaler_notebook import FutureGroup, ItemStream, NotebookExecutor, ScalerFuture
from scaler_notebook.client.names import OFFERED
from scaler_notebook.testing import detached_future

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "futures.md"
INTERNAL = {"set_result", "set_exception", "set_running_or_notify_cancel"}  # an executor's business alone


@pytest.mark.parametrize("kind", [ScalerFuture, ItemStream])
def test_dir_lists_what_users_call_of_a_future_and_nothing_else(kind: type[ScalerFuture[Any]]) -> None:
    future = kind("1", "f()", None)
    own = [name for name in dir(future) if not name.startswith("_")]
    assert own == sorted(OFFERED), "and so none of these is private"
    for name in own:
        inspect.getattr_static(future, name)  # raises if there is none
    assert {*own} <= {*re.findall(r"\w+", PAGE.read_text(encoding="utf-8"))}
    assert {name for name in vars(concurrent.futures.Future) if not name.startswith("_")} - {*own} == INTERNAL


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
