"""Hints about misspelt names, and capabilities as people type them."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from scaler_notebook.client.submission.capability_argument import parse_capability
from scaler_notebook.client.submission.checked_values import MAX_AMOUNT
from scaler_notebook.suggestions import did_you_mean


@pytest.mark.parametrize(
    ("word", "hint"), [("cancle", "; did you mean cancel?"), ("xyzzy", ""), ("", ""), (3, ""), (None, "")]
)
def test_a_close_name_is_suggested(word: Any, hint: str) -> None:
    assert did_you_mean(word, iter(["submit", "cancel"])) == hint


def test_a_string_is_suggested_as_python_writes_it() -> None:
    assert did_you_mean("retrys", ["retries"], repr) == "; did you mean 'retries'?"


@pytest.mark.parametrize(
    ("text", "amount"), [("gpu", 1), ("gpu=1", 1), ("gpu=02", 2), (f"gpu={MAX_AMOUNT}", MAX_AMOUNT)]
)
def test_a_capability_is_a_name_and_an_amount(text: str, amount: int) -> None:
    assert parse_capability(text) == ("gpu", amount)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not like gpu=1"),
        ("=1", "is not like gpu=1"),
        ("gpu=", "is not like gpu=1"),
        ("gpu=-1", "is not like gpu=1"),
        ("gpu=1=2", "is not like gpu=1"),
        ("gpu=0", "is between 1 and"),
        (f"gpu={MAX_AMOUNT + 1}", "is between 1 and"),
        ("gpu=" + "9" * 5_000, "limit|between"),
    ],
)
def test_what_no_task_could_ask_for_is_no_capability(text: str, said: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=said):
        parse_capability(text)
