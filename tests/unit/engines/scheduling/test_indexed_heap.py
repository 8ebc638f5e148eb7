"""A heap from which anything can be removed: whatever comes and leaves, the first is the first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scaler_notebook.engines.scheduling.indexed_heap import SPARE_MARKS, IndexedHeap

# None: the first leaves; a number: the one at that place of those there leaves; a rank: another comes.
STEPS = st.lists(st.none() | st.integers(0, 99) | st.sampled_from([-1.0, 0.0, 0.5]), max_size=200)


@given(STEPS)
def test_the_first_is_the_smallest_of_those_that_are_there(steps: list[int | float | None]) -> None:
    heap, there = IndexedHeap[str](), []
    for number, step in enumerate(steps):
        if isinstance(step, float):
            there.append((step, number, f"n{number}"))
            heap.add(f"n{number}", step, number)
        elif there:
            leaves = min(there) if step is None else there[step % len(there)]
            there.remove(leaves)
            heap.remove(leaves[2])
        assert len(heap) == len(there)
        assert heap.first == min(there, default=None)


def test_what_comes_back_has_its_new_place() -> None:
    heap: IndexedHeap[str] = IndexedHeap()
    heap.add("a", 0, 1)
    heap.add("b", 0, 2)
    heap.remove("a")
    heap.add("a", 0, 3)
    assert heap.first == (0, 2, "b")
    heap.remove("b")
    assert heap.first == (0, 3, "a")


def test_what_has_left_takes_no_room() -> None:
    heap: IndexedHeap[str] = IndexedHeap()
    heap.add("first", -1, 0)
    for number in range(10_000):
        heap.add(f"n{number}", 0, number)
        if number >= 10:
            heap.remove(f"n{number - 10}")
        assert len(heap._heap) <= 2 * 12 + SPARE_MARKS + 1
    assert len(heap) == 11
