"""Things that wait, the first of them at hand: a heap from which any of them can be taken out at once."""

from heapq import heapify, heappop, heappush
from typing import TypeAlias

Place: TypeAlias = tuple[float, int, str]  # rank, number, name; the smallest is first

SPARE_MARKS = 64  # places in the heap that nobody has any more; beyond that they are at most half of it


class Line:
    """Names in the order of their places.

    A place that was left stays in the heap, as a mark, until it comes to the top or most of the heap is marks: so
    leaving costs no search.
    """

    def __init__(self) -> None:
        self._heap: list[Place] = []
        self._places: dict[str, Place] = {}

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def __repr__(self) -> str:
        return f"<Line {sorted(self._places.values())}>"

    def add(self, name: str, rank: float, number: int) -> None:
        """Give ``name``, which is not here, its place: behind smaller ranks, and equal ranks of smaller numbers."""
        place = self._places[name] = rank, number, name
        heappush(self._heap, place)

    def remove(self, name: str) -> None:
        """Take ``name`` out, wherever it stands."""
        del self._places[name]
        if len(self._heap) > 2 * len(self._places) + SPARE_MARKS:
            self._heap = list(self._places.values())
            heapify(self._heap)

    @property
    def first(self) -> Place | None:
        """Who is next; it stays where it is."""
        heap = self._heap
        while heap:
            if self._places.get(heap[0][2]) is heap[0]:
                return heap[0]
            heappop(heap)
        return None
