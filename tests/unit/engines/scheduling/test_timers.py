"""Timers: what is set comes once, in the order of the times, and what is cancelled does not come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scaler_notebook.engines.scheduling.timers import Timers

KEYS = st.sampled_from("abcd")
STEPS = st.lists(st.tuples(KEYS, st.none() | st.integers(0, 9)), max_size=50)  # None: the key's event is cancelled


@given(STEPS, st.integers(0, 9))
def test_what_is_due_comes_in_order_and_once(steps: list[tuple[str, int | None]], now: int) -> None:
    timers: Timers[str, tuple[str, int]] = Timers()
    expected: dict[str, tuple[int, int]] = {}  # by key, when, and which of those that were set
    for number, (key, when) in enumerate(steps):
        if when is None:
            assert timers.cancel(key) == (expected.pop(key, None) is not None)
        else:
            timers.set(key, when, (key, number))
            expected[key] = when, number
        assert all((key in timers) == (key in expected) for key in "abcd")
        assert timers.next == min((when for when, _ in expected.values()), default=None)
    due = sorted((when, number, key) for key, (when, number) in expected.items() if when <= now)
    came = []
    while (event := timers.pop_due(now)) is not None:
        came.append(event)
    assert came == [(key, number) for _, number, key in due]
    assert all((key in timers) == (expected[key][0] > now) for key in expected)
