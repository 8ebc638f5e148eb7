"""The scheduler's line: whatever comes and leaves, the first is the first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scaler_notebook.engines.local.scheduler.indexed_heap import SPARE_MARKS, Line

# None: the first leaves; a number: the one at that place of those there leaves; a rank: another comes.
STEPS = st.lists(st.none() | st.integers(0, 99) | st.sampled_from([-1.0, 0.0, 0.5]), max_size=200)


@given(STEPS)
def test_the_first_is_the_smallest_of_those_that_are_there(steps: list[int | float | None]) -> None:
    line, there = Line(), []
    for number, step in enumerate(steps):
        if isinstance(step, float):
            there.append((step, number, f"n{number}"))
            line.add(f"n{number}", step, number)
        elif there:
            leaves = min(there) if step is None else there[step % len(there)]
            there.remove(leaves)
            line.remove(leaves[2])
        assert len(line) == len(there)
        assert line.first == min(there, default=None)


def test_what_comes_back_has_its_new_place() -> None:
    line = Line()
    line.add("a", 0, 1)
    line.add("b", 0, 2)
    line.remove("a")
    line.add("a", 0, 3)
    assert line.first == (0, 2, "b")
    line.remove("b")
    assert line.first == (0, 3, "a")


def test_what_has_left_takes_no_room() -> None:
    line = Line()
    line.add("first", -1, 0)
    for number in range(10_000):
        line.add(f"n{number}", 0, number)
        if number >= 10:
            line.remove(f"n{number - 10}")
        assert len(line._heap) <= 2 * 12 + SPARE_MARKS + 1
    assert len(line) == 11
