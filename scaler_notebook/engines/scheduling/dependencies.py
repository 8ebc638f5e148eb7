"""What tasks are given beside their arguments: objects that clients have sent, and values of other tasks.

A task names its dependencies by id. It waits for those that are still to come; once it has them they are retained for
it until it is over, whatever becomes of the client's interest in them.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from scaler_notebook.protocol.messages import Payload, Task


class PayloadStore(Protocol):
    """Holds the memory behind payloads."""

    def retain_payload(self, payload: Payload) -> Payload:
        """Give the same content, independent of whoever sent it.

        Raises
        ------
        OSError
            That process is gone, or there is no memory left.
        """

    def release_payload(self, payload: Payload) -> None:
        """Free what :meth:`retain_payload` gave."""


class Dependant(Protocol):
    """What the tracker knows of a task."""

    missing: int  # dependencies that it waits for

    @property
    def task(self) -> Task:
        """As its client has sent it."""

    @property
    def owner(self) -> bytes:
        """The client whose objects and tasks it may name."""


R = TypeVar("R", bound=Dependant)


@dataclass(slots=True)
class _Value(Generic[R]):
    owner: bytes
    payload: Payload | None  # None: its task has not ended
    named: bool = False  # by the client, for tasks that are still to come
    claims: int = 0  # unfinished tasks that name it
    waiting: dict[str, R] = field(default_factory=dict)  # of those, the ones that wait for it


class DependencyTracker(Generic[R]):
    """Every object and value that tasks of one scheduler depend on, and the tasks that wait for them.

    Parameters
    ----------
    store
        Where the content of objects and values is retained.
    """

    def __init__(self, store: PayloadStore) -> None:
        self._store = store
        self._values: dict[str, _Value[R]] = {}

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<DependencyTracker {self._values}>"

    # ------------------------------------------------------------------ objects of clients

    def create(self, owner: bytes, object_id: str, content: Payload) -> None:
        """Retain a client's object. An id that is in use keeps the content that it has.

        Raises
        ------
        OSError
            As :meth:`PayloadStore.retain_payload`.
        """
        if object_id not in self._values:
            self._values[object_id] = _Value(owner, self._store.retain_payload(content), named=True)

    def delete(self, owner: bytes, object_ids: Iterable[str]) -> None:
        """Release objects that their client will not name again."""
        for object_id in object_ids:
            value = self._values.get(object_id)
            if value is not None and value.owner == owner:
                value.named = False
                self._drop_unused(object_id, value)

    def client_gone(self, owner: bytes) -> None:
        """Release every object of a client that has left."""
        self.delete(owner, [object_id for object_id, value in self._values.items() if value.named])

    # ------------------------------------------------------------------ tasks

    def add(self, record: R, unfinished: Iterable[str]) -> list[str]:
        """Retain a new task's dependencies, and count in ``record.missing`` those that are still to come.

        Parameters
        ----------
        record
            The task.
        unfinished
            Of its dependencies, the tasks of the same client that are not over.

        Returns
        -------
        list of str
            The dependencies that are neither here nor to come; if there are any, nothing is retained.
        """
        names = dict.fromkeys(record.task.inputs)
        known = {name: self._values.get(name) or _Value(record.owner, None) for name in names}
        here = self._values.keys() | set(unfinished)
        lost = [name for name, value in known.items() if name not in here or value.owner != record.owner]
        if lost:
            return lost
        for name, value in known.items():
            self._values[name] = value
            value.claims += 1
            if value.payload is None:
                value.waiting[record.task.task_id] = record
                record.missing += 1
        return []

    def values_of(self, record: R) -> dict[str, Payload]:
        """The values that a task depends on, by id; all of them have come."""
        given = {}
        for name in record.task.inputs:
            payload = self._values[name].payload
            assert payload is not None
            given[name] = payload
        return given

    def release(self, record: R) -> None:
        """Release the dependencies of a task that is over."""
        for name in dict.fromkeys(record.task.inputs):
            value = self._values.get(name)
            if value is not None:
                value.claims -= 1
                value.waiting.pop(record.task.task_id, None)
                self._drop_unused(name, value)

    # ------------------------------------------------------------------ values of tasks

    def expect(self, owner: bytes, task_id: str) -> None:
        """Note that tasks which are still to come will name the value of this one, which begins its life."""
        self._values[task_id] = _Value(owner, None, named=True)

    def wanted(self, name: str) -> bool:
        """Is an object or a value retained, or expected, under this id?"""
        return name in self._values

    def arrive(self, task_id: str, payload: Payload) -> list[R]:
        """Retain the value of a task that has ended well, and give the tasks that have all their dependencies now.

        Raises
        ------
        OSError
            As :meth:`PayloadStore.retain_payload`.
        """
        value = self._values.get(task_id)
        if value is None:
            return []
        value.payload = self._store.retain_payload(payload)
        waiting, value.waiting = value.waiting, {}
        for record in waiting.values():
            record.missing -= 1
        return [record for record in waiting.values() if not record.missing]

    def fail(self, task_id: str) -> list[R]:
        """Give all tasks that wait for the value of a task which will not come: its dependants, theirs, and so on.

        Each stands behind the one that it depends on. They are to be released by :meth:`release`, as every task.
        Iterative, not recursive: a chain of dependencies may be longer than the recursion limit.
        """
        dependants: dict[str, R] = {}
        failed = deque([task_id])
        while failed:
            name = failed.popleft()
            value = self._values.get(name)
            if value is None or value.payload is not None:
                continue
            value.named = False
            for dependant_id, record in value.waiting.items():
                if dependant_id not in dependants:
                    dependants[dependant_id] = record
                    failed.append(dependant_id)
            self._drop_unused(name, value)
        return list(dependants.values())

    def _drop_unused(self, name: str, value: _Value[R]) -> None:
        if not value.named and not value.claims:
            del self._values[name]
            if value.payload is not None:
                self._store.release_payload(value.payload)
