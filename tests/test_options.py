"""The options of a task, against the real engine: what they do, what races with them, what they refuse."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from waits import SAFETY, until_running

from scaler_notebook import NotebookExecutor, wait
from scaler_notebook.protocol.messages import TaskOptions
from scaler_notebook.testing import memory_executor


def gives(*args: Any, **kwargs: Any) -> tuple[Any, ...]:
    return args, kwargs


def append(path: Path, line: str) -> None:
    with open(path, "a") as file:
        file.write(line + "\n")


# ---------------------------------------------------------------------- the call


def test_the_arguments_are_those_of_the_call(executor: NotebookExecutor) -> None:
    assert executor.submit_verbose(gives, (1, "two"), {"three": 3}).result(SAFETY) == ((1, "two"), {"three": 3})
    assert executor.submit_verbose(gives, [1, 2]).result(SAFETY) == ((1, 2), {})
    assert executor.submit_verbose(gives).result(SAFETY) == ((), {})


BAD_CALLS: dict[str, tuple[tuple[Any, ...], dict[str, Any], type[Exception], str]] = {
    "no function": ((3,), {}, TypeError, r"fn is a function.*not 3 \(a int\)"),
    "text for arguments": ((gives, "ab"), {}, TypeError, "args is a tuple or a list.*not 'ab'"),
    "one argument": ((gives, 7), {}, TypeError, "args is a tuple or a list.*not 7"),
    "keywords as pairs": ((gives, (), [("a", 1)]), {}, TypeError, "kwargs is a dictionary.*not a list"),
    "numbers for names": ((gives, (), {1: 1}), {}, TypeError, "kwargs is a dictionary.*not a dict"),
    "an option that there is not": ((gives,), {"nam": "x"}, TypeError, "unexpected keyword argument 'nam'"),
    "a number for a name": ((gives,), {"name": 5}, TypeError, r"name is a text, not 5 \(a int\)"),
    "an empty name": ((gives,), {"name": " \n"}, ValueError, "name is a text with something in it"),
    "a priority in words": ((gives,), {"priority": "high"}, TypeError, r"priority is an integer, not 'high'"),
    "a fraction": ((gives,), {"priority": 1.5}, TypeError, "priority is an integer, not 1.5"),
    "a truth": ((gives,), {"priority": True}, TypeError, "priority is an integer, not True"),
    "a priority that no message holds": ((gives,), {"priority": 2**63}, ValueError, "priority is between"),
}


@pytest.mark.parametrize("case", BAD_CALLS)
def test_what_is_wrong_is_said_at_the_call_and_nothing_is_submitted(case: str) -> None:
    args, options, error, words = BAD_CALLS[case]
    with memory_executor() as executor:
        with pytest.raises(error, match=words):
            executor.submit_verbose(*args, **options)
        assert executor.unfinished() == []


# ---------------------------------------------------------------------- name


def test_a_name_stands_wherever_the_call_would(executor: NotebookExecutor) -> None:
    future = executor.submit_verbose(divmod, (1, 0), name="model  7,\n  fold 3")
    assert future.call == "model 7, fold 3"
    assert "model 7, fold 3" in repr(future)
    assert isinstance(future.exception(SAFETY), ZeroDivisionError)
    assert future.retry().call == "model 7, fold 3"
    assert executor.submit_verbose(divmod, (1, 0)).call == "divmod(1, 0)"


def test_a_name_is_fit_for_browsers() -> None:
    with memory_executor() as executor:
        assert executor.submit_verbose(gives, name="a\udc80").call == "a\\udc80"
        assert executor.submit_verbose(gives, name="x" * 500).call == "x" * 199 + "…"


# ---------------------------------------------------------------------- priority


def test_the_highest_priority_runs_first_and_equal_ones_in_order(tmp_path: Path) -> None:
    with NotebookExecutor(n_workers=1) as executor:
        blocker = executor.submit(time.sleep, 60)
        until_running(blocker)
        order = {"normal": 0, "low": -5, "high": 7, "also normal": 0, "also high": np.int64(7), "highest": 2**63 - 1}
        tasks = [executor.submit_verbose(append, (tmp_path / "order", n), priority=p) for n, p in order.items()]
        tasks.append(executor.submit(append, tmp_path / "order", "plain"))
        assert blocker.cancel(SAFETY)
        assert wait(tasks, SAFETY).not_done == set()
        lines = (tmp_path / "order").read_text().splitlines()
        assert lines == ["highest", "high", "also high", "normal", "also normal", "plain", "low"]


def test_a_task_tried_again_keeps_its_options(executor: NotebookExecutor) -> None:
    future = executor.submit_verbose(gives, priority=3)
    again = future.retry()
    assert again.task is not None
    assert again.task.options == TaskOptions("gives()", 3)
