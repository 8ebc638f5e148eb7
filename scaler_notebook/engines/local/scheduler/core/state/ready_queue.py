"""The ready queue: tasks by priority, then by their clients' turns, as far as what they need is free."""

from scaler_notebook.engines.scheduling.indexed_heap import IndexedHeap

from .records import TaskRecord
from .resources import Needs, Resources


class ReadyQueue:
    """The tasks that could run, in a heap for each set of needs; most tasks need nothing.

    A task does not overtake another that waits for a capability which both need, so a task that needs much is not
    starved. Any other task may overtake.

    Parameters
    ----------
    resources
        The capabilities and the memory that are free.
    """

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._plain: IndexedHeap[str] = IndexedHeap()  # the tasks that need nothing
        self._heaps: dict[Needs, IndexedHeap[str]] = {(): self._plain}

    def __len__(self) -> int:
        return len(self._plain) if len(self._heaps) == 1 else sum(map(len, self._heaps.values()))

    def __contains__(self, record: TaskRecord) -> bool:
        heap = self._heaps.get(record.needs)
        return heap is not None and record.task.task_id in heap

    def __repr__(self) -> str:
        return f"<ReadyQueue {self._heaps}>"

    def add(self, record: TaskRecord) -> None:
        """Queue a task; one that was queued before gets its old place again."""
        needs = record.needs
        if (heap := self._heaps.get(needs)) is None:
            heap = self._heaps[needs] = IndexedHeap()
        heap.add(record.task.task_id, -record.priority, record.number)

    def remove(self, record: TaskRecord) -> None:
        """Remove a task, wherever in the queue it stands."""
        needs = record.needs
        self._heaps[needs].remove(record.task.task_id)
        if needs and not self._heaps[needs]:
            del self._heaps[needs]

    @property
    def next(self) -> str | None:
        """The id of the task to run as soon as there is a process; None if no task could run. It stays queued."""
        if len(self._heaps) == 1:
            first = self._plain.first
            return first[2] if first is not None else None
        firsts = {heap.first: needs for needs, heap in self._heaps.items()}
        waited_for: set[str] = set()
        for first in sorted(first for first in firsts if first is not None):
            needs = firsts[first]
            names = {capability.name for capability in needs}
            if not names & waited_for and self._resources.suffice(needs):
                return first[2]
            waited_for |= names
        return None
