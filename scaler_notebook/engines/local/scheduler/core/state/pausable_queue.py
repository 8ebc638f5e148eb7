"""The queue of the scheduler: the ready tasks, and those that are kept back while their client is paused."""

from collections.abc import Iterable

from .ready_queue import ReadyQueue
from .records import TaskRecord


class PausableQueue:
    """The ready queue without the tasks of paused clients: these stay queued, and count for nothing else.

    A client is whoever has submitted a task: what a running task submits is another client's, and goes on.

    Parameters
    ----------
    ready
        The tasks that could run.
    """

    def __init__(self, ready: ReadyQueue) -> None:
        self._ready = ready
        self._kept: dict[bytes, dict[str, TaskRecord]] = {}  # by paused client: its queued tasks by id

    def __len__(self) -> int:
        """Return how many tasks could run."""
        return len(self._ready)

    def __contains__(self, record: TaskRecord) -> bool:
        return record in self._ready or record.task.task_id in self._kept.get(record.owner, ())

    @property
    def kept(self) -> int:
        """How many tasks are kept back."""
        return sum(map(len, self._kept.values()))

    @property
    def next(self) -> str | None:
        """The id of the task to run as soon as there is a process, as :attr:`.ReadyQueue.next`."""
        return self._ready.next

    def add(self, record: TaskRecord) -> None:
        """Queue a task; keep it back if its client is paused."""
        kept = self._kept.get(record.owner) if self._kept else None
        if kept is None:
            self._ready.add(record)
        else:
            kept[record.task.task_id] = record

    def remove(self, record: TaskRecord) -> None:
        """Remove a task, whether it is kept back or not."""
        if not self._kept or self._kept.get(record.owner, {}).pop(record.task.task_id, None) is None:
            self._ready.remove(record)

    def pause(self, client: bytes, records: Iterable[TaskRecord]) -> None:
        """Keep back what a client has queued, and will queue.

        Parameters
        ----------
        client
            The client.
        records
            All tasks.
        """
        kept = self._kept.setdefault(client, {})
        for record in records:
            if record.owner == client and record in self._ready:
                self._ready.remove(record)
                kept[record.task.task_id] = record

    def resume(self, client: bytes) -> None:
        """Keep back nothing of a client any more."""
        for record in self._kept.pop(client, {}).values():
            self._ready.add(record)
