"""A heap from which any entry can be removed without a search."""

from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from typing import Generic, TypeAlias, TypeVar

K = TypeVar("K", bound=Hashable)
Place: TypeAlias = tuple[float, int, K]  # rank, number, name; the smallest is first

SPARE_MARKS = 64  # entries of removed names that the heap may have; more than that are at most half of the heap


class IndexedHeap(Generic[K]):
    """Names in the order of rank and number.

    A removed name's entry stays in the heap until the entry comes to the top, or until most entries are of removed
    names. Therefore a removal costs no search.
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
        """Add a name that is not in the heap.

        Parameters
        ----------
        name
            The name.
        rank
            Smaller ranks come first.
        number
            Among names of one rank, smaller numbers come first.
        """
        place = self._places[name] = rank, number, name
        heappush(self._heap, place)

    def remove(self, name: K) -> None:
        """Remove a name, wherever in the heap it stands."""
        del self._places[name]
        if len(self._heap) > 2 * len(self._places) + SPARE_MARKS:
            self._heap = list(self._places.values())
            heapify(self._heap)

    def rank(self, name: K) -> float:
        """Return the rank of a name that is in the heap."""
        return self._places[name][0]

    @property
    def first(self) -> Place[K] | None:
        """Rank, number and name of the first entry; None if the heap is empty."""
        heap = self._heap
        while heap:
            if self._places.get(heap[0][2]) is heap[0]:
                return heap[0]
            heappop(heap)
        return None
