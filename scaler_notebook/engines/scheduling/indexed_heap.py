"""A heap from which any entry can be removed at once."""

from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from typing import Generic, TypeAlias, TypeVar

K = TypeVar("K", bound=Hashable)
Place: TypeAlias = tuple[float, int, K]  # rank, number, name; the smallest is first

SPARE_MARKS = 64  # entries in the heap of names that were removed; beyond that they are at most half of the heap


class IndexedHeap(Generic[K]):
    """Names in the order of their places.

    The place of a name that was removed stays in the heap until it comes to the top, or until most of the heap is such
    places: so a removal costs no search.
    """

    def __init__(self) -> None:
        self._heap: list[Place[K]] = []
        self._places: dict[K, Place[K]] = {}

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, name: K) -> bool:
        return name in self._places

    def __repr__(self) -> str:
        return f"<IndexedHeap {sorted(self._places.values())}>"

    def add(self, name: K, rank: float, number: int) -> None:
        """Add a name that is not in the heap: behind smaller ranks, and behind equal ranks of smaller numbers."""
        place = self._places[name] = rank, number, name
        heappush(self._heap, place)

    def remove(self, name: K) -> None:
        """Remove a name, wherever in the heap it stands."""
        del self._places[name]
        if len(self._heap) > 2 * len(self._places) + SPARE_MARKS:
            self._heap = list(self._places.values())
            heapify(self._heap)

    @property
    def first(self) -> Place[K] | None:
        """The place of the name that is next; None if the heap is empty."""
        heap = self._heap
        while heap:
            if self._places.get(heap[0][2]) is heap[0]:
                return heap[0]
            heappop(heap)
        return None
