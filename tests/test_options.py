"""The options of a task, against the real engine: what they do, what races with them, what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
from waits import SAFETY

from scaler_notebook import NotebookExecutor
from scaler_notebook.testing import memory_executor


def gives(*args: Any, **kwargs: Any) -> tuple[Any, ...]:
    return args, kwargs


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
